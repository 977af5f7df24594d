"""Those who are not ours: JavaScript peers as npm webrtc-swarm has them, and hostile ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ssb_rtc.manager.state import Route
from ssb_rtc.sim.gossip import Entry
from ssb_rtc.sim.messages import ALL, Announced, Answered, Left, Message, Offered, inbox
from ssb_rtc.sim.party import Party
from ssb_rtc.types import HubUrl, PeerId

if TYPE_CHECKING:
    from ssb_rtc.sim.network import Dial, End
    from ssb_rtc.sim.world import World

ALONE_S: Final = (3.0, 5.0)
"""How often webrtc-swarm announces itself while it has no link, and while it has one."""
CONNECTED_S: Final = (13.0, 15.0)
GIVE_UP_S: Final = 25.0
RETRY_HUB_S: Final = (5.0, 15.0)


class JavaScript(Party):
    """webrtc-swarm: it announces itself for ever, offers to whomever it hears, takes every offer, says no goodbye."""

    tells = False

    def __init__(self, world: World, number: int, hubs: list[HubUrl]) -> None:
        super().__init__(world, number, hubs)
        self.dice = world.dice(f"javascript/{number}")
        self._trying: dict[PeerId, int] = {}

    def start(self) -> None:
        """Subscribe everywhere, and announce for ever."""
        super().start()
        self._trying.clear()
        for hub in self.first_hubs:
            self.world.hubs[hub].connect(self, self.next_number())
        self._announce(self.lives)

    def _announce(self, life: int) -> None:
        if not self.awake or life != self.lives:
            return
        for hub in self.subscribed:
            self.world.hubs[hub].post(self, ALL, Announced(self.id))
        self.world.later(self.dice.uniform(*(CONNECTED_S if self.links else ALONE_S)), self._announce, life)

    def hear(self, hub: HubUrl, message: Message) -> None:
        """A hub delivers something."""
        if not self.awake or message.peer == self.id:
            return
        match message:
            case Announced(peer) if peer not in self._trying and not self._is_linked(peer):
                attempt = self.next_number()
                self._trying[peer] = attempt
                self.world.network.dial(self, attempt, peer, hub, alone=False)
                self.world.later(GIVE_UP_S, self._gives_up, peer, attempt)
            case Offered(peer, session):
                self.world.network.accept(self, self.next_number(), peer, hub, session)
            case Answered():
                self.world.network.hear_answer(self, message)

    def _is_linked(self, peer: PeerId) -> bool:
        return any(end.other.owner.id == peer for end in self.links.values())

    def _gives_up(self, peer: PeerId, attempt: int) -> None:
        if self._trying.get(peer) == attempt:
            del self._trying[peer]
            self.attempts.pop(attempt, None)

    def hub_up(self, hub: HubUrl, connection: int) -> None:
        """A subscription is confirmed: say so at once."""
        self.world.hubs[hub].post(self, ALL, Announced(self.id))

    def hub_down(self, hub: HubUrl, connection: int, reason: str, retry_after_s: float | None, was_up: bool) -> None:
        """It comes again, whatever the hub said."""
        self.world.later(self.dice.uniform(*RETRY_HUB_S), self._again, hub, self.lives)

    def _again(self, hub: HubUrl, life: int) -> None:
        if self.awake and life == self.lives and hub not in self.subscribed:
            self.world.hubs[hub].connect(self, self.next_number())
            self.world.later(30.0, self._again, hub, life)

    def attempt_failed(self, dial: Dial, attempt: int, reason: str, not_before_s: float | None = None) -> None:
        """An attempt came to nothing."""
        for peer, number in list(self._trying.items()):
            if number == attempt:
                del self._trying[peer]

    def link_opened(self, end: End, attempt: int | None, route: Route) -> None:
        """It replicates over every link that it has."""
        self._trying.pop(end.other.owner.id, None)
        self.world.network.use(end)

    def link_ended(self, end: End, reason: str, clean: bool, not_before_s: float | None) -> None:
        """It will hear the other one again."""


class Hostile(Party):
    """One of a crowd: it announces itself without end, forges goodbyes and offers, names hubs that don't exist."""

    honest = False
    introduces = True
    """It says so, and keeps all for itself."""

    def __init__(self, world: World, number: int, hubs: list[HubUrl]) -> None:
        super().__init__(world, number, hubs)
        self.dice = world.dice(f"hostile/{number}")
        self.flood_s = 2.0
        """How often each of them does something."""

    def start(self) -> None:
        """Be on every hub that there is."""
        super().start()
        for hub in self.first_hubs:
            self.world.hubs[hub].connect(self, self.next_number())
        self._harm(self.lives)

    def _harm(self, life: int) -> None:
        if not self.awake or life != self.lives:
            return
        honest = [party for party in self.world.parties if party.honest]
        for hub in self.subscribed:
            self._harm_on(hub, self.dice.pick(honest), self.dice.pick(honest))
        self.world.later(self.dice.uniform(0.5, 1.5) * self.flood_s, self._harm, life)

    def _harm_on(self, hub: HubUrl, victim: Party, pretended: Party) -> None:
        post = self.world.hubs[hub].post
        match self.dice.below(4):
            case 0 | 1:
                post(self, ALL, Announced(self.id, 8))
            case 2:
                post(self, ALL, Left(victim.id))
            case 3:
                for at in range(5):
                    session = f"x{self.number}.{self.next_number()}.{at}"
                    post(self, inbox(victim.id), Offered(pretended.id if at % 2 else self.id, session, alone=True))

    def hear(self, hub: HubUrl, message: Message) -> None:
        """It takes every offer, to sit in as many slots as it can."""
        if not self.awake or message.peer == self.id:
            return
        match message:
            case Offered(peer, session) if self.world.by_id[peer].honest:
                self.world.network.accept(self, self.next_number(), peer, hub, session)
            case Announced(peer) if self.dice.chance(0.3) and self.world.by_id[peer].honest:
                self.world.network.dial(self, self.next_number(), peer, hub, alone=True)
            case Answered():
                self.world.network.hear_answer(self, message)

    def hub_up(self, hub: HubUrl, connection: int) -> None:
        """It is there."""

    def hub_down(self, hub: HubUrl, connection: int, reason: str, retry_after_s: float | None, was_up: bool) -> None:
        """It comes again."""
        self.world.later(self.dice.uniform(*RETRY_HUB_S), self._again, hub, self.lives)

    def _again(self, hub: HubUrl, life: int) -> None:
        if self.awake and life == self.lives and hub not in self.subscribed:
            self.world.hubs[hub].connect(self, self.next_number())

    def attempt_failed(self, dial: Dial, attempt: int, reason: str, not_before_s: float | None = None) -> None:
        """There are others."""

    def link_opened(self, end: End, attempt: int | None, route: Route) -> None:
        """It lies about hubs and about itself: nobody is to end this link."""
        self.world.network.use(end)
        fakes = tuple(Entry(HubUrl(f"https://fake-{self.dice.below(10_000)}.example"), self.id) for _ in range(20))
        self.world.network.tell_hubs(end, fakes)
        self.world.network.tell(end, only_link=True, downloading=True)

    def link_ended(self, end: End, reason: str, clean: bool, not_before_s: float | None) -> None:
        """There are others."""
