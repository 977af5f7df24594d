"""Questions to the log: by author, type, link, privacy and time, old messages and what comes, in the log's order.

    queries = Queries(log, indexes, ingest.subscribe)
    await queries.read(Query(author=feed, newest_first=True), limit=100)
    async for stored in queries.follow(Query(type="post"), live=True): ...

The best index decides where the rows come from, and whatever it does not know is looked up in the message. Each step of
a reading is short, and the next one is taken when the reader has used the last: a slow reader costs no memory, and the
others have the loop in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds.links import links_of, target_number
from ssb_rtc.feeds.refs import is_link
from ssb_rtc.storage.index_links import ANY_REL, LinkIndex, rel_numbers
from ssb_rtc.storage.index_private import PrivateIndex, is_sealed
from ssb_rtc.storage.indexes import Indexes
from ssb_rtc.storage.ingest import OnCommitted
from ssb_rtc.storage.log import Log, Stored
from ssb_rtc.types import FeedId, Json

PAGE_MESSAGES: Final = 500
"""Messages that one step looks at, or hands out."""
TESTED_MESSAGES: Final = 200
"""The same where each has to be parsed: 2 ms."""
BOUND_MAX: Final = 2**53
WINDOW_PLACES: Final = 5_000
"""Places in the log (or in a feed) that one step covers where SQLite may skip most of them."""

Subscribe = Callable[[OnCommitted], Callable[[], None]]


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for; everything given must hold.

    author: the feed.
    type: of the content. Private messages have one only in a query with `private=True`.
    links_to: an id that the content links to; rel: the key under which the link stands (see feeds.links).
    private: True for private messages that we can read (type and links are those of what is in them), False for public
        ones, None for all, private ones as they are sealed.
    after_rowid: only messages after this place in the log (Stored.rowid).
    since_ms, until_ms: when we received it, both ends included.
    from_sequence, to_sequence: place in the author's feed, both ends included.
    newest_first: turns the order.
    limit: at most so many.
    """

    author: FeedId | None = None
    type: str | None = None
    links_to: str | None = None
    rel: str | None = None
    private: bool | None = None
    after_rowid: int = 0
    since_ms: float | None = None
    until_ms: float | None = None
    from_sequence: int | None = None
    to_sequence: int | None = None
    newest_first: bool = False
    limit: int | None = None


