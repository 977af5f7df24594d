"""The files of blobs: sha256/<2 hex digits>/<62>, as npm multiblob lays them out, and unfinished/<64> while they grow.

A file is synced to the disk before it gets its final name, and the folder after: what bears a blob's name is whole,
whatever dies. All work on files is done on two threads of our own; hashing a chunk there takes no time of the loop's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeVar

from ssb_rtc.errors import StorageFault
from ssb_rtc.storage.database import sync_folder

CHUNK_BYTES: Final = 64 * 1024
"""What is read and sent at once, as in JavaScript."""
ADDED_PREFIX: Final = "add-"
"""Begins the name of an unfinished file whose hash isn't known before its end; it is no use after a restart."""

T = TypeVar("T")


class _File:
    """A descriptor that is closed only when no thread is at work on it: closed ones are given to the next file."""

    def __init__(self, path: Path, flags: int) -> None:
        self.path = path
        self._descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._lock = threading.Lock()
        self._closed = False

    def append(self, data: bytes) -> None:
        with self._lock:
            left = memoryview(data)
            while left and not self._closed:
                left = left[os.write(self._descriptor, left) :]

    def read(self, size: int, offset: int) -> bytes:
        with self._lock:
            return b"" if self._closed else os.pread(self._descriptor, size, offset)

    def sync(self) -> None:
        with self._lock:
            if not self._closed:
                os.fsync(self._descriptor)

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._descriptor)


class Unfinished:
    """A file that grows. `size` counts what is on the disk and hashed."""

    def __init__(self, files: BlobFiles, file: _File) -> None:
        self._files = files
        self._file = file
        self._hash = sha256()
        self.size = 0

    @property
    def name(self) -> str:
        return self._file.path.name

    def _take_in(self) -> None:
        while chunk := self._file.read(CHUNK_BYTES * 4, self.size):
            self._hash.update(chunk)
            self.size += len(chunk)

    async def append(self, data: bytes) -> None:
        """Writes and hashes. Raises StorageFault, for one when the disk is full."""

        def work() -> None:
            self._file.append(data)
            self._hash.update(data)

        await self._files.run(work, self._file.path)
        self.size += len(data)

    def digest(self) -> bytes:
        """The SHA-256 of all of it."""
        return self._hash.digest()

    async def finish(self) -> None:
        """Gives the file its final name, durably. Raises StorageFault."""
        target = self._files.path_of(self.digest())

        def work() -> None:
            self._file.sync()
            self._file.close()
            if not target.parent.is_dir():
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                sync_folder(target.parent.parent)
            self._file.path.rename(target)
            sync_folder(target.parent)

        await self._files.run(work, target)

    async def close(self, *, keep: bool) -> None:
        """Ends the work on it, and removes it unless it is kept. After `finish` this does nothing."""

        def work() -> None:
            self._file.close()
            if not keep:
                self._file.path.unlink(missing_ok=True)

        await self._files.run(work, self._file.path)


class BlobFiles:
    """The folder of blobs. Nothing is made in it before `prepare`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._unfinished = folder / "unfinished"
        self._closed = False
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="ssb-blobs")

    def path_of(self, digest: bytes) -> Path:
        """Where a whole blob lies."""
        name = digest.hex()
        return self.folder / "sha256" / name[:2] / name[2:]

    async def prepare(self) -> dict[str, int]:
        """Makes the folders; the sizes of the unfinished files, by name, the latest last. Raises StorageFault."""

        def work() -> dict[str, int]:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._unfinished.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = []
            for path in self._unfinished.iterdir():
                if path.name.startswith(ADDED_PREFIX):
                    path.unlink()
                else:
                    status = path.stat()
                    found.append((status.st_mtime, path.name, status.st_size))
            return {name: size for _, name, size in sorted(found)}

        return await self.run(work, self._unfinished)

    async def begin(self, name: str | None, *, resume: bool) -> Unfinished:
        """Opens an unfinished file, a fresh one or what is left of it. Raises StorageFault."""
        path = self._unfinished / (name or ADDED_PREFIX + secrets.token_hex(16))

        def work() -> Unfinished:
            fresh = 0 if resume else os.O_TRUNC
            unfinished = Unfinished(self, _File(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | fresh))
            unfinished._take_in()
            return unfinished

        return await self.run(work, path)

    async def read(self, digest: bytes, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end` in chunks; fewer where the file is shorter. Raises StorageFault."""
        path = self.path_of(digest)
        file = await self.run(lambda: _File(path, os.O_RDONLY), path)
        try:
            while start < end:
                chunk = await self.run(partial(file.read, min(CHUNK_BYTES, end - start), start), path)
                if not chunk:
                    return
                yield chunk
                start += len(chunk)
        finally:
            file.close()

    def remove(self, digest: bytes) -> None:
        """Removes a whole blob; does nothing when it is not there. Raises StorageFault."""
        with _translated(self.path_of(digest)):
            self.path_of(digest).unlink(missing_ok=True)

    def remove_unfinished(self, name: str) -> None:
        """Removes what there is of a blob."""
        with _translated(self._unfinished):
            (self._unfinished / name).unlink(missing_ok=True)

    async def all_digests(self) -> list[bytes]:
        """Every whole blob on the disk. Raises StorageFault."""

        def work() -> list[bytes]:
            found = []
            for path in (self.folder / "sha256").glob("??/" + "?" * 62):
                with contextlib.suppress(ValueError):
                    found.append(bytes.fromhex(path.parent.name + path.name))
            return found

        return await self.run(work, self.folder)

    async def run(self, work: Callable[[], T], path: Path) -> T:
        """Work on files, on a thread; OSError becomes StorageFault with the path."""
        if self._closed:
            raise StorageFault("this peer is closed: open it again to use its blobs")
        with _translated(path):
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Waits for what the threads have begun."""
        self._closed = True
        self._threads.shutdown(wait=True)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFault(
            f"{path} can't be read or written: {error.strerror}. Make room or check the permissions, and try again."
        ) from error
