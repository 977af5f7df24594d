"""The ends of a muxrpc stream that a link hands out: what arrives, what is sent, and both."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Protocol

from ssb_rtc.errors import FrameInvalid, LinkClosed, MisuseError, RemoteCallError, SsbRtcError
from ssb_rtc.types import Json
from ssb_rtc.wire.rpc import RawJson, Received

ITEM_BYTES = 128
"""What an unread item costs besides its body, counted so that a million bodies of one byte are no way around limits."""


class StreamHost(Protocol):
    """What a stream needs of its link."""

    def write_item(self, request: int, value: Json | bytes | str) -> bool:
        """Queues one item; False when the stream or the link is over."""

    def end_stream(self, request: int, error: RemoteCallError | None) -> None:
        """Ends our half, or aborts theirs where we only read."""

    @property
    def should_wait(self) -> bool:
        """A writer should call `turn` before it writes more."""

    async def turn(self) -> None:
        """Lets others run, and waits while the link is congested. Raises LinkClosed."""

    def took(self, size_bytes: int) -> None:
        """A reader has taken bodies of this size out of the link's memory."""

    def fail(self, fault: SsbRtcError) -> None:
        """The other side broke the protocol: ends the link."""

    @property
    def end_reason(self) -> str:
        """Why the link ended, or that it did not."""


class Incoming:
    """What the other side sends on one stream. `async for` gives values (JSON, str or bytes). One reader at a time.

    Unread bodies count against the link's limit: a stream that nobody reads stops the whole link in the end, so read
    it, or `aclose` it.
    """

    def __init__(self, host: StreamHost, request: int) -> None:
        self._host = host
        self.request = request
        self._items: list[Received] = []
        self._batch: deque[Received] = deque()
        self.unread_bytes = 0
        self._input_over = False
        self._input_fault: SsbRtcError | None = None
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> AsyncIterator[Json]:
        return self

    async def __anext__(self) -> Json:
        if not self._batch:
            self._batch.extend(await self.read_batch())
            if not self._batch:
                raise StopAsyncIteration
        try:
            return self._batch.popleft().value
        except FrameInvalid as fault:
            self._host.fail(fault)
            raise

    async def read_batch(self) -> list[Received]:
        """All items that have arrived, at least one (the fast path: bodies unparsed); `[]` at the clean end.

        Raises RemoteCallError when the other side ended the stream with an error, LinkClosed when the link is gone;
        both only after what arrived before was read.
        """
        while not self._items:
            if self._input_over:
                if self._input_fault is not None:
                    raise _copy(self._input_fault)
                return []
            if self._waiter is not None:
                raise MisuseError("two tasks read from one muxrpc stream at once")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        items, self._items = self._items, []
        size, self.unread_bytes = self.unread_bytes, 0
        self._host.took(size)
        return items

    @property
    def arrived_whole(self) -> bool:
        """The other side has ended the stream cleanly; some of it may be unread yet."""
        return self._input_over and self._input_fault is None

    async def aclose(self) -> None:
        """Tells the other side to stop; what is unread is dropped. Does nothing when it has ended."""
        self._drop()
        if not self._input_over:
            self.finish(None)
            self._host.end_stream(self.request, None)

    def push(self, item: Received) -> int:
        """The link's side: one item arrived. Returns by how much the unread bytes grew."""
        if self._input_over:
            return 0
        self._items.append(item)
        size = len(item.body) + ITEM_BYTES
        self.unread_bytes += size
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        return size

    def finish(self, fault: SsbRtcError | None) -> None:
        """The link's side: nothing more will arrive. The first call counts."""
        if self._input_over:
            return
        self._input_over = True
        self._input_fault = fault
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def cut(self, fault: SsbRtcError) -> None:
        """The link's side: drops what is unread and ends the stream on both sides, for a reader that is stuck."""
        self._drop()
        self.finish(fault)
        self._host.end_stream(self.request, RemoteCallError(str(fault)))

    def abandon(self) -> None:
        """The server's side: the handler is done with this stream; what arrives from now on is dropped."""
        self._drop()
        Incoming.finish(self, None)

    def _drop(self) -> None:
        self._items.clear()
        self._batch.clear()
        size, self.unread_bytes = self.unread_bytes, 0
        self._host.took(size)


class Outgoing:
    """What we send on one stream."""

    def __init__(self, host: StreamHost, request: int) -> None:
        self._host = host
        self.request = request
        self._output_fault: SsbRtcError | None = None
        self._said_end = False

    async def send(self, value: Json | bytes | str) -> None:
        """Sends JSON, str or bytes (RawJson as it is); waits while the link is congested.

        Raises RemoteCallError when the other side ended the stream with an error, LinkClosed when it ended it cleanly
        or the link is gone, MisuseError after our own `end` and for values that have no JSON.
        """
        if not self._host.write_item(self.request, value):
            self._refuse()
        if self._host.should_wait:
            await self._host.turn()

    async def send_encoded(self, bodies: Iterable[bytes]) -> None:
        """Sends JSON bodies that are encoded already, in one go (the fast path). Raises as `send` does."""
        for body in bodies:
            if not self._host.write_item(self.request, RawJson(body)):
                self._refuse()
            if self._host.should_wait:
                await self._host.turn()

    async def end(self, error: RemoteCallError | None = None) -> None:
        """Says that we send no more; with an error, that the whole stream is off. Does nothing when it is over."""
        if not self._said_end:
            self._said_end = True
            self._host.end_stream(self.request, error)

    def push(self, item: Received) -> int:
        """The link's side: items on a stream that only sends are dropped."""
        del item
        return 0

    def finish(self, fault: SsbRtcError | None) -> None:
        """The link's side: the other side will take no more."""
        if self._output_fault is None:
            self._output_fault = fault or LinkClosed("the other side ended the stream")

    def _refuse(self) -> None:
        if self._said_end:
            raise MisuseError("the stream was ended: nothing more can be sent on it")
        raise _copy(self._output_fault) if self._output_fault is not None else LinkClosed(self._host.end_reason)


class Duplex(Incoming, Outgoing):
    """Both directions of one stream. Each ends on its own; an error ends both.

    Read while you send, in two tasks, where both sides may send much: two sides that both wait in `send` and read
    nothing wait for each other, until the link cuts the stream.
    """

    def __init__(self, host: StreamHost, request: int) -> None:
        Incoming.__init__(self, host, request)
        Outgoing.__init__(self, host, request)

    async def aclose(self) -> None:
        """Ends both directions; what is unread is dropped, now and later."""
        self._drop()
        Incoming.finish(self, None)
        await self.end()

    def push(self, item: Received) -> int:
        """The link's side: one item arrived."""
        return Incoming.push(self, item)

    def finish(self, fault: SsbRtcError | None) -> None:
        """The link's side: nothing more will arrive; a clean end leaves our own half open."""
        Incoming.finish(self, fault)
        if fault is not None:
            Outgoing.finish(self, fault)


def _copy(fault: SsbRtcError) -> SsbRtcError:
    """A fresh exception of the same meaning: one that is raised twice gathers the tracebacks of both."""
    if isinstance(fault, RemoteCallError):
        return RemoteCallError(fault.message, name=fault.name, stack=fault.stack)
    return type(fault)(str(fault))
