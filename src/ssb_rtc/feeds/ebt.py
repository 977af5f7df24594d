"""EBT, epidemic broadcast trees, version 3: who sends which feed to whom. A pure state machine.

Two peers tell each other notes, `{feed: note}`: `2 * sequence` says "I have the feed up to there, send me more", one
more than that says "I have it up to there, don't send", -1 says "I don't replicate it". Messages travel raw between
them. Sources: ssb-ebt 9.1.2 and epidemic-broadcast-trees 9 (npm), and "Epidemic Broadcast Trees", Leitao et al., 2007.

One `Replicator` covers all links of a peer, one session a link. Each feed is asked of one session at a time, its
source, and all others hear "have, don't send"; they still tell us when they are ahead. A feed's author is its best
source. A feed of which we hold nothing is asked for once we know who has it, and of each session only so many messages
are asked at a time: so many peers share the work as each is fast, and what is on its way from one is not asked of
another. `tick` moves a feed whose source stalls. Work per event is bounded by the number of sessions, not of feeds.

A peer that we met before is told only the feeds of which it has, as far as we remember, another sequence than we: the
rule of epidemic-broadcast-trees. It is safe when either side lost its log: whoever did tells its new sequences, because
they differ from what it remembers of the other, and whoever is told a note of a feed always answers with its own.
Who keeps what `disconnect` gives must lose it together with the log, or before it (see storage.clocks).

    replicator.connect(key, peer, dialled=False)       a stream opened; only the acceptor speaks first
    replicator.receive_notes(key, notes, now_s)        they told us notes
    replicator.received(key, feed, sequence, now_s)    they sent us a message
    replicator.advanced(feed, sequence, now_s)         the log has more, from anywhere
    replicator.take_notes(key)                         what to tell them now
    replicator.next_send(key); replicator.sent(...)    what to send them now
    clock = replicator.disconnect(key, now_s)          what to remember of them
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Final

from ssb_rtc.feeds.ebt_session import NOT_REPLICATED, SEQUENCE_MAX, Session, encode_note, note_receives, note_sequence
from ssb_rtc.feeds.refs import is_feed_id
from ssb_rtc.types import FeedId, PeerId, feed_of

REFUSED_MAX: Final = 20_000
"""Feeds that mean nothing to us of which we keep what one session said; further ones get no answer."""
NOTES_A_BODY_MAX: Final = 10_000
"""Notes in one frame: about 600 KB."""
LAG_S: Final = 0.25
"""How long a source that is not ahead may keep a feed that another session is ahead with."""
STALL_S: Final = 10.0
"""How long a source that claims to be ahead may send nothing at all."""
FLOOR_MESSAGES: Final = 100
"""What a source that claims to be ahead must send within STALL_S, or whoever else is ahead is asked instead."""
SLOW_S: Final = 60.0
"""How long who was slower than that is asked only where nobody else is ahead."""
WITHHELD_S: Final = 60.0
"""How long a source may send nothing of a feed while it sends others."""
FLIGHT_MESSAGES: Final = 4_000
"""Messages that are asked of one session at a time (the last feed may exceed them): 3 MB, which is a third of a second
of ours and more than what is on its way over any link."""


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
        self._sessions: dict[Hashable, Session] = {}
        self._source: dict[FeedId, Hashable] = {}
        # Feeds that some session is ahead with, and when there was last progress or a new source.
        self._behind: dict[FeedId, float] = {}

    # --- sessions ---

    def connect(
        self,
        key: Hashable,
        peer: PeerId,
        *,
        dialled: bool,
        now_s: float = 0.0,
        remembered: Mapping[FeedId, int] | None = None,
    ) -> None:
        """A replication stream with `peer` is open. The dialler stays silent until it has heard the first notes.

        remembered: what the last `disconnect` gave for this peer, if nothing happened to our log since.
        """
        self.disconnect(key, now_s)
        session = Session(key, peer, dialled, {f: n for f, n in (remembered or {}).items() if f in self._wanted})
        self._sessions[key] = session
        if not dialled:
            self._start(session)

    def disconnect(self, key: Hashable, now_s: float) -> dict[FeedId, int]:
        """A stream ended: its feeds are asked of others. Gives what to remember of the peer, by feed.

        Only of feeds that we want: of others it was told that we don't, which must be taken back once we do.
        """
        session = self._sessions.pop(key, None)
        if session is None:
            return {}
        for feed in session.asked:
            del self._source[feed]
            self._find_source(feed, now_s)
        return {feed: note for feed, note in session.remote.items() if feed in self._wanted}

    def source(self, feed: FeedId) -> Hashable | None:
        """The session that a feed is asked of now."""
        return self._source.get(feed)

    def missing(self, key: Hashable) -> int:
        """How many messages we ask of this session that it claims to have."""
        session = self._sessions.get(key)
        if session is None or not self._behind:
            return 0
        return sum(
            max(0, session.remote_sequence(feed) - self._heads.get(feed, 0))
            for feed in session.asked
            if feed in self._behind
        )

    def missing_by_feed(self) -> dict[FeedId, int]:
        """Of each feed that we want, how many messages the session that claims most has beyond ours, where that is any.

        A claim costs nothing: what a stranger says of a feed is in it too, as long as it is what we ask for.
        """
        missing = {}
        notes = [session.remote for session in self._sessions.values()]
        for feed in self._behind:
            lacks = note_sequence(max([heard.get(feed, 0) for heard in notes], default=0)) - self._heads.get(feed, 0)
            if lacks > 0:
                missing[feed] = lacks
        return missing

    def given_up(self, key: Hashable, now_s: float) -> bool:
        """Whether this session is ahead of us, and nothing is asked of it because it was too slow of late."""
        session = self._sessions.get(key)
        if session is None or session.slow_until_s <= now_s:
            return False
        if any(feed in self._behind for feed in session.asked):
            return False
        return any(session.remote_sequence(feed) > self._heads.get(feed, 0) for feed in self._behind)

    def claimed(self, feed: FeedId) -> int:
        """Up to where those whom we dialled or replicate say that they have a feed, wanted or not; 0 where none does.

        What strangers who dialled us claim does not count: it costs them nothing and binds our owner's decisions.
        """
        return max(
            (session.remote_sequence(feed) for session in self._sessions.values() if self._is_chosen(session)),
            default=0,
        )

    def _is_chosen(self, session: Session) -> bool:
        """Whether we had a hand in meeting this peer; a stranger who dialled us can come again under any name."""
        return session.dialled or feed_of(session.peer) in self._wanted

    def _start(self, session: Session) -> None:
        session.started = True
        for feed in self._wanted:
            if self._is_blocked(feed, session.peer):
                continue
            # What both had when they parted, or they did not want, needs no word: whoever it changed for says so.
            head = self._heads.get(feed, 0)
            theirs = session.remote.get(feed, 0)
            if theirs != NOT_REPLICATED and (not head or theirs >> 1 != head):
                self._offer_source(feed, session)
                self._tell(session, feed)

    # --- what they tell ---

    def receive_notes(self, key: Hashable, notes: Mapping[str, object], now_s: float) -> int:
        """They told us notes. Entries that are none are ignored; returns how many those were.

        JavaScript peers send such too: names that are no feeds (an old fault of theirs) and null for NaN.
        """
        session = self._sessions.get(key)
        if session is None:
            return 0
        taken: list[FeedId] = []
        malformed = 0
        for name, note in notes.items():
            feed = FeedId(name)
            if type(note) is not int or not NOT_REPLICATED <= note <= 2 * SEQUENCE_MAX + 1:
                malformed += 1
                continue
            if feed not in self._wanted and feed not in self._heads and feed not in session.remote:
                if not is_feed_id(name):
                    malformed += 1
                    continue
                if session.refused >= REFUSED_MAX:
                    continue
                session.refused += 1
            session.remote[feed] = note
            taken.append(feed)
        if not session.started:
            self._start(session)
        for feed in taken:
            self._apply(session, feed, now_s)
        self._ask_more(session, now_s)
        return malformed

    def _apply(self, session: Session, feed: FeedId, now_s: float) -> None:
        note = session.remote[feed]
        sequence, head = note >> 1, self._heads.get(feed, 0)
        is_wanted = feed in self._wanted
        if self._is_blocked(feed, session.peer) or not (is_wanted or (head and self._may_serve(feed))):
            session.stop_serving(feed)
            self._release(session, feed, now_s)
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
            session.stop_serving(feed)
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
            if source is not None and feed not in session.heard and source.remote_sequence(feed) <= head:
                self._drop_source(feed)
            session.offers[feed] = None
        session.heard.add(feed)
        self._offer_source(feed, session)
        must_know = head > sequence and feed not in session.serves
        is_new = session.told.get(feed, NOT_REPLICATED) == NOT_REPLICATED
        if must_know or is_new or (feed in session.asked and not was_asked):
            self._tell(session, feed)

    def received(self, key: Hashable, feed: FeedId, sequence: int, now_s: float) -> None:
        """They sent us a message, so they have it: it is not sent back."""
        session = self._sessions.get(key)
        if session is None:
            return
        if sequence > self._heads.get(feed, 0):
            session.active_s = now_s
            session.delivered += 1
            if session.asked.get(feed):
                session.asked[feed] -= 1
                session.flight -= 1
                if session.offers and session.flight < FLIGHT_MESSAGES // 2:
                    self._ask_more(session, now_s)
        note = session.remote.get(feed)
        if (note is None or note >> 1 < sequence) and (feed in self._wanted or feed in self._heads):
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
        source = self._sessions.get(self._source.get(feed))
        if source is not None and source.asked[feed] and source.remote_sequence(feed) <= sequence:
            source.flight -= source.asked[feed]
            source.asked[feed] = 0
            self._ask_more(source, now_s)

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
                    self._share_feed(session, feed, now_s)

    def _share_feed(self, session: Session, feed: FeedId, now_s: float) -> None:
        """This feed may go both ways between us and this session from now on."""
        if feed in session.remote:
            self._apply(session, feed, now_s)
        self._offer_source(feed, session)
        if session.remote.get(feed) != NOT_REPLICATED:
            self._tell(session, feed)
        self._ask_more(session, now_s)

    def unwant(self, feeds: Iterable[FeedId]) -> None:
        """Stops replicating these feeds, both ways."""
        for feed in feeds:
            self._wanted.discard(feed)
            self._behind.pop(feed, None)
            self._source.pop(feed, None)
            for session in self._sessions.values():
                session.no_source(feed)
                session.stop_serving(feed)
                session.refuse(feed)

    def blocks_changed(self, feed: FeedId, now_s: float) -> None:
        """Whom the author of this feed blocks, or whether we block the author, may be another now."""
        for session in self._sessions.values():
            if not session.started:
                continue
            if self._is_blocked(feed, session.peer):
                session.stop_serving(feed)
                self._release(session, feed, now_s)
                session.refuse(feed)
            elif feed not in self._wanted:
                if feed in session.remote:
                    self._apply(session, feed, now_s)
            elif session.told.get(feed) == NOT_REPLICATED:
                self._share_feed(session, feed, now_s)

    def set_forked(self, feed: FeedId, forked: bool, now_s: float) -> None:
        """A forked feed is served and never asked for."""
        if not forked:
            self._forked.discard(feed)
            self._find_source(feed, now_s)
            return
        self._forked.add(feed)
        self._behind.pop(feed, None)
        self._drop_source(feed)

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
        slow = self._slow_sessions(now_s)
        for feed, since_s in list(self._behind.items()):
            source = self._sessions.get(self._source.get(feed))
            if source is None:  # it waits until somebody has sent enough of what is asked; nobody's turn is lost
                if now_s - since_s >= STALL_S:
                    self._behind[feed] = now_s
                    self._find_source(feed, now_s)
                continue
            stalls = now_s - max(since_s, source.active_s) >= STALL_S
            if source not in slow and not stalls:
                is_ahead = source.remote_sequence(feed) > self._heads.get(feed, 0)
                if now_s - since_s < (WITHHELD_S if is_ahead else LAG_S):
                    continue
            self._move(feed, source, now_s, again=stalls)

    def _slow_sessions(self, now_s: float) -> set[Session]:
        """The sessions that sent too little of what we ask of them, of late."""
        slow = set()
        for session in self._sessions.values():
            if not any(feed in self._behind for feed in session.asked):
                session.watched_since_s = None
            elif session.watched_since_s is None:
                session.watched_since_s, session.delivered = now_s, 0
            elif now_s - session.watched_since_s >= STALL_S:
                if session.delivered < FLOOR_MESSAGES:
                    slow.add(session)
                    session.slow_until_s = now_s + SLOW_S
                session.watched_since_s, session.delivered = now_s, 0
        return slow

    def _move(self, feed: FeedId, source: Session, now_s: float, *, again: bool) -> None:
        """Asks the next session in turn that is ahead, so that all are tried before one is tried again."""
        head = self._heads.get(feed, 0)
        ahead = [
            session
            for session in self._sessions.values()
            if session.started and session.remote_sequence(feed) > head and not self._is_blocked(feed, session.peer)
        ]
        if not ahead:
            del self._behind[feed]
            return
        self._behind[feed] = now_s
        first = ahead.index(source) + 1 if source in ahead else 0
        in_turn = ahead[first:] + ahead[:first]
        chosen = next((session for session in in_turn if session.slow_until_s <= now_s), in_turn[0])
        if chosen is not source:
            self._set_source(feed, chosen)
            self._tell(chosen, feed)
        elif again:
            self._tell(chosen, feed, again=True)

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

    def _ask_more(self, session: Session, now_s: float) -> None:
        """Asks for feeds that this session is ahead with and that nobody is asked for, while not too much is asked."""
        most = FLIGHT_MESSAGES if session.slow_until_s <= now_s else 1
        while session.offers and session.flight < most:
            feed = next(iter(session.offers))
            del session.offers[feed]
            if feed not in self._source and self._may_ask(feed, session):
                self._behind[feed] = now_s
                self._set_source(feed, session)
                self._tell(session, feed)

    def _may_ask(self, feed: FeedId, session: Session) -> bool:
        """Whether this session has more of a feed than we, and we want that from it."""
        return (
            session.started
            and session.remote_sequence(feed) > self._heads.get(feed, 0)
            and feed in self._wanted
            and feed not in self._forked
            and not self._is_blocked(feed, session.peer)
        )

    def _offer_source(self, feed: FeedId, session: Session) -> None:
        """Takes a session as source of what comes live of a feed that has none, or whose author it is."""
        head = self._heads.get(feed, 0)
        is_author = feed_of(session.peer) == feed
        if (
            (feed not in self._source or is_author)
            and (is_author or (session.remote_sequence(feed) <= head and (head or feed in session.heard)))
            and feed not in self._forked
            and session.started
            and session.remote.get(feed) != NOT_REPLICATED
        ):
            self._set_source(feed, session)

    def _set_source(self, feed: FeedId, session: Session) -> None:
        if self._source.get(feed) != session.key:
            self._drop_source(feed)
        self._source[feed] = session.key
        session.be_source(feed, max(0, session.remote_sequence(feed) - self._heads.get(feed, 0)))

    def _drop_source(self, feed: FeedId) -> None:
        key = self._source.pop(feed, None)
        if key is not None:
            self._sessions[key].no_source(feed)
            self._tell(self._sessions[key], feed)

    def _release(self, session: Session, feed: FeedId, now_s: float) -> None:
        if self._source.get(feed) == session.key:
            del self._source[feed]
            session.no_source(feed)
            self._find_source(feed, now_s)

    def _find_source(self, feed: FeedId, now_s: float) -> None:
        """Offers a feed that has no source to those that are ahead with it, or else takes anybody for what comes."""
        if feed not in self._wanted or feed in self._forked or feed in self._source:
            return
        sessions = [
            session
            for session in self._sessions.values()
            if session.started and session.remote.get(feed) != NOT_REPLICATED
        ]
        # Those first who are no strangers: else two of these who take turns would hold a feed for as long as they like.
        for session in sorted(sessions, key=lambda one: (not self._is_chosen(one), -one.remote_sequence(feed))):
            if self._may_ask(feed, session):
                self._behind.setdefault(feed, now_s)
                session.offers[feed] = None
                self._ask_more(session, now_s)
            elif feed not in self._behind and not self._is_blocked(feed, session.peer):
                self._offer_source(feed, session)
                self._tell(session, feed)
            if feed in self._source:
                return

    def _tell(self, session: Session, feed: FeedId, *, again: bool = False) -> None:
        note = encode_note(self._heads.get(feed, 0), receive=self._source.get(feed) == session.key)
        session.tell(feed, note, again=again)
