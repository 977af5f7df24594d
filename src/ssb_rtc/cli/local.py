"""How a command reaches the peer of a folder: over the local socket if it runs, else by opening the folder itself.

Either way the command talks muxrpc to the same plugins, so each operation exists once.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ssb_rtc.errors import ConnectFailed, NoPeerRuns

if TYPE_CHECKING:
    import argparse

    from ssb_rtc.config import Settings
    from ssb_rtc.transport.link import Link

Body = Callable[["Link"], Awaitable[int]]


def run_with_link(arguments: argparse.Namespace, body: Body, *, need_peer: bool = False) -> int:
    """Run `body` with a link to the peer of the command's folder; returns its exit code."""
    from ssb_rtc.cli import flags

    async def main() -> int:
        settings = flags.settings_of(arguments)
        async with local_link(flags.folder_of(arguments), settings, need_peer=need_peer) as link:
            return await body(link)

    return asyncio.run(main())


@asynccontextmanager
async def local_link(folder: Path, settings: Settings, *, need_peer: bool = False) -> AsyncIterator[Link]:
    """A link with all local rights. Raises NoPeerRuns, IdentityMissing or another StorageFault."""
    from ssb_rtc import peer

    try:
        link = await peer.connect_local(folder)
    except ConnectFailed:
        if need_peer:
            raise NoPeerRuns(
                f"no peer runs in {folder}: "
                f"start it with `ssb-rtc start --path {shlex.quote(str(folder))}`, then try again"
            ) from None
        async with peer.Peer(folder, settings, create=False, online=False) as opened, opened.local_link() as link:
            yield link
        return
    try:
        yield link
    finally:
        await link.close()
