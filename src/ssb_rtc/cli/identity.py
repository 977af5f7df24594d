"""`ssb-rtc init` and `ssb-rtc whoami`."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from ssb_rtc.cli import flags, output
from ssb_rtc.storage import folder as files


def init(arguments: argparse.Namespace) -> int:
    """Make an identity, or take over the one in a secret file."""
    folder = flags.folder_of(arguments)
    keys = files.take_over(folder, Path(arguments.secret)) if arguments.secret else files.create(folder)
    secret = files.secret_path(folder)
    if arguments.json:
        output.print_json({"id": keys.id, "secret": str(secret)})
        return 0
    print(keys.id)
    print(f"Your key is in {secret}. Keep a copy in a safe place: nobody can restore it for you.", file=sys.stderr)
    if arguments.secret:
        print(
            "Two programs that write with one identity fork its feed for ever: stop using it elsewhere. "
            "Publishing waits until a peer that holds this feed has answered.",
            file=sys.stderr,
        )
    return 0


def ensure(folder: Path) -> bool:
    """Make an identity where there is none, and say how to keep it; whether it was made now. Raises StorageFault."""
    if files.has_identity(folder):
        return False
    keys, secret = files.create(folder), files.secret_path(folder)
    print(
        f"made an identity for you: {keys.id}\n"
        f"  its key is in {secret}: keep a copy in a safe place (cp {shlex.quote(str(secret))} /media/...)\n"
        "  whoever has it is you, and nobody can restore it for you; everything else is fetched from your friends",
        file=sys.stderr,
        flush=True,
    )
    return True


def whoami(arguments: argparse.Namespace) -> int:
    """Print our id."""
    keys = files.load(flags.folder_of(arguments)).keys
    if arguments.json:
        output.print_json({"id": keys.id})
    else:
        print(keys.id)
    return 0
