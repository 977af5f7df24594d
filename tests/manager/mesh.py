"""Several managers and a fake wire between them: hubs that pass everything on, connections that open or are refused.

Events lie in a heap of (time, number), so a run is the same each time.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count as counter

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.chance import draw
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import Now, Route, State, initial
from ssb_rtc.manager.step import step
from ssb_rtc.types import HubUrl, PeerId

LATENCY_MAX_S = 0.2
ASKS = (e.ScheduleConnectToHub, e.ScheduleAnnounceToHub, e.ScheduleConnectToRemotePeer, e.AcceptOffer)


@dataclass
class Node:
    """One peer: its manager, and what its runtime has open."""

    id: PeerId
    state: State
    alive: bool = True
    offers: dict[int, tuple[PeerId, str]] = field(default_factory=dict)
    """Own attempts: whom, and the session."""
    answers: dict[int, tuple[PeerId, str]] = field(default_factory=dict)
    links: dict[int, tuple[PeerId, int]] = field(default_factory=dict)
    """Own number of a link -> the other end, and its number there."""


class Mesh:
    """Nodes, hubs, and the time between them."""

    def __init__(self, nodes: list[PeerId], hubs: list[HubUrl], *, seed: int, settings: Settings | None = None) -> None:
        self.now_s = 0.0
        self.seed = seed
        self.hubs_down: set[HubUrl] = set()
        self.deaf: set[frozenset[PeerId]] = set()
        """Pairs whose connections never open."""
        self.disconnects: list[tuple[float, str]] = []
        self.requests: Counter[PeerId] = Counter()
        """What each asked of hubs: the fewest that it takes for what was ordered."""
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = counter(1)
        self._settings = settings
        self.nodes: dict[PeerId, Node] = {}
        self.join(nodes, hubs)

    def join(self, nodes: list[PeerId], hubs: list[HubUrl]) -> None:
        """More nodes, which start now."""
        for node in nodes:
            seed, now = self.seed + len(self.nodes), Now(self.now_s, self.now_s)
            self.nodes[node] = Node(node, initial(node, seed=seed, settings=self._settings, now=now))
        for node in nodes:
            for hub in hubs:
                self.later(partial(self.act, node, a.HubAddressAdded(hub, stored=True)))

    def later(self, event: Callable[[], None], delay_s: float | None = None) -> None:
        """Have something happen after a delay, a random short one unless told otherwise."""
        number = next(self._numbers)
        delay_s = draw(self.seed, 0, number) * LATENCY_MAX_S if delay_s is None else delay_s
        heapq.heappush(self._events, (self.now_s + delay_s, number, event))

    def run(self, duration_s: float) -> None:
        """Let time pass."""
        until_s = self.now_s + duration_s
        while self._events and self._events[0][0] <= until_s:
            self.now_s, _, event = heapq.heappop(self._events)
            event()
        self.now_s = until_s

    def act(self, node_id: PeerId, action: a.Action) -> None:
        """A node's manager takes an action."""
        node = self.nodes[node_id]
        if node.alive:
            node.state, effects = step(node.state, action, Now(self.now_s, self.now_s))
            for effect in effects:
                self._perform(node, effect)

    def crash(self, node_id: PeerId) -> None:
        """A node is gone without a word; its links break a while later."""
        node = self.nodes[node_id]
        node.alive = False
        for other, there in node.links.values():
            self.later(partial(self._link_ends, other, there, "silent", None, False), 20.0)

    def linked(self, node_id: PeerId) -> set[PeerId]:
        """To whom a node has links."""
        return set(self.nodes[node_id].state.linked)

    def _perform(self, node: Node, effect: e.Effect) -> None:
        self.requests[node.id] += len(effect.peers) if isinstance(effect, e.ScheduleKnock) else isinstance(effect, ASKS)
        match effect:
            case e.ArmTimer() | e.SchedulePeersUpdateTick():
                expired = a.TimerExpired(effect.key, effect.due_mono_s)
                self.later(lambda: self.act(node.id, expired), max(0.0, effect.due_mono_s - self.now_s))
            case e.ScheduleConnectToHub(hub, connection):
                up = hub not in self.hubs_down
                succeeded, failed = (
                    a.HubConnectionSucceeded(hub, connection),
                    a.HubConnectionFailed(hub, connection, ""),
                )
                self.later(lambda: self.act(node.id, succeeded if up else failed))
            case e.ScheduleAnnounceToHub(hub):
                self._broadcast(hub, node, a.RemotePeerDidAnnounce(hub, node.id))
            case e.ScheduleAnnounceLeaveToHub(hub):
                self._broadcast(hub, node, a.RemotePeerDidDisconnect(hub, node.id))
            case e.ScheduleConnectToRemotePeer():
                node.offers[effect.attempt] = (effect.peer, f"{node.id}/{effect.attempt}")
                self._offer(node, effect.attempt, HubUrl(effect.route.where))
            case e.ResendOffer() if effect.attempt in node.offers:
                self._offer(node, effect.attempt, effect.hub)
            case e.AbortAttempt(_, attempt):
                node.offers.pop(attempt, None)
                node.answers.pop(attempt, None)
            case e.AcceptOffer():
                node.answers[effect.attempt] = (effect.peer, effect.session)
                self.later(lambda: self._opens(node, effect))
            case e.RefuseOffer() if effect.not_before_s is not None:
                self.later(lambda: self._refused(node.id, effect))
            case e.ScheduleDisconnectFromRemotePeer():
                self._disconnect(node, effect)
            case e.CheckLink():
                other, _ = node.links[effect.link]
                if not self.nodes[other].alive:
                    self.later(lambda: self._link_ends(node.id, effect.link, "no answer to a ping", None, False), 5.0)

    def _broadcast(self, hub: HubUrl, sender: Node, action: a.Action) -> None:
        for node in self.nodes.values():
            if node is not sender and self._hears(node, hub):
                self._send(node.id, action)

    def _hears(self, node: Node, hub: HubUrl) -> bool:
        row = node.state.hubs.get(hub)
        return hub not in self.hubs_down and row is not None and row.connected_s is not None

    def _send(self, to: PeerId, action: a.Action) -> None:
        self.later(lambda: self.act(to, action))

    def _offer(self, node: Node, attempt: int, hub: HubUrl) -> None:
        peer, session = node.offers[attempt]
        if self._hears(self.nodes[peer], hub):
            self._send(peer, a.RemotePeerDidOffer(hub, node.id, session))

    def _opens(self, node: Node, effect: e.AcceptOffer) -> None:
        """Both ends of a connection open, if both still want it."""
        dialler = self.nodes[effect.peer]
        offers = [attempt for attempt, (_, session) in dialler.offers.items() if session == effect.session]
        wanted = effect.attempt in node.answers and bool(offers) and dialler.alive and node.alive
        if not wanted or frozenset((node.id, dialler.id)) in self.deaf:
            return
        ours, theirs = next(self._numbers), next(self._numbers)
        node.links[ours], dialler.links[theirs] = (dialler.id, theirs), (node.id, ours)
        del node.answers[effect.attempt], dialler.offers[offers[0]]
        route = Route("hub", effect.hub)
        # The server of the secret handshake is done first, the client when it has its answer.
        self.act(node.id, a.RemotePeerConnectionSucceeded(dialler.id, ours, route, False, effect.attempt))
        self._send(dialler.id, a.RemotePeerConnectionSucceeded(node.id, theirs, route, True, offers[0]))

    def _refused(self, refuser: PeerId, effect: e.RefuseOffer) -> None:
        for attempt, (_, session) in list(self.nodes[effect.peer].offers.items()):
            if session == effect.session:
                del self.nodes[effect.peer].offers[attempt]
                failed = a.RemotePeerConnectionFailed(refuser, attempt, effect.reason, effect.not_before_s)
                self.act(effect.peer, failed)

    def _disconnect(self, node: Node, effect: e.ScheduleDisconnectFromRemotePeer) -> None:
        self.disconnects.append((self.now_s, effect.reason))
        ends = node.links.pop(effect.link, None)
        if ends is not None:
            other, there = ends
            self.later(lambda: self._link_ends(other, there, effect.reason, effect.not_before_s, True))
        self._send(node.id, a.RemotePeerLinkEnded(effect.peer, effect.link, effect.reason, True))

    def _link_ends(self, node_id: PeerId, link: int, reason: str, not_before_s: float | None, clean: bool) -> None:
        ends = self.nodes[node_id].links.pop(link, None)
        if ends is not None:
            self.act(node_id, a.RemotePeerLinkEnded(ends[0], link, reason, clean, not_before_s))
