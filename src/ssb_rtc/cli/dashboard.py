"""`ssb-rtc dashboard`, and the dashboard that `ssb-rtc start` serves."""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ssb_rtc.cli import output
from ssb_rtc.cli.local import run_with_link
from ssb_rtc.errors import MisuseError, RemoteCallError

if TYPE_CHECKING:
    from ssb_rtc.config import Settings
    from ssb_rtc.dashboard.server import Dashboard
    from ssb_rtc.peer import Peer
    from ssb_rtc.plugins.base import Plugin
    from ssb_rtc.transport.link import Link


def dashboard(arguments: argparse.Namespace) -> int:
    """Print an address that opens the running peer's dashboard once."""

    async def body(link: Link) -> int:
        try:
            url = await link.call("dashboard.url")
        except RemoteCallError as fault:
            if "no such command" in fault.message or "not in list of allowed" in fault.message:
                raise MisuseError(
                    "the running peer serves no dashboard: end it, and start it without `--dashboard no`"
                ) from None
            raise
        if arguments.json:
            output.print_json({"url": url})
        else:
            print(url)
        return 0

    return run_with_link(arguments, body, need_peer=True)


class Served:
    """The dashboard of `ssb-rtc start`, or none."""

    def __init__(self, dashboard: Dashboard | None) -> None:
        self._dashboard = dashboard

    @property
    def plugins(self) -> Iterable[Plugin]:
        """What the peer needs for it."""
        return [self._dashboard.plugin] if self._dashboard is not None else []

    @asynccontextmanager
    async def by(self, peer: Peer) -> AsyncIterator[None]:
        """Serves it while the peer is open. Raises ListenFailed."""
        if self._dashboard is None:
            yield
            return
        try:
            await self._dashboard.start(peer)
            yield
        finally:
            await self._dashboard.close()

    def url(self) -> str | None:
        """An address that opens it once."""
        return self._dashboard.new_url() if self._dashboard is not None else None

    def lines(self, path: str = "") -> list[str]:
        """Says where it is; with the word that opens it only to a terminal, and not to a log.

        path: what commands need to reach this peer.
        """
        if self._dashboard is None:
            return []
        if sys.stderr.isatty():
            return [f"  dashboard: {self._dashboard.new_url()}"]
        return [f"  dashboard at {self._dashboard.origin}: `ssb-rtc dashboard{path}` prints what opens it"]


def of(settings: Settings) -> Served:
    """What `start` serves by these settings."""
    if settings.dashboard is None:
        return Served(None)
    from ssb_rtc.dashboard.server import Dashboard

    return Served(Dashboard(settings.dashboard))
