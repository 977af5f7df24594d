"""The page of figures, and what any process of this machine may send it."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urlsplit

import pytest

from ssb_rtc.runtime import http_connections
from ssb_rtc.runtime.metrics_server import MetricsServer

LIMIT_S = 20.0


async def said(port: int, request: bytes) -> bytes:
    async with asyncio.timeout(LIMIT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


async def test_what_is_no_http_fills_no_log_and_silent_connections_make_room(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was 5 MB of log a second, and as many descriptors as somebody liked."""
    monkeypatch.setattr(http_connections, "CONNECTIONS_MAX", 3)
    server = MetricsServer("text/plain", lambda: b"figures 1\n")
    await server.start(0)
    port = urlsplit(server.url).port
    assert port is not None
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    asked = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    assert (await said(port, asked + b"\r\n")).endswith(b"figures 1\n")
    assert await silent[0][0].read() == b"", "the oldest one made room"
    assert b" 400 " in await said(port, asked + b"X " + b"y" * 3_000 + b"\r\n\r\n")
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []
    for _, writer in silent:
        writer.close()
        await writer.wait_closed()
    await server.close()
