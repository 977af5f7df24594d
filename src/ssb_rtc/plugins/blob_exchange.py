"""Blobs over links: our notes out, theirs in, and the fetching of what feeds.blob_wants orders.

A fetch streams to the disk and is checked against its hash at the end. One that was cut goes on where it stopped, by
getSlice, from any peer; when the whole is not right then, it is begun again from nothing before anybody is blamed.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Final, TypeVar

from ssb_rtc.errors import BlobInvalid, BlobsFull, LinkClosed, RemoteCallError, SsbRtcError, StorageFault
from ssb_rtc.feeds.blob_wants import BlobWants, Fetch, Outcome, read_notes
from ssb_rtc.plugins.base import Context
from ssb_rtc.plugins.tasks import Tasks
from ssb_rtc.storage.blobs import ROWS_AT_ONCE, BlobRecord, BlobStore, BlobWriter
from ssb_rtc.transport.link import Incoming, Link
from ssb_rtc.types import BlobId, Json

logger = logging.getLogger(__name__)
T = TypeVar("T")

TICK_S: Final = 1.0
ENTRIES_PER_S: Final = 10_000
"""A remote's notes are read at this pace; one that sends more waits."""
SILENCE_MAX_S: Final = 30.0
"""A fetch on which nothing arrives for this long is given up, and another source asked."""
FETCH_MAX_S: Final = 60.0
RATE_MIN_BYTES_S: Final = 4_096
"""A fetch may take FETCH_MAX_S, and longer by what its size takes at this rate."""
DISK_REST_S: Final = 60.0
"""After a fault of the disk nothing is fetched for so long."""
SERVED_AT_ONCE_MAX: Final = 4
"""Blobs that are sent over one link at once; further ones wait."""


