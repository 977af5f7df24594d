"""Which dialect is spoken on which hub: the sealed one, but swarm where the hub's address asks for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from ssb_rtc.signalhub.signalling import Signalling
from ssb_rtc.types import HubUrl, PeerId
from ssb_rtc.wire.hub_url import speaks_swarm
from ssb_rtc.wire.swarm import Signal


class Dialects(Signalling):
    """Both, as one. They report to the same callback."""

    def __init__(self, sealed: Signalling, swarm: Signalling) -> None:
        self._sealed = sealed
        self._swarm = swarm

    def _on(self, hub: HubUrl) -> Signalling:
        return self._swarm if speaks_swarm(hub) else self._sealed

    @property
    def hubs(self) -> frozenset[HubUrl]:
        """See `Signalling.hubs`."""
        return self._sealed.hubs | self._swarm.hubs

    @property
    def dropped(self) -> Mapping[str, int]:
        """See `Signalling.dropped`."""
        return Counter(self._sealed.dropped) + Counter(self._swarm.dropped)

    def knocks(self, hub: HubUrl) -> bool:
        """See `Signalling.knocks`."""
        return self._on(hub).knocks(hub)

    async def connect(self, hub: HubUrl) -> None:
        """See `Signalling.connect`."""
        await self._on(hub).connect(hub)

    async def disconnect(self, hub: HubUrl) -> None:
        """See `Signalling.disconnect`."""
        await self._on(hub).disconnect(hub)

    async def announce(self, hub: HubUrl, free_slots: int | None = None) -> None:
        """See `Signalling.announce`."""
        await self._on(hub).announce(hub, free_slots)

    async def leave(self, hub: HubUrl) -> None:
        """See `Signalling.leave`."""
        await self._on(hub).leave(hub)

    async def send(self, hub: HubUrl, to: PeerId, session: str, signal: Signal) -> None:
        """See `Signalling.send`."""
        await self._on(hub).send(hub, to, session, signal)

    async def say_busy(self, hub: HubUrl, to: PeerId, session: str, not_before_s: float) -> None:
        """See `Signalling.say_busy`."""
        await self._on(hub).say_busy(hub, to, session, not_before_s)

    async def close(self) -> None:
        """See `Signalling.close`."""
        await asyncio.gather(self._sealed.close(), self._swarm.close())
