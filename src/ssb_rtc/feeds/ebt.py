"""EBT, epidemic broadcast trees, version 3: who sends which feed to whom. A pure state machine.

Two peers tell each other notes, `{feed: note}`: `2 * sequence` says "I have the feed up to there, send me more", one
more than that says "I have it up to there, don't send", -1 says "I don't replicate it". Messages travel raw between
them. Sources: ssb-ebt 9.1.2 and epidemic-broadcast-trees 9 (npm), and "Epidemic Broadcast Trees", Leitao et al., 2007.

One `Replicator` covers all links of a peer, one session a link. Each feed is asked of one session at a time, its
source, and all others hear "have, don't send"; they still tell us when they are ahead, and `tick` moves a feed to one
of them when its source stalls. A feed's author is its best source. Work per event is bounded by the number of
sessions, not of feeds.

    replicator.connect(key, peer, dialled=False)       a stream opened; only the acceptor speaks first
    replicator.receive_notes(key, notes, now_s)        they told us notes
    replicator.received(key, feed, sequence, now_s)    they sent us a message
    replicator.advanced(feed, sequence, now_s)         the log has more, from anywhere
    replicator.take_notes(key)                         what to tell them now
    replicator.next_send(key); replicator.sent(...)    what to send them now
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Final

from ssb_rtc.feeds.refs import is_feed_id
from ssb_rtc.types import FeedId, PeerId, feed_of

NOT_REPLICATED: Final = -1
SEQUENCE_MAX: Final = 2**31 - 1
FEEDS_MAX: Final = 100_000
"""Feeds of which one session may tell us notes; further ones are ignored."""
REMEMBERED_PEERS_MAX: Final = 64
"""Peers whose clocks are remembered after they left, so that the next session tells only what changed."""
NOTES_A_BODY_MAX: Final = 10_000
"""Notes in one frame: about 600 KB."""
LAG_S: Final = 0.25
"""How long a source that is not ahead may keep a feed that another session is ahead with."""
STALL_S: Final = 10.0
"""How long a source that claims to be ahead may send nothing at all."""
WITHHELD_S: Final = 60.0
"""How long it may send nothing of a feed while it sends others."""


def encode_note(sequence: int, *, receive: bool) -> int:
    """The note for a feed that we replicate."""
    return sequence * 2 + (0 if receive else 1)


def note_sequence(note: int) -> int:
    """The sequence in a note; -1 where the feed is not replicated."""
    return note >> 1


def note_receives(note: int) -> bool:
    """Whether whoever told this note wants messages."""
    return note >= 0 and not note & 1


class _Session:
    """One link, as EBT sees it."""

    __slots__ = (
        "active_s",
        "asked",
        "dialled",
        "heard",
        "key",
        "outbox",
        "peer",
        "ready",
        "remote",
        "serves",
        "started",
        "told",
    )

    def __init__(self, key: Hashable, peer: PeerId, dialled: bool, remembered: Mapping[FeedId, int]) -> None:
        self.key = key
        self.peer = peer
        self.dialled = dialled
        self.started = False
        self.active_s = -STALL_S
        # Their last note of each feed, its sequence raised by what they sent since; at first what we remember.
        self.remote: dict[FeedId, int] = dict(remembered)
        self.heard: set[FeedId] = set()
        self.told: dict[FeedId, int] = {}
        self.outbox: dict[FeedId, int] = {}
        self.asked: set[FeedId] = set()
        # What they asked for, and up to where they have it or were sent it.
        self.serves: dict[FeedId, int] = {}
        self.ready: dict[FeedId, None] = {}

    def remote_sequence(self, feed: FeedId) -> int:
        """Up to where they have a feed as far as we know; -1 where they don't replicate it."""
        return self.remote.get(feed, 0) >> 1

    def tell(self, feed: FeedId, note: int, *, again: bool = False) -> None:
        """Queues a note unless they know it."""
        if again or self.told.get(feed) != note:
            self.told[feed] = note
            self.outbox[feed] = note