class Queries:
    """Answers queries over one log. `subscribe` is that of the ingest, for live ones."""

    def __init__(self, log: Log, indexes: Indexes, subscribe: Subscribe) -> None:
        self._log = log
        self._indexes = indexes
        self._subscribe = subscribe
        self._live: set[asyncio.Event] = set()
        self._closed = False

    def close(self) -> None:
        """Ends the live readings: nothing will come any more."""
        self._closed = True
        for arrived in self._live:
            arrived.set()

    def unbox(self, stored: Stored) -> Json | None:
        """The content of a private message that we can read; None for any other message."""
        index = self._indexes.get(PrivateIndex.name)
        return index.unbox(stored) if isinstance(index, PrivateIndex) and is_sealed(stored) else None

    async def read(self, query: Query, after_rowid: int = 0, limit: int = PAGE_MESSAGES) -> list[Stored]:
        """One page: up to `limit` messages after a place in the log (with `newest_first`: before it, 0 is the end).

        The place to go on from is the last message's. Raises MisuseError for a query that makes no sense.
        """
        upto = self._log.last_rowid
        if query.newest_first:
            upto = after_rowid - 1 if after_rowid else upto
        else:
            query = replace(query, after_rowid=max(after_rowid, query.after_rowid))
        query = replace(query, limit=limit if query.limit is None else min(limit, query.limit))
        return [stored async for stored in self.old(query, upto)]

    async def old(self, query: Query, upto_rowid: int | None = None) -> AsyncGenerator[Stored]:
        """What is in the log now, or up to a place in it. Raises MisuseError for a query that makes no sense."""
        upto = self._log.last_rowid if upto_rowid is None else upto_rowid
        left = query.limit
        walk = await self._walk(query, query.after_rowid, upto)
        while left != 0 and not walk.done:
            await self._need(walk.index, upto)  # it may be made anew while we read
            for stored in walk.step(left):
                yield stored
                left = None if left is None else left - 1
                if left == 0:
                    return
            await asyncio.sleep(0)

    async def live(self, query: Query, after_rowid: int) -> AsyncGenerator[Stored]:
        """What comes after a place in the log, until `close`; `newest_first` has no meaning here."""
        query = replace(query, newest_first=False)
        arrived = asyncio.Event()
        self._live.add(arrived)
        stop = self._subscribe(lambda _stored: arrived.set())
        try:
            while query.limit != 0 and not self._closed:
                arrived.clear()
                upto = self._log.last_rowid
                async with aclosing(self.old(replace(query, after_rowid=after_rowid), upto)) as page:
                    async for stored in page:
                        yield stored
                        if query.limit is not None:
                            query = replace(query, limit=query.limit - 1)
                after_rowid = upto
                if query.limit != 0 and self._log.last_rowid == upto:
                    await arrived.wait()
        finally:
            self._live.discard(arrived)
            stop()

    async def follow(self, query: Query, *, old: bool = True, live: bool = False) -> AsyncGenerator[Stored]:
        """Old messages, then (live) those that come, without a gap and none twice; `limit` counts both."""
        start, left = self._log.last_rowid, query.limit
        if old:
            async with aclosing(self.old(query, start)) as messages:
                async for stored in messages:
                    yield stored
                    left = None if left is None else left - 1
        if live:
            async with aclosing(self.live(replace(query, limit=left), max(start, query.after_rowid))) as messages:
                async for stored in messages:
                    yield stored

    async def _walk(self, query: Query, after: int, upto: int) -> _Walk:
        """The best way through the log, from after a place up to another one."""
        _check(query)
        if query.links_to is not None:
            query = replace(query, links_to=query.links_to.partition("?")[0])
        if query.private is True:
            await self._need(PrivateIndex.name, upto)
            walk = _Walk(self._log, "private AS p CROSS JOIN messages AS m ON m.rowid = p.message", "p.message")
            walk.index = PrivateIndex.name
        elif query.links_to is not None:
            await self._need(LinkIndex.name, upto)
            walk = _Walk(self._log, "links AS l CROSS JOIN messages AS m ON m.rowid = l.message", "l.message")
            walk.index = LinkIndex.name
            walk.demand("l.target = ?", target_number(query.links_to))
            if query.rel is not None:
                walk.demand("l.rel = ?", rel_numbers(self._log.database.connection).get(query.rel, ANY_REL))
        elif query.author is not None:
            walk = _Walk(self._log, "messages AS m INDEXED BY messages_by_feed", "m.sequence")
        elif query.type is not None and self._log.type_number(query.type) is not None:
            walk = _Walk(self._log, "messages AS m INDEXED BY messages_by_type", "m.rowid")
        else:
            walk = _Walk(self._log, "messages AS m", "m.rowid")
        self._demand(walk, query)
        walk.newest_first, walk.low, walk.high = query.newest_first, after, upto
        if walk.place == "m.sequence" and query.author is not None:
            walk.low = max(self._sequences(query.author, after), (query.from_sequence or 0) - 1)
            walk.high = self._sequences(query.author, upto)
            walk.high = min(walk.high, walk.high if query.to_sequence is None else query.to_sequence)
        return walk

    async def _need(self, index: str | None, upto: int) -> None:
        if index is None:
            return
        if self._indexes.get(index) is None:
            raise MisuseError(f"this query needs the index {index!r}, which this peer does not keep")
        await self._indexes.caught_up([index], upto)

    def _demand(self, walk: _Walk, query: Query) -> None:
        """Adds what SQLite can test, and what only the message tells."""
        if query.author is not None:
            walk.demand("m.author = ?", self._log.author_number(query.author) or 0, served=walk.place == "m.sequence")
        if query.type is not None and query.private is not True:
            number = self._log.type_number(query.type)
            if number is not None:
                walk.demand("m.type = ?", number, served="messages_by_type" in walk.source)
            elif self._log.types_are_full or not _has_utf8(query.type):
                walk.demand("m.type IS NULL", served=False)
                walk.tests.append(lambda stored: _type(stored.value()["content"]) == query.type)
            else:
                walk.demand("0")
        for condition, bound in (
            ("m.received_ms >= ?", query.since_ms),
            ("m.received_ms <= ?", query.until_ms),
            ("m.sequence >= ?", query.from_sequence),
            ("m.sequence <= ?", query.to_sequence),
        ):
            if bound is not None and walk.place not in condition:
                walk.demand(condition, bound, served=False)
        if query.private is True:
            walk.tests.append(lambda stored: _fits(query, self.unbox(stored)))
        else:
            if query.private is False:
                walk.tests.append(lambda stored: not is_sealed(stored))
            if query.links_to is not None or query.rel is not None:
                walk.tests.append(lambda stored: _links(query, stored.value()["content"]))

    def _sequences(self, author: FeedId, rowid: int) -> int:
        """How many messages of an author lie up to a place in the log: a feed is stored in its own order."""
        head, number = self._log.head(author), self._log.author_number(author)
        low, high = 0, head.sequence if head is not None else 0
        if rowid >= self._log.last_rowid:
            return high
        while low < high:
            middle = (low + high + 1) // 2
            found = self._log.database.query(
                "SELECT rowid FROM messages WHERE author = ? AND sequence = ?", (number, middle)
            )
            low, high = (middle, high) if found[0][0] <= rowid else (low, middle - 1)
        return low


