"""Peers for tests: storage and plugins, linked over memory streams; no manager, no hub."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ssb_rtc.config import Settings
from ssb_rtc.plugins.base import Blocked, Context, Plugin, Wanted
from ssb_rtc.plugins.blobs import Blobs
from ssb_rtc.plugins.gossip import Gossip
from ssb_rtc.plugins.history import History
from ssb_rtc.plugins.registry import Registry
from ssb_rtc.storage.author import mark_imported
from ssb_rtc.storage.contacts import Contacts
from ssb_rtc.storage.database import open_database
from ssb_rtc.transport.link import Link, open_link
from ssb_rtc.transport.memory import stream_pair
from ssb_rtc.types import FeedId, peer_of
from tests.storage.feedmaker import Store, keys_of

NETWORK = bytes(32)


class Machine:
    """One peer of a test."""

    def __init__(
        self,
        path: Path,
        number: int,
        wanted: Collection[FeedId] = (),
        *,
        ebt: bool = True,
        imported: bool = False,
        settings: Settings | None = None,
    ) -> None:
        self.keys = keys_of(number)
        if imported:
            database = open_database(path, create=True)
            mark_imported(database)
            database.close()
        self.store = Store(path, self.keys)
        self.wanted = Wanted({self.keys.id, *wanted})
        self.blocked = Blocked()
        self.context = Context(
            folder=path.with_name(path.name + "-files"),
            settings=settings or Settings(),
            keys=self.keys,
            log=self.store.log,
            forks=self.store.forks,
            ingest=self.store.ingest,
            author=self.store.author,
            contacts=Contacts(self.store.database),
            wanted=self.wanted,
            blocked=self.blocked,
            now_s=time.monotonic,
            now_ms=self.store.clock,
        )
        self.history = History()
        self.gossip = Gossip(self.history)
        self.blobs = Blobs()
        plugins: Sequence[Plugin] = (self.blobs, self.history, self.gossip) if ebt else (self.blobs, self.history)
        self.registry = Registry(self.context, plugins)

    def sequence(self, feed: FeedId) -> int:
        """Up to where this machine holds a feed."""
        head = self.store.log.head(feed)
        return head.sequence if head else 0

    def take(self, link: Link) -> None:
        """What the peer does with a new link."""
        self.context.links.opened(link)
        link.closed.add_done_callback(lambda _: self.context.links.closed(link))

    async def until(self, condition: Callable[[], bool], limit_s: float = 10.0) -> None:
        """Waits until something is true, looking after each commit and often enough in between."""
        changed = asyncio.Event()
        stop = self.store.ingest.subscribe(lambda _stored: changed.set())
        try:
            async with asyncio.timeout(limit_s):
                while not condition():
                    changed.clear()
                    try:
                        async with asyncio.timeout(0.02):
                            await changed.wait()
                    except TimeoutError:
                        continue
        finally:
            stop()

    async def close(self) -> None:
        """Ends the links, then the rest."""
        for link in self.context.links.live():
            await link.close("test is over")
        await self.registry.close()
        await self.store.close()


async def connect(dialler: Machine, acceptor: Machine, *, taken: bool = True) -> tuple[Link, Link]:
    """A link between two machines, each one's end of it; the acceptor's plugins hear of it only when it is taken."""
    ours, theirs = stream_pair()
    first, second = await asyncio.gather(
        open_link(
            ours,
            keys=dialler.keys,
            network_key=NETWORK,
            remote=peer_of(acceptor.keys.id),
            dialled=True,
            router=dialler.registry,
        ),
        open_link(
            theirs,
            keys=acceptor.keys,
            network_key=NETWORK,
            remote=None,
            dialled=False,
            router=acceptor.registry,
        ),
    )
    if taken:
        acceptor.take(second)
    dialler.take(first)
    return first, second


Make = Callable[..., Machine]
"""Makes a machine: of which test person, what it wants, and what else Machine takes."""


@asynccontextmanager
async def machines_in(folder: Path) -> AsyncIterator[Make]:
    """Machines of one test, which are closed at its end."""
    made: list[Machine] = []

    def make(number: int, wanted: Collection[FeedId] = (), **rest: Any) -> Machine:
        machine = Machine(folder / f"{number}-{len(made)}", number, wanted, **rest)
        made.append(machine)
        return machine

    yield make
    for machine in made:
        await machine.close()
