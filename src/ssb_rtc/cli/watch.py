"""`ssb-rtc status --watch`: hubs, peers and feeds of the running peer, live; on a pipe, a line for each change."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ssb_rtc.cli import output
from ssb_rtc.cli.interrupt import Stop, interrupted
from ssb_rtc.cli.local import run_with_link
from ssb_rtc.cli.reading import somebody_types
from ssb_rtc.cli.watch_view import Look, line, screen
from ssb_rtc.errors import LinkClosed, NoPeerRuns

if TYPE_CHECKING:
    from ssb_rtc.transport.link import Link

EVERY_S = 1.0


def watch(arguments: argparse.Namespace) -> int:
    """Look at the running peer once a second, until q or Ctrl-C."""

    async def body(link: Link) -> int:
        async with interrupted() as stop:
            try:
                if arguments.json or not _is_screen():
                    await _lines(_looks(link, stop), as_json=arguments.json)
                else:
                    with _keys(stop):
                        await _screen(_looks(link, stop))
            except LinkClosed:
                raise NoPeerRuns("the peer has ended; `ssb-rtc start` runs it again") from None
        return 0

    return run_with_link(arguments, body, need_peer=True)


async def _looks(link: Link, stop: Stop) -> AsyncIterator[Look]:
    """What there is to see, each second, until `stop` is set."""
    before: Look | None = None
    while not stop.is_set():
        status: Any = await link.call("rtc.status")
        peers: Any = await link.call("rtc.peers", {"all": True})
        hubs: Any = await link.call("rtc.hubs")
        progress: Any = await link.call("rtc.progress")
        indexes: Any = (await link.call("progress"))["indexes"]
        look = Look(time.monotonic(), status, peers, hubs, progress, indexes, before)
        yield look
        before = look.without_its_past()
        with suppress(TimeoutError):
            async with asyncio.timeout(EVERY_S):
                await stop.wait()


async def _lines(looks: AsyncIterator[Look], *, as_json: bool) -> None:
    """For a pipe or a file: a line now, and one whenever something is different."""
    said = ""
    async for look in looks:
        told = line(look)
        if told == said:
            continue
        said = told
        if as_json:
            output.print_json(
                {**look.status, "peers": look.peers, "hubs": look.hubs, "progress": look.progress["total"]}
            )
        else:
            print(f"{time.strftime('%H:%M:%S')}  {told}", flush=True)


async def _screen(looks: AsyncIterator[Look]) -> None:
    from rich.console import Console
    from rich.live import Live

    # What hubs and peers say stands on the screen, and is no markup.
    console = Console(highlight=False, markup=False, emoji=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        async for look in looks:
            live.update(screen(look, console.width, console.height), refresh=True)


def _is_screen() -> bool:
    """Whether standard output is a terminal that can be drawn on."""
    if not sys.stdout.isatty():
        return False
    from rich.console import Console

    return not Console().is_dumb_terminal


@contextmanager
def _keys(stop: Stop) -> Iterator[None]:
    """Takes keys as they are pressed: q ends it. Does nothing where nobody types."""
    if not somebody_types():
        yield
        return
    import os
    import termios
    import tty

    descriptor = output.standard_input().fileno()
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(descriptor)

    def pressed() -> None:
        typed = os.read(descriptor, 64)
        if not typed or typed[:1] in {b"q", b"Q"}:
            stop.set()

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, pressed)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