@dataclass(slots=True)
class _Walk:
    """A way through a part of the log: over `place` (of the log, or of a feed), above `low` up to `high`."""

    log: Log
    source: str
    place: str
    low: int = 0
    high: int = 0
    newest_first: bool = False
    index: str | None = None
    """The index beside the log that it goes through, if any."""
    tests: list[Callable[[Stored], bool]] = field(default_factory=list)
    _conditions: list[str] = field(default_factory=list)
    _parameters: list[Any] = field(default_factory=list)
    _skips: bool = False
    """SQLite may have to skip many rows to find one, so a step is bounded by places too."""
    _last_rowid: int = 0
    _ask: int = 0
    """How many rows the next step looks at where most may fail a test: as many as are wanted, then twice as many."""

    def demand(self, condition: str, *parameters: Any, served: bool = True) -> None:
        """Adds a condition; `served` ones are found by the index."""
        self._conditions.append(condition)
        self._parameters += parameters
        self._skips |= not served

    @property
    def done(self) -> bool:
        """There is no more."""
        return self.low >= self.high

    def step(self, limit: int | None) -> Sequence[Stored]:
        """The next messages, maybe none although there are more."""
        most = TESTED_MESSAGES if self.tests else PAGE_MESSAGES
        limit = most if limit is None else min(max(limit, self._ask), most)
        self._ask = 2 * limit if self.tests else 0
        low, high = self.low, self.high
        if self._skips and self.newest_first:
            low = max(low, high - WINDOW_PLACES)
        elif self._skips:
            high = min(high, low + WINDOW_PLACES)
        where = " AND ".join([*self._conditions, f"{self.place} > ? AND {self.place} <= ?"])
        order = f"{self.place} DESC" if self.newest_first else self.place
        found = self.log.select(where, (*self._parameters, low, high), limit=limit, order=order, source=self.source)
        whole = len(found) < limit
        end = 0 if whole else found[-1].sequence if self.place == "m.sequence" else found[-1].rowid
        if self.newest_first:
            self.high = low if whole else end - 1
        else:
            self.low = high if whole else end
        return [stored for stored in found if self._is_new(stored) and all(test(stored) for test in self.tests)]

    def _is_new(self, stored: Stored) -> bool:
        """A message that links to the target twice comes twice in a row."""
        seen, self._last_rowid = self._last_rowid == stored.rowid, stored.rowid
        return not seen


def _check(query: Query) -> None:
    if query.links_to is not None and not is_link(query.links_to):
        raise MisuseError(f"{query.links_to!r:.100} is no id of a message, a feed or a blob")
    if query.limit is not None and query.limit < 0:
        raise MisuseError("a limit is a number from 0; leave it out for all messages")
    bounds = (query.after_rowid, query.since_ms, query.until_ms, query.from_sequence, query.to_sequence)
    if not all(bound is None or abs(bound) <= BOUND_MAX for bound in bounds):
        raise MisuseError(f"times and places in a query are numbers up to {BOUND_MAX}")


def _fits(query: Query, content: Json | None) -> bool:
    """Whether the content of an opened private message is what a query wants."""
    if content is None or (query.type is not None and _type(content) != query.type):
        return False
    return (query.links_to is None and query.rel is None) or _links(query, content)


def _links(query: Query, content: Json) -> bool:
    return any(query.links_to in (None, target) and query.rel in (None, rel) for rel, target in links_of(content))


def _type(content: Json) -> str | None:
    found = content.get("type") if isinstance(content, dict) else None
    return found if isinstance(found, str) else None


def _has_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
