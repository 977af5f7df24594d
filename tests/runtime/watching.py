"""What the managers of real peers hear and order, for tests that wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from ssb_rtc import Peer
from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.state import State
from ssb_rtc.runtime.network import Network

LIMIT_S = 15.0
T = TypeVar("T")


class Watched:
    """The steps of one peer's manager from now on."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.actions: list[a.Action] = []
        self.effects: list[e.Effect] = []
        self._stepped = asyncio.Event()
        self.network._driver.observe(self._take)

    @property
    def network(self) -> Network:
        network = self.peer.controls.network
        assert network is not None
        return network

    @property
    def state(self) -> State:
        """The manager's state now."""
        return self.network._driver.state

    def _take(self, _state: State, action: a.Action, effects: tuple[e.Effect, ...]) -> None:
        self.actions.append(action)
        self.effects.extend(effects)
        self._stepped.set()

    def all(self, kind: type[T]) -> list[T]:
        """The actions or effects of this kind, in order."""
        return [one for one in (*self.actions, *self.effects) if isinstance(one, kind)]

    async def heard(self, kind: type[T], count: int = 1) -> T:
        """Waits for the `count`th action or effect of this kind."""
        await self.until(lambda: len(self.all(kind)) >= count, f"{kind.__name__}")
        return self.all(kind)[count - 1]

    async def until(self, condition: Callable[[], object], what: str = "it") -> None:
        """Waits until a step made something true."""
        try:
            async with asyncio.timeout(LIMIT_S):
                while not condition():
                    self._stepped.clear()
                    await self._stepped.wait()
        except TimeoutError:
            raise AssertionError(f"waited for {what}, and heard {[one.kind for one in self.actions]}") from None
