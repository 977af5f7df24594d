"""Two rtc transports whose signals go straight from one to the other, as over a hub that both are on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ssb_rtc.transport.base import Listener, OnStream, Stream
from ssb_rtc.transport.ice import IceConfig
from ssb_rtc.transport.rtc import OnOffer, RtcTransport
from ssb_rtc.types import HubUrl, PeerId
from ssb_rtc.wire.swarm import Signal
from tests.transport.channels import LOOPBACK, backend
from tests.transport.linking import ALICE, BOB, peer_id

HUB = HubUrl("http://127.0.0.1:4000")
SMALL, GREAT = sorted((ALICE, BOB), key=lambda keys: keys.public)
"""The owners of the smaller and the greater public key."""

Heard = tuple[PeerId, PeerId, str, Signal]


class Meeting:
    """The peers of one hub. `on_way` decides what of each signal arrives; `named` False strips sessions."""

    def __init__(self, *, named: bool = True) -> None:
        self.transports: dict[PeerId, RtcTransport] = {}
        self.heard: list[Heard] = []
        self.named = named
        self.on_way: Callable[[PeerId, PeerId, Signal], bool] = lambda _sender, _to, _signal: True

    def join(
        self, own: PeerId, name: str = "wrtc", on_offer: OnOffer | None = None, ice: IceConfig = LOOPBACK
    ) -> RtcTransport:
        def send(hub: HubUrl, to: PeerId, session: str, signal: Signal) -> None:
            self.heard.append((own, to, session, signal))
            if to in self.transports and self.on_way(own, to, signal):
                told = session if self.named else None
                asyncio.get_running_loop().call_soon(self.transports[to].receive, hub, own, told, signal)

        transport = self.transports[own] = RtcTransport(own, backend(name), ice, send, on_offer)
        return transport

    def said(self, sender: PeerId, kind: str) -> list[Signal]:
        return [signal for who, _, _, signal in self.heard if who == sender and signal.kind == kind]

    async def close(self) -> None:
        await asyncio.gather(*(transport.close() for transport in self.transports.values()))


class RtcPlace:
    """An rtc listener and a dialler, under the interface of every transport."""

    def __init__(self) -> None:
        self.meeting = Meeting()
        self.dialler = self.meeting.join(peer_id(ALICE))
        self.server = self.meeting.join(peer_id(BOB))

    async def listen(self, on_stream: OnStream) -> Listener:
        return await self.server.listen(HUB, on_stream)

    async def connect(self) -> Stream:
        return await self.dialler.connect(f"{HUB}~{peer_id(BOB)}")

    async def close(self) -> None:
        await self.meeting.close()
