"""SIGINT and SIGTERM as an event, so that a long-running command ends in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop(asyncio.Event):
    """Set by the first signal."""

    number: int | None = None
    """Which it was."""


@asynccontextmanager
async def interrupted() -> AsyncIterator[Stop]:
    """An event that is set on the first signal; a second one ends the process the hard way."""
    loop = asyncio.get_running_loop()
    stop = Stop()

    def on_signal(number: int) -> None:
        stop.number = number
        stop.set()
        for each in SIGNALS:
            loop.remove_signal_handler(each)

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
