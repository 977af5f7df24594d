"""Links that are read slowly, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ssb_rtc.errors import (
    FrameInvalid,
    LinkClosed,
)
from ssb_rtc.transport import rpc_link
from ssb_rtc.transport.base import Stream
from ssb_rtc.transport.link import (
    INBOUND_LIMIT_BYTES,
    Duplex,
    Handler,
    Incoming,
    Link,
    open_plain_link,
)
from ssb_rtc.transport.memory import stream_pair
from ssb_rtc.transport.net import NetTransport
from ssb_rtc.transport.streams import ITEM_BYTES
from ssb_rtc.types import Json
from ssb_rtc.wire.manifest import Kind
from ssb_rtc.wire.packets import BodyKind, encode_parts
from ssb_rtc.wire.rpc import Received, Session
from tests.transport.handlers import echo
from tests.transport.linking import BOB, Table, link_streams, linked, peer_id, within


async def test_a_source_that_nobody_reads_holds_little_at_either_side() -> None:
    sent = 0

    async def flood(link: Link) -> AsyncIterator[Json]:
        nonlocal sent
        while True:
            yield b"x" * 10_000
            sent += 10_000

    async with linked(bob=Table({"flood": flood})) as (alice, bob):
        source = alice.source("flood")
        await within(5, lambda: bob._congested and alice._unread_bytes > INBOUND_LIMIT_BYTES)
        held = sent
        await asyncio.sleep(0.1)
        assert sent == held, "the sender goes on although nobody reads"
        assert sent < 4 * INBOUND_LIMIT_BYTES
        got = 0
        while got < 10 * INBOUND_LIMIT_BYTES:
            got += sum(len(item.body) for item in await source.read_batch())
        await source.aclose()


async def test_two_sides_that_send_much_at_once_do_not_wait_for_each_other() -> None:
    async def send_and_read(duplex: Duplex) -> int:
        _, got = await asyncio.gather(duplex.send(b"x" * 7_900_000), anext(duplex))
        return len(got)

    async def give_and_take(link: Link, duplex: Duplex) -> None:
        await send_and_read(duplex)

    async def take_and_give(link: Link) -> int:
        return await send_and_read(link.duplex("both"))

    table = Table({"both": give_and_take})
    arrived: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()

    async def on_stream(stream: Stream) -> None:
        arrived.set_result(stream)

    transport = NetTransport()
    listener = await transport.listen("127.0.0.1:0", on_stream)
    ours = await transport.connect(listener.addresses[0].removeprefix("net:"))
    alice, bob = await link_streams(ours, await arrived, table, table)
    async with asyncio.timeout(20):
        assert list(await asyncio.gather(take_and_give(alice), take_and_give(bob))) == [7_900_000, 7_900_000]
    await asyncio.gather(alice.close(), bob.close())
    await listener.close()


async def test_who_only_calls_and_reads_no_answers_is_not_read_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_link, "OUTBOUND_LIMIT_BYTES", 1_000_000)
    monkeypatch.setattr(rpc_link, "STALL_LIMIT_S", 0.1)
    answered = 0

    async def large(link: Link) -> Json:
        nonlocal answered
        answered += 1
        return "x" * 100_000

    async with linked(bob=Table({"large": large})) as (alice, bob):
        assert alice._reader is not None
        alice._reader.cancel()
        calls = [alice._session.call(("large",), [], Kind.ASYNC) for _ in range(50)]
        for _ in calls:
            alice._schedule_flush()
            await asyncio.sleep(0.002)
            alice._session.call(("large",), [], Kind.ASYNC)
        async with asyncio.timeout(5):
            assert "read no answers" in await bob.closed
        assert answered < 150
        alice._stream.abort()


async def test_a_stream_that_nobody_reads_is_cut_so_that_the_link_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_link, "STALL_LIMIT_S", 0.1)

    async def flood(link: Link) -> AsyncIterator[Json]:
        while True:
            yield b"x" * 10_000

    async with linked(bob=Table({"flood": flood, "echo": echo})) as (alice, bob):
        source = alice.source("flood")
        await within(5, lambda: bob._congested)
        assert await alice.call("echo", 1, timeout_s=5) == [1]
        with pytest.raises(LinkClosed, match="nobody read it"):
            await source.read_batch()
        await within(2, lambda: not bob._serving._tasks)


async def served_raw(**handlers: Handler) -> tuple[Stream, Link]:
    """A link that serves, and the bare other end of its stream."""
    raw, served = stream_pair()
    return raw, await open_plain_link(served, own=peer_id(BOB), router=Table(handlers), dialled=False)


async def test_calls_wait_while_their_answers_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def whoami(link: Link) -> Json:
        return "x" * 900

    monkeypatch.setattr(rpc_link, "OUTBOUND_LIMIT_BYTES", 200_000)
    raw, link = await served_raw(whoami=whoami)
    caller = Session()
    for _ in range(2_000):
        caller.call(("whoami",), [], Kind.ASYNC)
        raw.write(caller.take_outgoing())
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    # What was read in one go before the limit was seen may be answered above it.
    assert link._stream.queued_bytes < 1_000_000
    answers = 0
    async with asyncio.timeout(5):
        while answers < 2_000:
            answers += sum(isinstance(event, Received) for event in caller.receive(await raw.read()))
    await link.close()


async def test_who_never_reads_its_answers_loses_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_link, "OUTBOUND_LIMIT_BYTES", 10_000)
    monkeypatch.setattr(rpc_link, "STALL_LIMIT_S", 0.05)
    raw, link = await served_raw()
    late_end = encode_parts(9, b'"' + b"x" * 400_000 + b'"', BodyKind.JSON, stream=True, end=True)
    for _ in range(5):
        raw.write(late_end)
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert await link.closed == "the other side read no answers for 0.05 s"
    assert isinstance(link.fault, FrameInvalid)


async def test_tiny_items_count_for_more_than_their_bodies() -> None:
    stuck = asyncio.Event()

    async def never_reads(link: Link, incoming: Incoming) -> None:
        await stuck.wait()

    async with linked(bob=Table({"sink": never_reads})) as (alice, bob):
        sink = alice.sink("sink")
        for _ in range(2 * INBOUND_LIMIT_BYTES // ITEM_BYTES):
            await sink.send(1)
        await within(5, lambda: bob._unread_bytes > INBOUND_LIMIT_BYTES)
        stuck.set()
