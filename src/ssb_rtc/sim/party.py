"""Who takes part: whatever has an identity, subscribes to hubs and has links, ours or not."""

from __future__ import annotations

import base64
import hashlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from ssb_rtc.manager.state import Route
from ssb_rtc.sim.messages import Message
from ssb_rtc.types import HubUrl, PeerId

if TYPE_CHECKING:
    from ssb_rtc.sim.gossip import Entry
    from ssb_rtc.sim.network import Dial, End
    from ssb_rtc.sim.world import World


def peer_id(seed: int, number: int) -> PeerId:
    """An identity that nobody has the secret of."""
    key = hashlib.blake2b(f"{seed}/peer/{number}".encode(), digest_size=32).digest()
    return PeerId("@" + base64.b64encode(key).decode() + ".ed25519")


class Party(ABC):
    """One of them."""

    honest = True
    tells = True
    """It understands busy, goodbye and tell, which JavaScript does not."""

    introduces = False
    """It passes knocks and what follows on between those who are linked with it, and takes what is passed on to it."""

    def __init__(self, world: World, number: int, hubs: list[HubUrl]) -> None:
        self.world = world
        self.number = number
        self.id = peer_id(world.seed, number)
        self.first_hubs = hubs
        self.awake = False
        """It runs, and its machine does not sleep."""
        self.started_s: float | None = None
        self.linked_s: float | None = None
        """When it first had a link."""
        self.lives = 0
        """How often it has started."""
        self.links: dict[int, End] = {}
        self.attempts: dict[int, Dial | None] = {}
        """Own ones and answered ones, by their number; None where it only seems to be one."""
        self.subscribing: dict[HubUrl, int] = {}
        self.subscribed: dict[HubUrl, int] = {}
        self._numbers = 0

    def next_number(self) -> int:
        """Numbers what has to have a number of its own at this party."""
        self._numbers += 1
        return self._numbers

    def start(self) -> None:
        """Begin, for the first time or again."""
        self.awake = True
        self.lives += 1
        if self.started_s is None:
            self.started_s = self.world.now_s

    def stop(self) -> None:
        """Be gone without a word: a crash."""
        self.awake = False
        self.attempts.clear()
        self.subscribing.clear()
        for hub in list(self.subscribed):
            self.world.hubs[hub].forget(self)
        self.world.network.vanished(self)

    @abstractmethod
    def hear(self, hub: HubUrl, message: Message) -> None:
        """A hub delivers something."""

    @abstractmethod
    def hub_up(self, hub: HubUrl, connection: int) -> None:
        """A subscription is confirmed."""

    @abstractmethod
    def hub_down(self, hub: HubUrl, connection: int, reason: str, retry_after_s: float | None, was_up: bool) -> None:
        """A subscription failed or ended."""

    @abstractmethod
    def attempt_failed(self, dial: Dial, attempt: int, reason: str, not_before_s: float | None = None) -> None:
        """An attempt came to nothing."""

    @abstractmethod
    def link_opened(self, end: End, attempt: int | None, route: Route) -> None:
        """A link is open and proven."""

    @abstractmethod
    def link_ended(self, end: End, reason: str, clean: bool, not_before_s: float | None) -> None:
        """A link has ended, by the other side or by itself."""

    def answered(self, end: End, rtt_s: float) -> None:  # noqa: B027 - JavaScript pings by itself
        """A ping came back."""

    def told(self, end: End, only_link: bool, downloading: bool) -> None:  # noqa: B027 - not everybody understands it
        """The other end says how it stands with the link."""

    def wont_introduce(self, peer: PeerId) -> None:  # noqa: B027
        """The peer passes nothing on."""

    def told_hubs(self, end: End, hubs: tuple[Entry, ...]) -> None:  # noqa: B027
        """The other end says who vouches for which hubs."""
