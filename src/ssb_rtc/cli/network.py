"""`ssb-rtc peers`, `connect`, `disconnect`, `hubs` and `status`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ssb_rtc.cli import flags, ids, output
from ssb_rtc.cli.local import run_with_link
from ssb_rtc.cli.names import Names
from ssb_rtc.cli.trace import milestone
from ssb_rtc.errors import MisuseError
from ssb_rtc.types import HubUrl
from ssb_rtc.wire.hub_url import hub_host, normalise_hub

if TYPE_CHECKING:
    from ssb_rtc.transport.link import Link


WAIT_FOR_HUB_S = 2.0
LOOK_EVERY_S = 0.1
TOLD_FROM = 0.05
"""A part of a score that is smaller would be told as 0.0."""


def peers(arguments: argparse.Namespace) -> int:
    """Show the peers that the running peer is linked to, or all it knows of."""

    async def body(link: Link) -> int:
        if arguments.why is not None:
            return _print_why(await link.call("rtc.whyPeer", arguments.why), as_json=arguments.json)
        found = await link.call("rtc.peers", {"all": arguments.all})
        if arguments.json:
            output.print_json(found)
        else:
            names = Names(link)
            await names.look_up([p["id"] for p in found])
            rows = [
                (
                    p["id"], names.of(p["id"]), p["state"], p["transport"] or "-", ", ".join(p["hubs"]) or "-",
                    output.printable(("pinned; " if p["pinned"] else "") + p["reason"]),
                )
                for p in found
            ]  # fmt: skip
            output.print_table(("peer", "name", "state", "over", "hubs", "why"), rows, "no peers")
        return 0

    return run_with_link(arguments, body, need_peer=True)


def connect(arguments: argparse.Namespace) -> int:
    """Connect to an address and wait until the link is up."""

    async def body(link: Link) -> int:
        peer = await link.call("rtc.connect", arguments.address, {"pin": arguments.pin}, timeout_s=None)
        if arguments.json:
            output.print_json(peer)
        else:
            print(f"connected to {peer['id']} over {peer['transport']}")
        return 0

    return run_with_link(arguments, body, need_peer=True)


def listen(arguments: argparse.Namespace) -> int:
    """Listen for peers at one more place while the peer runs; without one, show the addresses."""

    async def body(link: Link) -> int:
        if arguments.where is None:
            found = await link.call("rtc.addresses")
        else:
            found = await link.call("rtc.listen", arguments.where)
        if arguments.json:
            output.print_json(found)
        elif found:
            for address in found:
                print(address)
        else:
            print("nowhere: `ssb-rtc listen net:PORT` starts it, or meet others on a hub")
        return 0

    return run_with_link(arguments, body, need_peer=True)


def unlisten(arguments: argparse.Namespace) -> int:
    """Stop listening at a place; links that came from there stay."""

    async def body(link: Link) -> int:
        await link.call("rtc.unlisten", arguments.where)
        if arguments.json:
            output.print_json(await link.call("rtc.addresses"))
        return 0

    return run_with_link(arguments, body, need_peer=True)


def disconnect(arguments: argparse.Namespace) -> int:
    """End the link to a peer, and unpin it."""

    named = ids.checked(arguments.peer)

    async def body(link: Link) -> int:
        wanted = await ids.known_feed(link, named)
        known = any(peer["id"] == wanted for peer in await link.call("rtc.peers", {"all": True}))
        await link.call("rtc.disconnect", wanted)
        if arguments.json:
            output.print_json({"id": wanted, "state": "DISCONNECTED"})
        elif known:
            print(f"no link with {wanted} is wanted for now: `ssb-rtc peers --why {wanted[:9]}` tells how long")
        else:
            print("it is not known here; if it was pinned, it no longer is")
        return 0

    return run_with_link(arguments, body, need_peer=True)


def hubs(arguments: argparse.Namespace) -> int:
    """List, add, remove or recommend hubs; with a running peer it acts at once."""
    allowed = flags.settings_of(arguments).allow_http
    if (arguments.url is None) != (arguments.action == "list"):
        raise MisuseError("hubs takes `list`, `add URL`, `remove URL`, `publish URL` or `retire URL`")
    if arguments.private and arguments.action != "add":
        raise MisuseError("--private goes with `hubs add URL`")
    if arguments.why is not None and arguments.action != "list":
        raise MisuseError("--why stands alone: `hubs --why URL`")

    async def body(link: Link) -> int:
        if arguments.why is not None:
            return _print_why(await link.call("rtc.whyHub", arguments.why), as_json=arguments.json)
        if arguments.action in {"publish", "retire"}:
            message = await link.call(f"hubs.{arguments.action}", arguments.url)
            if arguments.json:
                output.print_json(message)
            else:
                print(message["key"])
            return 0
        told = await _change_hubs(link, arguments, allowed)
        found = await link.call("rtc.hubs")
        if arguments.json:
            output.print_json(found)
            return 0
        _print_hubs(found)
        if told:
            print(told)
        return 0

    return run_with_link(arguments, body, need_peer=arguments.why is not None)


async def _change_hubs(link: Link, arguments: argparse.Namespace, allowed: Sequence[str]) -> str:
    """Adds or removes a hub, if that is what is wanted; a sentence on how it stands, or nothing."""
    if arguments.action == "remove":
        await link.call("rtc.removeHub", arguments.url)
        return "it is removed; after a day it may come back, where others tell of it"
    if arguments.action != "add":
        return ""
    await link.call("rtc.addHub", arguments.url, {"allowHttp": list(allowed), "private": arguments.private})
    added = await _after_adding(link, arguments.url)
    return "" if added is None else _how_it_stands(added, flags.with_path(arguments))


def _print_hubs(found: list[dict[str, Any]]) -> None:
    rows = [
        (
            hub["url"], hub["state"], hub["source"] + (", private" if hub["private"] else ""),
            output.printable(hub["error"] or ""),
        )
        for hub in found
    ]  # fmt: skip
    output.print_table(
        ("hub", "state", "source", "last fault"), rows, "no hubs: add one with `ssb-rtc hubs add https://...`"
    )


async def _after_adding(link: Link, text: str) -> dict[str, Any] | None:
    """The row of a hub that was just added, once the peer has reached it, or failed to; None where no peer runs."""
    if not (await link.call("rtc.status"))["running"]:
        return None
    url = normalise_hub(text, allow_http=[hub_host(HubUrl(text.strip()))])
    row: dict[str, Any] | None = None
    for _ in range(int(WAIT_FOR_HUB_S / LOOK_EVERY_S)):
        row = next((hub for hub in await link.call("rtc.hubs") if hub["url"] == url), None)
        if row is None or row["state"] == "CONNECTED" or (row["error"] and row["state"] == "DISCONNECTED"):
            break
        await asyncio.sleep(LOOK_EVERY_S)
    return row


def _how_it_stands(hub: dict[str, Any], path: str) -> str:
    if hub["state"] == "CONNECTED":
        return f"{hub['url']} is connected"
    why = output.printable(hub["error"] or hub["reason"] or "it has not answered so far")
    return f"it is kept, and not connected yet: {why}; `ssb-rtc hubs --why {hub['url']}{path}` tells more"


def _print_why(found: Any, *, as_json: bool) -> int:
    """An explanation: {subject, state, because, terms, next}."""
    if as_json:
        output.print_json(found)
        return 0
    print(f"{found['subject']} is {found['state']}")
    for heading, sentences in (("because", found["because"]), ("next", found["next"])):
        for sentence in sentences:
            print(f"  {heading:8} {output.printable(sentence)}")
            heading = ""  # noqa: PLW2901 - said once
    terms = {name: value for name, value in found["terms"].items() if abs(value) >= TOLD_FROM}
    if terms:
        told = ", ".join(f"{name} {value:+.1f}" for name, value in terms.items())
        print(f"  {'score':8} {sum(found['terms'].values()):+.1f} = {told}")
    if found.get("timeline"):
        print("  the last attempt:")
        for line in found["timeline"]:
            print(f"    {milestone(line)}")
    return 0


def status(arguments: argparse.Namespace) -> int:
    """Show who we are, what we hold, and whom we are linked to."""
    if arguments.watch:
        from ssb_rtc.cli.watch import watch

        return watch(arguments)

    async def body(link: Link) -> int:
        found = await link.call("rtc.status")
        if arguments.json:
            output.print_json(found)
            return 0
        names = Names(link)
        await names.look_up([found["id"], *(peer["id"] for peer in found["peers"])])
        print(f"id         {found['id']}  {names.of(found['id'])}".rstrip())
        start = f"ssb-rtc start{flags.with_path(arguments)}"
        print(f"running    {'yes' if found['running'] else f'no: `{start}` runs it'}")
        for address in found["addresses"]:
            print(f"address    {address}")
        print(f"messages   {found['messages']} in {len(found['feeds'])} feeds")
        for hub in found["hubs"]:
            print(f"hub        {hub['url']}  {hub['state']}")
        for peer in found["peers"]:
            print(
                f"peer       {peer['id']}  {peer['state']}  {peer['transport'] or '-'}  {names.of(peer['id'])}".rstrip()
            )
        for warning in found["warnings"]:
            print(f"warning    {output.printable(warning)}")
        return 0

    return run_with_link(arguments, body)
