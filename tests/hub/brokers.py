"""A broker that answers when the test wants it to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ssb_rtc.hub.broker import Broker, BrokerAway, Hears


class SlowBroker(Broker):
    """Keeps every post and subscription until `settle`."""

    def __init__(self) -> None:
        self.posts: list[tuple[bytes, bytes, asyncio.Future[bool]]] = []
        self.subscriptions: list[tuple[Sequence[bytes], asyncio.Future[bool]]] = []
        self.given_up: list[Sequence[bytes]] = []
        self.trouble: str | None = None
        self.ended = False
        self._news = asyncio.Event()

    async def start(self, hears: Hears) -> None:
        self.hears = hears

    async def close(self) -> None:
        self.ended = True

    @property
    def away(self) -> str | None:
        return self.trouble

    def publish(self, name: bytes, body: bytes) -> asyncio.Future[bool]:
        self._check()
        taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.posts.append((name, body, taken))
        return taken

    def subscribe(self, names: Sequence[bytes]) -> asyncio.Future[bool]:
        self._check()
        confirmed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.subscriptions.append((names, confirmed))
        return confirmed

    def unsubscribe(self, names: Sequence[bytes]) -> None:
        self.given_up.append(names)

    async def post(self) -> tuple[bytes, bytes]:
        """The oldest post that is not settled."""
        while not self.posts:
            await self._something()
        return self.posts[0][:2]

    def settle(self, taken: bool) -> None:
        """Answer the oldest post."""
        self.posts.pop(0)[2].set_result(taken)

    async def subscription(self) -> Sequence[bytes]:
        """The oldest subscription that is not settled."""
        while not self.subscriptions:
            await self._something()
        return self.subscriptions[0][0]

    def confirm(self, held: bool) -> None:
        """Answer the oldest subscription."""
        self.subscriptions.pop(0)[1].set_result(held)

    def _check(self) -> None:
        self._news.set()
        if self.trouble is not None:
            raise BrokerAway(self.trouble)

    async def _something(self) -> None:
        self._news.clear()
        async with asyncio.timeout(5):
            await self._news.wait()
