"""`ssb-rtc start`: run the peer until interrupted."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

from ssb_rtc.cli import dashboard, flags, output
from ssb_rtc.cli.friends import ask_on_terminal
from ssb_rtc.cli.interrupt import interrupted
from ssb_rtc.peer import Peer
from ssb_rtc.storage import folder as files


def start(arguments: argparse.Namespace) -> int:
    """Create the identity if there is none, start, say where we listen, and stay until a signal comes."""
    settings = flags.settings_of(arguments)
    folder = flags.folder_of(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if not files.has_identity(folder):
        files.create(folder)
        print(f"made an identity in {files.secret_path(folder)}: keep a copy in a safe place", file=sys.stderr)

    async def main() -> None:
        served = dashboard.of(arguments, settings)
        async with (
            interrupted() as stop,
            Peer(folder, settings, restored=arguments.restored, plugins=served.plugins) as peer,
            served.by(peer),
        ):
            status = peer.status()
            if arguments.json:
                status["dashboard"] = served.url()
                output.print_json(status)
            else:
                print(f"{status['id']} runs (end it with Ctrl-C)", file=sys.stderr)
                for address in status["addresses"]:
                    print(f"  reachable at {address}", file=sys.stderr)
                for hub in status["hubs"]:
                    print(f"  meets on {hub['url']}", file=sys.stderr)
                if not status["hubs"]:
                    print("  no hub yet: add one with `ssb-rtc hubs add https://...`", file=sys.stderr)
                for line in served.lines():
                    print(line, file=sys.stderr)
            asking = asyncio.create_task(ask_on_terminal(peer.limits))
            await stop.wait()
            asking.cancel()

    asyncio.run(main())
    return 0
