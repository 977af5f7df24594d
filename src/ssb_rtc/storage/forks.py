"""Forked feeds and their proof: two messages, both signed by the author, that can't both be in one feed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ssb_rtc.storage.database import Database
from ssb_rtc.types import FeedId


@dataclass(frozen=True, slots=True)
class Fork:
    """`ours` is the compact JSON of the message that we kept (at `sequence`), `theirs` of the one against it."""

    feed: FeedId
    sequence: int
    ours: bytes
    theirs: bytes
    found_ms: int


class Forks:
    """Which feeds are forked. Our branch stays and is served; nothing more of such a feed is requested or taken."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._feeds: set[FeedId] = {fork.feed for fork in self.all()}
        self._listeners: list[Callable[[FeedId, bool], None]] = []

    def __contains__(self, feed: object) -> bool:
        return feed in self._feeds

    def all(self) -> list[Fork]:
        """Every fork on record, with its proof."""
        rows = self._database.query(
            "SELECT a.feed, f.sequence, f.ours, f.theirs, f.found_ms"
            " FROM forks AS f JOIN authors AS a ON a.id = f.author"
        )
        return [Fork(*row) for row in rows]

    def mark(self, fork: Fork) -> None:
        """Puts a fork on record; the first proof of a feed is kept."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO forks(author, sequence, ours, theirs, found_ms)"
                " SELECT id, ?, ?, ?, ? FROM authors WHERE feed = ?",
                (fork.sequence, fork.ours, fork.theirs, fork.found_ms, fork.feed),
            )
        self._feeds.add(fork.feed)
        self._tell(fork.feed, forked=True)

    def reset(self, feed: FeedId) -> None:
        """The user's word that our branch of this feed is to go on: the mark and the proof are dropped."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM forks WHERE author = (SELECT id FROM authors WHERE feed = ?)", (feed,))
        self._feeds.discard(feed)
        self._tell(feed, forked=False)

    def subscribe(self, listener: Callable[[FeedId, bool], None]) -> Callable[[], None]:
        """Calls `listener(feed, forked)` at each change; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self, feed: FeedId, *, forked: bool) -> None:
        for listener in tuple(self._listeners):
            listener(feed, forked)
