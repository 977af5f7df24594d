"""This machine's ways to the internet, and the watch that notices when they change.

Networks come and go without a word to open connections: a subscription to a hub that was open before may be dead and
stay silent. There is no portable event for it, so the routing table is asked from time to time, which costs four
system calls.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Final

LOOK_INTERVAL_S: Final = 2.0

_DOCUMENTATION_ADDRESSES: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))

WaysOut = tuple[str, ...]
"""Our address on each way out; none without a network."""


def ways_out() -> WaysOut:
    """The addresses of ours, by IPv4 and IPv6, from which packets to the internet would leave.

    Connecting a datagram socket asks the routing table and sends nothing.
    """
    found = []
    for family, destination in _DOCUMENTATION_ADDRESSES:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((destination, 9))
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue
    return tuple(found)


class NetworkWatch:
    """Awaits `on_change` each time that there is a network again, or another one."""

    def __init__(
        self,
        on_change: Callable[[], Awaitable[None]],
        *,
        look: Callable[[], WaysOut] = ways_out,
        interval_s: float = LOOK_INTERVAL_S,
    ) -> None:
        self._on_change = on_change
        self._look = look
        self._interval_s = interval_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look. Needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(self._look()), name="network watch")

    async def close(self) -> None:
        """Looks no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, known: WaysOut) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            found = self._look()
            changed, known = found != known, found
            if changed and found:
                await self._on_change()
