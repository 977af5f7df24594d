"""`ssb-rtc index`: how far the indexes are, and making them anew."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ssb_rtc.cli import output
from ssb_rtc.cli.local import run_with_link

if TYPE_CHECKING:
    from ssb_rtc.transport.link import Link


def index(arguments: argparse.Namespace) -> int:
    """Show the indexes; with --rebuild make them anew first."""

    async def body(link: Link) -> int:
        if arguments.rebuild:
            total = (await link.call("progress"))["indexes"]["target"]
            with output.progress("indexing", total=total, quiet=arguments.json) as show:
                async for place in link.source("indexes.rebuild"):
                    show(place["done"])
        states = await link.call("indexes.status")
        if arguments.json:
            output.print_json(states)
        else:
            rows = [(state["name"], state["version"], state["done"], state["total"]) for state in states]
            output.print_table(("index", "version", "messages done", "of"), rows, "no indexes")
        return 0

    return run_with_link(arguments, body)
