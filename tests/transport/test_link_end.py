"""How links are opened or refused, and how they end."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from ssb_rtc.errors import (
    FrameInvalid,
    HandshakeRefused,
    LinkClosed,
    RemoteCallError,
    SsbRtcError,
    TransportFault,
)
from ssb_rtc.transport.link import (
    Caller,
    Incoming,
    Link,
    open_link,
    open_plain_link,
)
from ssb_rtc.transport.memory import stream_pair
from ssb_rtc.transport.secure import PlainCodec
from ssb_rtc.types import Json
from tests.transport.handlers import count, echo, shout
from tests.transport.linking import ALICE, BOB, NETWORK_KEY, Table, linked, peer_id


async def test_closing_ends_everything_in_flight_on_both_sides_with_the_reason() -> None:
    started = asyncio.Event()

    async def never(link: Link) -> Json:
        started.set()
        await asyncio.Event().wait()

    async def silent(link: Link) -> AsyncIterator[Json]:
        await asyncio.Event().wait()
        yield 0

    before = asyncio.all_tasks()
    async with linked(bob=Table({"never": never, "silent": silent})) as (alice, bob):
        call = asyncio.create_task(alice.call("never"))
        source = alice.source("silent")
        reading = asyncio.create_task(source.read_batch())
        await started.wait()
        await alice.close("enough for today")
        for task in (call, reading):
            with pytest.raises(LinkClosed, match="enough for today"):
                await task
        assert await alice.closed == "enough for today"
        async with asyncio.timeout(2):
            assert await bob.closed == "the other side closed the link"
        with pytest.raises(LinkClosed, match="enough for today"):
            alice.source("silent")
        with pytest.raises(LinkClosed):
            await alice.call("never")
        await alice.close("again")
    assert asyncio.all_tasks() == before


async def test_a_call_in_one_breath_with_the_goodbye_is_dropped_without_a_word() -> None:
    async with linked(bob=Table({"echo": echo, "count": count})) as (alice, bob):
        calling = asyncio.create_task(alice.call("echo"))
        counted = alice.source("count", 3)
        await asyncio.sleep(0)
        await alice.close()
        with pytest.raises(LinkClosed):
            await calling
        with pytest.raises(LinkClosed):
            await counted.read_batch()
        await bob.closed
        gc.collect()  # what was made and never awaited would be complained of now, and warnings are errors


async def test_a_sink_that_has_got_everything_finishes_although_its_sender_left() -> None:
    kept: list[Json] = []
    stored = asyncio.Event()

    async def keep(link: Link, incoming: Incoming) -> None:
        items = [item async for item in incoming]
        await asyncio.sleep(0.05)  # the disk
        kept.extend(items)
        stored.set()

    async with linked(bob=Table({"keep": keep})) as (alice, bob):
        whole, cut = alice.sink("keep"), alice.sink("keep")
        await whole.send("all of it")
        await cut.send("the beginning")
        await whole.end()
        await alice.close()
        await bob.closed
        async with asyncio.timeout(5):
            await stored.wait()
        await bob.close()
    assert kept == ["all of it"]


async def test_a_handler_may_close_its_own_link() -> None:
    async def leave(link: Link) -> Json:
        await link.close("asked to")
        return True

    async with linked(bob=Table({"leave": leave})) as (alice, bob):
        with pytest.raises(LinkClosed):
            await alice.call("leave")
        assert await bob.closed == "asked to"


async def test_a_connection_that_breaks_ends_the_link_with_a_reason() -> None:
    a, b = stream_pair()
    opening = asyncio.create_task(open_link(b, keys=BOB, network_key=NETWORK_KEY, remote=None, router=Table()))
    alice = await open_link(a, keys=ALICE, network_key=NETWORK_KEY, remote=peer_id(BOB), dialled=True, router=Table())
    bob = await opening
    waiting = asyncio.create_task(alice.call("x", timeout_s=None))
    b.abort("pulled the plug")
    with pytest.raises((LinkClosed, RemoteCallError)):
        await waiting
    async with asyncio.timeout(2):
        assert "broke" in await alice.closed
        assert "pulled the plug" in await bob.closed
    assert alice.fault is None
    await alice.close()
    await bob.close()


@pytest.mark.parametrize("garbage", [b"\x00" * 34, b"GET / HTTP/1.1\r\n\r\n" * 10])
async def test_garbage_on_an_open_link_is_the_remotes_fault_and_ends_it(garbage: bytes) -> None:
    async with linked() as (alice, bob):
        bob._stream.write(garbage)
        async with asyncio.timeout(2):
            reason = await alice.closed
        assert isinstance(alice.fault, FrameInvalid)
        assert reason == str(alice.fault)


async def test_malformed_json_in_a_stream_ends_the_link_when_it_is_read() -> None:
    async with linked(bob=Table({"gather": shout})) as (alice, bob):
        duplex = alice.duplex("gather", "!")
        await duplex.send_encoded([b"{nonsense"])
        async with asyncio.timeout(2):
            await bob.closed
        assert isinstance(bob.fault, FrameInvalid)


async def test_a_link_on_which_nothing_arrives_is_closed() -> None:
    a, b = stream_pair()
    link = Link(
        a, PlainCodec(), remote=peer_id(BOB), dialled=True, caller=Caller.OWNER, router=Table(), idle_limit_s=0.05
    )
    link.start()
    async with asyncio.timeout(2):
        assert "nothing arrived" in await link.closed
    assert isinstance(link.fault, SsbRtcError)
    await link.close()
    await b.close()


async def test_a_plain_link_serves_a_local_caller() -> None:
    a, b = stream_pair()
    server = await open_plain_link(b, own=peer_id(BOB), router=Table({"echo": echo}), dialled=False)
    client = await open_plain_link(a, own=peer_id(BOB), router=Table(), dialled=True)
    assert server.local
    assert server.remote == peer_id(BOB)
    assert await client.call("echo", "hello") == ["hello"]
    await client.close()
    async with asyncio.timeout(2):
        await server.closed
    await server.close()


async def test_a_local_caller_hears_what_went_wrong_by_name() -> None:
    async def broken(link: Link) -> Json:
        raise TransportFault("the disk of /home/me is full")

    a, b = stream_pair()
    server = await open_plain_link(b, own=peer_id(BOB), router=Table({"broken": broken}), dialled=False)
    client = await open_plain_link(a, own=peer_id(BOB), router=Table(), dialled=True)
    with pytest.raises(RemoteCallError, match="disk of /home/me") as caught:
        await client.call("broken")
    assert caught.value.name == "TransportFault"
    await client.close()
    await server.close()
    async with linked(bob=Table({"broken": broken})) as (alice, _):
        with pytest.raises(RemoteCallError, match=r"^internal error$"):
            await alice.call("broken")


async def test_another_network_key_is_refused_on_both_sides() -> None:
    a, b = stream_pair()
    server = asyncio.create_task(open_link(b, keys=BOB, network_key=NETWORK_KEY, remote=None, router=Table()))
    with pytest.raises(HandshakeRefused):
        await open_link(a, keys=ALICE, network_key=b"x" * 32, remote=peer_id(BOB), dialled=True, router=Table())
    with pytest.raises(HandshakeRefused):
        await server


async def test_who_is_not_welcome_is_turned_away_without_a_link() -> None:
    a, b = stream_pair()
    asked: list[str] = []

    def nobody(peer: str) -> None:
        asked.append(peer)

    server = asyncio.create_task(
        open_link(b, keys=BOB, network_key=NETWORK_KEY, remote=None, router=Table(), admit=nobody)
    )
    with pytest.raises(HandshakeRefused, match=r"hung up|ended during"):
        await open_link(a, keys=ALICE, network_key=NETWORK_KEY, remote=peer_id(BOB), dialled=True, router=Table())
    with pytest.raises(HandshakeRefused, match="may not connect"):
        await server
    assert asked == [peer_id(ALICE)]


async def test_a_silent_other_side_is_given_up_after_the_time_limit() -> None:
    a, b = stream_pair()
    with pytest.raises(HandshakeRefused, match=r"longer than 0\.05 s"):
        await open_link(a, keys=ALICE, network_key=NETWORK_KEY, remote=None, router=Table(), timeout_s=0.05)
    with pytest.raises(LinkClosed):
        await b.read()


async def test_a_cancelled_handshake_closes_its_stream() -> None:
    a, b = stream_pair()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await open_link(a, keys=ALICE, network_key=NETWORK_KEY, remote=None, router=Table())
    with pytest.raises(LinkClosed):
        await b.read()


# --- callers that do not read their answers ---------------------------------------------------------------------------
