"""Streams inside one process: for tests, and for a program that runs several peers."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from ssb_rtc.errors import ConnectFailed, LinkClosed, ListenFailed
from ssb_rtc.transport.base import Listener, OnStream, ReadQueue, Stream, Transport
from ssb_rtc.transport.sockets import AcceptedStreams

HIGH_BYTES = 512 * 1024
"""Bytes that one direction holds before its writer should wait."""


class MemoryStream(Stream):
    """One end of a pair; see `stream_pair`."""

    def __init__(self, description: str) -> None:
        self.transport = "memory"
        self.description = description
        self._other: MemoryStream | None = None
        self._queue = ReadQueue(HIGH_BYTES, self._pause, self._resume)
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._closed_because: str | None = None

    async def read(self) -> bytes:
        return await self._queue.take()

    def write(self, data: bytes) -> None:
        if self._closed_because is None and self._other is not None and data:
            self._other._queue.push(bytes(data))

    @property
    def congested(self) -> bool:
        return self._closed_because is None and not self._may_write.is_set()

    @property
    def queued_bytes(self) -> int:
        return self._other._queue.size_bytes if self._other is not None else 0

    async def drain(self) -> None:
        await self._may_write.wait()
        if self._closed_because is not None:
            raise LinkClosed(self._closed_because)

    async def close(self) -> None:
        self._end("closed by this side", None)

    def abort(self, reason: str = "") -> None:
        self._end(reason or "closed by this side", LinkClosed("the connection broke: the other side aborted it"))

    def _end(self, reason: str, other_hears: LinkClosed | None) -> None:
        if self._closed_because is not None:
            return
        self._closed_because = reason
        self._queue.finish(LinkClosed(reason))
        self._may_write.set()
        if self._other is not None:
            self._other._queue.finish(other_hears)
            self._other._resume_writing()

    def _pause(self) -> None:
        if self._other is not None:
            self._other._may_write.clear()

    def _resume(self) -> None:
        if self._other is not None:
            self._other._resume_writing()

    def _resume_writing(self) -> None:
        self._may_write.set()


def stream_pair(first: str = "memory:a", second: str = "memory:b") -> tuple[MemoryStream, MemoryStream]:
    """Two ends of one connection; `description` of each names the other."""
    a, b = MemoryStream(second), MemoryStream(first)
    a._other, b._other = b, a
    return a, b


class MemoryListener(Listener):
    """One name of a `MemoryTransport`."""

    def __init__(self, transport: MemoryTransport, where: str, on_stream: OnStream) -> None:
        self.addresses = [f"memory:{where}"]
        self._transport = transport
        self._where = where
        self.accepted = AcceptedStreams(on_stream)

    async def close(self) -> None:
        self._transport.forget(self._where, self)


class MemoryTransport(Transport):
    """Names and who listens there. Peers that share one object can reach each other."""

    name: ClassVar[str] = "memory"

    def __init__(self) -> None:
        self._listeners: dict[str, MemoryListener] = {}

    async def connect(self, where: str) -> Stream:
        await asyncio.sleep(0)
        listener = self._listeners.get(where)
        if listener is None:
            raise ConnectFailed(f"nobody listens at memory:{where}: start the listener first")
        ours, theirs = stream_pair("memory:dialler", f"memory:{where}")
        listener.accepted.start(theirs)
        return ours

    async def listen(self, where: str, on_stream: OnStream) -> Listener:
        if where in self._listeners:
            raise ListenFailed(f"somebody listens at memory:{where} already: choose another name")
        listener = self._listeners[where] = MemoryListener(self, where, on_stream)
        return listener

    async def close(self) -> None:
        self._listeners.clear()

    def forget(self, where: str, listener: MemoryListener) -> None:
        """The listener has closed."""
        if self._listeners.get(where) is listener:
            del self._listeners[where]
