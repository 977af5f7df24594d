"""Raw HTTP over asyncio streams, for tests that care about bytes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from ssb_rtc.hub.connection import Connection
from ssb_rtc.hub.limits import HubLimits
from ssb_rtc.hub.server import HubServer

LIMIT_S = 5.0
HOST = b"Host: x\r\n"


@asynccontextmanager
async def running(limits: HubLimits | None = None, **more: Any) -> AsyncIterator[HubServer]:
    """A hub on a free port of this machine; `more` as HubServer takes it."""
    hub = HubServer(limits, **more)
    await hub.start("127.0.0.1", 0)
    try:
        yield hub
    finally:
        await hub.close()


class Raw:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def stop_reading(self) -> None:
        """From now on this end takes nothing; what comes fills the buffers of the kernel."""
        cast(asyncio.Transport, self.writer.transport).pause_reading()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(LIMIT_S):
            await self.writer.drain()

    async def until(self, end: bytes) -> bytes:
        """Everything up to and with `end`."""
        async with asyncio.timeout(LIMIT_S):
            return await self.reader.readuntil(end)

    async def rest(self) -> bytes:
        """Everything until the other side closes; a reset counts as closing."""
        got = b""
        with suppress(ConnectionError):
            async with asyncio.timeout(LIMIT_S):
                while data := await self.reader.read(65536):
                    got += data
        return got

    async def answer(self) -> tuple[bytes, bytes]:
        """One answer that says how long it is: its head (without the Date) and its body."""
        head = without_date(await self.until(b"\r\n\r\n"))
        found = re.search(rb"Content-Length: (\d+)", head)
        if found:
            async with asyncio.timeout(LIMIT_S):
                return head, await self.reader.readexactly(int(found[1]))
        if b"Transfer-Encoding: chunked" in head:
            return head, await self.chunks_to_end()
        return head, b""

    async def chunk(self) -> bytes:
        size = int(await self.until(b"\r\n"), 16)
        async with asyncio.timeout(LIMIT_S):
            return (await self.reader.readexactly(size + 2))[:-2]

    async def chunks_to_end(self) -> bytes:
        body = b""
        while part := await self.chunk():
            body += part
        return body


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Raw]:
    """A connection that is closed at the end, however the test ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def get(port: int, path: bytes, headers: bytes = b"", method: bytes = b"GET") -> tuple[bytes, bytes]:
    """One request on a connection of its own: the head of its answer, and its body."""
    async with connected(port) as raw:
        await raw.send(method + b" " + path + b" HTTP/1.1\r\n" + HOST + headers + b"Connection: close\r\n\r\n")
        head, _, body = (await raw.rest()).partition(b"\r\n\r\n")
        return head + b"\r\n", body


@asynccontextmanager
async def subscribed(port: int, path: bytes, version: bytes = b"1.1") -> AsyncIterator[Raw]:
    """A connection whose subscription is confirmed."""
    async with connected(port) as raw:
        await raw.send(b"GET " + path + b" HTTP/" + version + b"\r\n" + HOST + b"\r\n")
        head = await raw.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
        yield raw


def post_bytes(path: bytes, body: bytes, headers: bytes = b"") -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def post(port: int, path: bytes, body: bytes) -> bytes:
    """Posts on a connection of its own; returns the head of the answer."""
    async with connected(port) as raw:
        await raw.send(post_bytes(path, body))
        return (await raw.answer())[0]


def without_date(head: bytes) -> bytes:
    return re.sub(rb"Date: [^\r]*\r\n", b"", head)


class Wire(asyncio.Transport):
    """A transport that goes nowhere, for what no socket can be made to do, or not thousands of times."""

    def __init__(self, hub: HubServer) -> None:
        super().__init__()
        self.written = b""
        self.writes = 0
        self.ended = False
        self.paused = False
        self.connection = Connection(hub)
        self.connection.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended, "written after the end"
        self.written += data
        self.writes += 1

    def close(self) -> None:
        if not self.ended:
            self.ended = True
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self.ended

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return 0
