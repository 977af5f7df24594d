"""`ssb-rtc share` and `ssb-rtc join`: a friend is invited by a code that can be sent by chat."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ssb_rtc.cli import flags, identity, ids, output
from ssb_rtc.cli.local import run_with_link
from ssb_rtc.errors import MisuseError, RemoteCallError
from ssb_rtc.types import JsonObject

if TYPE_CHECKING:
    from ssb_rtc.transport.link import Link


def share(arguments: argparse.Namespace) -> int:
    """Make, list or take back invitations."""
    if (arguments.id is None) == (arguments.action == "revoke"):
        raise MisuseError("share takes nothing, `list` or `revoke ID`")
    run = {"create": _create, "list": _list, "revoke": _revoke}[arguments.action]

    async def body(link: Link) -> int:
        await run(arguments, link)
        return 0

    return run_with_link(arguments, body)


async def _create(arguments: argparse.Namespace, link: Link) -> None:
    made = await link.call("welcome.create", {name: getattr(arguments, name) for name in ("uses", "days", "note")})
    code = str(made["code"])
    if arguments.svg is not None:
        write_svg(code, arguments.svg)
    if arguments.json:
        output.print_json(made)
        return
    print(code, flush=True)
    if sys.stdout.isatty():
        print_qr(code)
    path = flags.with_path(arguments)
    people = "one person" if made["uses"] == 1 else f"{made['uses']} people"
    where = " and ".join([*made["hubs"], *([made["address"]] if made["address"] else [])])
    print(
        f"Send this to your friend, who types: ssb-rtc join CODE\n"
        f"It is for {people}, good until {_day(made['expiresMs'])}, and leads to {where}.\n"
        f"Whoever has it can use it in your friend's place; `ssb-rtc share revoke {made['id']}{path}` takes it back.",
        file=sys.stderr,
    )
    if made["running"] and arguments.hub:
        print(
            "--hub was not used, for a peer runs here, and the code leads to where that one is met: "
            f"`ssb-rtc hubs add URL{path}` adds a hub to it; then share again.",
            file=sys.stderr,
        )
    for warning in _warnings(made, path):
        print(warning, file=sys.stderr)


def _warnings(made: JsonObject, path: str) -> list[str]:
    from ssb_rtc.wire.hub_url import hub_host, is_loopback

    hubs = made["hubs"]
    if not made["running"]:
        return [f"It works while your peer runs: start it with `ssb-rtc start{path}`."]
    if not hubs:
        return ["It names no hub: it works only where your friend reaches this address while your peer runs."]
    if not made["address"] and all(is_loopback(hub_host(hub)) for hub in hubs):
        return [
            f"Its hub is on this machine: nobody elsewhere can use it. Add another with `ssb-rtc hubs add URL{path}`."
        ]
    return []


async def _list(arguments: argparse.Namespace, link: Link) -> None:
    found = await link.call("welcome.list")
    if arguments.json:
        output.print_json(found)
        return
    rows = [
        (
            each["id"],
            f"{each['used']} of {each['uses']}",
            _day(each["expiresMs"]) if each["usable"] else "used up",
            output.printable(each["note"] or ""),
        )
        for each in found
    ]
    output.print_table(("id", "used", "good until", "note"), rows, "no invitations: make one with `ssb-rtc share`")


async def _revoke(arguments: argparse.Namespace, link: Link) -> None:
    await link.call("welcome.revoke", arguments.id)
    if arguments.json:
        output.print_json({"id": arguments.id, "usable": False})
    else:
        print("it was taken back: nobody can use it any more")


def _day(wall_ms: int) -> str:
    """The last day, which ends at midnight UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime(wall_ms / 1000 - 1))


# --- QR codes ---


def _qr(code: str) -> Any:
    import segno

    # In capitals it takes the alphabet of QR codes that needs the least room.
    return segno.make(code.upper(), error="m", micro=False)


QR_BORDER = 2


def print_qr(code: str) -> None:
    """The QR code in a terminal, or nothing where that can't show it."""
    try:
        "▀▄█".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return
    qr = _qr(code)
    width, _height = qr.symbol_size(border=QR_BORDER)
    if width > shutil.get_terminal_size().columns:
        return
    qr.terminal(out=sys.stdout, compact=True, border=QR_BORDER)
    sys.stdout.flush()


