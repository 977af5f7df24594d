"""A peer of ours: an unmodified state manager, the timers and clocks that it is given, and its disk."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nextafter
from typing import TYPE_CHECKING, Any

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager import step as manager
from ssb_rtc.manager.state import KnownHub, Now, Route, State, initial
from ssb_rtc.sim.dice import Dice
from ssb_rtc.sim.gossip import HubWords
from ssb_rtc.sim.messages import ALL, Announced, Answered, Busy, Knocked, Left, Message, Offered
from ssb_rtc.sim.party import Party
from ssb_rtc.types import HubUrl, PeerId, behind

if TYPE_CHECKING:
    from ssb_rtc.sim.gossip import Entry
    from ssb_rtc.sim.network import Dial, End
    from ssb_rtc.sim.world import World

WALL_S = 1_600_000_000.0
KNOCKS_AT_ONCE = 20
SAME_KNOCK_S = 10.0
"""As in runtime.effects: knocks at one peer over several hubs within this time are one attempt."""
BURST_S = 2.0
"""For how long a peer can hear more than its CPU has time for."""


class Node(Party):
    """One of them."""

    introduces = True
    state: State

    def __init__(self, world: World, number: int, hubs: list[HubUrl]) -> None:
        super().__init__(world, number, hubs)
        self.dice: Dice = world.dice(f"node/{number}")
        self.settings = world.scenario.manager_settings()
        self.disk: tuple[KnownHub, ...] = tuple(KnownHub(hub, "user") for hub in hubs)
        self.disk_fails = False
        self.timers: dict[str, float] = {}
        self.hops: tuple[tuple[PeerId, int | None], ...] = ()
        self.blocked: dict[PeerId, bool] = {}
        self.inboxes: dict[PeerId, bool] = {}
        """Friends who told it of their inbox, those who did so last at the end."""
        self._knocking: dict[PeerId, tuple[str, float]] = {}
        """The session of the latest knock at each, and since when it is used."""
        self._answered: set[str] = set()
        """Sessions of knocks that were heard: a copy over another hub shows another way, and is no other attempt."""
        self.words = HubWords(self)
        self.holds_nothing = False
        """It is new: it begins with an initial sync."""
        self.mono_offset_s = self.dice.uniform(0.0, 100_000.0)
        self.wall_offset_s = WALL_S
        self.wall_drift = 0.0
        self.overheard = 0
        """What it had no CPU for."""
        self._level, self._level_s = 0.0, 0.0
        self.asleep = False
        self._asleep_s = 0.0
        self.woke_s = 0.0
        self.slept_unlinked_s = 0.0
        """How long it slept before its first link."""
        self.shutting_down = False

    @property
    def now(self) -> Now:
        """Its own clocks."""
        now_s = self.world.now_s
        return Now(now_s + self.mono_offset_s, now_s * (1 + self.wall_drift) + self.wall_offset_s)

    def start(self) -> None:
        """Begin with what the disk has, unless it runs already."""
        if self.awake or self.asleep:
            return
        super().start()
        self.shutting_down = False
        self.timers = {}
        self._knocking, self._answered = {}, set()
        self.mono_offset_s = self.dice.uniform(0.0, 100_000.0)
        self.state = initial(self.id, seed=self.dice.bits(), settings=self.settings, now=self.now)
        if self.holds_nothing:
            self.holds_nothing = False
            self.act(a.InitialSyncStarted())
        self.act(a.HopsDidChange(self.hops))
        for peer in self.blocked:
            self.act(a.PeerBlocked(peer))
        if self.inboxes:
            self.act(a.InboxesDidChange(tuple((peer, True) for peer in reversed(self.inboxes))))
        for hub in self.disk:
            success_s = hub.last_success_wall_s
            self.act(a.HubAddressAdded(hub.url, hub.source, True, hub.private, success_s))
        self.words.start()

    def stop(self) -> None:
        """Be gone without a word."""
        self.asleep = False
        super().stop()

    def leave(self) -> None:
        """End in good order."""
        self.shutting_down = True
        self.act(a.ShutdownRequested())
        self.world.later(3.0, self._left, self.lives)

    def _left(self, life: int) -> None:
        if self.lives == life and self.shutting_down:
            self.stop()

    def sleep(self) -> None:
        """The machine sleeps: nothing is heard, no timer goes on."""
        self.awake, self.asleep = False, True
        self._asleep_s = self.world.now_s
        for hub in list(self.subscribed):
            self.world.hubs[hub].lose(self, "silent", 0.0)
        self.world.network.fell_silent(self)

    def wake(self) -> None:
        """It goes on: the monotonic clock has stood still."""
        if not self.asleep:
            return
        slept_s = self.world.now_s - self._asleep_s
        self.mono_offset_s -= slept_s
        self.slept_unlinked_s += slept_s if self.linked_s is None else 0.0
        self.awake, self.asleep, self.woke_s = True, False, self.world.now_s
        for key, due_s in self.timers.items():
            self._fire_at(key, due_s)
        for hub, connection in [*self.subscribing.items(), *self.subscribed.items()]:
            was_up = hub in self.subscribed
            self.subscribing.pop(hub, None)
            self.subscribed.pop(hub, None)
            self.hub_down(hub, connection, "the machine slept", None, was_up)
        for attempt, dial in list(self.attempts.items()):
            if dial is not None:
                del self.attempts[attempt]
                self.attempt_failed(dial, attempt, "the machine slept")
        self.act(a.DidWakeUp(slept_s))
        self.world.checkers.woke(self)
        for end in list(self.links.values()):
            # Whoever was at the other end has given it up meanwhile, and the network says so in time.
            if not end.works:
                self.world.network.expire(end)

    # --- the manager ---

    def act(self, action: a.Action) -> None:
        """Have the manager take an action, and do what it orders."""
        if not self.awake:
            return
        world = self.world
        self.state, effects = manager.step(self.state, action, self.now)
        world.recorder.stepped(world.now_s, self.number, action, effects)
        for effect in effects:
            PERFORM[type(effect)](self, effect)
        world.checkers.stepped(self)

    def _fire_at(self, key: str, due_s: float) -> None:
        self.world.at(due_s - self.mono_offset_s, self._fire, key, due_s, self.lives)

    def _fire(self, key: str, due_s: float, life: int) -> None:
        if not self.awake or life != self.lives or self.timers.get(key) != due_s:
            return
        if self.world.now_s + self.mono_offset_s < due_s - 1e-6:
            return  # it slept; waking has planned it anew
        del self.timers[key]
        # The sum of two clocks may be less than the due time by a rounding, and their difference is rounded too.
        self.mono_offset_s += max(0.0, due_s - (self.world.now_s + self.mono_offset_s))
        while self.world.now_s + self.mono_offset_s < due_s:
            self.mono_offset_s = nextafter(self.mono_offset_s, inf)
        self.act(a.TimerExpired(key, due_s))

    def arm(self, effect: e.ArmTimer | e.SchedulePeersUpdateTick) -> None:
        """Arm a timer in the place of the one before."""
        self.timers[effect.key] = effect.due_mono_s
        self._fire_at(effect.key, effect.due_mono_s)

    def cancel(self, effect: e.CancelTimer) -> None:
        """Forget a timer."""
        self.timers.pop(effect.key, None)

    def announce(self, effect: e.ScheduleAnnounceToHub) -> None:
        """Say on a hub that it is there."""
        if not self.world.scenario.announcing:
            return
        hub = self.world.hubs[effect.hub]
        match hub.post(self, ALL, Announced(self.id, effect.free_slots)):
            case str(reason):
                failed = a.AnnounceToHubFailed(effect.hub, effect.connection, reason)
                self.world.later(hub.latency_s, self.act, failed)
            case float(retry_after_s):
                self.world.later(hub.latency_s, self.act, a.HubDidLimit(effect.hub, retry_after_s))

    def knock(self, effect: e.ScheduleKnock) -> None:
        """Say to friends that it is there: twenty at once, then one a second."""
        for at, peer in enumerate(effect.peers):
            knocked = Knocked(self.id, self._knock_session(peer), effect.alone)
            self.world.later(max(0.0, at - KNOCKS_AT_ONCE), self._knock, effect.hub, peer, knocked, self.lives)

    def _knock_session(self, peer: PeerId) -> str:
        session, since_s = self._knocking.get(peer, ("", 0.0))
        if not session or self.world.now_s - since_s > SAME_KNOCK_S:
            session = f"{self.number}.{self.lives}.k{self.next_number()}"
            self._knocking[peer] = (session, self.world.now_s)
        return session

    def _knock(self, hub: HubUrl, peer: PeerId, knocked: Knocked, life: int) -> None:
        if self.awake and life == self.lives and (hub in self.subscribed or behind(hub) is not None):
            self.world.network.send(self, hub, peer, knocked)

    def learn_inbox(self, peer: PeerId) -> None:
        """A friend has told it, over a link, how to find its inbox."""
        if self.awake and peer not in self.inboxes:
            self.inboxes[peer] = True
            self.act(a.InboxesDidChange(((peer, True),)))

    # --- what is heard ---

    def _has_time(self) -> bool:
        rate = self.world.scenario.actions_s
        if rate == 0:
            return True
        now_s = self.world.now_s
        self._level = min(rate * BURST_S, self._level + (now_s - self._level_s) * rate)
        self._level_s = now_s
        if self._level < 1.0:
            self.overheard += 1
            return False
        self._level -= 1.0
        return True

    def hear(self, hub: HubUrl, message: Message) -> None:
        """A hub delivers something."""
        if not self.awake or message.peer == self.id or not self._has_time():
            return
        match message:
            case Announced(peer, free_slots):
                self.act(a.RemotePeerDidAnnounce(hub, peer, free_slots))
            case Left(peer):
                self.act(a.RemotePeerDidDisconnect(hub, peer))
            case Knocked(peer, session, alone):
                if session not in self._answered:
                    self._answered.add(session)
                    self.act(a.RemotePeerDidOffer(hub, peer, session, alone, settled=True))
            case Offered(peer, session, alone):
                self.act(a.RemotePeerDidOffer(hub, peer, session, alone))
            case Answered():
                self.world.network.hear_answer(self, message)
            case Busy():
                self.world.network.hear_busy(self, message)

    def hub_up(self, hub: HubUrl, connection: int) -> None:
        """A subscription is confirmed."""
        self.act(a.HubConnectionSucceeded(hub, connection))

    def hub_down(self, hub: HubUrl, connection: int, reason: str, retry_after_s: float | None, was_up: bool) -> None:
        """A subscription failed or ended."""
        if was_up:
            self.act(a.HubConnectionLost(hub, connection, reason))
        else:
            self.act(a.HubConnectionFailed(hub, connection, reason, retry_after_s))

    def attempt_failed(self, dial: Dial, attempt: int, reason: str, not_before_s: float | None = None) -> None:
        """An attempt came to nothing."""
        peer = dial.peer if attempt == dial.attempt and dial.dialler is self else dial.dialler.id
        self.act(a.RemotePeerConnectionFailed(peer, attempt, reason, not_before_s))

    def link_opened(self, end: End, attempt: int | None, route: Route) -> None:
        """A link is open and proven."""
        self.act(a.RemotePeerConnectionSucceeded(end.other.owner.id, end.number, route, end.dialled, attempt))

    def link_ended(self, end: End, reason: str, clean: bool, not_before_s: float | None) -> None:
        """A link has ended."""
        self.act(a.RemotePeerLinkEnded(end.other.owner.id, end.number, reason, clean, not_before_s))

    def answered(self, end: End, rtt_s: float) -> None:
        """A ping came back."""
        self.act(a.LinkDidAnswer(end.other.owner.id, end.number, rtt_s))

    def told(self, end: End, only_link: bool, downloading: bool) -> None:
        """The other end says how it stands with the link."""
        self.act(a.RemotePeerDidTell(end.other.owner.id, end.number, only_link, downloading))

    def wont_introduce(self, peer: PeerId) -> None:
        """The peer passes nothing on."""
        self.act(a.RemotePeerWontIntroduce(peer))

    def told_hubs(self, end: End, hubs: tuple[Entry, ...]) -> None:
        """The other end says who vouches for which hubs."""
        self.words.hear(end, hubs)


# --- what each order of a manager does to the world ---


def _connect_to_hub(node: Node, effect: e.ScheduleConnectToHub) -> None:
    hub = node.world.hubs.get(effect.hub)
    if hub is None:
        failed = a.HubConnectionFailed(effect.hub, effect.connection, "there is no such hub")
        node.world.later(0.1, node.act, failed)
    else:
        hub.connect(node, effect.connection)


def _disconnect_from_hub(node: Node, effect: e.ScheduleDisconnectFromHub) -> None:
    hub = node.world.hubs.get(effect.hub)
    if hub is not None:
        hub.disconnect(node, effect.connection)


def _announce_leave(node: Node, effect: e.ScheduleAnnounceLeaveToHub) -> None:
    node.world.hubs[effect.hub].post(node, ALL, Left(node.id))


def _save_hubs(node: Node, effect: e.ScheduleSaveHubs) -> None:
    if node.disk_fails:
        return node.world.later(0.0, node.act, a.SaveHubsFailed(effect.revision, "the disk is full"))
    node.disk = tuple(hub for hub in effect.hubs if hub.source != "config")
    return node.world.later(0.0, node.act, a.HubsSaved(effect.revision))


def _broadcast_hubs(node: Node, effect: e.ScheduleBroadcastKnownHubs) -> None:
    for end in list(node.links.values()):
        if end.used and end.other.owner.id in effect.peers:
            node.words.tell(end, effect.hubs)


def _probe_hub(node: Node, effect: e.ScheduleProbeHub) -> None:
    hub = node.world.hubs.get(effect.hub)
    answer: a.Action = a.HubProbeSucceeded(effect.hub, effect.probe)
    if hub is None or not hub.answers(node):
        answer = a.HubProbeFailed(effect.hub, effect.probe, "nobody answers there")
    node.world.later(0.1 if hub is None else 2 * hub.latency_s * hub.slow, node.act, answer)


def _connect_to_peer(node: Node, effect: e.ScheduleConnectToRemotePeer) -> None:
    network = node.world.network
    if effect.route.via == "hub":
        network.dial(node, effect.attempt, effect.peer, HubUrl(effect.route.where), effect.alone)
    else:
        network.dial_address(node, effect.attempt, effect.peer, effect.route)


def _refuse(node: Node, effect: e.RefuseOffer) -> None:
    if effect.not_before_s is not None:
        hub, session = effect.hub, effect.session
        node.world.network.refuse(node, effect.peer, hub, session, effect.reason, effect.not_before_s)


def _disconnect(node: Node, effect: e.ScheduleDisconnectFromRemotePeer) -> None:
    end = node.links.get(effect.link)
    if end is not None:
        node.world.checkers.cuts(node, end, effect)
        node.world.network.close(end, effect.reason, effect.not_before_s)
        ended = a.RemotePeerLinkEnded(effect.peer, effect.link, effect.reason, True)
        node.world.later(end.link.latency_s, node.act, ended)


def _use_link(node: Node, effect: e.UseLink) -> None:
    end = node.links.get(effect.link)
    if end is not None:
        node.world.checkers.uses(node, end)
        node.world.network.use(end)
        other = end.other.owner
        if isinstance(other, Node) and (node.id, 1) in other.hops and (other.id, 1) in node.hops:
            node.world.later(end.link.latency_s, other.learn_inbox, node.id)


def _accept(node: Node, effect: e.AcceptOffer) -> None:
    network = node.world.network
    if ".k" in effect.session:
        network.dial(node, effect.attempt, effect.peer, effect.hub, alone=False)
    else:
        network.accept(node, effect.attempt, effect.peer, effect.hub, effect.session)


def _tell(node: Node, effect: e.TellRemotePeer) -> None:
    end = node.links.get(effect.link)
    if end is not None:
        node.world.network.tell(end, effect.only_link, effect.downloading)


def _check_link(node: Node, effect: e.CheckLink) -> None:
    end = node.links.get(effect.link)
    if end is not None:
        node.world.network.ping(end)


PERFORM: dict[type[Any], Callable[[Node, Any], None]] = {
    e.SchedulePeersUpdateTick: Node.arm,
    e.ArmTimer: Node.arm,
    e.CancelTimer: Node.cancel,
    e.ScheduleConnectToHub: _connect_to_hub,
    e.ScheduleDisconnectFromHub: _disconnect_from_hub,
    e.ScheduleAnnounceToHub: lambda node, effect: node.announce(effect),
    e.ScheduleKnock: lambda node, effect: node.knock(effect),
    e.ScheduleAnnounceLeaveToHub: _announce_leave,
    e.ScheduleSaveHubs: _save_hubs,
    e.ScheduleProbeHub: _probe_hub,
    e.ScheduleBroadcastKnownHubs: _broadcast_hubs,
    e.ScheduleConnectToRemotePeer: _connect_to_peer,
    e.AbortAttempt: lambda node, effect: node.world.network.abort(node, effect.attempt),
    e.AcceptOffer: _accept,
    e.RefuseOffer: _refuse,
    e.ResendOffer: lambda node, effect: node.world.network.resend(node, effect.attempt),
    e.ScheduleDisconnectFromRemotePeer: _disconnect,
    e.UseLink: _use_link,
    e.TellRemotePeer: _tell,
    e.CheckLink: _check_link,
    e.IgnoreAction: lambda _node, _effect: None,
}
"""How each effect is performed. Nothing here takes an action at once: what answers comes later."""
