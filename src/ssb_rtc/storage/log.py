"""The log: every message of every feed that we hold, in the order in which we took it, and each feed's head.

Synchronous, used on the thread that opened the database. `Log.append` is the only way in and takes only messages that
feeds.validate has passed; it still refuses one that does not sit on its feed's head, so that no caller can tear a feed.
"""

from __future__ import annotations

import sqlite3
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import msgspec

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds import canonical
from ssb_rtc.feeds.hops import FollowGraph, edge_of
from ssb_rtc.feeds.validate import Checked, Head
from ssb_rtc.storage.database import Database
from ssb_rtc.types import FeedId, JsonObject, MsgId

TRANSACTION_MESSAGES_MAX: Final = 512
READ_MESSAGES_MAX: Final = 10_000
"""Rows that one reading call returns at most, whatever limit it was given."""
TYPES_MAX: Final = 4_096
"""Content types that get an index; a stranger who writes a new type in each message must not make a table of them."""

OnPurge = Callable[[sqlite3.Connection, FeedId], object]
_LAST_ROWID: Final = "log.last_rowid"
"""Kept by a purge, which may take the newest rows away: a place in the log is never given to another message."""

_COLUMNS: Final = "m.rowid, m.key, a.feed, m.sequence, m.received_ms, m.raw"


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A message as it lies in the log: `raw` is the compact JSON of its value, `timestamp_ms` when we received it."""

    rowid: int
    key: MsgId
    author: FeedId
    sequence: int
    timestamp_ms: int
    raw: bytes

    def value(self) -> JsonObject:
        """The message's value, parsed."""
        value = canonical.parse(self.raw)
        assert isinstance(value, dict)
        return value


@dataclass(slots=True)
class _Change:
    """What a transaction changes: applied to memory only after its commit."""

    heads: dict[FeedId, Head] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    authors: dict[FeedId, int] = field(default_factory=dict)
    edges: list[tuple[FeedId, FeedId, int]] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)