class _Session:
    """What we hold of one link."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.wake = asyncio.Event()
        self.listening = False
        self.serving = asyncio.Semaphore(SERVED_AT_ONCE_MAX)


class BlobExchange:
    """Gossip and fetching over every link of a peer."""

    def __init__(self, context: Context, store: BlobStore, wants: BlobWants) -> None:
        self._context = context
        self._store = store
        self.wants = wants
        self._sessions: dict[int, _Session] = {}
        self._tasks = Tasks()
        self._fetches: dict[BlobId, asyncio.Task[Outcome]] = {}
        self._ticking: asyncio.TimerHandle | None = None
        self._rests_until_s = 0.0
        self._closed = False
        for blob, limit in store.wants().items():
            wants.want(blob, size_limit=limit)
            if store.size(blob) is not None:
                self._take_over(blob)
        for blob, holders in store.pushes().items():
            wants.push(blob, holders)
        store.subscribe(self._arrived)
        context.links.on_link(self._opened)

    # --- what is done here ---

    def want(self, blob: BlobId, size_limit: int) -> None:
        """We want this blob, until it is here or `unwant`, also after a restart."""
        self._store.save_want(blob, size_limit)
        self.wants.want(blob, size_limit=size_limit)
        self.look()

    def unwant(self, blob: BlobId) -> bool:
        """We want it no more; False when we did not."""
        self.wants.unwant(blob)
        if blob in self._fetches:
            self._fetches[blob].cancel()
        return self._store.drop_want(blob)

    def push(self, blob: BlobId) -> None:
        """Peers shall take this blob, until enough have it, also after a restart."""
        self._store.save_push(blob)
        self.wants.push(blob)
        self.look()

    def unpush(self, blob: BlobId) -> None:
        """Ends a push."""
        self.wants.unpush(blob)
        self._store.drop_push(blob)

    def look(self) -> None:
        """Something changed: tells it, and fetches what can be fetched."""
        for session in self._sessions.values():
            session.wake.set()
        if self._closed or self._context.now_s() < self._rests_until_s:
            return
        while (fetch := self.wants.next_fetch()) is not None:
            task = self._fetches[fetch.blob] = self._tasks.spawn(self._fetch(fetch), f"blob {fetch.blob}")
            # Not at the end of the task itself: one that is cancelled early never begins.
            task.add_done_callback(partial(self._fetch_ended, fetch))

    def _fetch_ended(self, fetch: Fetch, task: asyncio.Task[Outcome]) -> None:
        del self._fetches[fetch.blob]
        failed = task.cancelled() or task.exception() is not None
        self.wants.fetched(fetch, Outcome.FAILED if failed else task.result(), self._context.now_s())
        self.look()

    def _arrived(self, record: BlobRecord) -> None:
        if self.wants.is_own(record.id) and not record.kept:
            self._take_over(record.id)
        self.wants.arrived(record.id, record.size)
        self.look()

    def _take_over(self, blob: BlobId) -> None:
        """What was fetched for others became ours meanwhile."""
        self._store.keep(blob)
        self._store.drop_want(blob)
        self.wants.unwant(blob)

    # --- links ---

    def _opened(self, link: Link) -> None:
        self._session(link)
        self._tasks.spawn(self._hear(link), f"blobs wanted by {link.remote}")
        if self._ticking is None:
            self._tick()

    def _session(self, link: Link) -> _Session:
        session = self._sessions.get(id(link))
        if session is None:  # the remote may call before we hear of the link
            session = self._sessions[id(link)] = _Session(link)
            self.wants.connect(id(link), link.remote)
            link.closed.add_done_callback(lambda _: self._link_ended(link))
        return session

    def _link_ended(self, link: Link) -> None:
        self._sessions.pop(id(link), None)
        self.wants.disconnect(id(link))

    async def tell(self, link: Link) -> AsyncIterator[Json]:
        """What `blobs.createWants` answers: the first item at once, even an empty one, and no end.

        A second one on the same link hears nothing while the first is open.
        """
        session = self._session(link)
        if session.listening:
            yield {}
            await asyncio.get_running_loop().create_future()
        session.listening = True
        self.wants.listen(id(link))
        try:
            yield self.wants.take_notes(id(link))
            while not link.closed.done():
                session.wake.clear()
                while notes := self.wants.take_notes(id(link)):
                    yield notes
                await session.wake.wait()
        finally:
            session.listening = False
            self.wants.unlisten(id(link))

    async def serve(self, link: Link, chunks: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
        """The same chunks, when it is their turn among those that this remote asked for."""
        async with self._session(link).serving, aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    async def _hear(self, link: Link) -> None:
        source = None
        try:
            source = link.source("blobs.createWants")
            async for value in source:
                if isinstance(value, dict):
                    entries = iter(value.items())
                    while part := list(itertools.islice(entries, ROWS_AT_ONCE)):
                        self._take(link, part)
                        await asyncio.sleep(len(part) / ENTRIES_PER_S)
        except StorageFault as fault:
            logger.error("blobs are no longer exchanged with %s: %s", link.remote, fault)
        except SsbRtcError as error:
            logger.debug("%s tells no more of blobs: %s", link.remote, error)
        finally:
            if source is not None:
                await source.aclose()

    def _take(self, link: Link, entries: list[tuple[object, object]]) -> None:
        notes, key, now_s = read_notes(entries), id(link), self._context.now_s()
        sizes = self._store.sizes(blob for blob, _ in notes.wants) if notes.wants else {}
        for blob, hops in notes.wants:
            self.wants.remote_wants(key, blob, hops, sizes.get(blob), now_s)
        for blob, size in notes.has:
            if self.wants.remote_has(key, blob, size):
                self._note_holder(blob, link)
        self.look()

    def _note_holder(self, blob: BlobId, link: Link) -> None:
        if blob in self.wants.pushes:
            self._store.save_push(blob, [link.remote])
        else:
            logger.info("%s is pushed: enough peers have it", blob)
            self._store.drop_push(blob)

    # --- fetching ---

    async def _fetch(self, fetch: Fetch) -> Outcome:
        try:
            async with asyncio.timeout(FETCH_MAX_S + fetch.size / RATE_MIN_BYTES_S):
                await self._download(fetch)
            return Outcome.ARRIVED
        except BlobInvalid as fault:
            (logger.warning if fetch.own else logger.debug)("%s", fault)
            return Outcome.LIED
        except BlobsFull as fault:
            (logger.warning if fetch.own else logger.debug)("%s is not fetched: %s", fetch.blob, fault)
            return Outcome.NO_ROOM
        except StorageFault as fault:
            self._rests_until_s = self._context.now_s() + DISK_REST_S
            logger.error("blobs are not fetched for %g s: %s", DISK_REST_S, fault)
        except TimeoutError:
            logger.info("%s did not come in time", fetch.blob)
        except SsbRtcError as error:
            logger.info("%s did not come: %s", fetch.blob, error)
        return Outcome.FAILED

    async def _download(self, fetch: Fetch) -> None:
        session = self._sessions.get(fetch.link)
        if session is None:
            raise LinkClosed("the link has ended")
        link = session.link
        writer = await self._writer(fetch, resume=True)
        resumed_at = writer.resumed_at
        try:
            await self._receive(link, fetch, writer)
        except (BlobInvalid, RemoteCallError) as fault:
            if not resumed_at or (isinstance(fault, RemoteCallError) and writer.size > resumed_at):
                raise
            # What was there may be another peer's fault, and not every peer gives slices.
            await self._receive(link, fetch, await self._writer(fetch, resume=False))

    async def _writer(self, fetch: Fetch, *, resume: bool) -> BlobWriter:
        return await self._store.begin(
            fetch.blob, size_max=fetch.size, keep=self.wants.is_own(fetch.blob), resume=resume
        )

    async def _receive(self, link: Link, fetch: Fetch, writer: BlobWriter) -> None:
        """All of it, or what is missing, until it is a blob that we hold. Ends the writer."""
        try:
            if writer.size < fetch.size:
                await _drain(_ask(link, fetch, writer.size), writer)
            await writer.finish()
        except (BlobInvalid, StorageFault):
            await writer.discard()
            raise
        except BaseException:
            await writer.leave()
            raise

    # --- time and tasks ---

    def _tick(self) -> None:
        self._ticking = None
        if self._sessions:
            self.wants.tick(self._context.now_s())
            self.look()
            self._ticking = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    async def close(self) -> None:
        """Ends everything that runs; unfinished blobs are resumed after the next start."""
        self._closed = True
        if self._ticking is not None:
            self._ticking.cancel()
        await self._tasks.close()


def _ask(link: Link, fetch: Fetch, start: int) -> Incoming:
    # JavaScript reads key, id or hash, by version.
    if start:
        names = {"key": fetch.blob, "hash": fetch.blob}
        return link.source("blobs.getSlice", {**names, "start": start, "end": fetch.size, "max": fetch.size})
    return link.source("blobs.get", {"key": fetch.blob, "max": fetch.size})


async def _drain(source: Incoming, writer: BlobWriter) -> None:
    """Writes all that arrives. Raises TimeoutError when nothing does for too long."""
    try:
        while True:
            async with asyncio.timeout(SILENCE_MAX_S):
                batch = await source.read_batch()
            if not batch:
                return
            for item in batch:
                await writer.write(item.body)
    finally:
        await source.aclose()
