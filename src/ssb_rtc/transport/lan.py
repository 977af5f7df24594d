"""Peers of the same local network find each other by UDP broadcast, as npm ssb-lan and ssb-local do: see wire.lan.

We hear while this runs, and are heard while a net listener of ours can be reached from a local network: on each
network of this machine on which it listens, its broadcast address is told of it. A listener on loopback is told nobody.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Interface
from typing import Final

import ifaddr

from ssb_rtc.wire.lan import INTERVAL_S, PORT, Appeared, Hearing, packet

JITTER: Final = 0.2
NETWORKS_MAX: Final = 16
EVERYWHERE: Final = IPv4Address(0)

logger = logging.getLogger(__name__)


def local_networks() -> list[IPv4Interface]:
    """This machine's addresses, each with its network, without loopback and links that have no broadcast."""
    found = [
        IPv4Interface(f"{ip.ip}/{ip.network_prefix}")
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
        if ip.is_IPv4
    ]
    return [each for each in found if not each.ip.is_loopback and each.network.prefixlen <= 30][:NETWORKS_MAX]


class LanDiscovery:
    """Hears who is there on our networks, and says that we are.

    public: our key. listens_at: host and port of each net listener of ours. on_appeared: called for each peer heard.
    networks: this machine's. port: where everybody listens. Nothing here raises: a network without it is none the
    worse, so what fails is logged.
    """

    def __init__(
        self,
        public: bytes,
        listens_at: Callable[[], Iterable[tuple[str, int]]],
        on_appeared: Callable[[Appeared], object],
        *,
        networks: Callable[[], list[IPv4Interface]] = local_networks,
        port: int | None = None,
    ) -> None:
        self._public = public
        self._listens_at = listens_at
        self._on_appeared = on_appeared
        self._look = networks
        self._networks: list[IPv4Interface] = []
        self._port = PORT if port is None else port
        self._hearing = Hearing(public, time.monotonic())
        self._heard: asyncio.DatagramTransport | None = None
        self._sending: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        self._unsent: set[IPv4Address] = set()

    async def start(self) -> None:
        """Begins to hear and to be heard."""
        self._networks = self._look()
        try:
            receiving = _shared_socket(self._port)
        except OSError as error:
            logger.warning("peers of the local network are not found: UDP port %d: %s", self._port, error)
            return
        loop = asyncio.get_running_loop()
        self._heard, _ = await loop.create_datagram_endpoint(lambda: _Receiver(self._receive), sock=receiving)
        # A port of its own: JavaScript takes what comes from its own machine's port 8008 for its own.
        self._sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sending.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._sending.setblocking(False)
        self._task = loop.create_task(self._run(), name="local network")

    async def close(self) -> None:
        """Hears and says no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._heard is not None:
            self._heard.close()
            await asyncio.sleep(0)  # it closes its socket in the loop's next round
        if self._sending is not None:
            self._sending.close()

    @property
    def port(self) -> int:
        """Where we hear; 0 before `start`."""
        return int(self._heard.get_extra_info("sockname")[1]) if self._heard is not None else 0

    async def _run(self) -> None:
        while True:
            self._say()
            await asyncio.sleep(INTERVAL_S * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - no secret
            self._networks = self._look()

    def _say(self) -> None:
        assert self._sending is not None
        for at, port in self._reachable():
            destination = str(at.network.broadcast_address)
            try:
                self._sending.sendto(packet(str(at.ip), port, self._public), (destination, self._port))
                self._unsent.discard(at.ip)
            except OSError as error:
                if at.ip not in self._unsent:
                    logger.info("the network of %s is not told that we are here: %s", at, error)
                    self._unsent = {*self._unsent, at.ip} if len(self._unsent) < NETWORKS_MAX else {at.ip}

    def _reachable(self) -> Iterator[tuple[IPv4Interface, int]]:
        for host, port in self._listens_at():
            try:
                listens = ipaddress.ip_address(host)
            except ValueError:
                continue
            for at in self._networks:
                if listens in (EVERYWHERE, at.ip):
                    yield at, port

    def _receive(self, data: bytes, sender: str) -> None:
        address = ipaddress.ip_address(sender)
        if any(address in at.network for at in self._networks):
            appeared = self._hearing.hear(data, sender, time.monotonic())
            if appeared is not None:
                self._on_appeared(appeared)


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, receive: Callable[[bytes, str], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        self._receive(data, str(addr[0]))

    def error_received(self, exc: Exception) -> None:
        logger.debug("the local network: %s", exc)


def _shared_socket(port: int) -> socket.socket:
    """A socket that hears broadcasts on a port that other programs may hear on, too. Raises OSError."""
    heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        heard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "darwin":
            heard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        heard.setblocking(False)
        heard.bind(("0.0.0.0", port))  # noqa: S104 - broadcasts reach no other address
    except OSError:
        heard.close()
        raise
    return heard
