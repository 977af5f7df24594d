"""Two linked peers in one process, and a router that is a table."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from ssb_rtc.errors import RemoteCallError
from ssb_rtc.feeds.keys import Keys, keys_from_seed
from ssb_rtc.transport.base import Stream
from ssb_rtc.transport.link import Handler, Link, open_link
from ssb_rtc.transport.memory import stream_pair
from ssb_rtc.types import PeerId, peer_of
from ssb_rtc.wire.manifest import Kind

NETWORK_KEY = bytes(range(32))
ALICE = keys_from_seed(b"a" * 32)
BOB = keys_from_seed(b"b" * 32)


def peer_id(keys: Keys) -> PeerId:
    return peer_of(keys.id)


class Table:
    """A router over a dict of dotted names."""

    def __init__(self, handlers: Mapping[str, Handler] | None = None) -> None:
        self.handlers = dict(handlers or {})
        self.kinds: list[Kind] = []

    def find(self, name: tuple[str, ...], kind: Kind, link: Link) -> Handler:
        self.kinds.append(kind)
        handler = self.handlers.get(".".join(name))
        if handler is None:
            raise RemoteCallError(f"muxrpc: no such command: {'.'.join(name)}")
        return handler


async def link_streams(a: Stream, b: Stream, alice: Table | None = None, bob: Table | None = None) -> tuple[Link, Link]:
    """Alice dials Bob over two ends of one connection."""
    opening = asyncio.gather(
        open_link(a, keys=ALICE, network_key=NETWORK_KEY, remote=peer_id(BOB), dialled=True, router=alice or Table()),
        open_link(b, keys=BOB, network_key=NETWORK_KEY, remote=None, router=bob or Table()),
    )
    ours, theirs = await opening
    return ours, theirs


@contextlib.asynccontextmanager
async def linked(alice: Table | None = None, bob: Table | None = None) -> AsyncIterator[tuple[Link, Link]]:
    """Alice's link to Bob and Bob's to Alice, over memory; closed at the end."""
    a, b = stream_pair()
    links = await link_streams(a, b, alice, bob)
    try:
        yield links
    finally:
        for link in links:
            await link.close("the test is over")


async def within(limit_s: float, condition: Callable[[], Any]) -> None:
    """Waits until the condition holds; fails the test when it does not in time."""
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.005)
