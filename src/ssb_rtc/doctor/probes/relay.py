"""A relay at a TURN server, asked for and tried: a packet goes from a socket of ours to the relay and comes back to us.

With the TURN client of aioice. The relay is given back at the end; what it cost the server is gone with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aioice import stun, turn

from ssb_rtc.doctor.nat import Place
from ssb_rtc.doctor.probes.stun import place_of
from ssb_rtc.errors import ConnectFailed
from ssb_rtc.transport.ice import TurnServer

ALLOCATE_LIMIT_S: Final = 6.0
LIFETIME_S: Final = 60
"""What is not given back, because we died, ends by itself after this."""
PACKETS_MAX: Final = 5
PACKET_LIMIT_S: Final = 0.4
"""Until the next packet."""
PERMIT_LIMIT_S: Final = 3.0
RELEASE_LIMIT_S: Final = 2.0


class RelayRefused(ConnectFailed):
    """The server answered, and gives us no relay. `code` is its error."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"it refuses (error {code})")
        self.code = code


@dataclass(frozen=True, slots=True)
class Relay:
    """What came of it."""

    relayed: Place
    mapped: Place
    """Where the server sees us."""
    carries: bool | None
    """A packet went through it; None where the server lets nobody send to us, so it could not be tried."""
    took_s: float
    """Until we had it."""


class _Hearing(asyncio.DatagramProtocol):
    """What comes in through the relay."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue(maxsize=16)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        del addr
        with contextlib.suppress(asyncio.QueueFull):
            self.heard.put_nowait(bytes(data))


async def try_relay(server: TurnServer) -> Relay:
    """Raises RelayRefused, or ConnectFailed where the server does not answer."""
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    place = await place_of(f"{server.host}:{server.port}", family)
    async with _client(place, server) as client:
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        relayed = await _allocate(client)
        took_s = loop.time() - begun_s
        mapped = client.mapped_address
        if mapped is None:
            raise ConnectFailed("its answer does not say where it sees us")
        return Relay(relayed, mapped, await _carries(client, relayed, mapped), took_s)


@asynccontextmanager
async def _client(place: Place, server: TurnServer) -> AsyncIterator[turn.TurnClientUdpProtocol]:
    def make() -> turn.TurnClientUdpProtocol:
        return turn.TurnClientUdpProtocol(
            place,
            username=server.user,
            password=server.password,
            lifetime=LIFETIME_S,
            channel_refresh_time=turn.DEFAULT_CHANNEL_REFRESH_TIME,
        )

    try:
        transport, client = await asyncio.get_running_loop().create_datagram_endpoint(make, remote_addr=place)
    except OSError as fault:
        raise ConnectFailed(f"no way leads there: {fault.strerror}") from fault
    try:
        yield client
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_LIMIT_S):
                if client.relayed_address is not None:
                    await client.delete()
        transport.close()


async def _allocate(client: turn.TurnClientUdpProtocol) -> Place:
    try:
        async with asyncio.timeout(ALLOCATE_LIMIT_S):
            host, port = await client.connect()
            return host, port
    except (TimeoutError, stun.TransactionTimeout):
        raise ConnectFailed(f"no answer within {ALLOCATE_LIMIT_S:g} s") from None
    except stun.TransactionFailed as refusal:
        raise RelayRefused(refusal.response.error_code) from refusal
    except (OSError, ValueError) as fault:
        raise ConnectFailed(f"its answer can't be used: {str(fault)[:120]}") from fault


async def _carries(client: turn.TurnClientUdpProtocol, relayed: Place, mapped: Place) -> bool | None:
    # A relay takes packets from addresses that its owner sent to before, from any port of them: so it does not matter
    # that a symmetric NAT shows the relay another port of ours.
    try:
        async with asyncio.timeout(PERMIT_LIMIT_S):
            await client.send_data(b"permit", mapped)
    except (TimeoutError, stun.TransactionError, OSError):
        return None
    hearing = client.receiver = _Hearing()
    token = secrets.token_bytes(16)
    with socket.socket(socket.AF_INET6 if ":" in relayed[0] else socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for _ in range(PACKETS_MAX):
            with contextlib.suppress(OSError):
                sender.sendto(token, relayed)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PACKET_LIMIT_S):
                    while await hearing.heard.get() != token:
                        pass
                    return True
    return False
