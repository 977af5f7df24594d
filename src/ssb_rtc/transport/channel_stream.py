"""A stream over a data channel: messages of 16 KiB out, whatever comes in, back-pressure where there is any."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable

from ssb_rtc.errors import FrameInvalid, LinkClosed
from ssb_rtc.transport.base import ReadQueue, Stream

MESSAGE_BYTES = 16 * 1024
"""The largest message that every WebRTC stack takes (RFC 8831 section 6.6, and the stock JavaScript peers)."""
SEND_HIGH_BYTES = 1024 * 1024
"""Queued in the library above which nothing more is handed to it; wrtc raises at 16 MiB."""
SEND_LOW_BYTES = 256 * 1024
"""Queued in the library below which it tells us to go on."""
RECEIVE_MAX_BYTES = 32 * 1024 * 1024
"""Unread bytes above which the channel is closed as the sender's fault."""
FLUSH_LIMIT_S = 2.0
"""The longest that `close` waits for what is queued to be sent."""


class DataPort(ABC):
    """What a stream needs of a library's open data channel."""

    @abstractmethod
    def send(self, message: bytes) -> None:
        """Queues one message. Raises LinkClosed when the channel is not open any more."""

    @property
    @abstractmethod
    def queued_bytes(self) -> int:
        """What the library has not sent yet."""

    @abstractmethod
    async def close(self) -> None:
        """Closes the data channel so that the other side sees it, within a limit."""


class ChannelStream(Stream):
    """The library's side calls `arrived`, `sent`, `ended` and `broke`."""

    def __init__(self, port: DataPort, description: str, begin_closing: Callable[[], asyncio.Future[None]]) -> None:
        """`begin_closing` starts to close the channel that carries this stream, which calls `shut`."""
        self.transport = "rtc"
        self.description = description
        self.offered = False
        """Whether the offer that led to it was ours: then we are the dialler of what runs over it."""
        self._port = port
        self._begin_closing = begin_closing
        self._queue = ReadQueue(RECEIVE_MAX_BYTES, self._overflow)
        self._waiting = bytearray()
        self._closed_because: str | None = None
        self._broken = False
        self._progress: list[asyncio.Future[None]] = []

    async def read(self) -> bytes:
        return await self._queue.take()

    def write(self, data: bytes) -> None:
        if self._closed_because is not None or not data:
            return
        if not self._waiting and len(data) <= MESSAGE_BYTES and self._port.queued_bytes < SEND_HIGH_BYTES:
            try:
                self._port.send(data)
            except LinkClosed as error:
                self._end(str(error), error)
        else:
            self._waiting += data
            self._pump()

    @property
    def congested(self) -> bool:
        return self._closed_because is None and self.queued_bytes > SEND_HIGH_BYTES

    @property
    def queued_bytes(self) -> int:
        return len(self._waiting) + self._port.queued_bytes

    async def drain(self) -> None:
        while self.congested:
            await self._wait_for_progress()
        if self._closed_because is not None:
            raise LinkClosed(self._closed_because)

    async def close(self) -> None:
        await asyncio.shield(self._begin_closing())

    def abort(self, reason: str = "") -> None:
        reason = reason or "closed by this side"
        self._end(reason, LinkClosed(reason), discard=True)

    def arrived(self, message: bytes | str) -> None:
        """The library received a message."""
        if isinstance(message, str):
            self._fault("a data channel carries bytes here, and the other side sent text")
        elif message:
            self._queue.push(message)

    def sent(self) -> None:
        """The library has sent something."""
        self._pump()
        self._wake()

    def ended(self) -> None:
        """The other side closed the channel."""
        self._end("the other side closed the channel", None)

    def broke(self, reason: str) -> None:
        """The connection is gone."""
        self._broken = True
        self._end(reason, LinkClosed(reason))

    async def shut(self) -> None:
        """The channel's side: sends what is queued, within a limit, then closes the data channel."""
        try:
            async with asyncio.timeout(FLUSH_LIMIT_S):
                while self._closed_because is None and self._waiting:
                    await self._wait_for_progress()
        except TimeoutError:
            self._waiting.clear()
        self._end("closed by this side", LinkClosed("closed by this side"))
        if not self._broken:
            await self._port.close()

    def _overflow(self) -> None:
        limit = RECEIVE_MAX_BYTES // 2**20
        self._fault(f"the other side sent more than {limit} MiB that were not read yet")

    def _fault(self, why: str) -> None:
        self._end(why, FrameInvalid(why), discard=True)

    def _end(self, reason: str, fault: LinkClosed | FrameInvalid | None, *, discard: bool = False) -> None:
        """The one way to end; the first reason counts."""
        self._queue.finish(fault, discard=discard)
        if self._closed_because is None:
            self._closed_because = reason
            self._waiting.clear()
            self._begin_closing()
        self._wake()

    def _pump(self) -> None:
        """Hands the library what waits, up to the mark."""
        waiting, port = self._waiting, self._port
        offset, room = 0, SEND_HIGH_BYTES - port.queued_bytes
        try:
            with memoryview(waiting) as view:
                while offset < len(view) and room > 0:
                    message = bytes(view[offset : offset + MESSAGE_BYTES])
                    port.send(message)
                    offset += len(message)
                    room -= len(message)
        except LinkClosed as error:
            self._end(str(error), error)
        else:
            del waiting[:offset]

    async def _wait_for_progress(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._progress.append(waiter)
        await waiter

    def _wake(self) -> None:
        for waiter in self._progress:
            if not waiter.done():
                waiter.set_result(None)
        self._progress.clear()
