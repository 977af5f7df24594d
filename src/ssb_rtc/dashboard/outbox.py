"""What one open stream has not sent yet: bounded, so that a browser that sleeps costs a peer nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from ssb_rtc.dashboard.answers import encode_json
from ssb_rtc.types import Json

WAITING_BYTES_MAX: Final = 4 << 20
"""A snapshot of 1,000 peers has half a megabyte."""
WAITING_EVENTS_MAX: Final = 2_000
CHUNK_BYTES: Final = 256 * 1024
"""About what is written at once; one event may be larger."""
RESYNC: Final = b"event: resync\ndata: {}\n\n"
HEARTBEAT: Final = b": still here\n\n"


def event(name: str, data: Json) -> bytes:
    """One server-sent event. JSON has no raw line breaks, which would end the data."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), encode_json(data))


class Outbox:
    """Events for one browser, in order. What comes when it is full empties it: the browser then asks for everything."""

    def __init__(self, *, trace: bool = False) -> None:
        self.trace = trace
        """Steps of the peers state manager are wanted too."""
        self.over = False
        """Nothing more will come."""
        self.late = False
        """The reader was too slow, and some of it is lost."""
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._some = asyncio.Event()

    def put(self, told: bytes) -> None:
        """One more event."""
        if self.over:
            return
        self._waiting.append(told)
        self._bytes += len(told)
        if self._bytes > WAITING_BYTES_MAX or len(self._waiting) > WAITING_EVENTS_MAX:
            self.late = True
            self._waiting.clear()
            self._bytes = 0
            self.end()
        self._some.set()

    def put_first(self, told: bytes) -> None:
        """An event that stands before, and in the place of, all that waits already: a snapshot."""
        self._waiting.clear()
        self._bytes = 0
        self.put(told)

    def end(self) -> None:
        """What waits is still given out, then `take` gives nothing."""
        self.over = True
        self._some.set()

    async def take(self) -> bytes:
        """What waits, about CHUNK_BYTES of it; waits for something. Empty when it is over."""
        while not self._waiting and not self.over:
            self._some.clear()
            await self._some.wait()
        taken, size = [], 0
        while self._waiting and size < CHUNK_BYTES:
            taken.append(self._waiting.popleft())
            size += len(taken[-1])
        self._bytes -= size
        return b"".join(taken)