def write_svg(code: str, name: str) -> None:
    """The QR code as a picture. Raises MisuseError where the file can't be written."""
    try:
        _qr(code).save(name, kind="svg", scale=4, border=4, light="white")
    except OSError as fault:
        raise MisuseError(f"can't write {name}: {fault.strerror}") from fault


# --- join ---


def join(arguments: argparse.Namespace) -> int:
    """Use a code, give one up, or show those that wait."""
    from ssb_rtc.wire.welcome import is_welcome

    if arguments.code is not None and arguments.forget is not None:
        raise MisuseError("join takes a code or --forget ID, not both")
    if arguments.forget is not None:
        inviter = ids.checked(arguments.forget)
        return run_with_link(arguments, lambda link: _forget(arguments, link, inviter))
    if arguments.code is None:
        return run_with_link(arguments, lambda link: _waiting(arguments, link))
    if arguments.code == "-":
        arguments.code = output.standard_input().readline(output.LINE_BYTES_MAX).decode("utf-8", "replace").strip()
    if not is_welcome(arguments.code):
        return _accept_npm(arguments)
    from ssb_rtc.wire.welcome import parse_welcome

    parse_welcome(arguments.code)  # a typo is told before anything is made
    identity.ensure(flags.folder_of(arguments))
    return run_with_link(arguments, lambda link: _join(arguments, link))


def _accept_npm(arguments: argparse.Namespace) -> int:
    """A code of npm ssb-invite, if it is one."""
    from ssb_rtc.cli.invite import accept
    from ssb_rtc.errors import ConfigFault
    from ssb_rtc.wire.invite import parse_invite

    try:
        parse_invite(arguments.code)
    except ConfigFault:
        raise ConfigFault(
            "this is no invitation: one begins with ssbjoin1 (or, from other programs, looks like "
            "example.com:8008:@<44 characters>.ed25519~<44 characters>); copy it again as a whole"
        ) from None
    identity.ensure(flags.folder_of(arguments))

    async def body(link: Link) -> int:
        await accept(arguments, link)
        return 0

    return run_with_link(arguments, body, need_peer=True)


async def _join(arguments: argparse.Namespace, link: Link) -> int:
    last = await link.call("welcome.join", arguments.code)
    say: Callable[[str], None] = (lambda _: None) if arguments.json else _say
    if last["state"] != "stored":
        last = await _watch(link, last, arguments.wait, say)
    path = flags.with_path(arguments)
    if arguments.json:
        output.print_json(last)
    elif last["state"] == "stored":
        say(
            f"The invitation of {last['id']} is kept. No peer runs here: `ssb-rtc start{path}` starts one, which uses "
            "it."
        )
    elif last["state"] == "joined":
        say(f"Done: {last['text']}. `ssb-rtc log{path}` shows their messages, as soon as they are here.")
    elif last["state"] == "refused":
        say(f"It did not work: {last['text']}.")
    else:
        say(
            "The inviter was not met yet. The peer here goes on by itself, whenever both are online, also after a "
            f"restart; `ssb-rtc join{path}` shows how it stands."
        )
    return 1 if last["state"] == "refused" else 0


async def _watch(link: Link, last: JsonObject, wait_s: float, say: Callable[[str], None]) -> JsonObject:
    """Tells how it goes until it is over, or the time is."""
    progress = link.source("welcome.progress", last["id"])
    try:
        async with asyncio.timeout(max(0.0, wait_s)):
            async for told in progress:
                assert isinstance(told, dict)
                if told["text"] != last["text"] and told["state"] in ("waiting", "asking"):
                    say(f"  {output.printable(str(told['text']))}")
                last = told
    except TimeoutError:
        pass
    except RemoteCallError as fault:
        raise MisuseError(str(fault)) from None
    return last


def _say(text: str) -> None:
    print(text, flush=True)


async def _waiting(arguments: argparse.Namespace, link: Link) -> int:
    found = await link.call("welcome.joins")
    if arguments.json:
        output.print_json(found)
        return 0
    rows = [(each["id"], each["state"], output.printable(each["text"])) for each in found]
    output.print_table(
        ("inviter", "state", "what happens"), rows, "no invitation waits: use one with `ssb-rtc join CODE`"
    )
    return 0


async def _forget(arguments: argparse.Namespace, link: Link, inviter: str) -> int:
    waiting = [each["id"] for each in await link.call("welcome.joins")]
    host = ids.chosen(inviter, waiting)
    await link.call("welcome.forget", host)
    if arguments.json:
        output.print_json({"id": host, "state": "refused"})
    return 0
