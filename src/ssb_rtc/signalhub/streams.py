"""The event streams of one hub: what is for us alone and what is open to all each have a subscription of their own.

A hub does not say through which channel an event came, so this is what keeps a flood in the open channels away from
the inbox that only friends know. Channels change (their names hang on the day): the new subscription stands before the
old one is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Literal, TypeAlias

from ssb_rtc.errors import TransportFault
from ssb_rtc.signalhub.client import HubClient

StreamName: TypeAlias = Literal["own", "open"]
Channels: TypeAlias = Mapping[StreamName, Sequence[str]]


class HubStreams:
    """The subscriptions on one hub. `on_lost` is called once, when any of them ends by itself; neither may raise."""

    def __init__(
        self,
        make_client: Callable[[], HubClient],
        on_text: Callable[[StreamName, str], None],
        on_lost: Callable[[TransportFault], None],
    ) -> None:
        self._make_client = make_client
        self._on_text = on_text
        self._on_lost = on_lost
        self._clients: dict[StreamName, HubClient] = {}
        self._channels: dict[StreamName, tuple[str, ...]] = {}
        self._all: set[HubClient] = set()
        self._poster = make_client()
        self._closed = False

    async def subscribe(self, channels: Channels) -> None:
        """Listen to exactly these; what is there already stays. Raises TransportFault, and then changes nothing."""
        wanted = {name: tuple(names) for name, names in channels.items() if names}
        fresh = {name: self._make_client() for name, names in wanted.items() if self._channels.get(name) != names}
        self._all.update(fresh.values())
        try:
            outcomes = await asyncio.gather(
                *(self._listen(name, client, wanted[name]) for name, client in fresh.items()), return_exceptions=True
            )
            for outcome in outcomes:
                if outcome is not None:
                    raise outcome
        except BaseException:
            await self._end(fresh.values())
            raise
        gone = [self._clients[name] for name in self._clients if name in fresh or name not in wanted]
        self._clients = {name: fresh.get(name) or self._clients[name] for name in wanted}
        self._channels = wanted
        await self._end(gone)

    async def _listen(self, name: StreamName, client: HubClient, channels: Sequence[str]) -> None:
        await client.subscribe(channels, partial(self._on_text, name), partial(self._lost, client))

    async def broadcast(self, channel: str, body: str) -> None:
        """See HubClient.broadcast."""
        await self._poster.broadcast(channel, body)

    async def close(self) -> None:
        """End everything; nothing is called afterwards."""
        self._closed = True
        await self._end([*self._all, self._poster])

    async def _end(self, clients: Iterable[HubClient]) -> None:
        ending = list(clients)
        self._all.difference_update(ending)
        await asyncio.gather(*(client.close() for client in ending))

    def _lost(self, client: HubClient, fault: TransportFault) -> None:
        if client in self._all and not self._closed:
            self._closed = True
            self._on_lost(fault)
