"""The connections of a small HTTP server on this machine: how many at a time, and which of them make room.

Any process of the machine can open some. Only a request that is `held` (on the dashboard: one that has shown a session)
keeps its place. Everything else (connections that say nothing, headers and bodies that come slowly) gives way to who
comes next, the oldest first: so whoever hoards them keeps nobody out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

CONNECTIONS_MAX: Final = 64
"""A browser keeps six, and one for each stream."""
HTTP: Final[dict[str, Any]] = {
    "access_log": None,  # it would say when its owner reads
    "keepalive_timeout": 60.0,
    "lingering_time": 1.0,
    "auto_decompress": False,
}
BAD_REQUEST: Final = 400


class Connections:
    """Makes the protocol of each connection, for `create_server`."""

    def __init__(self, serve: web.Server, bad_request: Callable[[], web.Response]) -> None:
        """bad_request: makes the answer to what is no HTTP."""
        self._serve = serve
        self.bad_request = bad_request
        self._open: dict[object, Connection] = {}
        self._held: set[object] = set()
        """Those that make no room now."""

    def __call__(self) -> asyncio.Protocol:
        """A connection has come."""
        # Counted here and not by what aiohttp has: of a burst it learns only when all of it was accepted.
        if len(self._open) >= CONNECTIONS_MAX:
            # Refusing the newest would let silent connections keep everybody out.
            oldest = next((one for one in self._open.values() if one not in self._held), None)
            if oldest is None:
                return _Turned()
            self.lost(oldest)
            oldest.make_room()
        made = Connection(self._serve, self)
        self._open[made] = made
        return made

    @contextmanager
    def held(self, connection: object) -> Iterator[None]:
        """This one makes no room meanwhile."""
        self._held.add(connection)
        try:
            yield
        finally:
            self._held.discard(connection)

    def lost(self, connection: Connection) -> None:
        """It is over, or about to be."""
        self._open.pop(connection, None)


class Connection(RequestHandler):
    """One connection."""

    __slots__ = ("_connections", "_over")

    def __init__(self, serve: web.Server, connections: Connections) -> None:
        super().__init__(serve, loop=asyncio.get_running_loop(), **HTTP)
        self._connections = connections
        self._over = False

    def make_room(self) -> None:
        """Ends it, even where it has not quite begun."""
        self._over = True
        self.force_close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        if self._over:
            transport.close()
        else:
            super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        self._connections.lost(self)
        super().connection_lost(exc)

    def handle_error(
        self, request: Any, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What is no HTTP is neither logged nor repeated: a cookie may stand in it, and anybody can send much of it."""
        if status != BAD_REQUEST:
            return super().handle_error(request, status, exc, message)
        answer = self._connections.bad_request()
        answer.force_close()
        return answer


class _Turned(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
