"""One source of messages for storage.ingest, and what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ssb_rtc.errors import MessageInvalid, SsbRtcError
from ssb_rtc.types import FeedId

if TYPE_CHECKING:
    from ssb_rtc.storage.ingest import Ingest

Accepts = Callable[[FeedId], bool]
OnSeen = Callable[[FeedId, int], None]
OnFault = Callable[[SsbRtcError], None]


class Intake:
    """One source of messages: a link, an import. `accepted`, `duplicates`, `gaps` count what became of them.

    `accepts` (when given) says whether a feed is wanted from here; others are ignored and counted in `unwanted`.
    `on_seen` (when given) hears feed and sequence of each wanted message as it arrives, valid or not.
    `fault` is set once, when the source sent something that no honest one sends, or when the disk refused; `on_fault`
    (when given) hears it then, which may be long after the `offer` that brought it.
    """

    def __init__(
        self, ingest: Ingest, name: str, accepts: Accepts | None, on_seen: OnSeen | None, on_fault: OnFault | None
    ) -> None:
        self.name = name
        self.on_fault = on_fault
        self.accepts = accepts
        self.on_seen = on_seen
        self.accepted = 0
        self.duplicates = 0
        self.gaps = 0
        self.unwanted = 0
        self.outstanding = 0
        self.fault: SsbRtcError | None = None
        self._ingest = ingest
        self._waiters: list[asyncio.Future[None]] = []

    async def offer(self, raws: Sequence[bytes]) -> None:
        """Queues messages (JSON of their values) in order; waits while the queue is full.

        Raises MessageInvalid when this intake sent something invalid, now or before (what came before it is kept);
        StorageFault when the disk refuses.
        """
        await self._ingest.offer(self, raws)

    async def flush(self) -> None:
        """Waits until everything that was offered is committed or refused; raises the fault if there is one."""
        self._ingest.hurry()
        while self.outstanding:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        self.raise_fault()

    def raise_fault(self) -> None:
        """Raises the fault, if there is one."""
        if isinstance(self.fault, MessageInvalid):
            raise MessageInvalid(self.fault.reason)
        if self.fault is not None:
            raise type(self.fault)(str(self.fault))

    def fail(self, fault: SsbRtcError) -> None:
        """Sets the fault; the first counts."""
        if self.fault is None:
            self.fault = fault
            if self.on_fault is not None:
                self.on_fault(fault)

    def settle(self, count: int) -> None:
        """`count` of its messages are out of the queue."""
        self.outstanding -= count
        if not self.outstanding:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters.clear()
