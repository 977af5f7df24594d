"""The blobs that we hold, want and push: files (storage/blob_files.py), their rows, and the quota.

Promises:
- A row stands for a whole blob with the right hash: the file is on the disk before its row is written. A blob of our
  own is on the disk, row and all, when `finish` returns; of one that was fetched the row may be lost when the machine
  dies, and it is fetched again.
- Never more bytes than the quota: what was fetched for others goes first, the oldest before the younger. What is
  **kept** (added, pushed or wanted by us) is never removed but by `remove`: BlobsFull says so instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ssb_rtc.errors import BlobInvalid, BlobMissing, BlobsFull, StorageFault
from ssb_rtc.feeds.refs import blob_digest, blob_id
from ssb_rtc.storage.blob_files import BlobFiles, Unfinished
from ssb_rtc.storage.database import Database
from ssb_rtc.types import BlobId, PeerId

WRITE_BYTES: Final = 256 * 1024
"""What a writer gathers before it goes to the disk."""
PARTS_MAX: Final = 64
"""Unfinished blobs that are kept to be resumed."""
ROWS_AT_ONCE: Final = 500

_UNCLEAN: Final = "blobs.unclean"
"""In the meta table while the store is written to: the next start looks for files without rows."""


@dataclass(frozen=True, slots=True)
class BlobRecord:
    """A blob that we hold. `received_ms`: wall clock, milliseconds since 1970."""

    id: BlobId
    size: int
    received_ms: int
    kept: bool
    """Ours: never removed to make room."""


OnBlob = Callable[[BlobRecord], None]


class BlobStore:
    """The blobs of one peer. Rows are read and written on the loop's thread."""

    def __init__(self, folder: Path, database: Database, *, now_ms: Callable[[], int], quota_bytes: int) -> None:
        self.files = BlobFiles(folder)
        self.quota_bytes = quota_bytes
        self._database = database
        self._now_ms = now_ms
        self._listeners: list[OnBlob] = []
        self._parts: dict[str, int] | None = None
        """Idle unfinished files and their sizes, the oldest first; None before the first use."""
        self._preparing = asyncio.Lock()
        self._growing_bytes = 0
        kept, others = database.query(
            "SELECT coalesce(sum(size) FILTER (WHERE kept), 0), coalesce(sum(size) FILTER (WHERE NOT kept), 0)"
            " FROM blobs"
        )[0]
        self.kept_bytes, self._other_bytes = int(kept), int(others)

    # --- what is here ---

    def size(self, blob: BlobId) -> int | None:
        """The bytes of a blob that we hold, else None. Raises MisuseError for what is no id."""
        rows = self._database.query("SELECT size FROM blobs WHERE digest = ?", (blob_digest(blob),))
        return int(rows[0][0]) if rows else None

    def sizes(self, blobs: Iterable[BlobId]) -> dict[BlobId, int]:
        """The sizes of those that we hold. At most ROWS_AT_ONCE ids."""
        digests = [blob_digest(blob) for blob in blobs]
        marks = ",".join("?" * len(digests))
        rows = self._database.query(f"SELECT digest, size FROM blobs WHERE digest IN ({marks})", digests)  # noqa: S608
        return {blob_id(digest): size for digest, size in rows}

    def ls(self) -> list[BlobRecord]:
        """All that we hold, the oldest first."""
        rows = self._database.query("SELECT digest, size, received_ms, kept FROM blobs ORDER BY rowid")
        return [BlobRecord(blob_id(digest), size, ms, bool(kept)) for digest, size, ms, kept in rows]

    @property
    def used_bytes(self) -> int:
        """What counts against the quota: whole blobs and unfinished ones."""
        return self.kept_bytes + self._other_bytes + self._growing_bytes + sum((self._parts or {}).values())

    async def read(self, blob: BlobId, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` up to `end` (default: all), in chunks. Raises BlobMissing, StorageFault."""
        size = self.size(blob)
        if size is None:
            raise BlobMissing(f"{blob} is not here; `want` fetches it")
        end = size if end is None else min(end, size)
        position = start
        try:
            async for chunk in self.files.read(blob_digest(blob), start, end):
                position += len(chunk)
                yield chunk
        except StorageFault:
            if not self.files.path_of(blob_digest(blob)).exists():
                self._forget(blob)
                raise BlobMissing(f"the file of {blob} is gone; `want` fetches it again") from None
            raise
        if position < end:
            raise StorageFault(f"the file of {blob} is cut short; `rm` it and `want` it again")

    def subscribe(self, listener: OnBlob) -> Callable[[], None]:
        """Calls `listener(record)` for each new blob; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # --- changing it ---

    async def begin(
        self, expected: BlobId | None = None, *, size_max: int, keep: bool, resume: bool = False
    ) -> BlobWriter:
        """A writer for a blob of at most `size_max` bytes. One writer at a time for an `expected` blob.

        keep: it is ours, and may take up the quota; else it makes room at the cost of older ones that aren't.
        resume: go on after what is left of an earlier try; `writer.size` says how much that is.
        """
        parts = await self._prepared()
        name = blob_digest(expected).hex() if expected is not None else None
        left = parts.pop(name, 0) if name is not None else 0
        unfinished = await self.files.begin(name, resume=resume and 0 < left <= size_max)
        if unfinished.size > size_max:
            await unfinished.close(keep=False)
            unfinished = await self.files.begin(name, resume=False)
        return BlobWriter(self, unfinished, expected, size_max=size_max, keep=keep)

    def keep(self, blob: BlobId) -> None:
        """Makes a blob ours. Raises BlobMissing."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "UPDATE blobs SET kept = 1 WHERE digest = ? AND kept = 0 RETURNING size", (blob_digest(blob),)
            ).fetchall()
        if rows:
            self.kept_bytes += rows[0][0]
            self._other_bytes -= rows[0][0]
        elif self.size(blob) is None:
            raise BlobMissing(f"{blob} is not here; add it, or `want` fetches it")

    def remove(self, blob: BlobId) -> bool:
        """Removes a blob and what is unfinished of it; False when we held none of it."""
        name = blob_digest(blob).hex()
        had_part = self._parts is not None and self._parts.pop(name, None) is not None
        if had_part:
            self.files.remove_unfinished(name)
        if self.size(blob) is None:
            return had_part
        self._forget(blob)
        self.files.remove(blob_digest(blob))
        return True

    async def close(self) -> None:
        """Ends the threads."""
        self.files.close()
        if self._parts is not None and not self._database.closed:
            self._database.set_meta(_UNCLEAN, None)

    def _forget(self, blob: BlobId) -> None:
        with self._database.transaction() as connection:
            rows = connection.execute(
                "DELETE FROM blobs WHERE digest = ? RETURNING size, kept", (blob_digest(blob),)
            ).fetchall()
        for size, kept in rows:
            self._count(-size, bool(kept))

    def _count(self, size: int, kept: bool) -> None:
        if kept:
            self.kept_bytes += size
        else:
            self._other_bytes += size

    # --- the quota ---

    def make_room(self, size: int, *, keep: bool) -> None:
        """Makes sure that `size` more bytes fit, or raises BlobsFull."""
        if self.used_bytes + size <= self.quota_bytes:
            return
        if self.kept_bytes + self._growing_bytes + size > self.quota_bytes:
            raise BlobsFull(
                f"{self.kept_bytes} of {self.quota_bytes} bytes are taken by blobs that you added, pushed or wanted,"
                " which are never removed by themselves. Raise --blob-quota, or `ssb-rtc blobs rm` some."
                if keep
                else "no room for blobs of others"
            )
        while self._parts and self.used_bytes + size > self.quota_bytes:
            self._drop_part(next(iter(self._parts)))
        while (missing := self.used_bytes + size - self.quota_bytes) > 0:
            self._evict(missing)

    def _evict(self, missing: int) -> None:
        rows = self._database.query(
            "SELECT digest, size FROM blobs WHERE kept = 0 ORDER BY received_ms LIMIT ?", (ROWS_AT_ONCE,)
        )
        if not rows:
            raise BlobsFull("no room for blobs of others")
        for digest, size in rows:
            self.remove(blob_id(digest))
            missing -= size
            if missing <= 0:
                return

    def _drop_part(self, name: str) -> None:
        if self._parts is not None:
            del self._parts[name]
            self.files.remove_unfinished(name)

    # --- wants and pushes that outlive this process ---

    def wants(self) -> dict[BlobId, int]:
        """What we want for ourselves, each with the size it must stay under."""
        rows = self._database.query("SELECT digest, size_limit FROM blob_wants")
        return {blob_id(digest): limit for digest, limit in rows}

    def save_want(self, blob: BlobId, size_limit: int) -> None:
        """Keeps a want until the blob is here or `drop_want`."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO blob_wants(digest, size_limit) VALUES (?, ?)", (blob_digest(blob), size_limit)
            )

    def drop_want(self, blob: BlobId) -> bool:
        """Forgets a want; False when there was none."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM blob_wants WHERE digest = ?", (blob_digest(blob),)).rowcount > 0

    def pushes(self) -> dict[BlobId, list[PeerId]]:
        """What we push, each with the peers that are known to have it."""
        found: dict[BlobId, list[PeerId]] = {}
        for digest, peer in self._database.query(
            "SELECT p.digest, h.peer FROM blob_pushes AS p LEFT JOIN blob_holders AS h ON h.digest = p.digest"
        ):
            found.setdefault(blob_id(digest), []).extend([PeerId(peer)] if peer is not None else [])
        return found

    def save_push(self, blob: BlobId, holders: Collection[PeerId] = ()) -> None:
        """Keeps a push, and who has the blob."""
        digest = blob_digest(blob)
        with self._database.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO blob_pushes(digest) VALUES (?)", (digest,))
            connection.executemany(
                "INSERT OR IGNORE INTO blob_holders(digest, peer) VALUES (?, ?)", [(digest, peer) for peer in holders]
            )

    def drop_push(self, blob: BlobId) -> None:
        """Forgets a push."""
        with self._database.transaction() as connection:
            for table in ("blob_pushes", "blob_holders"):
                connection.execute(f"DELETE FROM {table} WHERE digest = ?", (blob_digest(blob),))  # noqa: S608

    # --- the writers' side ---

    async def _prepared(self) -> dict[str, int]:
        """The idle unfinished files; the first call makes the folders and mends what a crash left."""
        async with self._preparing:
            if self._parts is None:
                parts = await self.files.prepare()
                for digest in await self._orphans() if self._database.meta(_UNCLEAN) else ():
                    self.files.remove(digest)
                self._database.set_meta(_UNCLEAN, "1")
                self._parts = parts
        return self._parts

    async def _orphans(self) -> list[bytes]:
        known = {digest for (digest,) in self._database.query("SELECT digest FROM blobs")}
        return [digest for digest in await self.files.all_digests() if digest not in known]

    def _grew(self, size: int) -> None:
        self._growing_bytes += size

    def _left(self, name: str, size: int) -> None:
        """A writer has ended and left this many bytes to be resumed."""
        if self._parts is not None:
            self._parts[name] = size
            while len(self._parts) > PARTS_MAX:
                self._drop_part(next(iter(self._parts)))

    async def _finished(self, digest: bytes, size: int, keep: bool) -> BlobRecord:
        record = BlobRecord(blob_id(digest), size, self._now_ms(), keep)
        with self._database.transaction() as connection:
            new = connection.execute(
                "INSERT OR IGNORE INTO blobs(digest, size, received_ms, kept) VALUES (?, ?, ?, ?)",
                (digest, size, record.received_ms, int(keep)),
            ).rowcount
            if keep:
                connection.execute("DELETE FROM blob_wants WHERE digest = ?", (digest,))
        if new:
            self._count(size, keep)
        elif keep:
            self.keep(record.id)
        if keep:
            await self.files.run(self._database.sync, self._database.path)
        for listener in tuple(self._listeners):
            listener(record)
        return record


class BlobWriter:
    """One blob on its way to the disk. End it with exactly one of `finish`, `leave` and `discard`."""

    def __init__(
        self, store: BlobStore, unfinished: Unfinished, expected: BlobId | None, *, size_max: int, keep: bool
    ) -> None:
        self._store = store
        self._unfinished = unfinished
        self._expected = expected
        self._size_max = size_max
        self._keep = keep
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._counted_bytes = 0
        self._count(unfinished.size)
        self.resumed_at = unfinished.size
        """How many bytes were there already."""

    @property
    def size(self) -> int:
        """Bytes so far, those included that were there."""
        return self._unfinished.size + self._pending_bytes

    async def write(self, data: bytes) -> None:
        """Takes the next bytes. Raises BlobInvalid above `size_max`, BlobsFull, StorageFault; then discard it."""
        if self.size + len(data) > self._size_max:
            raise BlobInvalid(f"the blob has more than the {self._size_max} bytes that were announced or allowed")
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= WRITE_BYTES:
            await self._flush()

    async def finish(self, expected: BlobId | None = None) -> BlobRecord:
        """Checks the hash (of `expected`, here or at `begin`) and makes it a blob that we hold.

        Raises BlobInvalid, BlobsFull, StorageFault.
        """
        await self._flush()
        digest, size = self._unfinished.digest(), self._unfinished.size
        expected = expected or self._expected
        if expected is not None and digest != blob_digest(expected):
            raise BlobInvalid(f"the bytes are not those of {expected} but of {blob_id(digest)}")
        await self._unfinished.finish()
        self._count(-self._counted_bytes)
        return await self._store._finished(digest, size, self._keep)

    async def leave(self) -> None:
        """Ends it so that it can be resumed."""
        try:
            await self._flush()
        except StorageFault:
            await self.discard()
            return
        self._count(-self._counted_bytes)
        keep = self._expected is not None and self._unfinished.size > 0
        if keep:
            self._store._left(self._unfinished.name, self._unfinished.size)
        await self._unfinished.close(keep=keep)

    async def discard(self) -> None:
        """Throws it away."""
        self._count(-self._counted_bytes)
        await self._unfinished.close(keep=False)

    async def _flush(self) -> None:
        data, size = b"".join(self._pending), self._pending_bytes
        if data:
            self._store.make_room(size, keep=self._keep)
            self._pending.clear()
            self._pending_bytes = 0
            self._count(size)
            await self._unfinished.append(data)

    def _count(self, size: int) -> None:
        self._counted_bytes += size
        self._store._grew(size)
