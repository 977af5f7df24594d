"""`GET /metrics` on this machine, for Prometheus. Nobody else reaches it, nor a web page through a name of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web

from ssb_rtc.errors import ListenFailed
from ssb_rtc.runtime.http_connections import Connections
from ssb_rtc.wire.address import is_loopback

ADDRESS: Final = "127.0.0.1"
CLOSE_LIMIT_S: Final = 2.0


class MetricsServer:
    """One page."""

    def __init__(self, kind: str, render: Callable[[], bytes]) -> None:
        self._kind = kind
        self._render = render
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self.url = ""

    async def start(self, port: int) -> None:
        """Listens; 0 takes a free port. Raises ListenFailed."""
        app = web.Application(client_max_size=1024)
        app.router.add_get("/metrics", self._answer)
        runner = self._runner = web.AppRunner(app, shutdown_timeout=CLOSE_LIMIT_S)
        await runner.setup()
        assert runner.server is not None
        connections = Connections(runner.server, _no_http)
        try:
            self._server = await asyncio.get_running_loop().create_server(connections, ADDRESS, port)
        except OSError as error:
            raise ListenFailed(
                f"--metrics can't listen on port {port} of {ADDRESS}: {error.strerror}; take another one, or 0"
            ) from error
        self.url = f"http://{ADDRESS}:{self._server.sockets[0].getsockname()[1]}/metrics"

    async def _answer(self, request: web.Request) -> web.Response:
        # A page in a browser here may have a name that leads to 127.0.0.1, and would read along.
        if not is_loopback(request.host.rpartition(":")[0] or request.host):
            raise web.HTTPForbidden(text="this page is for this machine: ask for it at http://127.0.0.1\n")
        return web.Response(body=self._render(), headers={"Content-Type": self._kind})

    async def close(self) -> None:
        """Stops listening."""
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            await self._runner.cleanup()


def _no_http() -> web.Response:
    return web.Response(status=400, text="this is no HTTP request\n")
