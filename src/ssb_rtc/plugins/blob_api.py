"""Blobs for applications: `peer.blobs`.

blob = await peer.blobs.add(b"a picture")
await peer.blobs.push(blob)                          # others shall take it
await peer.blobs.want(other, timeout_s=60)           # fetched from whoever has it
async for chunk in peer.blobs.get(other): ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import Final

from ssb_rtc.errors import BlobInvalid, BlobMissing, MisuseError
from ssb_rtc.feeds.blob_wants import EMPTY_BLOB
from ssb_rtc.feeds.refs import blob_digest
from ssb_rtc.plugins.blob_exchange import BlobExchange
from ssb_rtc.storage.blobs import BlobRecord, BlobStore
from ssb_rtc.types import BlobId

READ_BYTES: Final = 256 * 1024


class BlobApi:
    """The blobs of one peer. Each method raises MisuseError for what is no blob id."""

    def __init__(self, store: BlobStore, exchange: BlobExchange, *, size_limit: int) -> None:
        self.store = store
        self._exchange = exchange
        self._size_limit = size_limit
        self._waiting: dict[BlobId, set[asyncio.Future[None]]] = {}
        store.subscribe(self._arrived)

    async def add(
        self,
        data: bytes | AsyncIterable[bytes] | Path,
        *,
        expected: BlobId | None = None,
        size_limit: int | None = None,
    ) -> BlobId:
        """Stores bytes, chunks as they come, or a file, and returns the blob's id when the disk has it all.

        It must have fewer bytes than `size_limit` (default: the setting blob_max; other peers don't take greater ones).
        Raises MisuseError for more than that, or when the hash is not that of `expected`; BlobsFull; StorageFault.
        """
        limit = self._size_limit if size_limit is None else size_limit
        if expected is not None:
            blob_digest(expected)
        writer = await self.store.begin(size_max=limit - 1, keep=True)
        try:
            async for chunk in _chunks(data):
                if writer.size + len(chunk) >= limit:
                    raise MisuseError(
                        f"a blob has fewer than {limit} bytes, and this one has more."
                        " Raise blob_max (`--max` of the command), and know that other peers don't take such blobs."
                    )
                await writer.write(chunk)
            if writer.size == 0 and expected in (None, EMPTY_BLOB):
                await writer.discard()
                return EMPTY_BLOB
            record = await writer.finish(expected)
        except BlobInvalid as fault:
            await writer.discard()
            raise MisuseError(f"the blob was not added: {fault}") from None
        except BaseException:
            await writer.discard()
            raise
        return record.id

    async def get(self, blob: BlobId, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end` (default: all), in chunks of 64 KiB. Raises BlobMissing, StorageFault."""
        if blob == EMPTY_BLOB:
            return
        async for chunk in self.store.read(blob, start, end):
            yield chunk

    def has(self, blob: BlobId) -> bool:
        """Whether it is here."""
        return self.size(blob) is not None

    def size(self, blob: BlobId) -> int | None:
        """Its bytes, or None when it is not here."""
        return 0 if blob == EMPTY_BLOB else self.store.size(blob)

    async def want(self, blob: BlobId, *, timeout_s: float | None = None, size_limit: int | None = None) -> None:
        """Returns when the blob is here; it is ours then, and never removed to make room.

        After `timeout_s` it raises BlobMissing, but the blob stays wanted, also after a restart, until it came or
        `remove`. Blobs of `size_limit` bytes (default: the setting blob_max) and more are not fetched.
        """
        if self.has(blob):
            if blob != EMPTY_BLOB:
                self.store.keep(blob)
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(blob, set()).add(done)
        try:
            self._exchange.want(blob, self._size_limit if size_limit is None else size_limit)
            async with asyncio.timeout(timeout_s):
                await done
        except TimeoutError:
            raise BlobMissing(self._why_not(blob, timeout_s)) from None
        finally:
            waiting = self._waiting.get(blob, set())
            waiting.discard(done)
            if not waiting:
                self._waiting.pop(blob, None)

    def _why_not(self, blob: BlobId, timeout_s: float | None) -> str:
        size = self._exchange.wants.refused_size(blob)
        if size is not None:
            return (
                f"{blob} was not fetched: it has {size} bytes. Want it with a greater limit (`--max` of the command)."
            )
        return f"{blob} did not come within {timeout_s:g} s. It stays wanted, and comes when a peer has it, until `rm`."

    def wants(self) -> dict[BlobId, int]:
        """What is wanted now and how far off the wanter is: -1 ourselves, -2 a peer that we are linked to, ..."""
        return self._exchange.wants.wanted

    async def push(self, blob: BlobId) -> None:
        """Offers a blob of ours to peers until three have it, also after a restart. Raises BlobMissing."""
        if blob != EMPTY_BLOB:
            self.store.keep(blob)
            self._exchange.push(blob)

    async def remove(self, blob: BlobId) -> bool:
        """Removes a blob, wants it no more and pushes it no more; False when there was nothing of it."""
        blob_digest(blob)
        self._exchange.unpush(blob)
        was_wanted = self._exchange.unwant(blob)
        for done in self._waiting.get(blob, ()):
            if not done.done():
                done.set_exception(BlobMissing(f"{blob} is no longer wanted"))
        return self.store.remove(blob) or was_wanted

    def close(self) -> None:
        """Nothing will come any more: whoever waits hears so."""
        for blob, waiting in self._waiting.items():
            for done in waiting:
                if not done.done():
                    done.set_exception(BlobMissing(f"the peer was closed before {blob} came; it stays wanted"))

    def ls(self) -> list[BlobRecord]:
        """All blobs that are here, the oldest first."""
        return self.store.ls()

    def live(self) -> AsyncIterator[BlobRecord]:
        """Each blob that arrives from this call on; never ends."""
        arrived: asyncio.Queue[BlobRecord] = asyncio.Queue()
        stop = self.store.subscribe(arrived.put_nowait)

        async def follow() -> AsyncIterator[BlobRecord]:
            try:
                while True:
                    yield await arrived.get()
            finally:
                stop()

        return follow()

    def _arrived(self, record: BlobRecord) -> None:
        for done in self._waiting.get(record.id, ()):
            if not done.done():
                done.set_result(None)


async def _chunks(data: bytes | AsyncIterable[bytes] | Path) -> AsyncIterator[bytes]:
    if isinstance(data, (bytes, bytearray, memoryview)):
        yield bytes(data)
    elif isinstance(data, Path):
        try:
            with await asyncio.to_thread(data.open, "rb", 0) as file:
                while chunk := await asyncio.to_thread(file.read, READ_BYTES):
                    yield chunk
        except OSError as error:
            raise MisuseError(f"can't read {data}: {error.strerror}") from error
    else:
        async for chunk in data:
            yield chunk
