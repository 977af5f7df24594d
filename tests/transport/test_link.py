"""Links: calls, streams, back-pressure, and their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ssb_rtc.errors import (
    FrameInvalid,
    HandshakeRefused,
    LinkClosed,
    MisuseError,
    RemoteCallError,
    SsbRtcError,
    TransportFault,
)
from ssb_rtc.transport import rpc_link
from ssb_rtc.transport.base import Stream
from ssb_rtc.transport.link import INBOUND_LIMIT_BYTES, Duplex, Handler, Incoming, Link, open_link, open_plain_link
from ssb_rtc.transport.memory import stream_pair
from ssb_rtc.transport.net import NetTransport
from ssb_rtc.transport.secure import PlainCodec
from ssb_rtc.transport.streams import ITEM_BYTES
from ssb_rtc.types import Json
from ssb_rtc.wire.manifest import Kind
from ssb_rtc.wire.packets import BodyKind, encode_parts
from ssb_rtc.wire.rpc import Received, Session
from tests.transport.linking import ALICE, BOB, NETWORK_KEY, Table, link_streams, linked, peer_id, within


async def echo(link: Link, *args: Json) -> Json:
    return list(args)


async def fail_politely(link: Link) -> Json:
    raise RemoteCallError("not today", name="Busy")


async def count(link: Link, most: int) -> AsyncIterator[Json]:
    for number in range(most):
        yield {"number": number}


async def shout(link: Link, duplex: Duplex, mark: str) -> None:
    async for word in duplex:
        await duplex.send(word + mark)
    await duplex.send("bye")


async def test_calls_are_answered_in_both_directions() -> None:
    table = Table({"a.echo": echo})
    async with linked(table, table) as (alice, bob):
        assert await alice.call("a.echo", 1, {"x": None}) == [1, {"x": None}]
        assert await bob.call("a.echo", "two") == ["two"]
        assert alice.remote == peer_id(BOB)
        assert bob.remote == peer_id(ALICE)
        assert (alice.dialled, bob.dialled) == (True, False)
        assert (alice.local, alice.transport) == (False, "memory")
        assert alice.bytes_in > 0
        assert alice.bytes_out > 0
    assert table.kinds == [Kind.ASYNC, Kind.ASYNC]


async def test_refusals_and_errors_reach_the_caller_with_their_text() -> None:
    async with linked(bob=Table({"fail": fail_politely, "echo": echo})) as (alice, _):
        with pytest.raises(RemoteCallError, match=r"^muxrpc: no such command: nothing\.here$"):
            await alice.call("nothing.here")
        with pytest.raises(RemoteCallError, match="not today") as caught:
            await alice.call("fail")
        assert caught.value.name == "Busy"
        with pytest.raises(RemoteCallError, match="wrong number of arguments"):
            await alice.call("fail", 1)
        with pytest.raises(RemoteCallError, match="no such command"):
            await anext(alice.source("missing"))
        assert await alice.call("echo", 1) == [1]


async def test_a_defect_in_a_handler_is_reported_here_and_not_told_to_the_remote() -> None:
    async def broken(link: Link) -> Json:
        raise KeyError("/home/secret")

    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with linked(bob=Table({"broken": broken})) as (alice, _):
        with pytest.raises(RemoteCallError, match=r"^internal error$"):
            await alice.call("broken")
    assert [type(context["exception"]) for context in reported] == [KeyError]


async def test_many_calls_at_once_get_each_their_own_answer() -> None:
    async def slow(link: Link, number: int) -> Json:
        await asyncio.sleep(0.001 * (number % 7))
        return number

    async with linked(bob=Table({"slow": slow})) as (alice, _):
        assert await asyncio.gather(*(alice.call("slow", n) for n in range(200))) == list(range(200))


async def test_a_call_that_nobody_answers_times_out_and_the_link_lives_on() -> None:
    async def never(link: Link) -> Json:
        await asyncio.Event().wait()

    async with linked(bob=Table({"never": never, "echo": echo})) as (alice, _):
        with pytest.raises(TransportFault, match=r"never was not answered within 0\.05 s"):
            await alice.call("never", timeout_s=0.05)
        assert await alice.call("echo", 1) == [1]


async def test_a_source_is_read_to_its_end() -> None:
    async with linked(bob=Table({"count": count})) as (alice, bob):
        assert [value async for value in alice.source("count", 3)] == [{"number": n} for n in range(3)]
        source = alice.source("count", 500)
        bodies = []
        while batch := await source.read_batch():
            bodies += [item.body for item in batch]
        assert bodies[0] == b'{"number":0}'
        assert len(bodies) == 500
        await within(1, lambda: not alice._ends and not bob._ends and not bob._serving._tasks)


async def test_closing_a_source_stops_the_handler_at_the_other_side() -> None:
    stopped = asyncio.Event()

    async def forever(link: Link) -> AsyncIterator[Json]:
        try:
            while True:
                yield "x" * 1000
        finally:
            stopped.set()

    async with linked(bob=Table({"forever": forever})) as (alice, bob):
        source = alice.source("forever")
        assert await anext(source) == "x" * 1000
        await source.aclose()
        async with asyncio.timeout(2):
            await stopped.wait()
        await within(1, lambda: not alice._session.open_calls and not bob._session.open_calls)
        assert alice._unread_bytes == 0


async def test_closing_a_source_that_has_nothing_to_say_stops_its_handler_too() -> None:
    began, stopped = asyncio.Event(), asyncio.Event()

    async def silent(link: Link) -> AsyncIterator[Json]:
        try:
            began.set()
            await asyncio.Event().wait()
            yield 0
        finally:
            stopped.set()

    async with linked(bob=Table({"silent": silent})) as (alice, bob):
        source = alice.source("silent")
        async with asyncio.timeout(2):
            await began.wait()
            await source.aclose()
            await stopped.wait()
        await within(1, lambda: not bob._serving._tasks)


async def test_a_router_with_a_defect_does_not_end_the_link() -> None:
    class Broken(Table):
        def find(self, name: tuple[str, ...], kind: Kind, link: Link) -> Handler:
            if name == ("broken",):
                raise KeyError(name)
            return super().find(name, kind, link)

    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with linked(bob=Broken({"echo": echo})) as (alice, _):
        with pytest.raises(RemoteCallError, match=r"^internal error$"):
            await alice.call("broken")
        assert await alice.call("echo", 1) == [1]
    assert len(reported) == 1


async def test_a_source_that_fails_half_way_gives_what_came_before_and_then_the_error() -> None:
    async def half(link: Link) -> AsyncIterator[Json]:
        yield 1
        raise RemoteCallError("lost the rest")

    async with linked(bob=Table({"half": half})) as (alice, _):
        source = alice.source("half")
        assert await anext(source) == 1
        with pytest.raises(RemoteCallError, match="lost the rest"):
            await anext(source)


async def test_a_sink_receives_what_is_sent_and_its_end() -> None:
    seen: list[Json] = []
    done = asyncio.Event()

    async def gather(link: Link, incoming: Incoming, label: str) -> None:
        seen.append(label)
        seen.extend([value async for value in incoming])
        done.set()

    async with linked(bob=Table({"gather": gather})) as (alice, bob):
        sink = alice.sink("gather", "label")
        await sink.send({"a": 1})
        await sink.send(b"\x00bytes")
        await sink.send_encoded([b'{"b":2}', b"[3]"])
        await sink.end()
        async with asyncio.timeout(2):
            await done.wait()
        assert seen == ["label", {"a": 1}, b"\x00bytes", {"b": 2}, [3]]
        with pytest.raises(MisuseError):
            await sink.send("more")
        await within(1, lambda: not alice._session.open_calls and not bob._session.open_calls)


async def test_a_sink_that_its_server_leaves_refuses_more() -> None:
    async def one(link: Link, incoming: Incoming) -> None:
        await anext(incoming)

    async with linked(bob=Table({"one": one})) as (alice, _):
        sink = alice.sink("one")
        await sink.send(1)
        await within(2, lambda: sink._output_fault is not None)
        with pytest.raises(LinkClosed, match="ended the stream"):
            await sink.send(2)


async def test_a_duplex_carries_both_ways_and_each_side_ends_for_itself() -> None:
    async with linked(bob=Table({"shout": shout})) as (alice, bob):
        duplex = alice.duplex("shout", "!")
        await duplex.send("hey")
        assert await anext(duplex) == "hey!"
        await duplex.send("you")
        await duplex.end()
        assert [word async for word in duplex] == ["you!", "bye"]
        await within(1, lambda: not alice._session.open_calls and not bob._session.open_calls)


async def test_an_error_that_ends_a_duplex_reaches_the_reader_at_the_other_side() -> None:
    heard: list[str] = []

    async def listen(link: Link, duplex: Duplex) -> None:
        try:
            async for _ in duplex:
                pass
        except RemoteCallError as error:
            heard.append(error.message)
            raise

    async with linked(bob=Table({"listen": listen})) as (alice, bob):
        duplex = alice.duplex("listen")
        await duplex.send(1)
        await duplex.end(RemoteCallError("I have had enough"))
        await within(2, lambda: heard == ["I have had enough"])
        await within(1, lambda: not alice._session.open_calls and not bob._session.open_calls)


async def test_the_first_items_may_come_right_behind_the_call() -> None:
    seen: list[Json] = []

    async def gather(link: Link, incoming: Incoming) -> None:
        seen.extend([value async for value in incoming])

    async with linked(bob=Table({"gather": gather})) as (alice, _):
        sink = alice.sink("gather")
        for number in range(10):
            await sink.send(number)
        await sink.end()
        await within(2, lambda: seen == list(range(10)))


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
    link = Link(a, PlainCodec(), remote=peer_id(BOB), dialled=True, local=True, router=Table(), idle_limit_s=0.05)
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

    def accepts(peer: str) -> bool:
        asked.append(peer)
        return False

    server = asyncio.create_task(
        open_link(b, keys=BOB, network_key=NETWORK_KEY, remote=None, router=Table(), accepts=accepts)
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
