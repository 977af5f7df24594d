"""What a hub writes down: never a body, never a channel, addresses only when asked for.

Everything goes through the logger `ssb_rtc.hub`; a line's facts are its record's `fields` (see cli.logs). What happens
often is counted and told once a minute, so that no stranger can fill the disk.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssb_rtc.hub.server import HubServer

LOGGER = "ssb_rtc.hub"
PERIOD_S = 60.0

_log = logging.getLogger(LOGGER)


async def tell_traffic(hub: HubServer, period_s: float = PERIOD_S) -> None:
    """Write what a period brought, until cancelled; nothing where nothing happened."""
    before = replace(hub.counts)
    while True:
        await asyncio.sleep(period_s)
        grown = hub.counts.since(before)
        before = replace(hub.counts)
        if grown:
            now = {"subscribers": hub.subscribers, "open_connections": hub.connections}
            _log.info("traffic", extra={"fields": {**now, **grown}})
