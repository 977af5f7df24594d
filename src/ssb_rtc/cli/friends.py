"""`ssb-rtc follow`, `block`, `friends`, `purge` and `sync`; and the question that `start` asks on a terminal."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from ssb_rtc.cli import ids, output
from ssb_rtc.cli.local import run_with_link
from ssb_rtc.cli.names import Names
from ssb_rtc.cli.reading import chunks_of, somebody_types
from ssb_rtc.errors import MisuseError
from ssb_rtc.types import Json, JsonObject

if TYPE_CHECKING:
    from ssb_rtc.plugins.sync_limits import SyncLimits
    from ssb_rtc.transport.link import Link


LOOK_EVERY_S = 0.25
CLEAR_LOOKS = 4


def follow(arguments: argparse.Namespace) -> int:
    """Publish that we follow a feed, or no longer do."""
    told = "no longer following" if arguments.undo else "following"
    return _say("friends.follow", arguments, {"state": not arguments.undo}, told)


def block(arguments: argparse.Namespace) -> int:
    """Publish that we block a feed, or no longer do."""
    options: JsonObject = {"state": not arguments.undo}
    if arguments.reason is not None:
        options["reason"] = arguments.reason
    return _say("friends.block", arguments, options, "no longer blocking" if arguments.undo else "blocking")


def _say(method: str, arguments: argparse.Namespace, options: JsonObject, told: str) -> int:
    wanted = ids.checked(arguments.id)

    async def body(link: Link) -> int:
        feed = await ids.known_feed(link, wanted)
        message = await link.call(method, feed, options)
        if arguments.json:
            output.print_json(message)
        else:
            print(f"{told} {feed}")
        return 0

    return run_with_link(arguments, body)


def friends(arguments: argparse.Namespace) -> int:
    """Show who is within reach and who is kept out, the nearest first."""

    async def body(link: Link) -> int:
        hops: dict[str, int] = await link.call("friends.hops")
        if arguments.json:
            output.print_json(hops)
        else:
            nearest = sorted(hops.items(), key=lambda item: (item[1] < 0, abs(item[1]), item[0]))
            names = Names(link)
            await names.look_up([feed for feed, hop in nearest if hop])
            rows = [(_place(hop), feed, names.of(feed)) for feed, hop in nearest if hop]
            output.print_table(("hops", "feed", "name"), rows, "nobody yet: `ssb-rtc follow ID` follows a feed")
        return 0

    return run_with_link(arguments, body)


def _place(hop: int) -> int | str:
    """-1 is our own block; beyond that stand those whom a friend blocks, and whom we follow or block no longer."""
    return hop if hop > 0 else "blocked" if hop == -1 else "left out"


def purge(arguments: argparse.Namespace) -> int:
    """Remove feeds from the disk that are not within reach."""
    feeds = [ids.feed_id(text) for text in arguments.id]
    if (feeds and arguments.all) or not (feeds or arguments.all or arguments.compact):
        raise MisuseError("purge takes the ids of feeds, or --all for every feed that is not within reach")

    async def body(link: Link) -> int:
        removed = {"feeds": 0, "messages": 0}
        everything: list[Json] = [{"all": True}] if arguments.all else []
        for what in feeds or everything:
            purged = await link.call("sync.purge", what, timeout_s=None)
            removed = {name: removed[name] + purged[name] for name in removed}
        if arguments.compact:
            await link.call("sync.compact", timeout_s=None)
        if arguments.json:
            output.print_json(removed)
        else:
            print(f"removed {removed['messages']} messages of {removed['feeds']} feeds")
        return 0

    return run_with_link(arguments, body)


def sync(arguments: argparse.Namespace) -> int:
    """Show what limits replication, or answer the question before a large first sync."""

    async def body(link: Link) -> int:
        if arguments.accept or arguments.decline:
            await link.call("sync.accept" if arguments.accept else "sync.decline")
        is_here = await _all_is_here(link, arguments) if arguments.wait else True
        status = await link.call("sync.status")
        if arguments.json:
            output.print_json(status)
            return 0 if is_here else 1
        most = f" of {status['max'] / 1e6:,.0f}" if status["max"] else ""
        print(f"fetching feeds up to {status['reach']} hops away; {status['used'] / 1e6:,.1f}{most} MB are used")
        if status["purgeable"]["feeds"]:
            held = status["purgeable"]
            print(f"{held['messages']} messages of {held['feeds']} feeds are not within reach: `ssb-rtc purge --all`")
        question = status["question"]
        if question is not None:
            print(
                f"to fetch: about {question['messages']:,} messages, {question['bytes'] / 1e6:,.0f} MB, from"
                f" {question['feeds']:,} feeds: answer with --accept, or with --decline to fetch only whom you follow"
            )
        if arguments.wait:
            print("all is here that linked peers have" if is_here else _not_here(status["missing"]["messages"]))
        return 0 if is_here else 1

    if arguments.timeout is not None and not arguments.wait:
        raise MisuseError("--timeout goes with --wait")
    return run_with_link(arguments, body, need_peer=arguments.wait)


def _not_here(missing: int) -> str:
    if missing:
        return f"{missing:,} messages are not here yet: wait longer, or see `ssb-rtc peers` for who sends them"
    return "no peer is linked that could have anything: `ssb-rtc peers --all` tells why"


async def _all_is_here(link: Link, arguments: argparse.Namespace) -> bool:
    """Waits until linked peers have nothing that we lack; False when a question or the time came first."""
    with output.progress("fetching", total=None, quiet=arguments.json) as show:
        try:
            async with asyncio.timeout(arguments.timeout):
                return await _fetched(link, show)
        except TimeoutError:
            return False


async def _fetched(link: Link, show: output.Progress) -> bool:
    held_before, clear_looks = (await link.call("rtc.status"))["messages"], 0
    # A link is up a moment before its peer has told what it has: one look that finds nothing may be too early.
    while clear_looks < CLEAR_LOOKS:
        status, limits = await link.call("rtc.status"), await link.call("sync.status")
        if limits["question"] is not None:
            return False
        fetched, missing = status["messages"] - held_before, limits["missing"]["messages"]
        show(fetched, fetched + missing if fetched or missing else None)
        is_linked = any(peer["state"] == "CONNECTED" for peer in status["peers"])
        clear_looks = clear_looks + 1 if is_linked and not missing else 0
        await asyncio.sleep(LOOK_EVERY_S)
    return True


async def ask_on_terminal(limits: SyncLimits) -> None:
    """Puts the question before a large first sync to whoever sits at the terminal, once; does nothing without one."""
    question = await limits.asked()
    if not somebody_types():
        return
    print(f"{question}. Fetch them? [y/n] ", end="", file=sys.stderr, flush=True)
    async for line in chunks_of(output.standard_input()):
        answer = line.strip().lower()
        if limits.question is None:
            return  # somebody answered with `ssb-rtc sync`
        if answer in {b"y", b"yes", b"n", b"no"}:
            accept = answer.startswith(b"y")
            limits.answer(accept=accept)
            told = "fetching them" if accept else "fetching only whom you follow directly"
            print(f"{told}; `ssb-rtc sync` changes that", file=sys.stderr, flush=True)
            return
        print("y fetches them, n only whom you follow directly: ", end="", file=sys.stderr, flush=True)
