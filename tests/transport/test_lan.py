"""The socket of the local network, on loopback's own broadcast address: real datagrams, a port of each test's own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Interface

import pytest

from ssb_rtc.transport.lan import LanDiscovery, local_networks
from ssb_rtc.transport.multiserver import Multiserver
from ssb_rtc.wire.lan import Appeared, packet

LIMIT_S = 10.0
AMY, BOB = bytes([1]) * 32, bytes([2]) * 32
LOOPBACK = IPv4Interface("127.0.0.1/8")


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Ear:
    """What one discovery tells of."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Appeared] = asyncio.Queue()

    async def next(self) -> Appeared:
        async with asyncio.timeout(LIMIT_S):
            return await self.heard.get()


@asynccontextmanager
async def discovering(
    key: bytes, port: int, *places: tuple[str, int], networks: Callable[[], list[IPv4Interface]] = lambda: [LOOPBACK]
) -> AsyncIterator[Ear]:
    ear = Ear()
    lan = LanDiscovery(key, lambda: places, ear.heard.put_nowait, networks=networks, port=port)
    await lan.start()
    try:
        yield ear
    finally:
        await lan.close()


async def test_two_hear_each_other_and_not_themselves() -> None:
    port = free_port()
    async with discovering(AMY, port, ("0.0.0.0", 1001)) as amy, discovering(BOB, port, ("127.0.0.1", 1002)) as bob:
        assert await bob.next() == Appeared(AMY, packet("127.0.0.1", 1001, AMY).decode())
        assert await amy.next() == Appeared(BOB, packet("127.0.0.1", 1002, BOB).decode())
        assert amy.heard.empty()
        assert bob.heard.empty()


async def test_who_listens_nowhere_or_elsewhere_is_silent_and_hears() -> None:
    port = free_port()
    elsewhere = (("192.0.2.1", 1001), ("::", 1001), ("localhost", 1001))
    async with discovering(AMY, port, *elsewhere) as amy, discovering(BOB, port, ("0.0.0.0", 1002)) as bob:
        assert (await amy.next()).key == BOB
        assert bob.heard.empty()


async def test_what_comes_from_another_network_is_not_heard() -> None:
    port = free_port()
    networks = [IPv4Interface("192.0.2.1/24")]
    async with (
        discovering(AMY, port, networks=lambda: networks) as amy,
        discovering(AMY, port) as other,
        discovering(BOB, port, ("0.0.0.0", 1002)),
    ):
        assert (await other.next()).key == BOB
        assert amy.heard.empty()


async def test_a_network_that_takes_nothing_is_no_fault() -> None:
    """192.0.2.255 is no broadcast address of this machine: the kernel refuses it, or nobody is there."""
    port = free_port()
    networks = [IPv4Interface("192.0.2.1/24"), LOOPBACK]
    async with (
        discovering(AMY, port, ("0.0.0.0", 1001), networks=lambda: networks),
        discovering(BOB, port) as bob,
    ):
        assert await bob.next() == Appeared(AMY, packet("127.0.0.1", 1001, AMY).decode())


async def test_a_port_that_another_program_keeps_to_itself_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as alone:
        alone.bind(("0.0.0.0", 0))
        port = int(alone.getsockname()[1])
        async with discovering(AMY, port):
            assert str(port) in caplog.text


def test_the_networks_of_this_machine_are_real_ones() -> None:
    assert not any(each.ip.is_loopback or each.network.prefixlen > 30 for each in local_networks())


async def test_the_places_of_net_listeners_are_those_that_were_bound() -> None:
    server = Multiserver(AMY)
    places = [await server.listen(where, _refuse) for where in ("net:0.0.0.0:0", "ws:127.0.0.1:0")]
    ((host, port),) = server.net_places()
    assert host == "0.0.0.0"
    assert port > 0
    for listener in places:
        await listener.close()
    assert server.net_places() == []


async def _refuse(_stream: object) -> None:
    """Nobody comes."""
