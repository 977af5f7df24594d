"""A stream over an asyncio socket transport, and the listener for it: what `net` and `unix` share."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import cast

from ssb_rtc.errors import LinkClosed
from ssb_rtc.transport.base import Listener, OnStream, ReadQueue, Stream

READ_HIGH_BYTES = 512 * 1024
"""Unread bytes above which the socket is no longer read, so that the kernel stops the sender."""
WRITE_HIGH_BYTES = 512 * 1024
"""Queued bytes above which a writer should wait."""
CLOSE_LIMIT_S = 2.0
"""The longest that `close` waits for what is queued to be sent."""
QUICK_ACKS = hasattr(socket, "TCP_QUICKACK")
BACKLOG = 128
"""Connections that the kernel holds until we accept them."""


class SocketStream(asyncio.Protocol, Stream):
    """A stream and the asyncio protocol under it, in one object: one hop less on the way of each byte.

    `quick_acks` re-arms TCP_QUICKACK after each read: a JavaScript peer never sets TCP_NODELAY, so its small packets
    wait for our acknowledgement, which the kernel would delay by 40 ms.
    """

    def __init__(self, name: str, description: str = "", *, quick_acks: bool = False) -> None:
        self.transport = name
        self.description = description
        self._quick_acks = quick_acks
        self._socket: asyncio.Transport | None = None
        self._raw: socket.socket | None = None
        self._queue = ReadQueue(READ_HIGH_BYTES, self._pause, self._resume)
        self._congested = False
        self._drained: dict[asyncio.Future[None], None] = {}
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reason = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: uvloop's transports are none of asyncio's classes.
        self._socket = cast(asyncio.Transport, transport)
        self._socket.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        if self._quick_acks:
            self._raw = transport.get_extra_info("socket")

    def data_received(self, data: bytes) -> None:
        self._queue.push(data)
        self._acknowledge()

    def _acknowledge(self) -> None:
        if self._raw is not None:
            with contextlib.suppress(OSError):
                self._raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def eof_received(self) -> bool:
        self._queue.finish()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._queue.finish(LinkClosed(f"the connection broke: {why(exc)}"))
        else:
            self._queue.finish(LinkClosed(self._reason or "the connection was closed"))
        self._wake_writers()
        self._raw = None
        if not self._gone.done():
            self._gone.set_result(None)

    def pause_writing(self) -> None:
        self._congested = True

    def resume_writing(self) -> None:
        self._congested = False
        self._wake_writers()

    async def read(self) -> bytes:
        return await self._queue.take()

    def write(self, data: bytes) -> None:
        if self._socket is not None and not self._socket.is_closing():
            self._socket.write(data)

    @property
    def congested(self) -> bool:
        return self._congested

    @property
    def queued_bytes(self) -> int:
        return self._socket.get_write_buffer_size() if self._socket is not None else 0

    async def drain(self) -> None:
        while self._congested and not self._gone.done():
            waiter = asyncio.get_running_loop().create_future()
            self._drained[waiter] = None
            try:
                await waiter
            finally:
                self._drained.pop(waiter, None)
        if self._gone.done():
            raise LinkClosed(self._reason or "the connection was closed")

    async def close(self) -> None:
        self._reason = self._reason or "closed by this side"
        if self._socket is None:
            return
        self._socket.close()
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await asyncio.shield(self._gone)
        except TimeoutError:
            self._socket.abort()
            await asyncio.shield(self._gone)

    def abort(self, reason: str = "") -> None:
        self._reason = self._reason or reason or "closed by this side"
        self._queue.finish(LinkClosed(self._reason), discard=True)
        if self._socket is not None and not self._gone.done():
            self._socket.abort()

    def _pause(self) -> None:
        if self._socket is not None and not self._socket.is_closing():
            self._socket.pause_reading()

    def _resume(self) -> None:
        if self._socket is not None and not self._socket.is_closing():
            self._socket.resume_reading()

    def _wake_writers(self) -> None:
        for waiter in self._drained:
            if not waiter.done():
                waiter.set_result(None)
        self._drained.clear()


class AcceptedStreams:
    """The tasks that serve what a listener has accepted, so that none is lost and a fault in one is reported."""

    def __init__(self, on_stream: OnStream) -> None:
        self._on_stream = on_stream
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, stream: Stream) -> None:
        """Serves `stream` in a task of its own."""
        task = asyncio.get_running_loop().create_task(self._serve(stream), name=f"serve {stream.description}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, stream: Stream) -> None:
        try:
            await self._on_stream(stream)
        except Exception as error:
            stream.abort("the server failed")
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"serving {stream.description} failed", "exception": error}
            )


class AcceptedStream(SocketStream):
    """A stream that a listener made; it goes to the listener's owner as soon as it is connected."""

    def __init__(self, name: str, accepted: AcceptedStreams, describe: Callable[[asyncio.Transport], str]) -> None:
        super().__init__(name, quick_acks=name == "net" and QUICK_ACKS)
        self._accepted = accepted
        self._describe = describe

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.description = self._describe(cast(asyncio.Transport, transport))
        self._accepted.start(self)


class SocketListener(Listener):
    """A listening socket; `forget` is called once when it closes."""

    def __init__(self, server: asyncio.Server, addresses: list[str], forget: Callable[[SocketListener], None]) -> None:
        self._server = server
        self.addresses = addresses
        self._forget = forget

    async def close(self) -> None:
        # Not wait_closed: from Python 3.12 it waits for the accepted connections too, and those live on.
        self._server.close()
        self._forget(self)
        await asyncio.sleep(0)


def why(error: BaseException) -> str:
    """An operating system's error as the end of a sentence."""
    if isinstance(error, socket.gaierror):
        return f"the name is not known ({error.strerror or error})"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower() if error.errno > 0 else str(error)
    return str(error) or type(error).__name__


def tls_why(error: ssl.SSLError) -> str:
    """A fault of TLS as the end of a sentence."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid here ({error.verify_message})"
    return f"the other side speaks no TLS that we understand ({error.reason or error})"


def remedy(error: OSError) -> str:
    """What a person can do about it, or nothing."""
    return _REMEDIES.get(error.errno or 0, "")


_REMEDIES = {
    errno.EADDRINUSE: ": another program listens there; stop it or choose another port (0 takes a free one)",
    errno.EACCES: ": ports below 1024 need rights that this program does not have; choose one above",
    errno.EADDRNOTAVAIL: ": this machine has no such address; 0.0.0.0 listens on all it has",
    errno.ECONNREFUSED: ": nobody listens there; is the other peer running?",
    errno.EHOSTUNREACH: ": is this machine online?",
    errno.ENETUNREACH: ": is this machine online?",
}
