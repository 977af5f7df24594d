"""A data channel from this machine to itself: two made-up peers meet on a hub, and bytes go both ways.

They speak what real peers speak there, sealed letters between friends, and announce themselves to nobody. Their keys
are forgotten afterwards.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import aiohttp

from ssb_rtc.errors import ConnectFailed, LinkClosed, SsbRtcError, TransportFault
from ssb_rtc.feeds.keys import Keys, keys_from_seed
from ssb_rtc.signalhub.dialects import Dialects
from ssb_rtc.signalhub.sealed_signalling import SealedSignalling
from ssb_rtc.signalhub.signalling import HubDown, SignallingEvent, SignalReceived
from ssb_rtc.signalhub.swarm_signalling import SwarmSignalling
from ssb_rtc.transport.base import Stream
from ssb_rtc.transport.channel import Backend
from ssb_rtc.transport.ice import IceConfig
from ssb_rtc.transport.rtc import RtcTransport
from ssb_rtc.types import HubUrl, PeerId
from ssb_rtc.wire.swarm import Signal, app_name

TOKEN_BYTES: Final = 4_096
ECHO_LIMIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class ChannelTimes:
    """How long it took, in seconds."""

    open_s: float
    echo_s: float
    """Until TOKEN_BYTES had gone there and back."""


class _FriendsOf:
    """Inbox secrets as a `Desk` asks for them."""

    def __init__(self) -> None:
        self.own = secrets.token_bytes(32)
        self.told: dict[PeerId, bytes] = {}

    def of(self, peer: PeerId) -> bytes | None:
        """That of the other one."""
        return self.told.get(peer)

    def is_invited_by(self, peer: PeerId) -> bool:
        """They know each other."""
        del peer
        return False

    def codes(self) -> dict[str, bytes]:
        """None."""
        return {}


class _MadeUpPeer:
    """One of the two, on one hub."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        network_key: bytes,
        backend: Backend,
        ice: IceConfig,
        wall: Callable[[], float],
    ) -> None:
        keys: Keys = keys_from_seed(secrets.token_bytes(32))
        self.id = PeerId(keys.id)
        self.inboxes = _FriendsOf()
        self.down: HubDown | None = None
        sealed = SealedSignalling(
            keys, network_key, session, self._hear,
            inboxes=self.inboxes, strangers=False, clock=time.monotonic, wall=wall,
        )  # fmt: skip
        swarm = SwarmSignalling(self.id, app_name(network_key), session, self._hear, clock=time.monotonic)
        self.signalling = Dialects(sealed, swarm)
        self.rtc = RtcTransport(self.id, backend, ice, self._say, knocks=self.signalling.knocks)
        self._saying: set[asyncio.Task[None]] = set()

    def _hear(self, event: SignallingEvent) -> None:
        if isinstance(event, SignalReceived):
            self.rtc.receive(event.hub, event.peer, event.session, event.signal)
        elif isinstance(event, HubDown):
            self.down = event

    def _say(self, hub: HubUrl, to: PeerId, session: str, signal: Signal) -> None:
        task = asyncio.get_running_loop().create_task(self._send(hub, to, session, signal))
        self._saying.add(task)
        task.add_done_callback(self._saying.discard)

    async def _send(self, hub: HubUrl, to: PeerId, session: str, signal: Signal) -> None:
        try:
            await self.signalling.send(hub, to, session, signal)
        except TransportFault as fault:
            self.rtc.not_sent(to, session, signal, str(fault))

    async def close(self) -> None:
        """Ends all of it."""
        await self.rtc.close()
        for task in list(self._saying):
            task.cancel()
        await asyncio.gather(*self._saying, return_exceptions=True)
        await self.signalling.close()


async def channel_to_ourselves(
    hub: HubUrl,
    session: aiohttp.ClientSession,
    network_key: bytes,
    backend: Backend,
    ice: IceConfig,
    *,
    wall: Callable[[], float],
) -> ChannelTimes:
    """Opens one over this hub and closes it again. Raises ConnectFailed with why there is none."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as parts:
        ours, theirs = (_MadeUpPeer(session, network_key, backend, ice, wall) for _ in range(2))
        ours.inboxes.told[theirs.id], theirs.inboxes.told[ours.id] = theirs.inboxes.own, ours.inboxes.own
        for peer in (ours, theirs):
            parts.push_async_callback(peer.close)
            await peer.signalling.connect(hub)
            if peer.down is not None:
                raise ConnectFailed(peer.down.reason)
        ours.rtc.listen_on(hub)  # the answer to a knock is an offer
        await theirs.rtc.listen(hub, _echo)
        begun_s = loop.time()
        stream = await ours.rtc.connect(f"{hub}~{theirs.id}")
        opened_s = loop.time()
        try:
            await _there_and_back(stream)
        finally:
            await stream.close()
        return ChannelTimes(opened_s - begun_s, loop.time() - opened_s)


async def _echo(stream: Stream) -> None:
    try:
        while data := await stream.read():
            stream.write(data)
    except SsbRtcError:
        pass  # the other end says what went wrong
    finally:
        await stream.close()


async def _there_and_back(stream: Stream) -> None:
    token, heard = secrets.token_bytes(TOKEN_BYTES), b""
    stream.write(token)
    try:
        async with asyncio.timeout(ECHO_LIMIT_S):
            while len(heard) < len(token):
                data = await stream.read()
                if not data:
                    raise ConnectFailed("the channel opened, and closed before anything had come back")
                heard += data
    except TimeoutError:
        raise ConnectFailed(f"the channel opened, and nothing came back within {ECHO_LIMIT_S:g} s") from None
    except LinkClosed as fault:
        raise ConnectFailed(f"the channel opened, and broke: {fault}") from fault
    if heard != token:
        raise ConnectFailed("the channel opened, and other bytes came back than went out")
