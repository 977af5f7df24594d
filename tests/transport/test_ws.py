"""What is special about WebSockets: other programs' ends of them, the HTTP before them, and TLS."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from ssb_rtc.errors import ConnectFailed, FrameInvalid, LinkClosed, ListenFailed
from ssb_rtc.transport import ws
from ssb_rtc.transport.base import Stream
from ssb_rtc.transport.ws import HEAD_LIMIT_BYTES, WssTransport, WsTransport
from tests.transport.certificates import secure_transport, write_certificate
from tests.transport.linking import within

LIMIT_S = 10.0
# RFC 6455, section 1.3.
REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n"
    b"Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Served:
    """A listener of ours and the streams that it accepted."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.port = 0

    async def take(self, stream: Stream) -> None:
        self.streams.append(stream)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    found, transport = Served(), WsTransport()
    listener = await transport.listen("127.0.0.1:0", found.take)
    found.port = int(listener.addresses[0].rpartition(":")[2])
    yield found
    await transport.close()
    for stream in found.streams:
        stream.abort()
    await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def raw(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(LIMIT_S):
            yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


# --- other programs ------------------------------------------------------------------------------------------------


async def test_a_browser_like_client_from_any_page_gets_through_and_proxy_headers_are_not_read(served: Served) -> None:
    headers = {"Origin": "https://any.example", "X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(served.url + "/some/path", headers=headers, compress=15) as there,
    ):
        await within(LIMIT_S, lambda: len(served.streams) == 1)
        [stream] = served.streams
        assert re.fullmatch(r"ws://127\.0\.0\.1:\d+", stream.description)
        await there.send_bytes(b"x" * 300_000)
        await there.ping(b"are you there")
        await there.send_bytes(b"end")
        data = b""
        while not data.endswith(b"end"):
            data += await stream.read()
        assert data == b"x" * 300_000 + b"end"
        stream.write(b"answer")
        assert await there.receive_bytes(timeout=LIMIT_S) == b"answer"
        await there.close()
        assert await stream.read() == b""
        await stream.close()


async def test_we_are_a_client_to_another_programs_server() -> None:
    async def echo(request: web.BaseRequest) -> web.WebSocketResponse:
        there = web.WebSocketResponse()
        await there.prepare(request)
        async for message in there:
            await there.ping()
            await there.send_bytes(message.data)
        return there

    async with serving(echo) as port:
        stream = await WsTransport().connect(f"//127.0.0.1:{port}/path?query")
        stream.write(b"y" * 200_000)
        data = b""
        async with asyncio.timeout(LIMIT_S):
            while len(data) < 200_000:
                data += await stream.read()
        assert data == b"y" * 200_000
        await stream.close()


@contextlib.asynccontextmanager
async def serving(handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> AsyncIterator[int]:
    server = web.Server(handler)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        await server.shutdown(1.0)
        listening.close()


async def test_a_silent_websocket_is_kept_alive(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws, "PING_INTERVAL_S", 0.02)
    async with aiohttp.ClientSession() as session, session.ws_connect(served.url, autoping=False) as there:
        for _ in range(2):
            assert (await there.receive(timeout=LIMIT_S)).type is aiohttp.WSMsgType.PING
            await there.pong()


# --- what comes in -------------------------------------------------------------------------------------------------


async def test_who_asks_for_a_page_hears_what_this_is(served: Served) -> None:
    async with aiohttp.ClientSession() as session, session.get(served.url.replace("ws:", "http:")) as answer:
        assert answer.status == 426
        assert "WebSocket" in await answer.text()
    assert not served.streams


async def test_a_head_without_end_is_cut_off(served: Served) -> None:
    async with raw(served.port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * (2 * HEAD_LIMIT_BYTES))
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    assert not served.streams


async def test_who_says_nothing_is_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws, "UPGRADE_LIMIT_S", 0.05)
    async with raw(served.port) as (reader, _):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""


async def test_silent_connections_keep_nobody_out(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws, "UPGRADES_MAX", 2)
    async with raw(served.port) as (oldest, _), raw(served.port), raw(served.port):
        with contextlib.suppress(ConnectionError):
            assert await oldest.read() == b""
        stream = await WsTransport().connect(f"127.0.0.1:{served.port}")
        await within(LIMIT_S, lambda: len(served.streams) == 1)
        await stream.close()


@pytest.mark.parametrize(
    ("sent", "fault", "says"),
    [
        (bytes.fromhex("8181 00000000 61"), FrameInvalid, "sent text"),
        (bytes.fromhex("8201 61"), FrameInvalid, "masking"),
        (bytes.fromhex("c281 00000000 61"), FrameInvalid, "reserved"),
        (bytes.fromhex("82ff 0000000000100001 00000000"), FrameInvalid, "exceeds"),
        (bytes.fromhex("8285 00000000 61"), LinkClosed, "broke"),
        (bytes.fromhex("0280 00000000") + bytes.fromhex("0080 00000000") * 999, FrameInvalid, "next to nothing"),
        (bytes.fromhex("8980 00000000") * 1_000, FrameInvalid, "next to nothing"),
    ],
)
async def test_what_breaks_the_rules_ends_the_stream_with_why(
    served: Served, sent: bytes, fault: type[Exception], says: str
) -> None:
    async with raw(served.port) as (reader, writer):
        writer.write(REQUEST + sent)
        await reader.readuntil(b"\r\n\r\n")
        await within(LIMIT_S, lambda: len(served.streams) == 1)
        writer.write_eof()
        [stream] = served.streams
        with pytest.raises(fault, match=says):
            await read_to_its_end(stream)


async def read_to_its_end(stream: Stream) -> None:
    async with asyncio.timeout(LIMIT_S):
        while await stream.read():
            pass


# --- what we dial --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answered 404"),
        (b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:9/\r\n\r\n", "answered 302"),
        (b"HTTP/1.1 " + b"x" * (2 * HEAD_LIMIT_BYTES), "longer than"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "speak HTTP"),
        (b"", "hung up"),
    ],
)
async def test_what_is_no_websocket_is_told_in_words(reply: bytes, says: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConnectFailed, match=says):
        await WsTransport().connect(f"127.0.0.1:{port}")
    server.close()


