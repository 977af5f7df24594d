"""Hubs that do as they like, for tests of the client."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from ssb_rtc.types import HubUrl

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


@asynccontextmanager
async def rogue(handler: Handler, *, bodies: bool = False) -> AsyncIterator[HubUrl]:
    """A server that hands each request's head to `handler` and closes when that returns. bodies: what is behind the
    head, too.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", request) if bodies else None
            await handler(request + (await reader.readexactly(int(length[1])) if length else b""), writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield HubUrl(f"http://127.0.0.1:{port}")
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await server.wait_closed()


def saying(*parts: bytes, stay: bool = False) -> Handler:
    """A handler that says these parts, whatever was asked; `stay` keeps the connection open afterwards."""

    async def handler(head: bytes, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if stay:
            await asyncio.Event().wait()

    return handler


def endlessly(start: bytes, more: bytes) -> Handler:
    """A handler that never stops to say `more`."""

    async def handler(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(more)
            await writer.drain()

    return handler
