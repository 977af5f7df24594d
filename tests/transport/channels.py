"""Pairs of channels whose signals go straight from one to the other."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable

from ssb_rtc.transport.channel import Backend, Channel
from ssb_rtc.transport.channel_aiortc import AiortcBackend
from ssb_rtc.transport.channel_stream import ChannelStream
from ssb_rtc.transport.channel_wrtc import WrtcBackend
from ssb_rtc.transport.ice import IceConfig
from ssb_rtc.wire.swarm import Signal

LOOPBACK = IceConfig(allow_loopback=True)
BACKENDS: dict[str, Callable[[], Backend]] = {"wrtc": WrtcBackend, "aiortc": AiortcBackend}
PAIRS = [(a, b) for a in BACKENDS for b in BACKENDS]
OPEN_LIMIT_S = 15.0

Path = Callable[[Signal, Callable[[Signal], None]], None]
"""What lies between two channels: called with each signal and where it would go."""


def straight(signal: Signal, deliver: Callable[[Signal], None]) -> None:
    deliver(signal)


def backend(name: str) -> Backend:
    return BACKENDS[name]()


class Pair:
    """An offering channel and an answering one."""

    def __init__(
        self, offerer: str, answerer: str, *, config: IceConfig = LOOPBACK, path: Path = straight, start: bool = True
    ) -> None:
        self.sent: list[tuple[str, Signal]] = []
        self.a: Channel = backend(offerer).create(config, initiator=True, on_signal=self._carry("a", path))
        self.b: Channel = backend(answerer).create(config, initiator=False, on_signal=self._carry("b", path))
        if start:
            self.b.start()
            self.a.start()

    def _carry(self, side: str, path: Path) -> Callable[[Signal], None]:
        def on_signal(signal: Signal) -> None:
            self.sent.append((side, signal))
            target = self.b if side == "a" else self.a
            asyncio.get_running_loop().call_soon(path, signal, target.signal)

        return on_signal

    async def opened(self) -> tuple[ChannelStream, ChannelStream]:
        async with asyncio.timeout(OPEN_LIMIT_S):
            return await self.a.opened(), await self.b.opened()

    async def close(self) -> None:
        await asyncio.gather(self.a.close(), self.b.close())


@contextlib.asynccontextmanager
async def opened_pair(
    offerer: str, answerer: str, *, config: IceConfig = LOOPBACK, path: Path = straight
) -> AsyncIterator[tuple[ChannelStream, ChannelStream]]:
    """Two open streams, closed at the end."""
    pair = Pair(offerer, answerer, config=config, path=path)
    try:
        yield await pair.opened()
    finally:
        await pair.close()


def trickling(config: IceConfig = LOOPBACK) -> IceConfig:
    """Sends every candidate by itself, where the library can."""
    return dataclasses.replace(config, gather_wait_s=0)


async def read_exactly(stream: ChannelStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await stream.read()
        assert more, f"the stream ended after {len(data)} of {size} bytes"
        data += more
    return data
