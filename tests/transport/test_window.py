"""The window of links over data channels, whose libraries do not push back on a sender."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ssb_rtc.errors import FrameInvalid
from ssb_rtc.transport import window
from ssb_rtc.transport.link import INBOUND_LIMIT_BYTES, Link
from ssb_rtc.transport.window import Window
from ssb_rtc.types import Json
from tests.transport.channels import opened_pair
from tests.transport.linking import Table, link_streams, within


async def flood(link: Link, total: int) -> AsyncIterator[Json]:
    for _ in range(total // 10_000):
        yield b"x" * 10_000


@pytest.mark.parametrize("name", ["wrtc", "aiortc"])
async def test_a_slow_reader_over_a_data_channel_stops_the_sender(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "WINDOW_BYTES", 500_000)
    total = 3_000_000
    async with opened_pair(name, name) as (a, b):
        alice, bob = await link_streams(a, b, bob=Table({"flood": flood}))
        source = alice.source("flood", total)
        await within(10, lambda: bob._window is not None and bob._window.full)
        await within(5, lambda: alice._unread_bytes > INBOUND_LIMIT_BYTES)
        await asyncio.sleep(0.1)
        waiting = a._queue.size_bytes + alice._unread_bytes
        assert waiting < INBOUND_LIMIT_BYTES + 3 * 500_000, "what is on the way is bounded"
        got = 0
        async with asyncio.timeout(15):
            while batch := await source.read_batch():
                got += sum(len(item.body) for item in batch)
        assert got == total
        await alice.close()
        await bob.close()


async def test_a_peer_without_the_method_is_not_waited_for() -> None:
    async with opened_pair("wrtc", "wrtc") as (a, b):
        alice, bob = await link_streams(a, b, bob=Table({"flood": flood}))
        # Alice answers as a JavaScript peer does.
        assert bob._window is not None
        alice._window = None
        source = alice.source("flood", 200_000)
        got = sum([len(value) async for value in source])
        assert got == 200_000
        await alice.close()
        await bob.close()


async def test_reports_that_can_not_be_true_end_the_link() -> None:
    async with opened_pair("wrtc", "wrtc") as (a, b):
        alice, bob = await link_streams(a, b)
        assert alice._window is not None
        await within(5, lambda: alice._window is not None and alice._window.report_to is not None)
        assert alice._window.report_to is not None
        alice._session.write(alice._window.report_to, 10**12)
        alice._schedule_flush()
        async with asyncio.timeout(5):
            await bob.closed
        assert isinstance(bob.fault, FrameInvalid)
        await alice.close()


@pytest.mark.parametrize("report", [-1, 11, 4, True, 5.0, "7", None])
def test_a_report_is_a_number_between_the_last_one_and_what_was_sent(report: Json) -> None:
    counters = Window()
    counters.sent_bytes = 10
    assert counters.acknowledge(5)
    assert not counters.acknowledge(report)


def is_full(counters: Window) -> bool:
    return counters.full


def is_due(counters: Window) -> bool:
    return counters.report_due


async def test_writers_wait_exactly_while_the_window_is_full() -> None:
    counters = Window()
    counters.sent_bytes = 10 * window.WINDOW_BYTES
    assert not is_full(counters), "without reports there is no window"
    assert counters.acknowledge(0)
    assert is_full(counters)
    waiting = asyncio.create_task(counters.opened())
    await asyncio.sleep(0)
    assert counters.acknowledge(5 * window.WINDOW_BYTES)
    assert is_full(counters)
    assert not waiting.done()
    assert counters.acknowledge(9 * window.WINDOW_BYTES)
    assert not is_full(counters)
    await waiting
    counters.sent_bytes += window.WINDOW_BYTES
    assert is_full(counters)
    counters.lift()
    assert not is_full(counters)


def test_a_report_is_due_after_each_step() -> None:
    counters = Window()
    counters.read_bytes = 10 * window.REPORT_BYTES
    assert not is_due(counters), "nobody asked"
    counters.report_to = -1
    assert is_due(counters)
    assert counters.report() == 10 * window.REPORT_BYTES
    assert not is_due(counters)
    counters.read_bytes += window.REPORT_BYTES
    assert is_due(counters)
