"""What strangers do to a hub: garbage, slow readers, sudden ends. The process and the others never notice."""

from __future__ import annotations

import asyncio
import gc
import ssl
import tracemalloc
import weakref
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssb_rtc.hub.limits import HubLimits
from ssb_rtc.hub.server import HubServer
from ssb_rtc.hub.tls import server_tls
from tests.hub.sockets import HOST, LIMIT_S, Raw, Wire, connected, post_bytes, running, subscribed
from tests.transport.certificates import write_certificate

LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"GET /v1/a/b HTTP/1.1\r\n",
        b"POST /v1/a/b HTTP/1.1\r\n",
        b"POST /v1/a/b HTTP/1.0\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n",
        b"HEAD / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        HOST,
        b"Content-Length: 3\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"abc",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"fffffffffffffffff\r\n",
        b"\n",
        b"\x00",
        b"\xff" * 9,
        b"X: " + b"y" * 9000 + b"\r\n",
    ]
)
PIECES = st.lists(st.one_of(LINES, st.binary(max_size=40)), max_size=12)


@settings(max_examples=300)
@given(st.lists(PIECES, min_size=1, max_size=3))
def test_garbage_gets_an_answer_or_an_end_and_never_an_exception(chunks: list[list[bytes]]) -> None:
    async def feed() -> None:
        async with running() as hub:
            wire = Wire(hub)
            for chunk in chunks:
                if not wire.ended:
                    wire.connection.data_received(b"".join(chunk))
                await asyncio.sleep(0)
            if not wire.ended:
                wire.connection.eof_received()
                wire.close()
            await asyncio.sleep(0)
            assert (hub.subscribers, hub.connections) == (0, 0)
            assert wire.written == b"" or wire.written.startswith(b"HTTP/1.1 ")

    asyncio.run(feed())


async def alive(hub: HubServer) -> None:
    async with connected(hub.port) as raw:
        await raw.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await raw.answer())[0].startswith(b"HTTP/1.1 200 OK")


@settings(max_examples=12)
@given(st.lists(PIECES, min_size=4, max_size=12))
def test_garbage_over_sockets_harms_nobody_else(strangers: list[list[bytes]]) -> None:
    async def flood() -> None:
        async with running(HubLimits(header_s=0.2)) as hub, subscribed(hub.port, b"/v1/app/a") as friend:

            async def one(pieces: list[bytes]) -> None:
                async with connected(hub.port) as raw:
                    raw.writer.write(b"".join(pieces))
                    raw.writer.write_eof()
                    await raw.rest()

            await asyncio.gather(*map(one, strangers))
            await alive(hub)
            async with connected(hub.port) as poster:
                await poster.send(post_bytes(b"/v1/app/a", b"still here"))
                assert await friend.chunk() == b"data: still here\n\n"

    asyncio.run(flood())


async def test_connections_that_reset_leave_nothing_behind() -> None:
    async with running() as hub:
        for number in range(60):
            async with connected(hub.port) as raw:
                await raw.send(
                    [b"", b"GET", b"GET /v1/app/a,b HTTP/1.1\r\n" + HOST + b"\r\n", post_bytes(b"/v1/app/a", b"x")][
                        number % 4
                    ]
                )
                raw.writer.transport.abort()
        async with asyncio.timeout(LIMIT_S):
            while hub.connections:
                await asyncio.sleep(0)
        assert hub.subscribers == 0


async def stuck_readers(hub: HubServer, count: int, stack: list[Raw]) -> None:
    for _ in range(count):
        raw = Raw(*await asyncio.open_connection("127.0.0.1", hub.port))
        stack.append(raw)
        raw.writer.write(b"GET /v1/app/a HTTP/1.1\r\n" + HOST + b"\r\n")
        await raw.reader.readuntil(b"\r\n\r\n")
        raw.stop_reading()


@pytest.mark.parametrize(
    "limits",
    [
        HubLimits(reader_buffer_bytes=128 * 1024),
        HubLimits(reader_buffer_bytes=2**30, buffers_bytes=512 * 1024),
        HubLimits(reader_buffer_bytes=2**30, reader_stall_s=0.2, sweep_s=0.05),
    ],
    ids=["each", "together", "stalled"],
)
async def test_readers_that_read_nothing_are_dropped_and_the_others_hear_everything(limits: HubLimits) -> None:
    stuck: list[Raw] = []
    async with running(limits) as hub, subscribed(hub.port, b"/v1/app/a") as good, connected(hub.port) as poster:
        await stuck_readers(hub, 10, stuck)
        assert hub.subscribers == 11
        sent = 0
        async with asyncio.timeout(20):
            while hub.subscribers > 1:
                await poster.send(post_bytes(b"/v1/app/a", b"x" * 60_000))
                assert len(await good.chunk()) == 60_008
                await poster.answer()
                sent += 1
                if limits.reader_stall_s < 1 and sent > 150:
                    await asyncio.sleep(0.1)
        await poster.send(post_bytes(b"/v1/app/a", b"bye"))
        assert await good.chunk() == b"data: bye\n\n"
        for raw in stuck:
            raw.writer.transport.abort()