class Replicator:
    """All sessions of one peer. `heads`: up to where each feed may be served; the keys of sessions are opaque."""

    def __init__(
        self,
        heads: Mapping[FeedId, int],
        wanted: Iterable[FeedId],
        *,
        is_blocked: Callable[[FeedId, PeerId], bool] = lambda _feed, _peer: False,
        may_serve: Callable[[FeedId], bool] = lambda _feed: True,
    ) -> None:
        self._heads = {feed: sequence for feed, sequence in heads.items() if sequence}
        self._wanted = set(wanted)
        self._forked: set[FeedId] = set()
        self._is_blocked = is_blocked
        # Whether a feed that we hold and don't want (any longer, or imported) goes to whoever asks for it.
        self._may_serve = may_serve
        self._sessions: dict[Hashable, _Session] = {}
        self._source: dict[FeedId, Hashable] = {}
        # Feeds that some session is ahead with, and when there was last progress or a new source.
        self._behind: dict[FeedId, float] = {}
        self._remembered: dict[PeerId, dict[FeedId, int]] = {}

    # --- sessions ---

    def connect(self, key: Hashable, peer: PeerId, *, dialled: bool, now_s: float = 0.0) -> None:
        """A replication stream with `peer` is open. The dialler stays silent until it has heard the first notes."""
        self.disconnect(key, now_s)
        session = _Session(key, peer, dialled, self._remembered.pop(peer, {}))
        self._sessions[key] = session
        if not dialled:
            self._start(session)

    def disconnect(self, key: Hashable, now_s: float) -> None:
        """A stream ended: its feeds are asked of others."""
        session = self._sessions.pop(key, None)
        if session is None:
            return
        if session.started:
            # Not what they said of feeds that mean nothing to us: strangers come and go, and their clocks are long.
            self._remembered[session.peer] = {
                feed: note for feed, note in session.remote.items() if feed in self._wanted or feed in self._heads
            }
            while len(self._remembered) > REMEMBERED_PEERS_MAX:
                del self._remembered[next(iter(self._remembered))]
        for feed in session.asked:
            del self._source[feed]
            self._find_source(feed, now_s)

    def source(self, feed: FeedId) -> Hashable | None:
        """The session that a feed is asked of now."""
        return self._source.get(feed)

    def missing(self, key: Hashable) -> int:
        """How many messages we ask of this session that it claims to have."""
        session = self._sessions.get(key)
        if session is None:
            return 0
        return sum(
            max(0, session.remote_sequence(feed) - self._heads.get(feed, 0))
            for feed in self._behind
            if feed in session.asked
        )

    def _start(self, session: _Session) -> None:
        session.started = True
        for feed in self._wanted:
            if self._is_blocked(feed, session.peer):
                continue
            # What both had when they parted needs no word: whoever gets ahead says so.
            head = self._heads.get(feed, 0)
            if not head or session.remote_sequence(feed) != head:
                self._offer_source(feed, session)
                self._tell(session, feed)

    # --- what they tell ---

    def receive_notes(self, key: Hashable, notes: Mapping[str, object], now_s: float) -> int:
        """They told us notes. Entries that are none are ignored; returns how many were taken."""
        session = self._sessions.get(key)
        if session is None:
            return 0
        taken: list[FeedId] = []
        for name, note in notes.items():
            feed = FeedId(name)
            if type(note) is not int or not NOT_REPLICATED <= note <= 2 * SEQUENCE_MAX + 1:
                continue
            is_known = feed in self._wanted or feed in session.remote
            if not is_known and (len(session.remote) >= FEEDS_MAX or not is_feed_id(name)):
                continue
            session.remote[feed] = note
            taken.append(feed)
        if not session.started:
            self._start(session)
        for feed in taken:
            self._apply(session, feed, now_s)
        return len(taken)

    def _apply(self, session: _Session, feed: FeedId, now_s: float) -> None:
        note = session.remote[feed]
        sequence, head = note >> 1, self._heads.get(feed, 0)
        is_wanted = feed in self._wanted
        if self._is_blocked(feed, session.peer) or not (is_wanted or (head and self._may_serve(feed))):
            if note != NOT_REPLICATED:
                session.tell(feed, NOT_REPLICATED)
            return
        if note_receives(note):
            session.serves[feed] = sequence
            if head > sequence:
                session.ready[feed] = None
            else:
                session.ready.pop(feed, None)
        else:
            session.serves.pop(feed, None)
            session.ready.pop(feed, None)
        if not is_wanted:
            if note != NOT_REPLICATED and session.told.get(feed, NOT_REPLICATED) == NOT_REPLICATED:
                self._tell(session, feed)
            return
        if note == NOT_REPLICATED:
            session.told.pop(feed, None)  # they dropped what we asked for: should they come back, we ask again
            self._release(session, feed, now_s)
            return
        was_asked = feed in session.asked
        if sequence > head and feed not in self._forked:
            self._behind.setdefault(feed, now_s)
            source = self._sessions.get(self._source.get(feed))
            # What they had when we met is news of long ago; what they have since may reach us through the source too.
            is_old = feed not in session.heard or feed_of(session.peer) == feed
            if is_old and source is not None and source.remote_sequence(feed) <= head:
                self._set_source(feed, session)
        session.heard.add(feed)
        self._offer_source(feed, session)
        must_know = head > sequence and feed not in session.serves
        if must_know or feed not in session.told or (feed in session.asked and not was_asked):
            self._tell(session, feed)

    def received(self, key: Hashable, feed: FeedId, sequence: int, now_s: float) -> None:
        """They sent us a message, so they have it: it is not sent back."""
        session = self._sessions.get(key)
        if session is None:
            return
        session.active_s = now_s
        note = session.remote.get(feed)
        if note is None or note >> 1 < sequence:
            if note is None and len(session.remote) >= FEEDS_MAX:
                return
            session.remote[feed] = encode_note(sequence, receive=note is not None and note_receives(note))
            if session.serves.get(feed, sequence) < sequence:
                session.serves[feed] = sequence

    # --- what happens here ---

    def advanced(self, feed: FeedId, sequence: int, now_s: float) -> None:
        """Our log (as far as it may be served) has this feed up to `sequence` now; it may also have become shorter."""
        is_new = not self._heads.get(feed)
        self._heads[feed] = sequence
        if feed not in self._wanted:
            self._advanced_unwanted(feed, sequence, is_new, now_s)
            return
        ahead = False
        for session in self._sessions.values():
            if not session.started:
                continue
            theirs = session.remote_sequence(feed)
            ahead = ahead or theirs > sequence
            served = session.serves.get(feed)
            if served is not None:
                if served < sequence:
                    session.ready[feed] = None
            elif NOT_REPLICATED != theirs < sequence and not self._is_blocked(feed, session.peer):
                self._tell(session, feed)
        if ahead and feed not in self._forked:
            self._behind[feed] = now_s
        else:
            self._behind.pop(feed, None)

    def _advanced_unwanted(self, feed: FeedId, sequence: int, is_new: bool, now_s: float) -> None:
        for session in self._sessions.values():
            if is_new and feed in session.remote:
                self._apply(session, feed, now_s)  # they were told that we don't replicate it
            elif session.serves.get(feed, sequence) < sequence:
                session.ready[feed] = None

    def want(self, feeds: Iterable[FeedId], now_s: float) -> None:
        """Replicates these feeds from now on."""
        for feed in feeds:
            if feed in self._wanted:
                continue
            self._wanted.add(feed)
            for session in self._sessions.values():
                if session.started and not self._is_blocked(feed, session.peer):
                    if feed in session.remote:
                        self._apply(session, feed, now_s)
                    self._offer_source(feed, session)
                    if session.remote.get(feed) != NOT_REPLICATED:
                        self._tell(session, feed)

    def unwant(self, feeds: Iterable[FeedId]) -> None:
        """Stops replicating these feeds, both ways."""
        for feed in feeds:
            self._wanted.discard(feed)
            self._behind.pop(feed, None)
            self._source.pop(feed, None)
            for session in self._sessions.values():
                session.asked.discard(feed)
                session.serves.pop(feed, None)
                session.ready.pop(feed, None)
                if feed in session.told:
                    session.tell(feed, NOT_REPLICATED)

    def set_forked(self, feed: FeedId, forked: bool, now_s: float) -> None:
        """A forked feed is served and never asked for."""
        if not forked:
            self._forked.discard(feed)
            self._find_source(feed, now_s)
            return
        self._forked.add(feed)
        self._behind.pop(feed, None)
        key = self._source.pop(feed, None)
        if key is not None:
            session = self._sessions[key]
            session.asked.discard(feed)
            self._tell(session, feed)

    def ask_again(self, feed: FeedId, now_s: float) -> None:
        """What was on its way was thrown away: the source is asked again from our head on."""
        key = self._source.get(feed)
        if key is not None:
            self._behind.setdefault(feed, now_s)
            self._tell(self._sessions[key], feed, again=True)

    @property
    def is_behind(self) -> bool:
        """Whether some session is ahead of us with some feed: `tick` has something to watch."""
        return bool(self._behind)

    def tick(self, now_s: float) -> None:
        """Moves feeds whose source does not deliver; to be called every LAG_S while `is_behind`."""
        for feed, since_s in list(self._behind.items()):
            if now_s - since_s < LAG_S:
                continue
            source = self._sessions.get(self._source.get(feed))
            head = self._heads.get(feed, 0)
            if source is not None and source.remote_sequence(feed) > head and not _stalls(source, since_s, now_s):
                continue
            ahead = [
                session
                for session in self._sessions.values()
                if session.started and session.remote_sequence(feed) > head and not self._is_blocked(feed, session.peer)
            ]
            if not ahead:
                del self._behind[feed]
                continue
            self._behind[feed] = now_s
            # The next one in turn, so that all are tried before one is tried again.
            chosen = ahead[(ahead.index(source) + 1) % len(ahead)] if source in ahead else ahead[0]
            self._set_source(feed, chosen)
            self._tell(chosen, feed, again=chosen is source)

    # --- what to say and send ---

    def take_notes(self, key: Hashable) -> dict[FeedId, int] | None:
        """Notes to tell this session now, at most NOTES_A_BODY_MAX of them; None when there is nothing to tell.

        The first notes of an acceptor may be empty, and are told all the same: the dialler waits for them.
        """
        session = self._sessions.get(key)
        if session is None or not session.started:
            return None
        if len(session.outbox) <= NOTES_A_BODY_MAX:
            notes, session.outbox = session.outbox, {}
        else:
            notes = {feed: session.outbox.pop(feed) for feed in list(session.outbox)[:NOTES_A_BODY_MAX]}
        return notes or None

    def next_send(self, key: Hashable) -> tuple[FeedId, int] | None:
        """A feed to send to this session, and after which sequence; None when it is up to date."""
        session = self._sessions.get(key)
        while session is not None and session.ready:
            feed = next(iter(session.ready))
            if not self._is_blocked(feed, session.peer):
                return feed, session.serves[feed]
            del session.ready[feed], session.serves[feed]
            session.tell(feed, NOT_REPLICATED)
        return None

    def sent(self, key: Hashable, feed: FeedId, after: int, sequence: int) -> None:
        """Messages of a feed after `after` up to `sequence` were sent; other feeds get their turn.

        Nothing happens when they asked for another place meanwhile.
        """
        session = self._sessions.get(key)
        if session is None or session.serves.get(feed) != after:
            return
        session.serves[feed] = sequence
        if session.ready.pop(feed, 0) is None and after < sequence < self._heads.get(feed, 0):
            session.ready[feed] = None

    # --- sources ---

    def _offer_source(self, feed: FeedId, session: _Session) -> None:
        """Takes a session as source of a feed that has none."""
        if (
            (feed not in self._source or feed_of(session.peer) == feed)
            and feed not in self._forked
            and session.started
            and session.remote.get(feed) != NOT_REPLICATED
        ):
            self._set_source(feed, session)

    def _set_source(self, feed: FeedId, session: _Session) -> None:
        old = self._source.get(feed)
        self._source[feed] = session.key
        session.asked.add(feed)
        if old is not None and old != session.key:
            loser = self._sessions[old]
            loser.asked.discard(feed)
            self._tell(loser, feed)

    def _release(self, session: _Session, feed: FeedId, now_s: float) -> None:
        if self._source.get(feed) == session.key:
            del self._source[feed]
            session.asked.discard(feed)
            self._find_source(feed, now_s)

    def _find_source(self, feed: FeedId, now_s: float) -> None:
        """Asks the session that has most of a feed that has no source."""
        if feed not in self._wanted or feed in self._forked or feed in self._source:
            return
        best: _Session | None = None
        for session in self._sessions.values():
            if not session.started or session.remote.get(feed) == NOT_REPLICATED:
                continue
            if best is not None and session.remote_sequence(feed) <= best.remote_sequence(feed):
                continue
            if not self._is_blocked(feed, session.peer):
                best = session
        if best is not None:
            if best.remote_sequence(feed) > self._heads.get(feed, 0):
                self._behind[feed] = now_s
            self._set_source(feed, best)
            self._tell(best, feed)

    def _tell(self, session: _Session, feed: FeedId, *, again: bool = False) -> None:
        note = encode_note(self._heads.get(feed, 0), receive=self._source.get(feed) == session.key)
        session.tell(feed, note, again=again)


def _stalls(source: _Session, since_s: float, now_s: float) -> bool:
    return now_s - max(since_s, source.active_s) >= STALL_S or now_s - since_s >= WITHHELD_S
