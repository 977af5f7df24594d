"""`ssb-rtc invite create`, `accept`, `list` and `revoke`."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from ssb_rtc.cli import output
from ssb_rtc.cli.local import run_with_link
from ssb_rtc.errors import MisuseError

if TYPE_CHECKING:
    from ssb_rtc.transport.link import Link


def invite(arguments: argparse.Namespace) -> int:
    """Create, accept, list or revoke invites."""
    run = {"create": _create, "accept": accept, "list": _list, "revoke": _revoke}[arguments.action]
    if (arguments.code is None) != (arguments.action in ("create", "list")):
        raise MisuseError("invite takes `create`, `accept CODE`, `list` or `revoke ID`")

    async def body(link: Link) -> int:
        await run(arguments, link)
        return 0

    return run_with_link(arguments, body, need_peer=arguments.action in ("create", "accept"))


async def _create(arguments: argparse.Namespace, link: Link) -> None:
    options = {name: getattr(arguments, name) for name in ("uses", "days", "external", "note")}
    code = await link.call("invite.create", {**options, "modern": arguments.modern})
    if arguments.json:
        output.print_json({"invite": code})
    else:
        print(code)


async def accept(arguments: argparse.Namespace, link: Link) -> None:
    """Use a code of npm ssb-invite."""
    found = await link.call("invite.accept", arguments.code, timeout_s=None)
    if arguments.json:
        output.print_json(found)
    else:
        print(f"{found['id']} follows us now, and we follow them")
        if not found["connected"]:
            print(f"there is no link yet: try `ssb-rtc connect {found['address']}`")


async def _list(arguments: argparse.Namespace, link: Link) -> None:
    found = await link.call("invite.list")
    if arguments.json:
        output.print_json(found)
        return
    rows = [(each["id"], f"{each['used']} of {each['uses']}", _until(each), each["note"] or "") for each in found]
    output.print_table(
        ("invite", "used", "good until", "note"), rows, "no invites: make one with `ssb-rtc invite create`"
    )


async def _revoke(arguments: argparse.Namespace, link: Link) -> None:
    await link.call("invite.revoke", arguments.code)
    if arguments.json:
        output.print_json({"id": arguments.code, "usable": False})


def _until(record: dict[str, object]) -> str:
    if not record["usable"]:
        return "over"
    expires_ms = record["expiresMs"]
    assert isinstance(expires_ms, int)
    return time.strftime("%Y-%m-%d", time.localtime(expires_ms / 1000))
