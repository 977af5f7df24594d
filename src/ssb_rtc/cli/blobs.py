"""`ssb-rtc blobs add | get | has | want | push | ls | rm`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ssb_rtc.cli import output
from ssb_rtc.cli.local import Body, run_with_link
from ssb_rtc.cli.reading import chunks_of
from ssb_rtc.errors import BlobMissing, MisuseError
from ssb_rtc.feeds import refs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ssb_rtc.transport.link import Duplex, Link
    from ssb_rtc.types import JsonObject


def blobs(arguments: argparse.Namespace) -> int:
    """Carry out one of the actions."""
    if arguments.action == "ls":
        if arguments.what is not None:
            raise MisuseError("blobs ls takes no FILE or ID: leave it out")
    elif arguments.what is None:
        raise MisuseError(f"blobs {arguments.action} takes {'a FILE, or -' if arguments.action == 'add' else 'an ID'}")
    elif arguments.action != "add" and not refs.is_blob_id(arguments.what):
        raise MisuseError(f"{arguments.what!r} is not a blob id; one looks like &<44 characters>.sha256 (quote it)")
    action = _ACTIONS[arguments.action]
    return run_with_link(arguments, action(arguments), need_peer=arguments.action == "want")


def _add(arguments: argparse.Namespace) -> Body:
    async def body(link: Link) -> int:
        with output.open_input(arguments.what) as source:
            added = await _put(link.duplex("blobs.put", {"max": arguments.max}), source)
        if arguments.json:
            output.print_json(added)
        else:
            print(added["id"])
        return 0

    return body


async def _put(duplex: Duplex, source: BinaryIO) -> JsonObject:
    async def send() -> None:
        async for chunk in chunks_of(source):
            await duplex.send(chunk)
        await duplex.end()

    async def receive() -> JsonObject:
        added: JsonObject = await anext(duplex)
        return added

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            receiving = tasks.create_task(receive())
    except ExceptionGroup as faults:
        # When the peer refuses, both ends fail; the receiving one knows why.
        raise faults.exceptions[-1] from None
    return receiving.result()


def _get(arguments: argparse.Namespace) -> Body:
    async def body(link: Link) -> int:
        size = await _size(link, arguments.what)
        with _output(arguments.output) as target:
            async for chunk in link.source("blobs.get", arguments.what):
                target.write(chunk)
        if arguments.json and arguments.output is not None:
            output.print_json({"id": arguments.what, "size": size, "file": arguments.output})
        return 0

    return body


async def _size(link: Link, blob: str) -> int:
    size = await link.call("blobs.size", blob)
    if size is None:
        raise BlobMissing(f"{blob} is not here; `ssb-rtc blobs want` fetches it")
    return int(size)


@contextmanager
def _output(name: str | None) -> Iterator[BinaryIO]:
    """Where the bytes go: standard output, or a file that gets its name when it is whole."""
    if name is None or name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(name)
    unfinished = target.with_name(target.name + ".part")
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _has(arguments: argparse.Namespace) -> Body:
    async def body(link: Link) -> int:
        size = await link.call("blobs.size", arguments.what)
        if arguments.json:
            output.print_json({"id": arguments.what, "has": size is not None, "size": size})
        else:
            print("no" if size is None else f"yes, {size} bytes")
        return 1 if size is None else 0

    return body


def _want(arguments: argparse.Namespace) -> Body:
    async def body(link: Link) -> int:
        options = {"max": arguments.max, "timeout": arguments.timeout}
        await link.call("blobs.want", arguments.what, options, timeout_s=None)
        size = await _size(link, arguments.what)
        if arguments.json:
            output.print_json({"id": arguments.what, "size": size})
        else:
            print(f"{arguments.what} is here, {size} bytes")
        return 0

    return body


def _push(arguments: argparse.Namespace) -> Body:
    async def body(link: Link) -> int:
        await link.call("blobs.push", arguments.what)
        if arguments.json:
            output.print_json({"id": arguments.what, "pushed": True})
        else:
            print(f"{arguments.what} is offered to peers until three have it")
        return 0

    return body


def _ls(arguments: argparse.Namespace) -> Body:
    async def body(link: Link) -> int:
        found = [blob async for blob in link.source("blobs.ls", {"meta": True})]
        if arguments.json:
            output.print_json(found)
        else:
            output.print_table(("blob", "bytes"), [(blob["id"], blob["size"]) for blob in found], "no blobs")
        return 0

    return body


def _rm(arguments: argparse.Namespace) -> Body:
    async def body(link: Link) -> int:
        await link.call("blobs.rm", arguments.what)
        if arguments.json:
            output.print_json({"id": arguments.what, "removed": True})
        return 0

    return body


_ACTIONS = {"add": _add, "get": _get, "has": _has, "want": _want, "push": _push, "ls": _ls, "rm": _rm}
