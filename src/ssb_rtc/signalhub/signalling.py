"""What a dialect of signalling must give, whatever it says on the wire.

A dialect speaks over many hubs at once. Orders are coroutines; what is heard and what befalls a hub are events, handed
to one callback in the order in which they happened. Policy (which hub, when again) is the peers state manager's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ssb_rtc.types import HubUrl, PeerId
from ssb_rtc.wire.swarm import Signal


@dataclass(frozen=True, slots=True)
class HubUp:
    """The hub has confirmed our subscription."""

    hub: HubUrl


@dataclass(frozen=True, slots=True)
class HubDown:
    """The hub could not be subscribed to, or the subscription was lost; reported once.

    `reason` is a sentence for a person; `retry_after_s` is how long the hub asks us to wait, where it does.
    """

    hub: HubUrl
    reason: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Announced:
    """A peer says on this hub that it is there. Nothing proves it."""

    hub: HubUrl
    peer: PeerId
    free_slots: int | None = None
    """How many links it could take, where it says so."""


@dataclass(frozen=True, slots=True)
class Left:
    """A peer says on this hub that it goes. Nothing proves it."""

    hub: HubUrl
    peer: PeerId


@dataclass(frozen=True, slots=True)
class SignalReceived:
    """An offer, answer or candidate for us; `session` is the sender's attempt, None from peers that name none."""

    hub: HubUrl
    peer: PeerId
    session: str | None
    signal: Signal


@dataclass(frozen=True, slots=True)
class Busy:
    """A peer says that it refuses our offer of this session, and for how long. Nothing proves it."""

    hub: HubUrl
    peer: PeerId
    session: str
    not_before_s: float


@dataclass(frozen=True, slots=True)
class ClockDiffers:
    """A friend says that its clock is ahead of ours by so much (behind where below zero): one of the two is wrong."""

    hub: HubUrl
    peer: PeerId
    ahead_s: float


@dataclass(frozen=True, slots=True)
class Invited:
    """A peer proves that it holds an invitation of ours; its knock is the next event."""

    hub: HubUrl
    peer: PeerId
    code: str
    """The invitation's id."""


SignallingEvent: TypeAlias = HubUp | HubDown | Announced | Left | SignalReceived | Busy | ClockDiffers | Invited


class Signalling(ABC):
    """A dialect. `on_event` must not raise and must not call back into the dialect synchronously."""

    def __init__(self, on_event: Callable[[SignallingEvent], None]) -> None:
        self._emit = on_event

    @property
    @abstractmethod
    def hubs(self) -> frozenset[HubUrl]:
        """The hubs whose subscription stands."""

    @property
    @abstractmethod
    def dropped(self) -> Mapping[str, int]:
        """How many messages were dropped, by reason."""

    @abstractmethod
    def knocks(self, hub: HubUrl) -> bool:
        """Whether one knocks there, and settles by itself what crosses, before anybody offers."""

    @abstractmethod
    async def connect(self, hub: HubUrl) -> None:
        """Subscribe; returns when HubUp or HubDown has been reported, and raises no TransportFault.

        Where the subscription stands already, HubUp is reported again. Cancelling it, or `disconnect` meanwhile,
        gives the attempt up and reports nothing.
        """

    @abstractmethod
    async def disconnect(self, hub: HubUrl) -> None:
        """End the subscription; no event follows from this hub. Unknown hubs are no error."""

    @abstractmethod
    async def announce(self, hub: HubUrl, free_slots: int | None = None) -> None:
        """Say that we are here, and how many links we could take.

        Raises TransportFault (HubRefused carries `retry_after_s`).
        """

    @abstractmethod
    async def leave(self, hub: HubUrl) -> None:
        """Say that we go. Raises TransportFault."""

    @abstractmethod
    async def send(self, hub: HubUrl, to: PeerId, session: str, signal: Signal) -> None:
        """Send a signal; candidates never overtake the offer or answer that was sent before them.

        Raises TransportFault, and MisuseError where the signal is too large for a hub.
        """

    @abstractmethod
    async def say_busy(self, hub: HubUrl, to: PeerId, session: str, not_before_s: float) -> None:
        """Tell a peer that its offer of this session is refused, and for how long.

        Says nothing in a dialect that has no word for it. Raises TransportFault.
        """

    @abstractmethod
    async def close(self) -> None:
        """Disconnect from all hubs; no event follows."""
