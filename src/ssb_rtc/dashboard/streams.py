"""Server-sent events over HTTP: one stream to one browser, ended when it does not read."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from aiohttp import web

from ssb_rtc.dashboard.live import LiveView
from ssb_rtc.dashboard.outbox import HEARTBEAT, RESYNC, Outbox

HEARTBEAT_S: Final = 15.0
READ_LIMIT_S: Final = 20.0
"""A browser that has taken nothing for so long is cut off; it comes back when it wakes up."""


async def serve(request: web.Request, live: LiveView) -> web.StreamResponse:
    """GET /api/events, with ?trace=1 for the steps of the manager too."""
    outbox = await live.open(trace=request.query.get("trace") == "1")
    try:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # the browser went away
            await _send(response, outbox)
        return response
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        return response
    finally:
        live.close(outbox)


async def _send(response: web.StreamResponse, outbox: Outbox) -> None:
    """Raises TimeoutError where the browser reads nothing."""
    while chunk := await _next(outbox):
        await _write(response, chunk)
    if outbox.late:
        await _write(response, RESYNC)


async def _next(outbox: Outbox) -> bytes:
    try:
        async with asyncio.timeout(HEARTBEAT_S):
            return await outbox.take()
    except TimeoutError:
        return HEARTBEAT


async def _write(response: web.StreamResponse, chunk: bytes) -> None:
    async with asyncio.timeout(READ_LIMIT_S):
        await response.write(chunk)
