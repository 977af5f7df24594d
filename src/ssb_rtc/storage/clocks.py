"""What peers last said of their feeds, kept over a restart, so that a reconnect tells only what changed.

A row is `take`n (and gone from the disk) when a session begins and `save`d when it ends, so that a process that dies
in between leaves none: the peer heard things in that session which our log may have lost, and silence would say that
nothing changed. For the same reason an old row is not used, and a restored backup has none: see `forget`.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping
from typing import Final

from ssb_rtc.storage.database import Database
from ssb_rtc.storage.log import Log
from ssb_rtc.types import FeedId, PeerId

PEERS_MAX: Final = 128
"""Rows that are kept, those of the last sessions: 80 KB each where 10,000 feeds are replicated."""
AGE_MAX_MS: Final = 7 * 24 * 3_600_000
"""After a week a peer is told everything again: whatever either side lost or restored unnoticed is mended then."""

_NOT_REPLICATED: Final = 2**32 - 1


class Clocks:
    """The notes of peers: `{feed: note}` as feeds.ebt has them."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._database = log.database

    def take(self, peer: PeerId, now_ms: int) -> dict[FeedId, int]:
        """What is remembered of a peer, which is forgotten now; empty when nothing is, or it is too old."""
        rows = self._database.query("SELECT saved_ms, notes FROM clocks WHERE peer = ?", (peer,))
        if not rows:
            return {}
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM clocks WHERE peer = ?", (peer,))
        saved_ms, blob = rows[0]
        if not 0 <= now_ms - saved_ms <= AGE_MAX_MS:
            return {}
        names = {number: feed for feed, number in self._log.author_ids.items()}
        numbers = _unpack(blob)
        return {
            names[number]: -1 if note == _NOT_REPLICATED else note
            for number, note in zip(numbers[::2], numbers[1::2], strict=True)
            if number in names
        }

    def save(self, peer: PeerId, notes: Mapping[FeedId, int], now_ms: int) -> None:
        """Remembers these notes of a peer, as far as the log knows their feeds, and forgets the oldest of too many."""
        ids = self._log.author_ids
        pairs = array("I")
        for feed, note in notes.items():
            if feed in ids and note < _NOT_REPLICATED:
                pairs.extend((ids[feed], note if note >= 0 else _NOT_REPLICATED))
        if not pairs:
            return
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO clocks(peer, saved_ms, notes) VALUES (?, ?, ?)", (peer, now_ms, _pack(pairs))
            )
            connection.execute(
                "DELETE FROM clocks WHERE peer NOT IN (SELECT peer FROM clocks ORDER BY saved_ms DESC LIMIT ?)",
                (PEERS_MAX,),
            )

    def sync(self) -> None:
        """Makes it durable that a row was taken; any thread."""
        self._database.sync()


def forget(database: Database) -> None:
    """Forgets all clocks: the log is another than it was when they were told."""
    with database.transaction() as connection:
        connection.execute("DELETE FROM clocks")


def _pack(numbers: array[int]) -> bytes:
    """Little-endian, four bytes each."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _unpack(blob: bytes) -> array[int]:
    numbers = array("I")
    numbers.frombytes(blob)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