async def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ConnectFailed, match=r"no answer from ws://127\.0\.0\.1"):
            await WsTransport(connect_limit_s=0.1).connect(f"127.0.0.1:{port}")


async def test_an_address_that_is_none_is_told_so() -> None:
    with pytest.raises(ConnectFailed, match="no WebSocket address"):
        await WsTransport().connect("//user:secret@host")


# --- TLS -----------------------------------------------------------------------------------------------------------


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    served, transport = Served(), secure_transport(tmp_path)
    listener = await transport.listen("127.0.0.1:0", served.take)
    [address] = listener.addresses
    assert address.startswith("wss://")
    where = address.removeprefix("wss:")
    with pytest.raises(ConnectFailed, match="certificate is not valid here"):
        await WssTransport().connect(where)
    with pytest.raises(ConnectFailed):
        await WsTransport().connect(where)
    await transport.close()


async def test_tls_where_there_is_none_is_told_in_words(served: Served) -> None:
    with pytest.raises(ConnectFailed, match="TLS"):
        await WssTransport().connect(f"127.0.0.1:{served.port}")


async def test_listening_with_tls_needs_a_certificate_that_works(tmp_path: Path) -> None:
    with pytest.raises(ListenFailed, match="--tls-cert"):
        await WssTransport().listen("127.0.0.1:0", Served().take)
    chain, key = write_certificate(tmp_path)
    for broken in ((key, key), (chain, str(tmp_path / "missing"))):
        with pytest.raises(ListenFailed, match="can't use the certificate"):
            await WssTransport(broken).listen("127.0.0.1:0", Served().take)
