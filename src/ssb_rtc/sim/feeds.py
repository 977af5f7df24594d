"""Replication in the abstract: feeds are numbers that grow, links carry them at a rate, managers are told of downloads.

As our EBT does it: whoever opens a link tells what it holds; a feed is fetched from one peer at a time, and from
another one when nothing came for `STALL_S`; what arrives is told on at once to those who want it.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

from ssb_rtc.manager import actions as a
from ssb_rtc.sim.node import Node

if TYPE_CHECKING:
    from ssb_rtc.sim.network import End
    from ssb_rtc.sim.party import Party
    from ssb_rtc.sim.world import World

STALL_S: Final = 10.0
NOTE_S: Final = 0.1
"""What is new is gathered for so long before it is told on."""
QUICK_S: Final = 1.0
"""A download that is over within this time is not told to the manager."""
TRICKLE: Final = 0.1
"""Messages a second of a download that trickles."""
BUCKETS: Final = 20
"""Of the histogram of delays: so many to a factor of e."""


class Session:
    """One direction of a link that replicates: what its owner fetches from the other end."""

    __slots__ = (
        "begun_s", "credit", "dirty", "end", "fetching", "moved", "moved_s", "pumping", "rate_s", "since_s", "stalled",
        "theirs", "told", "told_s", "untold",
    )  # fmt: skip

    def __init__(self, end: End, rate_s: float, now_s: float) -> None:
        self.end = end
        self.rate_s = rate_s
        self.theirs: dict[int, int] = {}
        """Up to where the remote has each feed that we want."""
        self.fetching: dict[int, bool] = {}
        """The feeds that come over this link, in the order in which they are asked for."""
        self.dirty: dict[int, bool] = {}
        """Feeds of ours that have grown since the remote was told."""
        self.credit = 0.0
        self.since_s = now_s
        self.moved_s = now_s
        self.begun_s = now_s
        """When the download that is under way began."""
        self.moved: deque[tuple[float, int]] = deque()
        """What came in the last half minute, for those who judge a cut."""
        self.pumping = False
        self.told = False
        """The manager knows that it downloads."""
        self.told_s = -1.0
        self.untold = 0
        self.stalled = False


class Replication:
    """Who holds what, who wants what, and how it moves."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dice = world.dice("feeds")
        self.held: list[dict[int, int]] = []
        """By party: feed -> how many of its messages it holds. A feed has its author's number."""
        self.wants: list[dict[int, int]] = []
        """By party: the feeds that it replicates, with how many hops they are away; its own has 0."""
        self.wanted_by: dict[int, list[int]] = {}
        self.written: dict[int, list[float]] = {}
        """By feed: when each message was written."""
        self.source: list[dict[int, Session]] = []
        self.needed = self.got = self.redundant = 0
        self.delays: dict[int, int] = {}
        """A histogram of how long messages took: bucket -> messages."""
        self.stuck = self.trickle = 0.0
        """The share of links that deliver nothing, or next to nothing."""

    def add(self, party: Party, wants: dict[int, int], messages: int) -> None:
        """A party takes part, with a feed of so many messages."""
        assert len(self.held) == party.number
        self.held.append({party.number: messages})
        self.wants.append({party.number: 0, **wants})
        self.source.append({})
        self.written[party.number] = [0.0] * messages
        for feed in wants:
            self.wanted_by.setdefault(feed, []).append(party.number)

    def settle(self) -> None:
        """Everybody is there: count what has to arrive."""
        for feed, written in self.written.items():
            self.needed += len(written) * len(self.wanted_by.get(feed, ()))

    def publish(self, party: Party) -> None:
        """A party writes a message."""
        feed = party.number
        self.held[feed][feed] = self.held[feed].get(feed, 0) + 1
        self.written[feed].append(self.world.now_s)
        self.needed += len(self.wanted_by.get(feed, ()))
        self._tell_on(party, feed)

    def missing(self, number: int) -> int:
        """How many messages a party lacks."""
        held, written = self.held[number], self.written
        return sum(len(written[feed]) - held.get(feed, 0) for feed in self.wants[number])

    # --- links ---

    def opened(self, end: End) -> None:
        """One end replicates over its link from now on; when both do, it begins."""
        other = end.other
        if end.session is None and other.used and other.open and other.session is None:
            for each in (end, other):
                each.session = Session(each, self._rate_s(each), self.world.now_s)
                self.world.later(each.link.latency_s, self._clock, each.session)

    def _rate_s(self, end: End) -> float:
        if self.dice.chance(self.stuck):
            return 0.0
        return TRICKLE if self.dice.chance(self.trickle) else end.link.rate_s

    def closed(self, end: End) -> None:
        """An end replicates no longer over its link: what it fetched comes from elsewhere."""
        for each in (end, end.other):
            session, each.session = each.session, None
            if session is not None:
                self._move(session)
        end.used = False

    def _alive(self, session: Session) -> bool:
        end = session.end
        return end.session is session and end.open and end.owner.awake

    def _clock(self, session: Session) -> None:
        """What the remote holds has arrived."""
        end = session.end
        if not self._alive(session) or end.link.dead:
            return
        mine, theirs, remote_wants = self.wants[end.owner.number], end.other.owner.number, self.wants
        held = self.held[theirs]
        if len(mine) < len(held):
            for feed in mine:
                if feed in held and feed in remote_wants[theirs]:
                    session.theirs[feed] = held[feed]
        else:
            for feed, has in held.items():
                if feed in mine:
                    session.theirs[feed] = has
        for feed in session.theirs:
            self._look_at(session, feed)

    def _look_at(self, session: Session, feed: int) -> None:
        """Fetch a feed over this link, if it has more than we and nobody brings it already."""
        number = session.end.owner.number
        if session.theirs[feed] <= self.held[number].get(feed, 0):
            return
        now = self.source[number].get(feed)
        if now is None:
            self.source[number][feed] = session
            session.fetching[feed] = True
            self._begin(session)

    def _begin(self, session: Session) -> None:
        if session.pumping:
            return
        session.pumping = True
        session.credit, session.stalled = 0.0, False
        session.begun_s = session.since_s = session.moved_s = self.world.now_s
        missing = self._missing(session)
        if session.rate_s * QUICK_S < missing:
            self._tell_started(session, missing)
        self.world.later(min(1.0, missing / max(session.rate_s, 1e-3)), self._pump, session)

    def _missing(self, session: Session) -> int:
        held, theirs = self.held[session.end.owner.number], session.theirs
        return sum(max(0, theirs[feed] - held.get(feed, 0)) for feed in session.fetching)

    def _pump(self, session: Session) -> None:
        """Let come what has had the time to come."""
        if not self._alive(session):
            return None
        now_s, end = self.world.now_s, session.end
        if not end.link.dead and end.other.owner.awake:
            session.credit += (now_s - session.since_s) * session.rate_s
        session.since_s = now_s
        came = self._take(session, int(session.credit + 1e-9))
        if came:
            session.credit -= came
            session.moved_s = now_s
            session.untold += came
            session.stalled = False
            session.moved.append((now_s, came))
            while session.moved[0][0] < now_s - 60.0:
                session.moved.popleft()
        missing = self._missing(session)
        if not missing:
            session.pumping, session.credit = False, 0.0
            for feed in session.fetching:
                self.source[end.owner.number].pop(feed, None)
            session.fetching.clear()
            return self._tell_ended(session)
        if session.told or session.rate_s * QUICK_S < missing:
            self._tell_progress(session, missing)
        if now_s - session.moved_s >= STALL_S and not session.stalled:
            session.stalled = self._stalls(session)
            if not session.pumping:
                return None
        return self.world.later(min(1.0, max(0.02, missing / max(session.rate_s, 1e-3))), self._pump, session)

    def _take(self, session: Session, most: int) -> int:
        number, left = session.end.owner.number, most
        held = self.held[number]
        for feed in session.fetching:
            has = held.get(feed, 0)
            new = min(left, session.theirs[feed] - has)
            if new > 0:
                left -= new
                held[feed] = has + new
                self._arrived(number, feed, has, new)
                self._tell_on(session.end.owner, feed)
            if not left:
                break
        return most - left

    def _arrived(self, number: int, feed: int, has: int, new: int) -> None:
        self.got += new
        now_s, started_s = self.world.now_s, self.world.parties[number].started_s or 0.0
        for written_s in self.written[feed][has : has + new]:
            delay_s = now_s - max(written_s, started_s)
            bucket = int(math.log(max(delay_s, 0.01)) * BUCKETS)
            self.delays[bucket] = self.delays.get(bucket, 0) + 1

    def _stalls(self, session: Session) -> bool:
        """Nothing came for a while: ask others, where others have it."""
        number = session.end.owner.number
        moved = False
        for feed in list(session.fetching):
            if self._other_source(session, feed) is not None:
                moved = True
        if moved:
            # What is on its way when the source changes arrives twice.
            self.redundant += min(self._missing(session), int(session.rate_s * 2 * session.end.link.latency_s))
            owner = session.end.owner
            if session.told and isinstance(owner, Node):
                reason = f"nothing came for {STALL_S:.0f} s"
                stalled = a.DownloadStalled(session.end.other.owner.id, session.end.number, reason)
                self.world.later(0.0, owner.act, stalled)
            for feed in list(session.fetching):
                better = self._other_source(session, feed)
                if better is not None:
                    del session.fetching[feed]
                    self.source[number][feed] = better
                    better.fetching[feed] = True
                    self._begin(better)
        return moved

    def _other_source(self, session: Session, feed: int) -> Session | None:
        owner = session.end.owner
        has = self.held[owner.number].get(feed, 0)
        for end in owner.links.values():
            other = end.session
            if other is not None and other is not session and not other.stalled and other.theirs.get(feed, 0) > has:
                return other
        return None

    def _move(self, session: Session) -> None:
        """A link is gone: what came over it comes from elsewhere, or waits."""
        number = session.end.owner.number
        for feed in session.fetching:
            if self.source[number].get(feed) is session:
                del self.source[number][feed]
                better = self._other_source(session, feed)
                if better is not None:
                    self._look_at(better, feed)
        session.fetching.clear()

    # --- what is told on ---

    def _tell_on(self, party: Party, feed: int) -> None:
        for end in party.links.values():
            session = end.session
            if session is not None and feed in self.wants[end.other.owner.number]:
                if not session.dirty:
                    self.world.later(NOTE_S + end.link.latency_s, self._notes, session)
                session.dirty[feed] = True

    def _notes(self, session: Session) -> None:
        """The remote hears which feeds have grown."""
        dirty, session.dirty = session.dirty, {}
        remote = session.end.other.session
        if session.end.session is not session or remote is None or session.end.link.dead or not self._alive(remote):
            return
        held = self.held[session.end.owner.number]
        for feed in dirty:
            remote.theirs[feed] = held[feed]
            self._look_at(remote, feed)

    # --- what the manager is told ---

    def _tell(self, session: Session, action: a.Action) -> None:
        owner = session.end.owner
        if isinstance(owner, Node):
            self.world.later(0.0, owner.act, action)

    def _tell_started(self, session: Session, missing: int) -> None:
        session.told, session.untold, session.told_s = True, 0, self.world.now_s
        session.begun_s = self.world.now_s
        self._tell(session, a.DownloadStarted(session.end.other.owner.id, session.end.number, missing))

    def _tell_progress(self, session: Session, missing: int) -> None:
        if not session.told:
            return self._tell_started(session, missing)
        if session.untold and self.world.now_s - session.told_s >= 1.0:
            progressed = a.DownloadProgressed(session.end.other.owner.id, session.end.number, session.untold, missing)
            session.untold, session.told_s = 0, self.world.now_s
            self._tell(session, progressed)
        return None

    def _tell_ended(self, session: Session) -> None:
        if session.told:
            session.told = False
            self._tell(session, a.DownloadEnded(session.end.other.owner.id, session.end.number))

    def downloads(self, end: End, floor: int, within_s: float) -> bool:
        """Whether the owner of this end fetches over it, above the floor rate, for long enough to be known."""
        session = end.session
        if session is None or not session.told:
            return False
        now_s = self.world.now_s
        came = sum(messages for at_s, messages in session.moved if at_s > now_s - within_s)
        return came >= floor and session.pumping
