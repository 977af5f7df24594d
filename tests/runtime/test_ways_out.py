"""The watch over this machine's network: it speaks up when there is one again or another one, and only then."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from ssb_rtc.runtime.ways_out import NetworkWatch, WaysOut, ways_out

LIMIT_S = 5.0

HOME: WaysOut = ("192.0.2.7",)
OFFICE: WaysOut = ("192.0.2.7", "2001:db8::7")


async def _changes_seen(looks: list[WaysOut]) -> list[WaysOut]:
    """What was there each time that the watch spoke up, when it saw these one after the other."""
    seen: list[WaysOut] = []
    left: Iterator[WaysOut] = iter(looks)
    now = looks[0]
    done = asyncio.Event()

    def look() -> WaysOut:
        nonlocal now
        try:
            now = next(left)
        except StopIteration:
            done.set()
        return now

    async def changed() -> None:
        seen.append(now)

    watch = NetworkWatch(changed, look=look, interval_s=0.0)
    watch.start()
    async with asyncio.timeout(LIMIT_S):
        await done.wait()
    await watch.close()
    await watch.close()
    return seen


@pytest.mark.parametrize(
    ("looks", "seen"),
    [
        ([HOME, HOME, HOME], []),
        ([HOME, OFFICE, OFFICE, HOME], [OFFICE, HOME]),
        ([HOME, (), (), HOME, HOME], [HOME]),
        ([(), (), HOME], [HOME]),
        ([HOME, ()], []),
        ([()], []),
    ],
    ids=["the same", "another", "gone and back", "none at first", "gone", "never any"],
)
async def test_a_network_that_is_back_or_another_one_is_told(looks: list[WaysOut], seen: list[WaysOut]) -> None:
    assert await _changes_seen(looks) == seen


async def test_a_watch_that_never_started_can_be_closed() -> None:
    async def changed() -> None:
        raise AssertionError

    await NetworkWatch(changed).close()


def test_the_ways_out_are_addresses_of_this_machine() -> None:
    for text in ways_out():
        family = socket.AF_INET6 if ipaddress.ip_address(text).version == 6 else socket.AF_INET
        with closing(socket.socket(family, socket.SOCK_DGRAM)) as own:
            own.bind((text, 0))


def test_without_a_network_there_is_no_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert ways_out() == ()
