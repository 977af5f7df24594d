"""An index of who is due: a persistent sorted queue, so that no step looks through the whole table.

Entries lie in chunks of at most `CHUNK_MAX`; a change copies one chunk and the list of chunks, never all entries.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from ssb_rtc.types import PeerId

CHUNK_MAX = 64

Entry: TypeAlias = tuple[float, PeerId]
"""(the time from which the peer may be dialled, the peer): no two are equal, and their order is total."""


def _last(chunk: tuple[Entry, ...]) -> Entry:
    return chunk[-1]


class DueQueue(msgspec.Struct, frozen=True, gc=False):
    """Entries in order; `added` and `removed` give a new queue and leave this one as it is."""

    chunks: tuple[tuple[Entry, ...], ...] = ()

    def __iter__(self) -> Iterator[Entry]:
        for chunk in self.chunks:
            yield from chunk

    def __reversed__(self) -> Iterator[Entry]:
        for chunk in reversed(self.chunks):
            yield from reversed(chunk)

    @property
    def first(self) -> Entry | None:
        """Who may be dialled first."""
        return self.chunks[0][0] if self.chunks else None

    @property
    def last(self) -> Entry | None:
        """Who has to wait longest."""
        return self.chunks[-1][-1] if self.chunks else None

    def added(self, entry: Entry) -> DueQueue:
        """With this entry, which must not be in it."""
        chunks = self.chunks
        if not chunks:
            return DueQueue(((entry,),))
        at = min(bisect_left(chunks, entry, key=_last), len(chunks) - 1)
        chunk = list(chunks[at])
        insort(chunk, entry)
        if len(chunk) <= CHUNK_MAX:
            return DueQueue((*chunks[:at], tuple(chunk), *chunks[at + 1 :]))
        half = len(chunk) // 2
        return DueQueue((*chunks[:at], tuple(chunk[:half]), tuple(chunk[half:]), *chunks[at + 1 :]))

    def removed(self, entry: Entry) -> DueQueue:
        """Without this entry, which must be in it."""
        chunks = self.chunks
        at = bisect_left(chunks, entry, key=_last)
        chunk = chunks[at]
        place = bisect_left(chunk, entry)
        rest = (*chunk[:place], *chunk[place + 1 :])
        return DueQueue((*chunks[:at], rest, *chunks[at + 1 :]) if rest else (*chunks[:at], *chunks[at + 1 :]))


EMPTY_QUEUE = DueQueue()