class Log:
    """All feeds of one database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._author_ids: dict[FeedId, int] = {}
        self._heads: dict[FeedId, Head] = {}
        self._types: dict[str, int] = {}
        self.graph = FollowGraph()
        self._on_purge: list[OnPurge] = []
        self._load()

    def _load(self) -> None:
        names: dict[int, FeedId] = {}
        rows = self.database.query("SELECT id, feed, head_key, head_sequence, head_timestamp FROM authors")
        for number, feed, key, sequence, timestamp in rows:
            self._author_ids[feed] = number
            names[number] = feed
            if sequence:
                self._heads[feed] = Head(_key_text(key), sequence, timestamp)
        self._types = {name: number for number, name in self.database.query("SELECT id, name FROM types")}
        for source, target, kind in self.database.query("SELECT source, target, kind FROM edges"):
            self.graph.set(names[source], names[target], kind)
        self._count = sum(head.sequence for head in self._heads.values())
        newest = int(self.database.query("SELECT coalesce(max(rowid), 0) FROM messages")[0][0])
        self._last_rowid = max(newest, int(self.database.meta(_LAST_ROWID) or "0"))

    # --- heads ---

    def head(self, feed: FeedId) -> Head | None:
        """The last message of a feed that is on record, or None."""
        return self._heads.get(feed)

    def heads(self) -> Mapping[FeedId, Head]:
        """A live, read-only view of all heads."""
        return MappingProxyType(self._heads)

    @property
    def author_ids(self) -> Mapping[FeedId, int]:
        """A live, read-only view of the numbers that feeds have in this database, for good."""
        return MappingProxyType(self._author_ids)

    def count(self) -> int:
        """How many messages there are."""
        return self._count

    @property
    def last_rowid(self) -> int:
        """The place of the newest message in the order of the log; 0 when it is empty."""
        return self._last_rowid

    # --- writing ---

    def append(self, messages: Sequence[Checked], received_ms: int) -> list[Stored]:
        """Appends validated messages in one transaction, in the order given; all or none.

        Raises MisuseError when one does not follow its feed's head, StorageFault when the disk refuses.
        """
        change = _Change()
        with self.database.transaction() as connection:
            stored = [self._prepare(connection, message, received_ms, change) for message in messages]
            connection.executemany(
                "INSERT INTO messages(rowid, author, sequence, key, short_key, type, received_ms, raw)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                change.rows,
            )
            connection.executemany(
                "UPDATE authors SET head_key = ?, head_sequence = ?, head_timestamp = ? WHERE id = ?",
                [
                    (_key_bytes(head.id), head.sequence, head.timestamp, self._author_id(connection, feed, change))
                    for feed, head in change.heads.items()
                ],
            )
            for source, target, kind in change.edges:
                connection.execute(
                    "INSERT OR REPLACE INTO edges(source, target, kind) VALUES (?, ?, ?)",
                    (self._author_id(connection, source, change), self._author_id(connection, target, change), kind),
                )
        self._last_rowid += len(stored)
        self._count += len(stored)
        self._author_ids.update(change.authors)
        self._types.update(change.types)
        self._heads.update(change.heads)
        for edge in change.edges:
            self.graph.set(*edge)
        return stored

    def _prepare(self, connection: sqlite3.Connection, message: Checked, received_ms: int, change: _Change) -> Stored:
        """Adds a message to a change, with the authors and types that it brings along."""
        author = message.author
        _must_follow(change.heads.get(author) or self._heads.get(author), message)
        change.heads[author] = message.head
        content = message.value["content"]
        edge = edge_of(author, content)
        if edge is not None:
            change.edges.append(edge)
        rowid = self._last_rowid + len(change.rows) + 1
        number = self._author_id(connection, author, change)
        key = _key_bytes(message.key)
        type_id = self._type_id(connection, content, change)
        change.rows.append((rowid, number, message.sequence, key, _short(key), type_id, received_ms, message.raw))
        return Stored(rowid, message.key, author, message.sequence, received_ms, message.raw)

    def _author_id(self, connection: sqlite3.Connection, feed: FeedId, change: _Change) -> int:
        number = self._author_ids.get(feed) or change.authors.get(feed)
        if number is None:
            number = connection.execute("INSERT INTO authors(feed) VALUES (?)", (feed,)).lastrowid
            assert number is not None
            change.authors[feed] = number
        return number

    def _type_id(self, connection: sqlite3.Connection, content: object, change: _Change) -> int | None:
        name = content.get("type") if isinstance(content, dict) else None
        if not isinstance(name, str):
            return None
        number = self._types.get(name) or change.types.get(name)
        if number is None and len(self._types) + len(change.types) < TYPES_MAX:
            try:
                number = connection.execute("INSERT INTO types(name) VALUES (?)", (name,)).lastrowid
            except UnicodeEncodeError:  # a lone surrogate has no UTF-8; such a type gets no index
                return None
            assert number is not None
            change.types[name] = number
        return number

    def respell_head(self, feed: FeedId, key: MsgId, raw: bytes) -> None:
        """Puts another spelling of the same message in the place of a feed's last one.

        key, raw: of a valid message that differs in how its signature is written, so in its id, and in nothing else.
        """
        head, number, digest = self._heads[feed], self._author_ids[feed], _key_bytes(key)
        with self.database.transaction() as connection:
            connection.execute(
                "UPDATE messages SET key = ?, short_key = ?, raw = ? WHERE author = ? AND sequence = ?",
                (digest, _short(digest), raw, number, head.sequence),
            )
            connection.execute("UPDATE authors SET head_key = ? WHERE id = ?", (digest, number))
        self._heads[feed] = Head(key, head.sequence, head.timestamp)

    def purge(self, feed: FeedId) -> int:
        """Removes all messages of a feed from the disk, as if it had never been fetched; returns how many."""
        number = self._author_ids.get(feed)
        if number is None:
            return 0
        with self.database.transaction() as connection:
            for listener in self._on_purge:
                listener(connection, feed)
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_LAST_ROWID, str(self._last_rowid)))
            removed: int = connection.execute("DELETE FROM messages WHERE author = ?", (number,)).rowcount
            connection.execute("DELETE FROM edges WHERE source = ?", (number,))
            connection.execute("DELETE FROM forks WHERE author = ?", (number,))
            connection.execute(
                "UPDATE authors SET head_key = NULL, head_sequence = 0, head_timestamp = NULL WHERE id = ?", (number,)
            )
        self._heads.pop(feed, None)
        self._count -= removed
        self.graph.drop(feed)
        return removed

    def subscribe_purge(self, listener: OnPurge) -> Callable[[], None]:
        """Calls `listener(connection, feed)` in the transaction that removes a feed, while its messages are there.

        What it writes is committed or rolled back with the purge. Returns what ends that.
        """
        self._on_purge.append(listener)
        return lambda: self._on_purge.remove(listener)

    # --- reading ---

    def get(self, key: MsgId) -> Stored | None:
        """The message with this id, or None."""
        try:
            wanted = _key_bytes(key)
        except ValueError:
            return None
        found = self.select("m.short_key = ? AND m.key = ?", (_short(wanted), wanted), limit=1)
        return found[0] if found else None

    def at(self, feed: FeedId, sequence: int) -> Stored | None:
        """The message of a feed at this sequence, or None."""
        found = self.select("m.author = ? AND m.sequence = ?", (self._author_ids.get(feed, 0), sequence), limit=1)
        return found[0] if found else None

    def read_feed(self, feed: FeedId, after_sequence: int = 0, limit: int = READ_MESSAGES_MAX) -> list[Stored]:
        """Messages of one feed in order, those whose sequence is greater than `after_sequence`."""
        number = self._author_ids.get(feed, 0)
        return self.select("m.author = ? AND m.sequence > ?", (number, after_sequence), limit=limit, order="m.sequence")

    def read_log(self, after_rowid: int = 0, limit: int = READ_MESSAGES_MAX) -> list[Stored]:
        """Messages in the order in which they were received, those after `after_rowid`; storage.query finds more."""
        return self.select("m.rowid > ?", (after_rowid,), limit=limit)

    def iterate(self, after_rowid: int = 0) -> Iterator[Stored]:
        """The whole log in order, read in pieces: what export writes."""
        while batch := self.read_log(after_rowid, TRANSACTION_MESSAGES_MAX):
            yield from batch
            after_rowid = batch[-1].rowid

    def author_number(self, feed: FeedId) -> int | None:
        """The number of an author in the table of messages; None for one of whom nothing was ever held."""
        return self._author_ids.get(feed)

    def type_number(self, name: str) -> int | None:
        """The number of a content type in the table of messages; None for one that has none."""
        return self._types.get(name)

    @property
    def types_are_full(self) -> bool:
        """Whether messages may have come in whose type got no number."""
        return len(self._types) >= TYPES_MAX

    def select(
        self,
        where: str,
        parameters: Sequence[Any],
        *,
        limit: int,
        order: str = "m.rowid",
        source: str = "messages AS m",
    ) -> list[Stored]:
        """For storage.query: messages `m` of `source` that a condition holds for. Never called with foreign text."""
        # CROSS JOIN keeps SQLite from beginning with the authors.
        rows = self.database.query(
            f"SELECT {_COLUMNS} FROM {source} CROSS JOIN authors AS a ON a.id = m.author"  # noqa: S608 - constants only
            f" WHERE {where} ORDER BY {order} LIMIT ?",
            (*parameters, max(0, min(limit, READ_MESSAGES_MAX))),
        )
        return [
            Stored(rowid, _key_text(key), feed, sequence, received_ms, raw)
            for rowid, key, feed, sequence, received_ms, raw in rows
        ]


def _must_follow(head: Head | None, message: Checked) -> None:
    expected = (head.sequence + 1, head.id) if head else (1, None)
    if (message.sequence, message.previous) != expected:
        raise MisuseError(
            f"message {message.sequence} of {message.author} does not follow the head at {expected[0] - 1}"
        )


def _key_bytes(key: MsgId) -> bytes:
    """The 32 bytes in an id. Raises ValueError."""
    data = a2b_base64(key[1:45], strict_mode=True)
    if len(data) != 32:
        raise ValueError(key)
    return data


def _key_text(key: bytes) -> MsgId:
    return MsgId(f"%{b64encode(key).decode()}.sha256")


def _short(key: bytes) -> int:
    return int.from_bytes(key[:8], "big", signed=True)
