"""The hub's door where it speaks TLS: handshakes under way are counted as connections are.

asyncio's own server tells of a connection only after its handshake. So whoever opens thousands and says no more than
hello would hold as many descriptors, and 50 KiB each, beside every limit.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress

from ssb_rtc.hub.connection import Connection
from ssb_rtc.hub.limits import HubLimits

ACCEPTED_AT_ONCE = 64
"""Before others get their turn on the loop."""
NO_ROOM_S = 1.0
"""So long nobody is accepted where there is no descriptor left."""

_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Knocked = Callable[[str], Callable[[], None] | None]
"""Told the address of who comes; gives what to call once when the handshake is over, however it went, or None where it
is one too many.
"""

_log = logging.getLogger("ssb_rtc.hub")


class TlsDoor:
    """Stands for an asyncio.Server: `await listen(...)`, `sockets`, `close()`, `await wait_closed()`."""

    def __init__(
        self, make: Callable[[], Connection], context: ssl.SSLContext, limits: HubLimits, knocked: Knocked
    ) -> None:
        self.sockets: Sequence[socket.socket] = ()
        self._make = make
        self._context = context
        self._limits = limits
        self._knocked = knocked
        self._greeting: set[asyncio.Task[None]] = set()
        self._resting: asyncio.TimerHandle | None = None
        self._closed = False

    async def listen(self, host: str, port: int, backlog: int) -> None:
        """Listen on each address of `host`. Raises OSError, OverflowError or UnicodeError."""
        self._loop = asyncio.get_running_loop()
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        sockets: list[socket.socket] = []
        try:
            for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
                sockets.append(_listening(family, address, backlog))
        except BaseException:
            for each in sockets:
                each.close()
            raise
        self.sockets = sockets
        self._open()

    def close(self) -> None:
        """Accept nobody any more; handshakes under way go on."""
        if self._closed:
            return
        self._closed = True
        if self._resting is not None:
            self._resting.cancel()
        for each in self.sockets:
            self._loop.remove_reader(each)
            each.close()

    async def wait_closed(self) -> None:
        """Give up the handshakes that are still under way."""
        for task in self._greeting:
            task.cancel()
        await asyncio.gather(*self._greeting, return_exceptions=True)

    def _open(self) -> None:
        self._resting = None
        for each in self.sockets:
            self._loop.add_reader(each, self._accept, each)

    def _rest(self, error: OSError) -> None:
        _log.warning("nobody can be accepted for a moment", extra={"fields": {"why": error.strerror}})
        for each in self.sockets:
            self._loop.remove_reader(each)
        self._resting = self._loop.call_later(NO_ROOM_S, self._open)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted, address = listening.accept()
            except OSError as error:
                # Anything else is of one connection, which is gone already, or that there is none.
                if error.errno in _NO_ROOM:
                    self._rest(error)
                return
            accepted.setblocking(False)
            ends = self._knocked(address[0])
            if ends is None:
                accepted.close()
                continue
            over = _Once(ends)
            task = self._loop.create_task(self._greet(accepted, over))
            self._greeting.add(task)
            task.add_done_callback(self._greeting.discard)
            # Not a `finally` of the task: one that is cancelled before it ever ran runs none.
            task.add_done_callback(over)

    async def _greet(self, accepted: socket.socket, over: Callable[[], None]) -> None:
        def make() -> Connection:
            connection = self._make()
            connection.over = over
            return connection

        with suppress(OSError):  # no TLS, too slow, or gone
            await self._loop.connect_accepted_socket(
                make,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.header_s,
                ssl_shutdown_timeout=self._limits.close_s,
            )


class _Once:
    """Calls what it was given, the first time."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act: Callable[[], None] | None = act

    def __call__(self, _task: object = None) -> None:
        act, self._act = self._act, None
        if act is not None:
            act()


def _listening(family: int, address: tuple[object, ...], backlog: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setblocking(False)
        made.bind(address)
        made.listen(backlog)
    except BaseException:
        made.close()
        raise
    return made
