"""Offers that wait for a decision, and candidates that came before their offer. Bounded, expiring, without I/O.

Hubs deliver in any order and anybody can send: whatever comes too early, too often or too late is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ssb_rtc.transport.ice import REMOTE_CANDIDATES_MAX
from ssb_rtc.types import HubUrl, PeerId
from ssb_rtc.wire.swarm import Signal

HELD_OFFERS_MAX = 64
HELD_OFFERS_OF_A_PEER_MAX = 2
EARLY_SESSIONS_MAX = 128
HOLD_LIMIT_S = 30.0
"""How long an offer waits for its decision, and a candidate for its offer."""

Key = tuple[PeerId, str]
"""A peer and its session."""


@dataclass(slots=True)
class HeldOffer:
    """An offer and the candidates that came with it."""

    hub: HubUrl
    offer: Signal
    expires_s: float
    candidates: list[Signal] = field(default_factory=list)


@dataclass(slots=True)
class _Early:
    expires_s: float
    candidates: list[Signal] = field(default_factory=list)


class HeldOffers:
    """The table. `now_s` is any clock that does not jump, the same in each call."""

    def __init__(self) -> None:
        # Entries of one table live equally long, so the oldest stands first.
        self._offers: dict[Key, HeldOffer] = {}
        self._early: dict[Key, _Early] = {}

    def __len__(self) -> int:
        return len(self._offers)

    def hold(self, key: Key, hub: HubUrl, offer: Signal, now_s: float) -> bool:
        """Keeps a new offer. False for a copy of one that is held, and where there is no room for more."""
        self._expire(now_s)
        if key in self._offers or len(self._offers) >= HELD_OFFERS_MAX:
            return False
        if sum(peer == key[0] for peer, _ in self._offers) >= HELD_OFFERS_OF_A_PEER_MAX:
            return False
        self._offers[key] = HeldOffer(hub, offer, now_s + HOLD_LIMIT_S, self.take_early(key))
        return True

    def add_candidate(self, key: Key, candidate: Signal, now_s: float) -> None:
        """Keeps a candidate of a held offer, or of one that may still come."""
        self._expire(now_s)
        entry: HeldOffer | _Early | None = self._offers.get(key) or self._early.get(key)
        if entry is None:
            if len(self._early) >= EARLY_SESSIONS_MAX:
                return
            entry = self._early[key] = _Early(now_s + HOLD_LIMIT_S)
        if len(entry.candidates) < REMOTE_CANDIDATES_MAX:
            entry.candidates.append(candidate)

    def take(self, key: Key, now_s: float) -> HeldOffer | None:
        """The offer, which is held no longer; None when it expired or never was."""
        self._expire(now_s)
        self._early.pop(key, None)
        return self._offers.pop(key, None)

    def take_early(self, key: Key) -> list[Signal]:
        """The candidates that came before their offer; they are kept no longer."""
        early = self._early.pop(key, None)
        return early.candidates if early is not None else []

    def newest(self, peer: PeerId, prefix: str) -> Key | None:
        """The key of the last held offer of this peer whose session starts so."""
        for key in reversed(self._offers):
            if key[0] == peer and key[1].startswith(prefix):
                return key
        return None

    def drop_hub(self, hub: HubUrl) -> None:
        """Forgets what came over this hub."""
        for key in [key for key, held in self._offers.items() if held.hub == hub]:
            del self._offers[key]

    def _expire(self, now_s: float) -> None:
        while self._offers and next(iter(self._offers.values())).expires_s <= now_s:
            del self._offers[next(iter(self._offers))]
        while self._early and next(iter(self._early.values())).expires_s <= now_s:
            del self._early[next(iter(self._early))]
