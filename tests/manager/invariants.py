"""What holds after each step, whatever came; and a runtime that only keeps books."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.downloads import syncing_until_s
from ssb_rtc.manager.explain import explain_hub, explain_peer
from ssb_rtc.manager.hub_gossip import WITNESSES_KEPT
from ssb_rtc.manager.hub_probe import PROBES_MAX
from ssb_rtc.manager.hubs import gossiped_max, is_spare
from ssb_rtc.manager.shares import crowded_hubs, only_over
from ssb_rtc.manager.slots import count
from ssb_rtc.manager.state import Now, State
from ssb_rtc.manager.step import step
from ssb_rtc.manager.turn import CONNECT, TICK, announce_timer, attempt_timer, handover_timer, hub_timer
from ssb_rtc.manager.view import hubs_view, peer_view, peers_view
from ssb_rtc.manager.vouching import host_of
from ssb_rtc.types import HubUrl, PeerId, behind


def fingerprint(state: State) -> tuple[Any, ...]:
    """All of a state, as plain values that later changes could not reach."""
    return tuple(
        tuple(sorted((key, repr(row)) for key, row in value.items())) if hasattr(value, "items") else repr(value)
        for value in (getattr(state, name) for name in state.__struct_fields__)
    )


@dataclass
class Books:
    """What a runtime would have open: it performs effects by writing them down."""

    timers: dict[str, float] = field(default_factory=dict)
    attempts: dict[int, PeerId] = field(default_factory=dict)
    dialled: dict[int, bool] = field(default_factory=dict)
    links: dict[int, PeerId] = field(default_factory=dict)
    used: dict[PeerId, int] = field(default_factory=dict)
    """The link of each peer that replicates."""
    connections: dict[int, HubUrl] = field(default_factory=dict)
    confirmed: set[int] = field(default_factory=set)
    unsaved: list[int] = field(default_factory=list)
    saved: int = 0
    links_made: int = 0
    asked: dict[str, float] = field(default_factory=dict)
    """When each host was asked whether a hub is there."""
    now_s: float = 0.0
    pause_s: float = 0.0
    allowed: int = 0
    """Links and attempts from before the settings allowed fewer: they end one by one, and none comes in their place."""

    def take(self, action: a.Action) -> None:
        """What a runtime has done by the time it dispatches this action."""
        match action:
            case a.TimerExpired() if self.timers.get(action.key) == action.due_mono_s:
                del self.timers[action.key]
            case a.RemotePeerConnectionSucceeded():
                self.attempts.pop(action.attempt or -1, None)
                self.links[action.link] = action.peer
            case a.RemotePeerConnectionFailed():
                self.attempts.pop(action.attempt, None)
            case a.RemotePeerLinkEnded():
                self._end(action.link)
            case a.HubConnectionSucceeded() if action.connection in self.connections:
                self.confirmed.add(action.connection)
            case a.HubConnectionFailed() | a.HubConnectionLost():
                self._close(action.connection)
            case a.HubsSaved() if action.revision in self.unsaved:
                self.unsaved.remove(action.revision)
                self.saved = max(self.saved, action.revision)
            case a.SaveHubsFailed() if action.revision in self.unsaved:
                self.unsaved.remove(action.revision)

    def _end(self, link: int) -> None:
        peer = self.links.pop(link, None)
        if peer is not None and self.used.get(peer) == link:
            del self.used[peer]

    def _close(self, connection: int) -> None:
        self.connections.pop(connection, None)
        self.confirmed.discard(connection)

    def _reaches(self, where: str) -> bool:
        between = behind(where)
        return between in self.used or where in {self.connections[connection] for connection in self.confirmed}

    def perform(self, effect: e.Effect) -> None:
        """Write an effect down; what makes no sense fails here."""
        assert effect.reason
        match effect:
            case e.ArmTimer() | e.SchedulePeersUpdateTick():
                self.timers[effect.key] = effect.due_mono_s
            case e.CancelTimer():
                del self.timers[effect.key]
            case e.ScheduleConnectToRemotePeer() | e.AcceptOffer():
                assert effect.peer not in self.attempts.values()
                if isinstance(effect, e.ScheduleConnectToRemotePeer) and effect.route.via == "hub":
                    assert self._reaches(effect.route.where)
                self.attempts[effect.attempt] = effect.peer
                self.dialled[effect.attempt] = isinstance(effect, e.ScheduleConnectToRemotePeer)
            case e.AbortAttempt():
                assert self.attempts.pop(effect.attempt) == effect.peer
            case e.ResendOffer():
                assert self.attempts[effect.attempt] == effect.peer
            case e.ScheduleDisconnectFromRemotePeer():
                assert self.links[effect.link] == effect.peer
                self._end(effect.link)
            case e.UseLink():
                assert self.links[effect.link] == effect.peer
                assert effect.peer not in self.used, "two links would replicate"
                self.used[effect.peer] = effect.link
            case e.TellRemotePeer():
                assert self.used[effect.peer] == effect.link
            case e.CheckLink():
                assert self.links[effect.link] == effect.peer
            case e.ScheduleConnectToHub():
                self.connections[effect.connection] = effect.hub
            case e.ScheduleDisconnectFromHub():
                assert self.connections[effect.connection] == effect.hub
                self._close(effect.connection)
            case e.ScheduleKnock():
                between = behind(effect.hub)
                if between is None:
                    assert effect.connection in self.confirmed
                else:
                    assert self.used[between] == effect.connection
                assert len(set(effect.peers)) == len(effect.peers) > 0
                assert not set(effect.peers) & {*self.used, *self.attempts.values()}
            case e.ScheduleAnnounceToHub() | e.ScheduleAnnounceLeaveToHub():
                assert self.connections[effect.connection] == effect.hub
                assert effect.connection in self.confirmed
            case e.ScheduleProbeHub():
                last_s = self.asked.get(effect.host)
                assert last_s is None or self.now_s - last_s >= self.pause_s, "a host is asked too often"
                self.asked[effect.host] = self.now_s
            case e.ScheduleSaveHubs():
                self.unsaved.append(effect.revision)
            case e.ScheduleBroadcastKnownHubs():
                assert effect.revision <= self.saved, "told before it was saved"
                assert set(effect.peers) <= set(self.links.values())
            case e.RefuseOffer() | e.IgnoreAction():
                pass


@dataclass
class World:
    """A state, its clock and its books; `do` is one step, with all that has to hold afterwards."""

    state: State
    now: Now
    books: Books = field(default_factory=Books)

    def do(self, action: a.Action) -> tuple[e.Effect, ...]:
        before = self.state
        print_before = fingerprint(before)
        self.books.take(action)
        self.state, effects = step(before, action, self.now)
        assert fingerprint(before) == print_before, "the input changed"
        again, effects_again = step(before, action, self.now)
        assert effects_again == effects
        assert fingerprint(again) == fingerprint(self.state)
        self.books.now_s, self.books.pause_s = self.state.now.mono_s, before.settings.hub_probe_pause_s
        if isinstance(action, a.HubProbeFailed) and not action.asked and not isinstance(effects[0], e.IgnoreAction):
            self.books.asked.pop(host_of(action.hub), None)
        for effect in effects:
            self.books.perform(effect)
        before_most = before.settings.peers_max + before.settings.handovers_max
        if isinstance(action, a.SettingsDidChange):
            self.books.allowed = max(self.books.allowed, before_most)
        self.books.allowed = min(self.books.allowed, len(self.state.linked) + len(self.state.trying))
        check(self.state, self.books)
        return effects

    def pass_time(self, duration_s: float) -> tuple[e.Effect, ...]:
        """Let time pass, and expire the timers that are due on the way; what was ordered."""
        effects: list[e.Effect] = []
        until_s = self.now.mono_s + duration_s
        while due := sorted((due_s, key) for key, due_s in self.books.timers.items() if due_s <= until_s):
            due_s, key = due[0]
            self._set_clock(max(due_s, self.now.mono_s))
            effects += self.do(a.TimerExpired(key, due_s))
        self._set_clock(until_s)
        return tuple(effects)

    def _set_clock(self, mono_s: float) -> None:
        self.now = Now(mono_s, self.now.wall_s + mono_s - self.now.mono_s)


def check(state: State, books: Books) -> None:
    """All invariants of a state, and that it agrees with the books."""
    _check_caps(state, books)
    _check_books(state, books)
    _check_indexes(state)
    _check_timers(state)
    _check_nobody_stalls(state)
    _check_views(state)


def _check_caps(state: State, books: Books) -> None:
    settings, slots = state.settings, count(state)
    assert len(state.peers) <= settings.known_peers_max
    assert len(state.hubs) <= settings.hubs_max
    assert len(state.blocked) <= settings.blocked_max
    attempts_max = settings.attempts_max * 2 + settings.inbound_attempts_max
    assert len(state.timers) <= 2 * settings.hubs_max + attempts_max + settings.handovers_max + 4
    assert all(len(row.routes) <= settings.routes_max for row in state.peers.values())
    assert slots.dialling <= settings.attempts_max
    # Two offers that cross turn an own attempt into an answer, beyond the limit of those.
    assert slots.answering <= settings.inbound_attempts_max + settings.attempts_max
    # Who is to displace a stranger goes beyond, and one who comes before a stuck link is given up.
    most = max(settings.peers_max + settings.handovers_max, books.allowed)
    assert slots.used <= most
    assert len(state.linked) <= most
    assert len(state.handovers) <= settings.handovers_max
    assert len(state.pinned) <= settings.pinned_max
    assert len(state.vouched) <= settings.vouched_max
    assert all(0 < len(witnesses) <= WITNESSES_KEPT for witnesses in state.vouched.values())
    assert len(state.probes) <= PROBES_MAX
    assert sum(hub.connection is not None and hub.source == "gossip" for hub in state.hubs.values()) <= (
        settings.gossiped_hubs_max
    )
    assert len(state.hops) <= settings.friends_known_max
    assert len(state.inboxes) <= settings.inboxes_max
    assert slots.handovers <= settings.handovers_max + settings.inbound_attempts_max
    assert slots.used + slots.stuck == sum(1 for row in state.peers.values() if row.link or row.attempt)


def _check_books(state: State, books: Books) -> None:
    assert dict(state.timers) == books.timers
    links = {link.id: row.id for row in state.peers.values() for link in (row.link, row.rival) if link}
    assert links == books.links
    assert {row.id: row.link.id for row in state.peers.values() if row.link} == books.used
    assert {row.attempt.id: row.id for row in state.peers.values() if row.attempt} == books.attempts
    assert {hub.connection: hub.url for hub in state.hubs.values() if hub.connection is not None} == books.connections
    for row in state.peers.values():
        assert row.attempt is None or books.dialled[row.attempt.id] == row.attempt.dialled
    for hub in state.hubs.values():
        assert (hub.connected_s is not None) == (hub.connection in books.confirmed)


def _check_indexes(state: State) -> None:
    waiting = [row for row in state.peers.values() if row.routes and not (row.link or row.attempt or row.parked)]
    unasked = [row for row in waiting if not row.asked]
    assert list(state.due) == sorted((row.ready_s, row.id) for row in unasked if row.id not in state.hops)
    assert list(state.friends) == sorted((row.ready_s, row.id) for row in unasked if row.id in state.hops)
    assert list(state.asked) == sorted((row.ready_s, row.id) for row in waiting if row.asked)
    queued = {peer for queue in (state.due, state.friends, state.asked) for _, peer in queue}
    idle = [row for row in state.peers.values() if not row.link and not row.attempt and row.id not in queued]
    assert list(state.aside) == sorted((row.ready_s, row.id) for row in idle)
    assert list(reversed(state.aside)) == list(state.aside)[::-1]
    assert sorted(state.linked) == sorted(row.id for row in state.peers.values() if row.link)
    assert sorted(state.handovers) == sorted(row.id for row in state.peers.values() if row.rival)
    assert all(row.link for row in state.peers.values() if row.rival)
    assert not set(state.pinned) & set(state.blocked)
    assert all(row.asked for row in state.peers.values() if row.id in state.pinned)
    assert sorted(state.trying) == sorted(row.id for row in state.peers.values() if row.attempt)
    assert not set(state.blocked) & set(state.peers)
    assert dict(state.heard) == Counter(hub for row in state.peers.values() for hub in row.sources or ("",))


def _check_timers(state: State) -> None:
    if state.closing:
        assert not state.timers
        assert not state.linked
        assert not state.trying
        return
    assert TICK in state.timers
    for row in state.peers.values():
        assert (attempt_timer(row.id) in state.timers) == (row.attempt is not None)
        assert (handover_timer(row.id) in state.timers) == (row.rival is not None)
    for hub in state.hubs.values():
        waits = hub.connected_s is None and not is_spare(state, hub)
        assert (hub_timer(hub.url) in state.timers) == waits
        assert hub.source == "gossip" or not is_spare(state, hub)
        assert (announce_timer(hub.url) in state.timers) == (hub.connected_s is not None)


def _check_nobody_stalls(state: State) -> None:
    """Every disconnected peer with a route is waiting for a timer, for a slot, or for a hub."""
    if state.closing:
        return
    slots, crowded, syncing_s = count(state), crowded_hubs(state), syncing_until_s(state) or 0.0
    for queue in (state.asked, state.friends, state.due):
        asked, near = queue is state.asked, queue is not state.due
        first = next((entry for entry in queue if asked or not only_over(state.peers[entry[1]], crowded)), None)
        if first is not None and not slots.refuses_dial(state.settings, near=near, asked=asked):
            slow_s = state.dial_after_s if queue is state.due else state.friends_after_s
            latest_s = max(first[0], state.now.mono_s, 0.0 if asked else max(slow_s, syncing_s))
            assert state.timers[CONNECT] <= latest_s
    room = gossiped_max(state) - sum(h.source == "gossip" and h.connection is not None for h in state.hubs.values())
    assert room <= 0 or not any(is_spare(state, hub) for hub in state.hubs.values())


def _check_views(state: State) -> None:
    for view in peers_view(state):
        assert view == peer_view(state, view.id)
        assert (view.state == "CONNECTED") == (view.id in state.linked) == (view.reason == "")
        explanation = explain_peer(state, view.id)
        assert explanation.state == view.state
        assert explanation.because
        assert all(explanation.because)
        assert all(explanation.next)
    assert len(hubs_view(state)) == len(state.hubs)
    for hub in hubs_view(state):
        assert (hub.state == "CONNECTED") == (hub.reason == "")
        explanation = explain_hub(state, hub.url)
        assert explanation.because
        assert all(explanation.next)
