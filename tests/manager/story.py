"""A world with the verbs that unit tests need; every step is checked against all invariants."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import Hub, Peer, Route, initial
from ssb_rtc.types import HubUrl, PeerId
from tests.manager.invariants import World
from tests.manager.names import ME, ONE, START

AnEffect = TypeVar("AnEffect", bound=e.Effect)


class Story(World):
    """Begins with hub one connected, unless told otherwise."""

    def __init__(self, settings: Settings | None = None, *, hubs: Iterable[HubUrl] = (ONE,)) -> None:
        super().__init__(initial(ME, seed=1, settings=settings, now=START), START)
        for hub in hubs:
            self.do(a.HubAddressAdded(hub, stored=True))
            self.hub_up(hub)

    def hub(self, hub: HubUrl = ONE) -> Hub:
        return self.state.hubs[hub]

    def hub_up(self, hub: HubUrl = ONE) -> tuple[e.Effect, ...]:
        return self.do(a.HubConnectionSucceeded(hub, self.connection(hub)))

    def hub_lost(self, hub: HubUrl = ONE) -> tuple[e.Effect, ...]:
        return self.do(a.HubConnectionLost(hub, self.connection(hub), "silent"))

    def connection(self, hub: HubUrl = ONE) -> int:
        connection = self.hub(hub).connection
        assert connection is not None
        return connection

    def peer(self, peer: PeerId) -> Peer:
        return self.state.peers[peer]

    def announce(self, peer: PeerId, hub: HubUrl = ONE) -> tuple[e.Effect, ...]:
        return self.do(a.RemotePeerDidAnnounce(hub, peer))

    def offer(
        self, peer: PeerId, session: str = "s1", hub: HubUrl = ONE, *, alone: bool = False
    ) -> tuple[e.Effect, ...]:
        return self.do(a.RemotePeerDidOffer(hub, peer, session, alone))

    def attempt(self, peer: PeerId) -> int:
        attempt = self.peer(peer).attempt
        assert attempt is not None
        return attempt.id

    def fail(self, peer: PeerId, not_before_s: float | None = None) -> tuple[e.Effect, ...]:
        return self.do(a.RemotePeerConnectionFailed(peer, self.attempt(peer), "ice failed", not_before_s))

    def succeed(self, peer: PeerId) -> int:
        """The attempt at this peer becomes a link; its number."""
        attempt = self.peer(peer).attempt
        assert attempt is not None
        self.books.links_made += 1
        link = self.books.links_made
        self.do(a.RemotePeerConnectionSucceeded(peer, link, attempt.route, attempt.dialled, attempt.id))
        return link

    def arrive(self, peer: PeerId, *, dialled: bool = False, attempt: int | None = None) -> tuple[e.Effect, ...]:
        """A link that nobody here asked for."""
        self.books.links_made += 1
        route = Route("inbound", "net:somewhere")
        return self.do(a.RemotePeerConnectionSucceeded(peer, self.books.links_made, route, dialled, attempt))

    def meet(self, *peers: PeerId, hub: HubUrl = ONE) -> None:
        """Each announces itself, is dialled, and has a link."""
        for peer in peers:
            self.announce(peer, hub)
            self.succeed(peer)

    def end(
        self, peer: PeerId, reason: str = "reset", *, clean: bool = False, not_before_s: float | None = None
    ) -> tuple[e.Effect, ...]:
        link = self.peer(peer).link
        assert link is not None
        return self.do(a.RemotePeerLinkEnded(peer, link.id, reason, clean, not_before_s))


def only(effects: Iterable[e.Effect], kind: type[AnEffect]) -> AnEffect:
    """The one effect of this kind."""
    found = [effect for effect in effects if isinstance(effect, kind)]
    assert len(found) == 1, [effect.kind for effect in effects][:20]
    return found[0]


def none(effects: Iterable[e.Effect], kind: type[AnEffect]) -> bool:
    """Whether there is no effect of this kind."""
    return not any(isinstance(effect, kind) for effect in effects)


def ignored(effects: Iterable[e.Effect]) -> str:
    """Why the action was ignored; it had no other effect."""
    (effect,) = effects
    assert isinstance(effect, e.IgnoreAction), effect
    return effect.reason
