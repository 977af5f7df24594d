"""Indexes over the log: kept beside it, never on the way into it.

Each index has a cursor, the place in the log up to where it is made, and the cursor is written in the transaction that
writes its rows: whenever the process dies, rows and cursor agree. An index is caught up in slices of a few
milliseconds: as far as a query needs it, before that query, and otherwise while nothing arrives. A changed version, or
`rebuild`, sets the cursor back to 0, and a slice that begins there empties the index first.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ssb_rtc.errors import MisuseError, StorageFault
from ssb_rtc.storage.log import Log, Stored
from ssb_rtc.types import FeedId

logger = logging.getLogger(__name__)

SLICE_S: Final = 0.005
"""How long a slice may keep the loop; the number of its messages follows from how long the last ones took."""
SLICE_MESSAGES_MIN: Final = 8
SLICE_MESSAGES_MAX: Final = 1_024
PURGE_MESSAGES: Final = 512
IDLE_AFTER_S: Final = 0.1
"""So long after the last commit the indexes go on by themselves."""
IDLE_PAUSE_S: Final = 0.02
"""Between two slices of that."""

OnProgress = Callable[[int, int], None]
"""Called with messages done and to do in all."""


class Index(Protocol):
    """One index: its rows stand in tables of its own, and only these calls write them, each in a transaction.

    All get messages in the order of the log. What was added for a message, `remove` (its feed is purged) takes away.
    A new `version` has the index made anew.
    """

    @property
    def name(self) -> str:
        """Unique, and part of the name of its cursor."""
        ...

    @property
    def version(self) -> int:
        """Counted up when `add` writes other rows than before."""
        ...

    def prepare(self, stored: Sequence[Stored]) -> Sequence[Any]:
        """The rows of these messages; the work that needs no transaction."""
        ...

    def add(self, connection: sqlite3.Connection, rows: Sequence[Any]) -> None:
        """Writes what `prepare` gave."""
        ...

    def remove(self, connection: sqlite3.Connection, stored: Sequence[Stored]) -> None:
        """Deletes the rows of these messages."""
        ...

    def clear(self, connection: sqlite3.Connection) -> None:
        """Deletes all rows."""
        ...


@dataclass(frozen=True, slots=True)
class IndexState:
    """`done` is the place in the log up to where the index is made, `total` that of the newest message."""

    name: str
    version: int
    done: int
    total: int


@dataclass(slots=True)
class _Entry:
    index: Index
    cursor: int
    slice_messages: int = SLICE_MESSAGES_MIN * 4


class Indexes:
    """All indexes of one log. Lives on the thread of its database."""

    def __init__(self, log: Log, indexes: Sequence[Index] = (), *, now_s: Callable[[], float] = time.perf_counter):
        self._log = log
        self._now_s = now_s
        self._entries: dict[str, _Entry] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._committed_s = 0.0
        self._closed = False
        self._unsubscribe = log.subscribe_purge(self._purged)
        for index in indexes:
            self.register(index)

    def register(self, index: Index) -> None:
        """Takes an index in; one that is new or has another version is made when it is needed. Raises MisuseError."""
        if index.name in self._entries:
            raise MisuseError(f"there are two indexes named {index.name!r}")
        version, _, cursor = (self._log.database.meta(_cursor_key(index)) or "-:0").partition(":")
        self._entries[index.name] = _Entry(index, int(cursor) if version == str(index.version) else 0)

    def get(self, name: str) -> Index | None:
        """The index of this name, or None."""
        entry = self._entries.get(name)
        return entry.index if entry else None

    def cursor(self, name: str) -> int:
        """The place in the log up to where an index is made."""
        return self._entry(name).cursor

    def state(self) -> list[IndexState]:
        """How far each index is."""
        total = self._log.last_rowid
        return [IndexState(name, entry.index.version, entry.cursor, total) for name, entry in self._entries.items()]

    # --- getting on ---

    async def caught_up(
        self, names: Collection[str] | None = None, upto: int | None = None, progress: OnProgress | None = None
    ) -> None:
        """Waits until these indexes (default: all) are made up to a place in the log (default: its end now).

        Works in slices, others have the loop in between. Raises MisuseError for an unknown name, StorageFault.
        """
        target = self._log.last_rowid if upto is None else upto
        entries = [self._entry(name) for name in (self._entries if names is None else names)]
        while behind := [entry for entry in entries if entry.cursor < target]:
            self._slice(behind[0])
            if progress is not None:
                progress(sum(min(entry.cursor, target) for entry in entries), target * len(entries))
            await asyncio.sleep(0)

    async def rebuild(self, names: Collection[str] | None = None, progress: OnProgress | None = None) -> None:
        """Makes indexes (default: all) anew. If it is cut short, they are completed when they are needed."""
        chosen = list(self._entries if names is None else names)
        entries = [self._entry(name) for name in chosen]
        with self._log.database.transaction() as connection:
            for entry in entries:
                _write_cursor(connection, entry.index, 0)
        for entry in entries:
            entry.cursor = 0
        await self.caught_up(chosen, progress=progress)

    def _slice(self, entry: _Entry) -> None:
        start_s = self._now_s()
        index, begin = entry.index, entry.cursor
        stored = self._log.read_log(begin, entry.slice_messages)
        cursor = stored[-1].rowid if len(stored) == entry.slice_messages else self._log.last_rowid
        rows = index.prepare(stored)
        with self._log.database.transaction() as connection:
            if begin == 0:
                index.clear(connection)
            index.add(connection, rows)
            _write_cursor(connection, index, cursor)
        entry.cursor = cursor
        took_s = self._now_s() - start_s
        if took_s > SLICE_S:
            entry.slice_messages = max(SLICE_MESSAGES_MIN, entry.slice_messages // 2)
        elif took_s < SLICE_S / 2:
            entry.slice_messages = min(SLICE_MESSAGES_MAX, entry.slice_messages * 2)

    def _entry(self, name: str) -> _Entry:
        entry = self._entries.get(name)
        if entry is None:
            raise MisuseError(f"there is no index {name!r}; there are: {', '.join(self._entries) or 'none'}")
        return entry

    def _purged(self, connection: sqlite3.Connection, feed: FeedId) -> None:
        after = 0
        while page := self._log.read_feed(feed, after, PURGE_MESSAGES):
            after = page[-1].sequence
            for entry in self._entries.values():
                entry.index.remove(connection, [stored for stored in page if stored.rowid <= entry.cursor])

    # --- in idle time ---

    def committed(self, _stored: Sequence[Stored] = ()) -> None:
        """New messages are in the log (or may be): the indexes go on a little later, unless more arrive."""
        self._committed_s = self._now_s()
        if self._timer is None and not self._closed and self._entries:
            self._timer = asyncio.get_running_loop().call_later(IDLE_AFTER_S, self._idle)

    def _idle(self) -> None:
        self._timer = None
        delay_s = self._committed_s + IDLE_AFTER_S - self._now_s()
        if delay_s <= 0:
            behind = [entry for entry in self._entries.values() if entry.cursor < self._log.last_rowid]
            if not behind:
                return
            try:
                self._slice(behind[0])
            except StorageFault as fault:
                logger.warning("the index %s waits until it is needed: %s", behind[0].index.name, fault)
                return
            delay_s = IDLE_PAUSE_S
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._idle)

    def close(self) -> None:
        """Stops; what is missing is made up for later."""
        self._closed = True
        self._unsubscribe()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _cursor_key(index: Index) -> str:
    return f"index.{index.name}"


def _write_cursor(connection: sqlite3.Connection, index: Index, cursor: int) -> None:
    row = (_cursor_key(index), f"{index.version}:{cursor}")
    connection.execute("INSERT OR REPLACE INTO meta(key, value) VALUES (?, ?)", row)
