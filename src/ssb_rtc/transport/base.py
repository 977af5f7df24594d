"""The one interface of every way to carry bytes between two peers.

A `Transport` connects and listens, a `Listener` is one address that can be closed again at run time, and a `Stream` is
an ordered, reliable, two-way flow of bytes. What a stream carries is the business of `transport.link`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from typing import ClassVar

from ssb_rtc.errors import MisuseError, SsbRtcError

READ_MAX_BYTES = 256 * 1024
"""About the most that one `read` hands out, so that a link never holds the loop for long."""

SMALL_CHUNK_BYTES = 512
"""What arrives in smaller pieces is held in one, or its bookkeeping would cost many times its size."""

CONNECT_LIMIT_S = 20.0
"""The longest that a transport tries to connect when its caller sets no limit of its own."""


class Stream(ABC):
    """An ordered, reliable, two-way flow of bytes. One task reads, one task writes."""

    transport: str
    """The name of the transport that carries it: 'net', 'ws', 'wss', 'unix', 'rtc' or 'memory'."""

    description: str = ""
    """For people and logs: where the other end is."""

    @abstractmethod
    async def read(self) -> bytes:
        """What has arrived, at least a byte and about READ_MAX_BYTES at most; `b""` after the other side's clean end.

        Raises LinkClosed when the way broke instead of ending, FrameInvalid when the other side sent more than the
        receive queue may hold. Not reading is back-pressure: the sender stops, where the transport can tell it to.
        """

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Queues `data`, of any size; dropped silently once the stream is closed (`read` says why it is)."""

    @property
    @abstractmethod
    def congested(self) -> bool:
        """True while so much is queued that a writer should wait in `drain` before it writes more."""

    @property
    @abstractmethod
    def queued_bytes(self) -> int:
        """How much was written and has not gone out yet."""

    @abstractmethod
    async def drain(self) -> None:
        """Waits until the stream is no longer congested. Raises LinkClosed when it closes meanwhile."""

    @abstractmethod
    async def close(self) -> None:
        """Sends what is queued (within a limit), then closes. Nothing of the stream is left when it returns."""

    @abstractmethod
    def abort(self, reason: str = "") -> None:
        """Closes at once and drops what is queued; `reason` is what our own reader then hears."""


OnStream = Callable[[Stream], Awaitable[None]]
"""Called in a task of its own with each stream that a listener accepted; the callee owns the stream."""


class Listener(ABC):
    """One address that is listened on until it is closed."""

    addresses: list[str]
    """Where it can be reached, as the transport's part of a multiserver address, like `net:192.0.2.2:8008`."""

    @abstractmethod
    async def close(self) -> None:
        """Stops accepting. Streams accepted before live on."""


class Transport(ABC):
    """A way to reach peers, and to be reached."""

    name: ClassVar[str]
    """The protocol's name in a multiserver address."""

    @abstractmethod
    async def connect(self, where: str) -> Stream:
        """A stream to `where`, the transport's part of an address without the name (`192.0.2.2:8008`, a path, ...).

        Raises ConnectFailed with a sentence that says why and, where there is one, the remedy. Cancelling it leaves
        nothing behind.
        """

    @abstractmethod
    async def listen(self, where: str, on_stream: OnStream) -> Listener:
        """Accepts streams at `where` until the listener is closed. Raises ListenFailed with why and the remedy."""

    @abstractmethod
    async def close(self) -> None:
        """Closes every listener of this transport; streams live on."""


class ReadQueue:
    """What has arrived on a stream and was not read yet. Pauses its source above `high_bytes`, resumes below half."""

    __slots__ = (
        "_chunks",
        "_ended",
        "_fault",
        "_high_bytes",
        "_on_pause",
        "_on_resume",
        "_paused",
        "_waiter",
        "size_bytes",
    )

    def __init__(
        self,
        high_bytes: int,
        on_pause: Callable[[], None] = lambda: None,
        on_resume: Callable[[], None] = lambda: None,
    ) -> None:
        self._chunks: deque[bytes] = deque()
        self._high_bytes = high_bytes
        self._on_pause = on_pause
        self._on_resume = on_resume
        self._paused = False
        self._ended = False
        self._fault: SsbRtcError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.size_bytes = 0

    @property
    def ended(self) -> bool:
        """No more will arrive."""
        return self._ended

    def push(self, data: bytes) -> None:
        """Adds what arrived; ignored after `finish`."""
        if self._ended:
            return
        if self._chunks and len(self._chunks[-1]) < SMALL_CHUNK_BYTES:
            self._chunks[-1] += data
        else:
            self._chunks.append(data)
        self.size_bytes += len(data)
        if self.size_bytes > self._high_bytes and not self._paused:
            self._paused = True
            self._on_pause()
        self._wake()

    def finish(self, fault: SsbRtcError | None = None, *, discard: bool = False) -> None:
        """No more will arrive: cleanly, or because of `fault`. The first call counts. `discard` drops the unread."""
        if discard:
            self._chunks.clear()
            self.size_bytes = 0
        if self._ended:
            return
        self._ended = True
        self._fault = fault
        self._wake()

    async def take(self) -> bytes:
        """What has arrived, about READ_MAX_BYTES at most; `b""` at the clean end; raises the fault otherwise."""
        while not self._chunks:
            if self._ended:
                if self._fault is not None:
                    raise type(self._fault)(str(self._fault))
                return b""
            if self._waiter is not None:
                raise MisuseError("two tasks read from one stream at once")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._pop()
        if self._paused and self.size_bytes <= self._high_bytes // 2:
            self._paused = False
            self._on_resume()
        return data

    def _pop(self) -> bytes:
        if self.size_bytes <= READ_MAX_BYTES:
            data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
            self._chunks.clear()
        else:
            taken, size = [], 0
            while self._chunks and size < READ_MAX_BYTES:
                chunk = self._chunks.popleft()
                taken.append(chunk)
                size += len(chunk)
            data = b"".join(taken)
        self.size_bytes -= len(data)
        return data

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
