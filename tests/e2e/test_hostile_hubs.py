"""What hubs can do to a peer: answer nonsense, say nothing, lie, flood. It lives, stays small, and meets its friends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc.config import MAIN_NETWORK_KEY
from ssb_rtc.types import HubUrl, Json
from ssb_rtc.wire.swarm import app_name
from tests.e2e.hostile import LyingHub, Victim, attacker_id, lying_hub, victim
from tests.e2e.processes import connected, eventually
from tests.signalhub.rogue import STREAM, Handler, endlessly, rogue, saying

APP = app_name(MAIN_NETWORK_KEY)


@pytest.fixture(scope="module")
def friend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """A good peer that runs a good hub too."""
    with victim(tmp_path_factory.mktemp("friend") / "peer", "--with-hub", "0") as running:
        yield running


@pytest.fixture(scope="module")
def peer(friend: Victim, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """The peer under attack; it meets its friend on the good hub."""
    with victim(tmp_path_factory.mktemp("hostile") / "peer", "--hub", good_hub(friend)) as running:
        yield running


def good_hub(friend: Victim) -> HubUrl:
    """Where the friend's hub is."""
    return HubUrl(friend.ready["hubs"][0]["url"])


@asynccontextmanager
async def meeting_on(peer: Victim, *hubs: HubUrl) -> AsyncIterator[None]:
    """The peer uses these hubs too, for a while."""
    for hub in hubs:
        await peer.ask("rtc.addHub", hub)
    try:
        yield
    finally:
        for hub in hubs:
            await peer.ask("rtc.removeHub", hub)


async def subscribed(hub: LyingHub) -> None:
    """Waits until somebody listens there."""

    async def look() -> bool:
        return bool(hub.listeners)

    await eventually("a subscription", look, limit_s=10, pause_s=0.02)


@asynccontextmanager
async def undisturbed(peer: Victim, friend: Victim) -> AsyncIterator[None]:
    """The link between the two lives through what happens inside."""
    await connected(peer.path, friend.id, limit_s=15)
    ended: list[Any] = []

    async def follow() -> None:
        async with peer.local() as link:
            async for step in link.source("rtc.trace"):
                if step["action"]["kind"] == "REMOTE_PEER_LINK_ENDED" and step["action"]["peer"] == friend.id:
                    ended.append(step)

    following = asyncio.create_task(follow())
    try:
        yield
        await connected(peer.path, friend.id, limit_s=1)
    finally:
        following.cancel()
        await asyncio.wait([following])
    assert ended == []


# --- nonsense -----------------------------------------------------------------------------------------------------


async def _never(_head: bytes, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _cut_soon(_head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(STREAM)
    await writer.drain()
    await asyncio.sleep(0.2)


def _endless_answer_to_posts(head: bytes, writer: asyncio.StreamWriter) -> Any:
    if head.startswith(b"GET"):
        return saying(STREAM, stay=True)(head, writer)
    return endlessly(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000)(head, writer)


def _slowly(start: bytes, more: bytes, pause_s: float) -> Handler:
    async def handler(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return handler


OK = b"HTTP/1.1 200 OK\r\n"
EVENTS = OK + b"Content-Type: text/event-stream\r\n"
NONSENSE: dict[str, Handler] = {
    "garbage": saying(os.urandom(5_000)),
    "nothing": saying(b""),
    "never answers": _never,
    "HTML": saying(OK + b"Content-Type: text/html\r\n\r\n<html>" + b"x" * 50_000),
    "500": saying(b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno"),
    "429": saying(b"HTTP/1.1 429 Slow\r\nRetry-After: 99999999999\r\nContent-Length: 0\r\n\r\n"),
    "continues for ever": _slowly(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0.05),
    "an endless header": _slowly(OK, b"X-Y: " + b"z" * 4_000 + b"\r\n", 0.01),
    "an endless header line": _slowly(OK + b"X: ", b"z" * 4_000, 0.01),
    "a giant length": saying(EVENTS + b"Content-Length: 99999999999999999999\r\n\r\ndata: x\n\n", stay=True),
    "a negative length": saying(EVENTS + b"Content-Length: -1\r\n\r\n", stay=True),
    "bad chunks": saying(EVENTS + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nfffffffffffffffffffff\r\nx", stay=True),
    "packed": saying(EVENTS + b"Content-Encoding: gzip\r\n\r\n" + os.urandom(1_000), stay=True),
    "an endless line": endlessly(STREAM, b"data: " + b"x" * 10_000),
    "an endless event": endlessly(STREAM, b"data: " + b"x" * 100 + b"\n"),
    "endless events": endlessly(STREAM, b'data: {"type":"connect","from":"@x"}\n\n' * 100),
    "endless comments": endlessly(STREAM, b":\n" * 1_000),
    "binary events": endlessly(STREAM, b"data: " + os.urandom(500).replace(b"\n", b"") + b"\r\n\r"),
    "deep events": _slowly(STREAM, b"data: " + b"[" * 60_000 + b"\n\n", 0.05),
    "cuts at once": _cut_soon,
    "an endless answer to posts": _endless_answer_to_posts,
}


async def test_hubs_that_answer_nonsense(peer: Victim, friend: Victim) -> None:
    """All at once, beside the good hub; where one of them redirects to is never asked."""
    asked: Counter[str] = Counter()
    elsewhere = 0

    def counted(name: str, handler: Handler) -> Handler:
        async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
            asked[name] += 1
            await handler(head, writer)

        return serve

    async def trap(_head: bytes, _writer: asyncio.StreamWriter) -> None:
        nonlocal elsewhere
        elsewhere += 1

    async with peer.watched(), AsyncExitStack() as stack:
        target = await stack.enter_async_context(rogue(trap))
        moved = saying(f"HTTP/1.1 302 Found\r\nLocation: {target}/v1/x\r\nContent-Length: 0\r\n\r\n".encode())
        hubs = [
            await stack.enter_async_context(rogue(counted(name, handler)))
            for name, handler in {**NONSENSE, "elsewhere": moved}.items()
        ]
        async with meeting_on(peer, *hubs), undisturbed(peer, friend):

            async def all_tried() -> bool:
                rows = {row["url"]: row for row in await peer.ask("rtc.hubs")}
                return all(rows[hub]["state"] != "CONNECTING" or rows[hub]["attempts"] > 1 for hub in hubs)

            await asyncio.sleep(3)
            assert set(asked) == {*NONSENSE, "elsewhere"}
            errors = {row["url"]: row["error"] for row in await peer.ask("rtc.hubs")}
            assert all(len(error or "") <= 200 for error in errors.values())
            print(json.dumps(errors, indent=1))
    assert elsewhere == 0
