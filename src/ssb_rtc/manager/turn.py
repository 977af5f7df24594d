"""The scratch of one step: what the slices read and write while one action is taken.

It is made from a state, lives for one call of `step` and never leaves it. The tables in it are persistent, so
writing here changes no older state. Everything that has to hold between tables is kept here, in one place: the queue
of who is due, the lists of linked and trying peers, one timer a key.
"""

from __future__ import annotations

import math
from operator import attrgetter
from typing import TYPE_CHECKING

from ssb_rtc.manager.actions import Action
from ssb_rtc.manager.chance import draw
from ssb_rtc.manager.due import Entry
from ssb_rtc.manager.effects import ArmTimer, CancelTimer, Effect, IgnoreAction, SchedulePeersUpdateTick
from ssb_rtc.manager.identity import public_key
from ssb_rtc.manager.state import Hub, Now, Peer, State
from ssb_rtc.types import HubUrl, PeerId

if TYPE_CHECKING:
    from ssb_rtc.manager.slots import Slots

TICK = "tick"
"""The timer of SCHEDULE_PEERS_UPDATE_TICK."""
CONNECT = "connect"
"""When the next peer may be dialled."""
BROADCAST = "broadcast"
SAVE = "save"

NOWHERE = HubUrl("")
"""Stands for the hub of peers that were heard on none: they came to our listener, or their hubs are gone."""

REASON_CHARACTERS_MAX = 200
"""What remote sides say is kept and passed on no longer than this."""


def hub_timer(hub: HubUrl) -> str:
    """Its time-out while it is being connected, its back-off while it is not."""
    return f"hub:{hub}"


def announce_timer(hub: HubUrl) -> str:
    """When to announce ourselves there next."""
    return f"announce:{hub}"


def knock_timer(hub: HubUrl) -> str:
    """When friends are knocked at on this hub next."""
    return f"knock:{hub}"


def attempt_timer(peer: PeerId) -> str:
    """The time-out of the attempt at this peer."""
    return f"peer:{peer}"


def handover_timer(peer: PeerId) -> str:
    """When the second link to this peer goes, whatever is known by then."""
    return f"handover:{peer}"


def short(reason: str) -> str:
    """A reason from outside, cut to a length that can be kept."""
    return reason[:REASON_CHARACTERS_MAX]


_fields_of = attrgetter(*State.__struct_fields__)
"""What a turn holds for each field of the state, in their order: made anew by position, which is quick."""


