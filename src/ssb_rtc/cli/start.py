"""`ssb-rtc start`: run the peer until interrupted."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from ssb_rtc.cli import dashboard, flags, identity, logs, output
from ssb_rtc.cli.friends import ask_on_terminal
from ssb_rtc.cli.interrupt import interrupted
from ssb_rtc.config import Settings
from ssb_rtc.errors import DatabaseLocked, SsbRtcError
from ssb_rtc.peer import Peer, connect_local
from ssb_rtc.types import JsonObject


def start(arguments: argparse.Namespace) -> int:
    """Create the identity if there is none, start, say where we listen, and stay until a signal comes."""
    settings = flags.settings_of(arguments)
    folder = flags.folder_of(arguments)
    logs.write_to(sys.stderr, settings.log, settings.log_level, "ssb_rtc")
    _tell_of_file(settings, flags.settings_file_of(arguments))
    identity.ensure(folder)

    async def main() -> None:
        served = dashboard.of(settings)
        async with (
            interrupted() as stop,
            Peer(folder, settings, restored=arguments.restored, plugins=served.plugins) as peer,
            served.by(peer),
        ):
            await peer.controls.listen_on_lan()
            if arguments.json:
                output.print_json({**peer.status(), "dashboard": served.url()})
            else:
                peer.context.tell = _tell
                path = flags.with_path(arguments)
                lines = [*_greeting(peer, path), *served.lines(path)]
                print("\n".join(lines), file=sys.stderr, flush=True)
            asking = asyncio.create_task(ask_on_terminal(peer.limits))
            await stop.wait()
            asking.cancel()

    try:
        asyncio.run(main())
    except DatabaseLocked as fault:
        if not asyncio.run(_answers(folder)):
            raise  # it is a command that holds the files for a moment
        raise DatabaseLocked(_runs_already(folder, flags.with_path(arguments))) from fault
    return 0


def _tell(sentence: str) -> None:
    print(output.printable(sentence), file=sys.stderr, flush=True)


async def _answers(folder: Path) -> bool:
    """Whether a running peer holds the folder."""
    try:
        link = await connect_local(folder)
    except SsbRtcError:
        return False
    await link.close()
    return True


def _runs_already(folder: Path, path: str) -> str:
    return (
        f"a peer runs on {folder} already: see how it is with `ssb-rtc status{path}`. "
        "End that one with Ctrl-C where it was started, or start another one beside it in a folder of its own, with "
        "--path DIR"
    )


def _greeting(peer: Peer, path: str = "") -> list[str]:
    """What the person at the terminal is told once the peer runs, line by line.

    path: what the commands that are named need to reach this peer.
    """
    status = peer.status()
    lines = [f"{status['id']} runs (end it with Ctrl-C)", f"  its files are in {peer.folder}"]
    lines += [f"  reachable at {address}" for address in status["addresses"] if not address.startswith("rtc:")]
    lines += [f"  metrics at {status['metrics']}"] if status["metrics"] else []
    lines += [f"  warning: {warning}" for warning in status["warnings"]]
    return [*lines, f"  {_now(peer, status)}", f"  {_next(status, path)}"]


def _now(peer: Peer, status: JsonObject) -> str:
    """What it is doing, in one line."""
    places = ["on this local network"] if peer.settings.lan and not peer.settings.relay_only else []
    places += [f"on {hub['url']}" for hub in status["hubs"]]
    friends = len(status["following"])
    whom = f"{friends} friend{'s' if friends > 1 else ''} and other peers" if friends else "peers"
    return f"now: looks for {whom} {', '.join(places)}" if places else "now: waits for peers that dial it"


def _next(status: JsonObject, path: str) -> str:
    """What the person can do, in one line."""
    if not status["hubs"]:
        return (
            f"next: no hub yet: add one with `ssb-rtc hubs add https://...{path}`, or use a friend's code with "
            f"`ssb-rtc join CODE{path}`"
        )
    if not status["following"]:
        return (
            f"next: `ssb-rtc share{path}` prints a code for a friend, `ssb-rtc join CODE{path}` uses a friend's, "
            f"`ssb-rtc follow @...{path}` fetches a feed"
        )
    return f"next: `ssb-rtc publish 'hello'{path}`, `ssb-rtc log{path}`, and `ssb-rtc share{path}` for one more friend"


def _tell_of_file(settings: Settings, file: Path | None) -> None:
    warning = flags.warning_of(settings, file)
    if warning:
        logging.getLogger(__name__).warning("%s", warning)
    if file is not None:
        logging.getLogger(__name__).info("settings read", extra={"fields": {"file": str(file)}})
