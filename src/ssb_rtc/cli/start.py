"""`ssb-rtc start`: run the peer until interrupted."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from ssb_rtc.cli import dashboard, flags, logs, output
from ssb_rtc.cli.friends import ask_on_terminal
from ssb_rtc.cli.interrupt import interrupted
from ssb_rtc.config import Settings
from ssb_rtc.peer import Peer
from ssb_rtc.storage import folder as files


def start(arguments: argparse.Namespace) -> int:
    """Create the identity if there is none, start, say where we listen, and stay until a signal comes."""
    settings = flags.settings_of(arguments)
    folder = flags.folder_of(arguments)
    logs.write_to(sys.stderr, settings.log, settings.log_level, "ssb_rtc")
    _tell_of_file(settings, flags.settings_file_of(arguments))
    if not files.has_identity(folder):
        files.create(folder)
        print(f"made an identity in {files.secret_path(folder)}: keep a copy in a safe place", file=sys.stderr)

    async def main() -> None:
        served = dashboard.of(settings)
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
            if status["metrics"] and not arguments.json:
                print(f"  metrics at {status['metrics']}", file=sys.stderr)
            asking = asyncio.create_task(ask_on_terminal(peer.limits))
            await stop.wait()
            asking.cancel()

    asyncio.run(main())
    return 0


def _tell_of_file(settings: Settings, file: Path | None) -> None:
    warning = flags.warning_of(settings, file)
    if warning:
        logging.getLogger(__name__).warning("%s", warning)
    if file is not None:
        logging.getLogger(__name__).info("settings read", extra={"fields": {"file": str(file)}})
