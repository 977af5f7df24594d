"""What carries sealed letters, with what is held for each: a hub, or a linked peer that passes them on.

A hub carries to channels, and knows neither who listens nor who speaks. A go-between (docs/signalling.md,
"Introductions") carries to whom it is linked with, and sees who would like to meet whom, but nothing that they say.
"""

from __future__ import annotations

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ssb_rtc.signalhub.admission import TokenBucket
from ssb_rtc.signalhub.crowd import Crowd
from ssb_rtc.signalhub.over_hubs import Held
from ssb_rtc.signalhub.streams import HubStreams, StreamName
from ssb_rtc.types import PeerId
from ssb_rtc.wire import channels

Source: TypeAlias = StreamName | Literal["passed"]
"""Where a letter came in: on a stream of a hub, or passed on by a go-between."""
PassOn: TypeAlias = Callable[[PeerId, str], Awaitable[None]]
"""Has the go-between pass an envelope on to a peer; raises TransportFault."""


@dataclass(frozen=True, slots=True)
class SealedLimits:
    """What may come in, and how much is held. Rates are letters a second."""

    hubs_max: int = 32
    inbox_rate_s: float = 50.0
    inbox_burst: float = 100.0
    """Before any cryptography, for the friend inbox and for all that is open apart, on each hub."""
    passed_rate_s: float = 5.0
    passed_burst: float = 60.0
    """The same for each go-between. One alone can't fill the memory of letters that were seen."""
    sender_rate_s: float = 10.0
    sender_burst: float = 60.0
    senders_max: int = 4_096
    seen_max: int = 16 * 1024
    seen_of_a_sender_max: int = 64
    knock_rate_s: float = 1.0
    knock_burst: float = 20.0
    """Of our own knocks on each hub."""
    posts_max: int = 4
    """In flight to one hub."""
    posts_waiting_max: int = 256


class Carrier(Held, ABC):
    """One of them."""

    def __init__(self, limits: SealedLimits, now_s: float, buckets: Mapping[Source, TokenBucket]) -> None:
        super().__init__(limits.posts_max)
        self.reply = channels.reply_channel(secrets.token_bytes(channels.REPLY_BYTES))
        self.open_reply = channels.reply_channel(secrets.token_bytes(channels.REPLY_BYTES))
        """Named to those who are no friends: what they send there can't crowd out what friends send."""
        self.buckets = buckets
        self.knocks = TokenBucket(limits.knock_rate_s, limits.knock_burst, now_s)

    @abstractmethod
    async def carry(self, to: PeerId, channel: str, body: str) -> None:
        """Hand over an envelope for this peer, who listens on that channel of a hub. Raises TransportFault."""


class Hub(Carrier):
    """A hub."""

    def __init__(self, streams: HubStreams, limits: SealedLimits, now_s: float) -> None:
        names: tuple[Source, ...] = ("own", "open")
        buckets = {name: TokenBucket(limits.inbox_rate_s, limits.inbox_burst, now_s) for name in names}
        super().__init__(limits, now_s, buckets)
        self.streams = streams
        self.renewing = asyncio.Lock()
        self.crowd = Crowd()
        self.announced_on: str | None = None

    async def carry(self, to: PeerId, channel: str, body: str) -> None:
        """See `Carrier.carry`."""
        del to
        await self.streams.broadcast(channel, body)


class GoBetween(Carrier):
    """A linked peer. What a letter says of a channel to answer on means nothing here: answers go back to its sender."""

    def __init__(self, pass_on: PassOn, limits: SealedLimits, now_s: float) -> None:
        super().__init__(limits, now_s, {"passed": TokenBucket(limits.passed_rate_s, limits.passed_burst, now_s)})
        self._pass_on = pass_on
        self.up = True

    async def carry(self, to: PeerId, channel: str, body: str) -> None:
        """See `Carrier.carry`."""
        del channel
        await self._pass_on(to, body)
