"""What carries a post to the subscribers: this process's memory, or something between several processes.

At most once, whatever the broker: a post reaches whoever is subscribed when it passes, or is lost; nothing is stored,
and nothing is sent again.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

Hears = Callable[[bytes, bytes], None]
"""Called with a channel's name and a body, for each post on a channel that this process has subscribed to."""


class BrokerAway(Exception):
    """The broker can't be reached now; `str()` is a sentence for the log."""


class Broker(ABC):
    """Names are raw bytes, `<app>/<channel>`. All is called from the loop that `start` ran in."""

    gather_s: ClassVar[float] = 0.0
    """How long what is heard may wait for more where many listen: a write to each of them costs much more than its
    bytes. Nothing where a POST is answered after its delivery, so that its sender would wait for nobody."""

    @abstractmethod
    async def start(self, hears: Hears) -> None:
        """Begin; a broker that is away at the start is no error."""

    @abstractmethod
    async def close(self) -> None:
        """End: what is still in flight fails. May be called twice."""

    @property
    @abstractmethod
    def away(self) -> str | None:
        """What is wrong, as a sentence, while posts and subscriptions are refused; None while all is well."""

    @abstractmethod
    def publish(self, name: bytes, body: bytes) -> asyncio.Future[bool] | None:
        """Hand a post on. None: done. Else the future says whether the broker took it. Raises BrokerAway."""

    @abstractmethod
    def subscribe(self, names: Sequence[bytes]) -> asyncio.Future[bool] | None:
        """Hear these channels. None: from now on. Else the future says whether they are heard. Raises BrokerAway.

        `unsubscribe` has to follow once, whatever the future said, unless BrokerAway was raised.
        """

    @abstractmethod
    def unsubscribe(self, names: Sequence[bytes]) -> None:
        """Undo one `subscribe`; a channel is heard until its last subscriber is gone."""


class MemoryBroker(Broker):
    """One process is all: a post is heard while it is published."""

    def __init__(self) -> None:
        self._hears: Hears = _nobody

    async def start(self, hears: Hears) -> None:
        self._hears = hears

    async def close(self) -> None:
        self._hears = _nobody

    @property
    def away(self) -> str | None:
        return None

    def publish(self, name: bytes, body: bytes) -> None:
        self._hears(name, body)

    def subscribe(self, names: Sequence[bytes]) -> None:
        pass

    def unsubscribe(self, names: Sequence[bytes]) -> None:
        pass


def _nobody(name: bytes, body: bytes) -> None:
    pass
