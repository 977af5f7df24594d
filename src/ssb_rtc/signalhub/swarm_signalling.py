"""The swarm dialect over many hubs: what npm `webrtc-swarm` 2.9 speaks, with feed ids as the swarm's ids.

For JavaScript peers; spoken on hubs whose address begins with `swarm+`. There every hearer of a `connect` offers, and
glare has no rule: so we never announce ourselves, and offer to each `connect` that we hear.

Channel `all` carries `{"type":"connect","from":id}`; a peer's id is its channel and carries `{"from":id,"signal":...}`;
see wire.swarm for the rest. Nothing here proves who speaks: the secret handshake on the opened channel does.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import aiohttp

from ssb_rtc.errors import SignalInvalid
from ssb_rtc.signalhub.admission import BucketTable, SeenCache, TokenBucket
from ssb_rtc.signalhub.client import ClientLimits, HubClient
from ssb_rtc.signalhub.over_hubs import Held, OverHubs, not_subscribed
from ssb_rtc.signalhub.signalling import (
    Announced,
    SignallingEvent,
    SignalReceived,
)
from ssb_rtc.types import HubUrl, PeerId
from ssb_rtc.wire import swarm
from ssb_rtc.wire.hub_url import http_url
from ssb_rtc.wire.swarm import Signal


@dataclass(frozen=True, slots=True)
class SwarmLimits:
    """What may come in, and how much is held. Rates are messages a second."""

    hubs_max: int = 32
    hub_rate_s: float = 500.0
    hub_burst: float = 1000.0
    sender_rate_s: float = 50.0
    sender_burst: float = 100.0
    announce_rate_s: float = 1.0
    announce_burst: float = 5.0
    """For each sender and hub: a swarm's peer announces every 3 to 15 s."""
    senders_max: int = 4096
    seen_window_s: float = 60.0
    seen_max: int = 16 * 1024
    posts_max: int = 4
    """In flight to one hub; half of the connections that the client may have."""
    posts_waiting_max: int = 256


class _Hub(Held):
    """What is held for one hub."""

    def __init__(self, client: HubClient, limits: SwarmLimits, now_s: float) -> None:
        super().__init__(limits.posts_max)
        self.client = client
        self.bucket = TokenBucket(limits.hub_rate_s, limits.hub_burst, now_s)


class SwarmSignalling(OverHubs[_Hub]):
    """The swarm dialect for one identity and one app name.

    Messages are dropped as: flood, invalid, unknown, own, duplicate.
    """

    def __init__(
        self,
        own: PeerId,
        app: str,
        session: aiohttp.ClientSession,
        on_event: Callable[[SignallingEvent], None],
        *,
        clock: Callable[[], float],
        limits: SwarmLimits | None = None,
        client_limits: ClientLimits | None = None,
    ) -> None:
        """`session` comes from `open_session` and stays the caller's; `clock` gives monotonic seconds."""
        self._limits = limits = limits or SwarmLimits()
        super().__init__(on_event, hubs_max=limits.hubs_max, posts_waiting_max=limits.posts_waiting_max)
        self._own = own
        self._app = app
        self._session = session
        self._clock = clock
        self._client_limits = client_limits
        self._senders = BucketTable(limits.sender_rate_s, limits.sender_burst, limits.senders_max)
        self._announcers = BucketTable(limits.announce_rate_s, limits.announce_burst, limits.senders_max)
        self._seen = SeenCache(limits.seen_window_s, limits.seen_max)
        self._described: dict[tuple[HubUrl, PeerId], asyncio.Future[None]] = {}

    def knocks(self, hub: HubUrl) -> bool:
        """See `Signalling.knocks`."""
        del hub
        return False

    def _make(self, hub: HubUrl) -> _Hub:
        client = HubClient(http_url(hub), self._app, self._session, limits=self._client_limits)
        return _Hub(client, self._limits, self._clock())

    async def _subscribe(self, hub: HubUrl, held: _Hub) -> None:
        names = [swarm.ALL, swarm.inbox(self._own)]
        await held.client.subscribe(names, partial(self._hear, hub, held), partial(self._lost, hub, held))

    async def _give_up(self, held: _Hub) -> None:
        await held.client.close()

    async def announce(self, hub: HubUrl, free_slots: int | None = None) -> None:
        """Says nothing: see the module."""

    async def leave(self, hub: HubUrl) -> None:
        """Says nothing: nobody was told that we are there."""

    async def send(self, hub: HubUrl, to: PeerId, session: str, signal: Signal) -> None:
        """See `Signalling.send`.

        A knock, which this dialect does not have, is not said. A swarm's peer throws away a candidate that comes
        before its offer, and POSTs in flight at once overtake each other: candidates wait until the last offer or
        answer to this peer is posted, then go at once.
        """
        if signal.kind == "knock":
            return
        body = swarm.format_signal(self._own, session, signal)
        key = (hub, to)
        before = self._described.get(key)
        if signal.kind == "candidate":
            if before is not None:
                await asyncio.wait([before])
            await self._post(hub, swarm.inbox(to), body)
            return
        posted = self._described[key] = asyncio.get_running_loop().create_future()
        try:
            if before is not None:
                await asyncio.wait([before])
            await self._post(hub, swarm.inbox(to), body)
        finally:
            posted.set_result(None)
            if self._described.get(key) is posted:
                del self._described[key]

    async def say_busy(self, hub: HubUrl, to: PeerId, session: str, not_before_s: float) -> None:
        """Says nothing: simple-peer throws at what it does not know."""

    async def _post(self, hub: HubUrl, channel: str, body: str) -> None:
        held = self._hubs.get(hub)
        if held is None or not held.up:
            raise not_subscribed(hub)
        await self._in_turn(hub, held, partial(held.client.broadcast, channel, body))

    def _hear(self, hub: HubUrl, held: _Hub, text: str) -> None:
        """One event of a hub: a flood is cut before anything is parsed, and nothing of it raises."""
        if self._hubs.get(hub) is not held:
            return
        now_s = self._clock()
        if not held.bucket.take(now_s):
            self._dropped["flood"] += 1
            return
        try:
            message = swarm.parse_message(text)
        except SignalInvalid:
            self._dropped["invalid"] += 1
            return
        if message is None:
            self._dropped["unknown"] += 1
            return
        if message.sender == self._own:
            self._dropped["own"] += 1
            return
        match message:
            case swarm.Connect(sender):
                if self._announcers.take((hub, sender), now_s):
                    self._emit(Announced(hub, sender))
                else:
                    self._dropped["flood"] += 1
            case swarm.SignalFrom():
                self._hear_signal(hub, message, text, now_s)

    def _hear_signal(self, hub: HubUrl, message: swarm.SignalFrom, text: str, now_s: float) -> None:
        digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
        if not self._senders.take(message.sender, now_s):
            self._dropped["flood"] += 1
        elif not self._seen.first((message.sender, message.session, digest), now_s):
            self._dropped["duplicate"] += 1
        else:
            self._emit(SignalReceived(hub, message.sender, message.session, message.signal))
