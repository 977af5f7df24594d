"""Listening for peers of the local network where nobody named a place for it: at this machine's private addresses.

So two people at one table find each other without a flag, and nothing is opened to the internet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Interface
from typing import Final

from ssb_rtc.errors import ListenFailed, MisuseError
from ssb_rtc.transport.lan import local_networks
from ssb_rtc.wire.lan import PORT

LOOK_S: Final = 10.0
"""How often it is looked for addresses that are new: a machine comes into another network."""

logger = logging.getLogger(__name__)


def is_private(address: IPv4Address) -> bool:
    """Whether only machines of the same network can reach it."""
    return address.is_private and not (address.is_loopback or address.is_link_local)


class LanListening:
    """listen: takes a place like `net:192.168.1.5:8008`; raises ListenFailed. networks: this machine's."""

    def __init__(
        self,
        listen: Callable[[str], Awaitable[object]],
        networks: Callable[[], list[IPv4Interface]] = local_networks,
    ) -> None:
        self._listen = listen
        self._look = networks
        self._known: set[IPv4Address] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listens at the addresses of now, and goes on with those that come."""
        await self._listen_at_new_ones()
        self._task = asyncio.create_task(self._run(), name="listen on local networks")

    async def close(self) -> None:
        """Looks for no more; who listens is ended by whoever ends the others."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self._listen_at_new_ones()

    async def _listen_at_new_ones(self) -> None:
        there = {at.ip for at in self._look() if is_private(at.ip)}
        fresh, self._known = sorted(there - self._known), there
        for address in fresh:
            await self._listen_at(address)

    async def _listen_at(self, address: IPv4Address) -> None:
        """At the port that SSB peers have, or, where another program has it, at any."""
        for port in (PORT, 0):
            try:
                await self._listen(f"net:{address}:{port}")
            except (ListenFailed, MisuseError) as fault:
                logger.info("peers of the local network can't reach us at %s: %s", address, fault)
            else:
                return
