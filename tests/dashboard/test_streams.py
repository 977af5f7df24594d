"""The stream of events when its reader is slow, or the peer ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ssb_rtc import Peer
from ssb_rtc.dashboard import outbox, streams
from ssb_rtc.dashboard.outbox import RESYNC, Outbox, event
from ssb_rtc.testing import Swarm
from tests.dashboard.visitor import LIMIT_S, Visitor, visited


@pytest.fixture
async def peer(swarm: Swarm) -> Peer:
    return await swarm.peer("amy")


async def test_events_wait_in_order_and_end() -> None:
    box = Outbox()
    waiting = asyncio.create_task(box.take())
    await asyncio.sleep(0)
    box.put(event("one", 1))
    assert await waiting == b"event: one\ndata: 1\n\n"
    box.put(event("two", {"a": "line\nbreak"}))
    box.put(b"three")
    box.end()
    box.put(b"four")
    assert await box.take() == b'event: two\ndata: {"a":"line\\nbreak"}\n\nthree'
    assert await box.take() == b""


def test_what_a_reader_does_not_take_is_thrown_away() -> None:
    box = Outbox()
    for _ in range(5):
        box.put(bytes(outbox.WAITING_BYTES_MAX // 4))
    assert (box.late, box.over, box._bytes, len(box._waiting)) == (True, True, 0, 0)
    many = Outbox()
    for _ in range(outbox.WAITING_EVENTS_MAX + 1):
        many.put(b"x")
    assert many.late


async def stalled(owner: Visitor) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A stream of whom nothing is read any longer once it has begun."""
    reader, writer = await asyncio.open_connection("127.0.0.1", owner.dashboard.port, limit=4096)
    writer.write(
        f"GET /api/events?word={owner.csrf} HTTP/1.1\r\nHost: 127.0.0.1:{owner.dashboard.port}\r\n"
        f"Cookie: ssb_rtc_{owner.dashboard.port}={owner.cookie}\r\n\r\n".encode()
    )
    await reader.readuntil(b"event: snapshot")
    return reader, writer


async def flood(owner: Visitor, until: Any) -> None:
    """Events without end, as of a peer in which much happens."""
    async with asyncio.timeout(LIMIT_S):
        while not until():
            owner.dashboard._live._tell("message", {"text": "x" * 20_000})
            await asyncio.sleep(0.001)


async def test_a_slow_reader_is_told_to_begin_anew(peer: Peer) -> None:
    async with visited(peer) as owner:
        reader, writer = await stalled(owner)
        (box,) = owner.dashboard._live._streams
        await flood(owner, lambda: box.late)
        async with asyncio.timeout(LIMIT_S):
            told = b""
            while RESYNC.strip() not in told:
                told = told[-1_000:] + await reader.read(1 << 16)
                assert not reader.at_eof()
        writer.close()
        await writer.wait_closed()


async def test_a_reader_that_has_stopped_is_cut_off(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "READ_LIMIT_S", 0.2)
    async with visited(peer) as owner:
        _, writer = await stalled(owner)
        (box,) = owner.dashboard._live._streams
        async with owner.events() as other:
            reading = asyncio.create_task(other.until("message", lambda data: data["text"] == "the last one"))
            await flood(owner, lambda: box not in owner.dashboard._live._streams)
            # Whoever reads goes on: one page that sleeps holds up no other.
            owner.dashboard._live._tell("message", {"text": "the last one"})
            await reading
        writer.close()
        await writer.wait_closed()


async def test_whoever_comes_when_the_last_one_leaves_sees_everything(peer: Peer) -> None:
    async with visited(peer) as owner:
        live = owner.dashboard._live
        for _ in range(5):
            box = await live.open(trace=True)
            live.close(box)
        box = await live.open(trace=False)
        assert (await box.take()).startswith(b"event: snapshot")
        await asyncio.sleep(0)
        assert not box.over
        live.close(box)


async def test_quiet_streams_stay_open(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.02)
    async with visited(peer) as owner, owner.request("GET", "/api/events") as answer:
        async with asyncio.timeout(LIMIT_S):
            await answer.content.readuntil(b"\n\n: still here\n\n")


async def test_streams_end_with_the_peer(swarm: Swarm, peer: Peer) -> None:
    async with visited(peer) as owner, owner.events() as events:
        await events.next()
        await swarm.stop(peer)
        with pytest.raises(EOFError):
            await events.until("nothing")
        status, told = await owner.post("/api/publish", {"text": "too late"})
        assert status == 503, told


async def test_nothing_is_computed_while_nobody_looks(peer: Peer) -> None:
    def at_work() -> list[str]:
        return sorted(task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("dashboard"))

    async with visited(peer) as owner:
        assert at_work() == []
        async with owner.events("?trace=1") as traced, owner.events() as plain:
            await traced.next()
            await plain.next()
            assert at_work() == ["dashboard", "dashboard trace"]
        async with asyncio.timeout(LIMIT_S):
            while at_work():
                await asyncio.sleep(0.01)
        assert owner.dashboard._live._peers == {}
