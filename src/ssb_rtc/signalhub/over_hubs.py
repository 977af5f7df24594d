"""What every dialect does alike with many hubs: each is reported once, and what goes out to one waits for its turn."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from ssb_rtc.errors import MisuseError, TransportFault
from ssb_rtc.signalhub.client import HubRefused, shown
from ssb_rtc.signalhub.signalling import HubDown, HubUp, Signalling, SignallingEvent
from ssb_rtc.types import HubUrl


class Held:
    """What is held for one hub, or whatever else is posted to."""

    def __init__(self, posts_max: int) -> None:
        """posts_max: so many are in flight at once."""
        self.posts = asyncio.Semaphore(posts_max)
        self.waiting = 0
        self.up = False


H = TypeVar("H", bound=Held)


class OverHubs(Signalling, Generic[H]):
    """A dialect without its words: `_make`, `_subscribe` and `_give_up` are its own."""

    def __init__(self, on_event: Callable[[SignallingEvent], None], *, hubs_max: int, posts_waiting_max: int) -> None:
        super().__init__(on_event)
        self._hubs_max = hubs_max
        self._posts_waiting_max = posts_waiting_max
        self._hubs: dict[HubUrl, H] = {}
        self._dropped: Counter[str] = Counter()

    @property
    def hubs(self) -> frozenset[HubUrl]:
        """See `Signalling.hubs`."""
        return frozenset(hub for hub, held in self._hubs.items() if held.up)

    @property
    def dropped(self) -> Mapping[str, int]:
        """See `Signalling.dropped`."""
        return self._dropped

    @abstractmethod
    def _make(self, hub: HubUrl) -> H:
        """What will be held for this hub; nothing is open yet."""

    @abstractmethod
    async def _subscribe(self, hub: HubUrl, held: H) -> None:
        """Listen there; an end by itself goes to `_lost`. Raises TransportFault."""

    @abstractmethod
    async def _give_up(self, held: H) -> None:
        """End whatever is open there; nothing is heard afterwards."""

    async def connect(self, hub: HubUrl) -> None:
        """See `Signalling.connect`."""
        held = self._hubs.get(hub)
        if held is not None:
            if held.up:
                self._emit(HubUp(hub))
            return
        if len(self._hubs) >= self._hubs_max:
            raise MisuseError(f"no more than {self._hubs_max} hubs at once")
        held = self._hubs[hub] = self._make(hub)
        try:
            await self._subscribe(hub, held)
        except TransportFault as fault:
            self._lost(hub, held, fault)
        else:
            if self._hubs.get(hub) is held:
                held.up = True
                self._emit(HubUp(hub))
        finally:
            if not held.up:
                await self._give_up(held)
                if self._hubs.get(hub) is held:
                    del self._hubs[hub]

    async def disconnect(self, hub: HubUrl) -> None:
        """See `Signalling.disconnect`."""
        held = self._hubs.pop(hub, None)
        if held is not None:
            held.up = False
            await self._give_up(held)

    async def close(self) -> None:
        """See `Signalling.close`."""
        for hub in list(self._hubs):
            await self.disconnect(hub)

    def _lost(self, hub: HubUrl, held: H, fault: TransportFault) -> None:
        """A subscription failed, or ended by itself."""
        if self._hubs.get(hub) is held:
            del self._hubs[hub]
            held.up = False
            self._emit(HubDown(hub, str(fault), fault.retry_after_s if isinstance(fault, HubRefused) else None))

    async def _in_turn(self, hub: HubUrl, held: Held, post: Callable[[], Awaitable[None]]) -> None:
        """Post once it is our turn there. Raises TransportFault, also where too many wait already."""
        if held.waiting >= self._posts_waiting_max:
            raise TransportFault(f"the hub {shown(hub)} takes nothing: {held.waiting} messages wait already")
        held.waiting += 1
        try:
            await held.posts.acquire()
        finally:
            held.waiting -= 1
        try:
            await post()
        finally:
            held.posts.release()


def not_subscribed(hub: HubUrl) -> TransportFault:
    """Nothing can be said there."""
    return TransportFault(f"there is no subscription to the hub {shown(hub)}")
