"""`ssb-rtc plugins`: what installed packages offer, and what of it the running peer has loaded."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from ssb_rtc.cli import flags, output
from ssb_rtc.errors import ConnectFailed, IdentityMissing

if TYPE_CHECKING:
    from ssb_rtc.types import Json


def plugins(arguments: argparse.Namespace) -> int:
    """List them; without a running peer none is loaded."""
    found = asyncio.run(_found(flags.folder_of(arguments)))
    if arguments.json:
        output.print_json(found)
    else:
        rows = [
            (plugin["name"], plugin["package"] or "-", plugin["version"] or "-", "yes" if plugin["loaded"] else "no")
            for plugin in found
        ]
        output.print_table(("plugin", "package", "version", "loaded"), rows, "no installed package has a plugin")
    return 0


async def _found(folder: Path) -> Json:
    from ssb_rtc.peer import connect_local
    from ssb_rtc.plugins import installed

    try:
        link = await connect_local(folder)
    except (ConnectFailed, IdentityMissing):
        return installed.described(loaded=())
    try:
        return await link.call("rtc.plugins")
    finally:
        await link.close()