async def test_who_does_not_read_is_not_read_until_it_has_caught_up() -> None:
    async with running() as hub:
        wire = Wire(hub)
        guest, seen = wire.connection, []
        for told in (guest.pause_writing, guest.resume_writing, guest.pause_writing):
            told()
            seen.append(wire.paused)
        assert seen == [True, False, True]
        guest.data_received(b"GET /v1/app/a HTTP/1.1\r\n" + HOST + b"\r\n")
        for told in (guest.resume_writing, guest.pause_writing):
            told()
            assert not wire.paused, "a subscriber's end must be seen however slow it is"


async def test_a_client_that_asks_and_never_reads_is_not_read_further() -> None:
    async with running(HubLimits(header_s=0.5, keep_alive_s=0.5, close_s=0.2, sweep_s=0.05)) as hub:
        async with connected(hub.port) as raw:
            raw.stop_reading()
            raw.writer.transport.set_write_buffer_limits(high=2**30)
            for _ in range(40):
                raw.writer.write((b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * 1000)
                await asyncio.sleep(0)
            async with asyncio.timeout(LIMIT_S):
                while hub.connections:
                    await asyncio.sleep(0.05)
        await alive(hub)


async def test_a_subscriber_that_keeps_talking_is_cut() -> None:
    async with running() as hub, subscribed(hub.port, b"/v1/app/a") as raw:
        raw.writer.write(b"x" * 300_000)
        assert await raw.rest() == b""


@pytest.mark.parametrize("exempt", [True, False], ids=["all together", "one client"])
async def test_tls_handshakes_that_never_end_are_counted_and_end(exempt: bool, tmp_path: Path) -> None:
    chain, key = write_certificate(tmp_path)
    limits = HubLimits(loopback_exempt=exempt, header_s=2.0)
    limits = replace(limits, connections_max=5) if exempt else replace(limits, connections_per_address_max=5)
    trust = ssl.create_default_context(cafile=chain)
    trust.check_hostname = False
    async with running(limits, tls=server_tls(chain, key)) as hub, AsyncExitStack() as stack:
        raws = [await stack.enter_async_context(connected(hub.port)) for _ in range(8)]
        await asyncio.gather(*(raw.send(b"\x16\x03\x01\x02\x00\x01") for raw in raws))
        async with asyncio.timeout(LIMIT_S):
            while hub.counts.connections_refused < 3:
                await asyncio.sleep(0)
        for raw in raws:
            await raw.rest()
        assert hub.counts.connections_refused == 3
        # All five places are free again, and each is counted once.
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", hub.port, ssl=trust)
            stack.callback(writer.close)
            guest = Raw(reader, writer)
            await guest.send(b"GET /v1/app/a HTTP/1.1\r\n" + HOST + b"\r\n")
            assert (await guest.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        assert (hub.subscribers, hub.connections) == (5, 5)
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", hub.port, ssl=trust)


async def test_a_body_in_chunks_of_two_bytes_takes_no_more_than_its_size() -> None:
    async with running() as hub:
        wire = Wire(hub)
        wire.connection.data_received(b"POST /v1/a/b HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
        chunks = b"2\r\nab\r\n" * 30_000
        tracemalloc.start()
        try:
            wire.connection.data_received(chunks)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 200_000
        wire.connection.data_received(b"0\r\n\r\n")
        await asyncio.sleep(0)
        assert wire.written.startswith(b"HTTP/1.1 200 OK")


async def test_a_subscriber_keeps_no_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(httptools.HttpRequestParser):  # type: ignore[misc]  # httptools has no types
        """A parser that can be watched going away."""

    parsers: list[weakref.ref[Watched]] = []

    def make(protocol: object) -> Watched:
        parser = Watched(protocol)
        parsers.append(weakref.ref(parser))
        return parser

    monkeypatch.setattr(httptools, "HttpRequestParser", make)
    async with running() as hub, subscribed(hub.port, b"/v1/app/a"):
        gc.collect()
        assert len(parsers) == 1
        assert parsers[0]() is None
        assert hub.subscribers == 1
