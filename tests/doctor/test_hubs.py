"""The checks of hubs, and what follows from them, on real ones and on such that do as they like."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from email.utils import formatdate

import pytest

from ssb_rtc.config import MAIN_NETWORK_KEY, Settings
from ssb_rtc.doctor.checks import hubs
from ssb_rtc.doctor.checks.channel import channel
from ssb_rtc.doctor.checks.hubs import Hub
from ssb_rtc.doctor.findings import Finding, State
from ssb_rtc.doctor.probes import hub as hub_probe
from ssb_rtc.doctor.probes.hub import HubSeen
from ssb_rtc.errors import ConnectFailed
from ssb_rtc.hub.server import HubServer, serve
from ssb_rtc.signalhub.client import HubRefused
from ssb_rtc.storage.contacts import HubRecord
from ssb_rtc.transport.ice import IceConfig
from ssb_rtc.types import HubUrl
from tests.signalhub.rogue import STREAM, rogue, saying

DEAD = HubUrl("http://127.0.0.1:1")
DAY_S = 86_400.0


@pytest.fixture
async def server() -> AsyncIterator[HubServer]:
    running = await serve("127.0.0.1", 0)
    yield running
    await running.close()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for an echo that does not come waits less long."""
    monkeypatch.setattr(hub_probe, "ECHO_LIMIT_S", 0.3)


async def look(*urls: str, wall_ahead_s: float = 0.0) -> tuple[list[HubSeen], list[Finding]]:
    """The hubs asked, and judged."""
    asked = [Hub(HubUrl(url)) for url in urls]
    seen = await hubs.ask(asked, MAIN_NETWORK_KEY, wall=lambda: time.time() + wall_ahead_s)
    return seen, hubs.judge(seen)


async def test_a_hub_that_works(server: HubServer) -> None:
    seen, (found,) = await look(server.url)
    assert found.state is State.OK
    assert found.subject == server.url
    assert found.facts["echo_ms"] >= 0
    assert hubs.judge_clock(seen).state is State.OK


async def test_the_same_hub_for_both_dialects(server: HubServer) -> None:
    _, found = await look(server.url, f"swarm+{server.url}")
    assert [each.state for each in found] == [State.OK, State.OK]


async def test_a_dead_hub_is_broken_alone_and_a_warning_beside_a_living_one(server: HubServer) -> None:
    _, (alone,) = await look(DEAD)
    assert alone.state is State.BROKEN
    assert "nobody listens there" in alone.seen
    assert f"ssb-rtc hubs remove {DEAD}" in alone.remedy
    _, (living, dead) = await look(server.url, DEAD)
    assert (living.state, dead.state) == (State.OK, State.WARNING)
    assert dead.subject == DEAD


async def test_a_hub_that_swallows_signals() -> None:
    async def swallow(head: bytes, writer: asyncio.StreamWriter) -> None:
        if head.startswith(b"GET /v1"):
            await saying(STREAM, stay=True)(head, writer)
        else:
            await saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")(head, writer)

    async with rogue(swallow, bodies=True) as url:
        seen, (found,) = await look(url)
    assert found.state is State.BROKEN
    assert "did not hand it out" in found.seen
    assert "tell whoever runs it" in found.remedy
    assert found.facts["answered_ms"] is not None
    assert not seen[0].works


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "no signalhub"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi", "no signalhub"),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n", "sends us elsewhere"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "can't be reached"),
        (b"HTTP/1.1 200 OK\r\nDate: " + b"9" * 9_000 + b"\r\n\r\n", "can't be reached"),
        (b"", "can't be reached"),
    ],
)
async def test_what_is_no_hub_is_broken_whatever_it_says(answer: bytes, says: str) -> None:
    async with rogue(saying(answer)) as url:
        seen, (found,) = await look(url)
    assert found.state is State.BROKEN
    assert says in found.seen
    assert hubs.judge_clock(seen).state is State.SKIPPED


async def test_our_clock_is_a_day_off(server: HubServer) -> None:
    seen, (found,) = await look(server.url, wall_ahead_s=DAY_S)
    assert found.state is State.OK
    clock = hubs.judge_clock(seen)
    assert clock.state is State.BROKEN
    assert "24 h ahead" in clock.seen
    assert "timedatectl" in clock.remedy


