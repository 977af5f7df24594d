"""`ssb-rtc publish`, `log`, `import` and `export`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import stat
import sys
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO

from ssb_rtc.cli import ids, output
from ssb_rtc.cli.local import run_with_link
from ssb_rtc.cli.names import Names
from ssb_rtc.cli.reading import chunks_of
from ssb_rtc.errors import MessageInvalid, MisuseError
from ssb_rtc.feeds import canonical
from ssb_rtc.types import JsonObject

if TYPE_CHECKING:
    from ssb_rtc.transport.link import Duplex, Link


def publish(arguments: argparse.Namespace) -> int:
    """Write a message and print its id."""
    content = _content(arguments)
    recipients = [ids.feed_id(text) for text in arguments.to]

    async def body(link: Link) -> int:
        options = {"durable": arguments.durable, "force": arguments.force}
        if recipients:
            # We as well, to read it later; in the content too, where others see whom to answer.
            own = (await link.call("whoami"))["id"]
            recps = list(dict.fromkeys([own, *recipients]))
            message = await link.call("private.publish", {**content, "recps": recps}, recps, options)
        else:
            message = await link.call("publish", content, options)
        if arguments.json:
            output.print_json(message)
        else:
            print(message["key"])
        return 0

    return run_with_link(arguments, body)


def _content(arguments: argparse.Namespace) -> JsonObject:
    if (arguments.text is None) == (arguments.content is None):
        raise MisuseError("publish takes either a TEXT (or - for standard input) or --content JSON")
    if arguments.content is not None:
        try:
            content = canonical.parse(arguments.content, strict=True)
        except MessageInvalid as fault:
            raise MisuseError(
                f'--content is not JSON ({fault}): write it in single quotes, like \'{{"type":"post"}}\''
            ) from fault
        if not isinstance(content, dict):
            raise MisuseError('--content takes a JSON object with a "type", like {"type":"post","text":"hello"}')
        return content
    return {"type": "post", "text": _standard_input() if arguments.text == "-" else arguments.text}


def _standard_input() -> str:
    data = output.standard_input().read(output.LINE_BYTES_MAX + 1)
    if len(data) > output.LINE_BYTES_MAX:
        raise MisuseError(
            f"standard input holds more than {output.LINE_BYTES_MAX} bytes, which no message can: shorten it,"
            " or add it as a blob"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise MisuseError(
            f"standard input is not UTF-8 text ({fault.reason} at byte {fault.start}): convert it first"
        ) from fault


def log(arguments: argparse.Namespace) -> int:
    """Print messages in the order in which they arrived.

    As JSON they are as they were signed, unless only private ones are asked for, which are printed decrypted.
    """
    options = _log_options(arguments)

    async def body(link: Link) -> int:
        left, names = arguments.limit, Names(link)
        if left == 0:
            return 0
        async with aclosing(link.source("createLogStream", options)) as messages:
            async for message in messages:
                if arguments.private and not message["value"].get("private"):
                    continue
                if arguments.json:
                    output.print_json(message)
                else:
                    names.have_changed(message["value"]["content"], message["value"]["author"])
                    await names.look_up([message["value"]["author"]])
                    _print_message(message, names.of(message["value"]["author"]))
                left = None if left is None else left - 1
                if left == 0:
                    break
        return 0

    return run_with_link(arguments, body, need_peer=arguments.follow)


def _log_options(arguments: argparse.Namespace) -> JsonObject:
    """What createLogStream is asked for."""
    opened = arguments.private or not arguments.json
    options: JsonObject = {"live": arguments.follow, "sync": False, "private": opened, "reverse": arguments.newest}
    if arguments.author is not None:
        options["author"] = ids.feed_id(arguments.author)
    if arguments.newest and arguments.follow:
        raise MisuseError("--newest begins at the end, and --follow has none: give one of them")
    if arguments.limit is not None:
        if arguments.limit < 0:
            raise MisuseError("--limit takes a number from 0")
        if not arguments.private:
            options["limit"] = arguments.limit
    return options


def _print_message(message: JsonObject, name: str) -> None:
    value = message["value"]
    when = _when(value["timestamp"])
    content = value["content"]
    if isinstance(content, str) and not value.get("private"):
        text = "(private, not for us)"
    elif isinstance(content, dict) and content.get("type") == "post" and isinstance(content.get("text"), str):
        text = content["text"]
    else:
        text = json.dumps(content, ensure_ascii=True)
    mark = "(private) " if value.get("private") else ""
    # A terminal obeys escape sequences; a remote author must not be able to send it any.
    safe = "".join(c if c.isprintable() else " " for c in text)
    who = f"{value['author'][:9]} {name}".rstrip()
    print(f"{when}  {who}  {value['sequence']:>6}  {mark}{safe}", flush=True)


def _when(timestamp_ms: float) -> str:
    """To the minute; an author may claim any time, also one that no calendar has."""
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return "????-??-?? ??:??"


def export(arguments: argparse.Namespace) -> int:
    """Print every message as {key, value, timestamp}, in an order that `import` takes."""

    async def body(link: Link) -> int:
        async for message in link.source("createLogStream", {"live": False}):
            output.print_json(message)
        return 0

    return run_with_link(arguments, body)


def import_(arguments: argparse.Namespace) -> int:
    """Take in the messages of a file. Returns 1 if any line was refused; what came before it in its feed is kept."""

    async def body(link: Link) -> int:
        with (
            output.open_input(arguments.file) as source,
            output.progress("importing", total=_size_bytes(source), quiet=arguments.json) as show,
        ):
            summary = await _send_file(link.duplex("import"), source, show)
        if arguments.json:
            output.print_json(summary)
        else:
            print(f"{summary['imported']} messages imported, {summary['known']} known already")
            for refused in summary["refused"]:
                print(f"ssb-rtc: line {refused['line']}: {refused['error']}", file=sys.stderr)
            if summary["refused_count"] > len(summary["refused"]):
                print(f"ssb-rtc: {summary['refused_count']} lines were refused in all", file=sys.stderr)
        return 1 if summary["refused_count"] else 0

    return run_with_link(arguments, body)


def _size_bytes(source: BinaryIO) -> int | None:
    status = os.fstat(source.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


async def _send_file(duplex: Duplex, source: BinaryIO, show: output.Progress) -> JsonObject:
    """Stream the bytes of a file to the peer, which splits and checks them; gives the peer's summary."""

    async def send() -> None:
        async for chunk in chunks_of(source):
            await duplex.send(chunk)
        await duplex.end()

    async def receive() -> JsonObject:
        summary: JsonObject = {}
        async for report in duplex:
            if "bytes" in report:
                show(report["bytes"])
            else:
                summary = report
        return summary

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            received = tasks.create_task(receive())
    except ExceptionGroup as faults:
        # When the link breaks both ends of it fail; the receiving one, which comes last, knows why.
        raise faults.exceptions[-1] from None
    return received.result()
