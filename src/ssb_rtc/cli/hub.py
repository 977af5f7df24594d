"""`ssb-rtc hub serve`."""

from __future__ import annotations

import argparse
import asyncio
import sys

from ssb_rtc.cli import output
from ssb_rtc.cli.interrupt import interrupted
from ssb_rtc.errors import MisuseError
from ssb_rtc.hub.server import serve

DESCRIPTORS = 1 << 16


def hub(arguments: argparse.Namespace) -> int:
    """Serve a signalhub until interrupted."""
    if not 0 <= arguments.port <= 65535:
        raise MisuseError("--port takes a number from 0 to 65535")
    if not arguments.host:
        raise MisuseError("--host takes an address; 0.0.0.0 is all that this machine has")

    _allow_many_descriptors()

    async def main() -> None:
        async with interrupted() as stop:
            server = await serve(arguments.host, arguments.port)
            try:
                if arguments.json:
                    output.print_json({"url": server.url, "port": server.port})
                else:
                    print(f"signalhub at {server.url} (end it with Ctrl-C)", file=sys.stderr)
                await stop.wait()
            finally:
                await server.close()

    asyncio.run(main())
    return 0


def _allow_many_descriptors() -> None:
    """Each subscriber is a descriptor; the usual soft limit of 1,024 would stall a hub long before it is busy."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