class Turn:
    """One step under way. Its attributes with the names of the state's fields become the next state."""

    __slots__ = (
        "_draws",
        "aside",
        "asked",
        "blocked",
        "closing",
        "dial_after_s",
        "dials_in_vain",
        "displaced_s",
        "due",
        "effects",
        "entries_revision",
        "friends",
        "friends_after_s",
        "friends_in_vain",
        "full",
        "handovers",
        "heard",
        "hops",
        "hubs",
        "inboxes",
        "initial_sync",
        "introduce_at_s",
        "introduced_s",
        "introduced_to",
        "introductions",
        "linked",
        "mono_s",
        "next_id",
        "now",
        "online_s",
        "own",
        "own_key",
        "peers",
        "pinned",
        "probes",
        "refill",
        "refill_hubs",
        "refused_friend_s",
        "refused_s",
        "revision",
        "rotated_s",
        "saved_revision",
        "seed",
        "settings",
        "slots",
        "started_s",
        "state",
        "steps",
        "swept_s",
        "tell",
        "timers",
        "trying",
        "vouched",
        "wall_s",
    )

    def __init__(self, state: State, now: Now) -> None:  # noqa: PLR0915 - one for each field
        self.state = state
        self.settings = state.settings
        self.own = state.own
        self.own_key = state.own_key
        self.seed, self.started_s = state.seed, state.started_s
        self.steps = state.steps
        self.mono_s = max(state.now.mono_s, now.mono_s)
        self.wall_s = now.wall_s
        self.now = Now(self.mono_s, now.wall_s)
        self.peers = state.peers
        self.hubs = state.hubs
        self.heard = state.heard
        self.blocked = state.blocked
        self.hops = state.hops
        self.pinned = state.pinned
        self.inboxes = state.inboxes
        self.vouched, self.probes = state.vouched, state.probes
        self.timers = state.timers
        self.aside = state.aside
        self.due = state.due
        self.friends = state.friends
        self.asked = state.asked
        self.full = state.full
        self.linked = state.linked
        self.trying = state.trying
        self.handovers = state.handovers
        self.introduce_at_s, self.introduced_s = state.introduce_at_s, state.introduced_s
        self.introduced_to, self.introductions = state.introduced_to, state.introductions
        self.initial_sync = state.initial_sync
        self.dials_in_vain = state.dials_in_vain
        self.dial_after_s = state.dial_after_s
        self.friends_in_vain = state.friends_in_vain
        self.friends_after_s = state.friends_after_s
        self.online_s = state.online_s
        self.swept_s = state.swept_s
        self.rotated_s = state.rotated_s
        self.displaced_s = state.displaced_s
        self.refused_s, self.refused_friend_s = state.refused_s, state.refused_friend_s
        self.next_id = state.next_id
        self.revision, self.saved_revision = state.revision, state.saved_revision
        self.entries_revision = state.entries_revision
        self.closing = state.closing
        self.effects: list[Effect] = []
        self.refill = False
        """Something changed that decides who is dialled next."""
        self.refill_hubs = False
        """Something changed that decides which hub that others told us of is tried next."""
        self.slots: Slots | None = None
        """What `slots.count` last found, until a row changes."""
        self.tell = False
        """Something changed that linked peers should hear of."""
        self._draws = 0

    def finish(self) -> tuple[State, tuple[Effect, ...]]:
        """The new state and what to do."""
        self.steps += 1
        return State(*_fields_of(self)), tuple(self.effects)

    def emit(self, effect: Effect) -> None:
        """Order an effect, after those ordered before."""
        self.effects.append(effect)

    def ignore(self, action: Action, reason: str) -> None:
        """Say why an action changes nothing."""
        self.effects.append(IgnoreAction(action.kind, reason))

    def new_id(self) -> int:
        """A number for an attempt or a hub connection."""
        self.next_id += 1
        return self.next_id - 1

    def uniform(self, low: float, high: float) -> float:
        """A random number between the two."""
        self._draws += 1
        return low + (high - low) * draw(self.seed, self.steps, self._draws)

    def jittered(self, duration_s: float) -> float:
        """The duration, shorter or longer by up to the setting `jitter`."""
        return duration_s * self.uniform(1 - self.settings.jitter, 1 + self.settings.jitter)

    def believed_s(self, duration_s: float | None) -> float | None:
        """A duration that somebody else named, cut to `hold_max_s`; None where it means nothing."""
        if duration_s is None or not math.isfinite(duration_s):
            return None
        return min(max(duration_s, 0.0), self.settings.hold_max_s)

    def outranks(self, peer: PeerId) -> bool:
        """True where our key is the greater one: between two diallers, ours stands."""
        return self.own_key > (public_key(peer) or b"")

    def arm(self, key: str, due_s: float, reason: str) -> None:
        """Arm the timer of this key, in place of the one before."""
        if self.timers.get(key) != due_s:
            self.timers = self.timers.set(key, due_s)
            effect = SchedulePeersUpdateTick if key == TICK else ArmTimer
            self.effects.append(effect(key, due_s, reason))

    def cancel(self, key: str, reason: str) -> None:
        """Cancel the timer of this key, if it is armed."""
        if key in self.timers:
            self.timers = self.timers.delete(key)
            self.effects.append(CancelTimer(key, reason))

    def put_hub(self, hub: Hub) -> None:
        """Write a row of the table of hubs."""
        old = self.hubs.get(hub.url)
        if old is None or old.connection_state != hub.connection_state:
            self.refill = self.refill_hubs = True
        self.hubs = self.hubs.set(hub.url, hub)

    def drop_hub(self, hub: HubUrl) -> None:
        """Remove a row of the table of hubs."""
        self.refill = self.refill_hubs = True
        self.hubs = self.hubs.delete(hub)

    def put_peer(self, peer: Peer) -> None:
        """Write a row of the table of peers, and what the other tables say of it."""
        old = self.peers.get(peer.id)
        self._index(old, peer)
        if old is None or not _same_ways(old, peer):
            self._count_heard(old, -1)
            self._count_heard(peer, 1)
        self.peers = self.peers.set(peer.id, peer)

    def drop_peer(self, peer: PeerId) -> None:
        """Remove a row of the table of peers, and what the other tables say of it."""
        old = self.peers[peer]
        self._index(old, None)
        self._count_heard(old, -1)
        self.peers = self.peers.delete(peer)

    def _index(self, old: Peer | None, new: Peer | None) -> None:
        row = new or old
        assert row is not None
        peer = row.id
        self.slots = None
        before, after = _entry(old), _entry(new)
        was_asked, is_asked = old is not None and old.asked, new is not None and new.asked
        if before != after or (after is not None and was_asked != is_asked):
            self._leave_queue(before, asked=was_asked)
            self._join_queue(after, asked=is_asked)
        lay, lies = _aside(old), _aside(new)
        if lay != lies:
            aside = self.aside if lay is None else self.aside.removed(lay)
            self.aside = aside if lies is None else aside.added(lies)
        had_link, had_attempt, had_rival = _open(old)
        has_link, has_attempt, has_rival = _open(new)
        if had_link != has_link:
            self.tell = True
            self.linked = self._listed(self.linked, peer, has_link)
        if had_attempt != has_attempt:
            self.trying = self._listed(self.trying, peer, has_attempt)
        if had_rival != has_rival:
            self.handovers = self._listed(self.handovers, peer, has_rival)

    def _leave_queue(self, entry: Entry | None, *, asked: bool) -> None:
        if entry is not None:
            name = self._queue_of(entry[1], asked)
            setattr(self, name, getattr(self, name).removed(entry))

    def _join_queue(self, entry: Entry | None, *, asked: bool) -> None:
        if entry is not None:
            name = self._queue_of(entry[1], asked)
            setattr(self, name, getattr(self, name).added(entry))
            self.refill |= name not in self.full

    def note_refusal(self, *, near: bool) -> None:
        """Somebody was sent away for want of a slot."""
        self.refused_s = self.mono_s
        if near:
            self.refused_friend_s = self.mono_s

    def dial_freely(self) -> None:
        """Dials in vain are forgotten."""
        self.dials_in_vain = self.friends_in_vain = 0
        self.dial_after_s = self.friends_after_s = self.mono_s

    def newcomer(self, row: Peer) -> None:
        """Look for somebody to dial after this step, unless there was no slot for such a one when we last did."""
        self.refill |= self._queue_of(row.id, row.asked) not in self.full

    def _queue_of(self, peer: PeerId, asked: bool) -> str:
        if asked:
            return "asked"
        return "friends" if peer in self.hops else "due"

    def put_hops(self, peer: PeerId, hops: int | None) -> None:
        """Note how far away a peer is, None for a stranger."""
        self.slots = None
        row = self.peers.get(peer)
        entry = _entry(row)
        asked = row is not None and row.asked
        self._leave_queue(entry, asked=asked)
        self.hops = self.hops.delete(peer) if hops is None else self.hops.set(peer, hops)
        self._join_queue(entry, asked=asked)
        self.refill = True

    def _count_heard(self, row: Peer | None, by: int) -> None:
        for hub in (row.sources or (NOWHERE,)) if row is not None else ():
            peers = self.heard.get(hub, 0) + by
            self.heard = self.heard.set(hub, peers) if peers else self.heard.delete(hub)

    def _listed(self, peers: tuple[PeerId, ...], peer: PeerId, is_now: bool) -> tuple[PeerId, ...]:
        self.refill = True
        return (*peers, peer) if is_now else tuple(other for other in peers if other != peer)


def _same_ways(old: Peer, new: Peer) -> bool:
    """Whether a row knows the routes that it knew, by identity, which errs on the safe side."""
    if len(old.routes) != len(new.routes):
        return False
    for before, after in zip(old.routes, new.routes, strict=True):  # noqa: SIM110 - in each step; a generator is slower
        if before.route is not after.route:
            return False
    return True


def _open(row: Peer | None) -> tuple[bool, bool, bool]:
    """Whether a row has a link, an attempt, a second link."""
    if row is None:
        return False, False, False
    return row.link is not None, row.attempt is not None, row.rival is not None


def _entry(row: Peer | None) -> Entry | None:
    """Where a row stands in a queue: only disconnected peers with a route that isn't known to be useless do."""
    if row is None or row.link is not None or row.attempt is not None or row.parked or not row.routes:
        return None
    return row.ready_s, row.id


def _aside(row: Peer | None) -> Entry | None:
    """Where a disconnected row lies that stands in no queue."""
    if row is None or row.link is not None or row.attempt is not None or (row.routes and not row.parked):
        return None
    return row.ready_s, row.id