async def test_of_several_hubs_the_one_with_a_wrong_date_is_named(server: HubServer) -> None:
    other = await serve("127.0.0.1", 0)
    date = formatdate(time.time() - DAY_S, usegmt=True).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: " + date + b"\r\n\r\n"
    try:
        async with rogue(saying(head)) as url:
            seen, _ = await look(server.url, other.url, url)
    finally:
        await other.close()
    clock = hubs.judge_clock(seen)
    assert clock.state is State.WARNING
    assert f"{url} is 24 h behind us" in clock.seen


@pytest.mark.parametrize(
    "fields", [b"Date: 31 Smarch", b"Date: ", b"X: y", b"Age: 500\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT"]
)
async def test_a_date_that_is_none_counts_for_nothing(fields: bytes) -> None:
    async with rogue(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + fields + b"\r\n\r\n")) as url:
        seen, _ = await look(url)
    assert seen[0].ahead_s is None


def test_a_hub_that_wants_to_be_left_alone_is_not_broken() -> None:
    (found,) = hubs.judge([HubSeen(DEAD, HubRefused("the hub has had too much from us", status=429))])
    assert found.state is State.WARNING
    assert "some minutes" in found.remedy


def test_a_slow_hub_and_a_certificate() -> None:
    (slow,) = hubs.judge([HubSeen(DEAD, None, 0.5, 3.0)])
    assert slow.state is State.WARNING
    assert "slow" in slow.remedy
    fault = ConnectFailed("the hub x can't be reached: its certificate is not valid here (expired)")
    (expired,) = hubs.judge([HubSeen(DEAD, fault)])
    assert "clock" in expired.remedy


def test_passwords_of_hubs_are_not_shown() -> None:
    found = hubs.judge([HubSeen(HubUrl("https://me:hunter2@hub.example.org"), None, 0.1, 0.1, DAY_S)])
    told = f"{found} {hubs.judge_clock([HubSeen(HubUrl('https://me:hunter2@hub.example.org'), ahead_s=DAY_S)])}"
    assert "hunter2" not in told
    assert "hub.example.org" in told


def test_no_hub_at_all() -> None:
    (found,) = hubs.judge([])
    assert found.state is State.WARNING
    assert "ssb-rtc hubs add" in found.remedy


def test_which_hubs_are_asked() -> None:
    learnt = [HubRecord(HubUrl(f"https://{n}.example.org"), "gossip", n) for n in range(30)]
    kept = HubRecord(HubUrl("https://kept.example.org"), "user", 99)
    asked = hubs.to_ask([DEAD, kept.url], [*learnt, kept])
    assert asked[:3] == [Hub(DEAD), Hub(kept.url), Hub(learnt[0].url, only_told=True)]
    assert len(asked) == hubs.HUBS_MAX


async def test_a_hub_that_others_told_of_is_not_looked_for_in_our_own_network(server: HubServer) -> None:
    port = server.url.rpartition(":")[2]
    told = [Hub(HubUrl(f"http://localhost:{port}"), only_told=True)]
    seen = await hubs.ask(told, MAIN_NETWORK_KEY, wall=time.time)
    assert not seen[0].works
    assert "no public place" in str(seen[0].fault)


# --- the data channel ---


@pytest.mark.parametrize("backend", ["wrtc", "aiortc"])
async def test_a_channel_to_ourselves(server: HubServer, backend: str) -> None:
    settings = Settings(rtc_backend=backend)
    found = await channel(HubUrl(server.url), settings, IceConfig(), wall=time.time)
    assert found.state is State.OK, found
    assert found.facts["open_ms"] > 0
    assert found.facts["backend"] == backend


async def test_a_channel_over_the_plain_dialect_with_a_wrong_clock(server: HubServer) -> None:
    found = await channel(HubUrl(f"swarm+{server.url}"), Settings(), IceConfig(), wall=lambda: time.time() + DAY_S)
    assert found.state is State.OK, found


async def test_no_channel_without_a_hub() -> None:
    assert (await channel(None, Settings(), IceConfig(), wall=time.time)).state is State.SKIPPED
    gone = await channel(DEAD, Settings(), IceConfig(), wall=time.time)
    assert gone.state is State.BROKEN
    assert "nobody listens" in gone.seen
