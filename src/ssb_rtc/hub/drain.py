"""How a hub sends its subscribers away: one by one, so that they don't all come to the next hub in one moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssb_rtc.hub.connection import Connection
    from ssb_rtc.hub.limits import HubLimits

STEP_S = 0.02


async def end_one_by_one(streams: Sequence[Connection], limits: HubLimits) -> None:
    """End the streams, each at a random moment; few of them take a moment, many `limits.drain_s`."""
    loop = asyncio.get_running_loop()
    spread_s = min(limits.drain_s, len(streams) / limits.drain_streams_s)
    begun_s = loop.time()
    # Jitter, not a secret.
    moments = sorted(((random.random() * spread_s, stream) for stream in streams), key=_moment)  # noqa: S311
    for moment_s, stream in moments:
        wait_s = begun_s + moment_s - loop.time()
        if wait_s > STEP_S:
            await asyncio.sleep(wait_s)
        stream.end()


def _moment(entry: tuple[float, Connection]) -> float:
    return entry[0]
