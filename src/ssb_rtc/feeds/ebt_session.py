"""One link as feeds.ebt sees it, and the notes that travel on it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Final

from ssb_rtc.types import FeedId, PeerId

NOT_REPLICATED: Final = -1
SEQUENCE_MAX: Final = 2**31 - 1


def encode_note(sequence: int, *, receive: bool) -> int:
    """The note for a feed that we replicate."""
    return sequence * 2 + (0 if receive else 1)


def note_sequence(note: int) -> int:
    """The sequence in a note; -1 where the feed is not replicated."""
    return note >> 1


def note_receives(note: int) -> bool:
    """Whether whoever told this note wants messages."""
    return note >= 0 and not note & 1


class Session:
    """What was said and heard on one link, and what follows from it. Kept by feeds.ebt.Replicator."""

    __slots__ = (
        "active_s",
        "asked",
        "delivered",
        "dialled",
        "flight",
        "heard",
        "key",
        "offers",
        "outbox",
        "peer",
        "ready",
        "refused",
        "remote",
        "serves",
        "slow_until_s",
        "started",
        "told",
        "watched_since_s",
    )

    def __init__(self, key: Hashable, peer: PeerId, dialled: bool, remembered: Mapping[FeedId, int]) -> None:
        self.key = key
        self.peer = peer
        self.dialled = dialled
        self.started = False
        # Their last note of each feed, its sequence raised by what they sent since; at first what we remember.
        # `refused` counts those that mean nothing to us.
        self.remote: dict[FeedId, int] = dict(remembered)
        self.heard: set[FeedId] = set()
        self.told: dict[FeedId, int] = {}
        self.refused = 0
        self.outbox: dict[FeedId, int] = {}
        # Feeds whose source this is, and how many messages of what was asked have not come; their sum. Feeds that they
        # are ahead with, which may be asked for when something has come.
        self.asked: dict[FeedId, int] = {}
        self.flight = 0
        self.offers: dict[FeedId, None] = {}
        # What they asked for, and up to where they have it or were sent it.
        self.serves: dict[FeedId, int] = {}
        self.ready: dict[FeedId, None] = {}
        # When a message came that we lacked; how many such since when, while something is asked of them; see `tick`.
        self.active_s = float("-inf")
        self.delivered = 0
        self.watched_since_s: float | None = None
        self.slow_until_s = float("-inf")

    def remote_sequence(self, feed: FeedId) -> int:
        """Up to where they have a feed as far as we know; -1 where they don't replicate it."""
        return self.remote.get(feed, 0) >> 1

    def tell(self, feed: FeedId, note: int, *, again: bool = False) -> None:
        """Queues a note unless they know it."""
        if again or self.told.get(feed) != note:
            self.told[feed] = note
            self.outbox[feed] = note

    def be_source(self, feed: FeedId, missing: int) -> None:
        """So many messages of this feed are asked for."""
        self.flight += missing - self.asked.get(feed, 0)
        self.asked[feed] = missing

    def no_source(self, feed: FeedId) -> None:
        """Nothing of this feed is asked for any more."""
        self.flight -= self.asked.pop(feed, 0)

    def stop_serving(self, feed: FeedId) -> None:
        """Sends them no more of a feed."""
        self.serves.pop(feed, None)
        self.ready.pop(feed, None)

    def refuse(self, feed: FeedId) -> None:
        """Takes back that we replicate a feed, where we said so, here or before we were silent about it."""
        if feed in self.told or self.remote.get(feed, NOT_REPLICATED) != NOT_REPLICATED:
            self.tell(feed, NOT_REPLICATED)
