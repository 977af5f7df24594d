"""Links: calls and streams, and who may open one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ssb_rtc.errors import (
    LinkClosed,
    MisuseError,
    RemoteCallError,
    TransportFault,
)
from ssb_rtc.transport.link import (
    Duplex,
    Handler,
    Incoming,
    Link,
)
from ssb_rtc.types import Json
from ssb_rtc.wire.manifest import Kind
from tests.transport.handlers import count, echo, fail_politely, shout
from tests.transport.linking import ALICE, BOB, Table, linked, peer_id, within


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
