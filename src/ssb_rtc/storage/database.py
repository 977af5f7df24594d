"""One SQLite file a peer: opening it, refusing it, locking it, migrating it, and making it durable.

Figures that the settings come from (SQLite 3.40, 830-byte messages, two shared cores): WAL with `synchronous=NORMAL`
and transactions of 512 rows cost 15 us a message, stock page size and cache; rowid tables, because WITHOUT ROWID
keyed by a hash is six times slower; authors as integers.

In WAL mode a commit survives the death of the process without any fsync, and `Database.sync` makes it survive the
death of the machine: it syncs the WAL file itself, from any thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from ssb_rtc.errors import DatabaseCorrupt, DatabaseLocked, DatabaseUnusable, StorageFault
from ssb_rtc.storage.schema import MIGRATIONS, SCHEMA_VERSION

APPLICATION_ID: Final = 0x73736272
"""`ssbr`, in the header of the file: tells our files from any other SQLite database."""
MAGIC: Final = b"SQLite format 3\x00"
CHECKED_AT_OPENING_MAX_BYTES: Final = 64 * 1024 * 1024
"""Files up to this size are checked page by page at opening (0.1 s); greater ones only where they are read."""
BUSY_TIMEOUT_MS: Final = 2_000
CACHE_KIB: Final = 8 * 1024
WAL_CHECKPOINT_PAGES: Final = 4_096
"""16 MiB between two checkpoints, which sync the file and so hold up the loop."""
WAL_TRUNCATE_BYTES: Final = 32 * 1024 * 1024

DAMAGE_REMEDY: Final = (
    "Move the file away, start again, name your hubs again (`ssb-rtc hubs add`), and the feeds are fetched from your"
    " peers; keep the secret, and don't publish before your own feed is back."
)

_DISK_FULL: Final = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC"}
_CORRUPT: Final = {"SQLITE_CORRUPT", "SQLITE_NOTADB"}


class Database:
    """An open database: `.connection` is used on one thread, the one that opened it; `.sync` on any.

    `transaction()` is the only way to write. Foreign errors come out as StorageFault.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int) -> None:
        self.path = path
        self.connection = connection
        self._lock = lock
        self._wal: int | None = None
        self.closed = False
        self.is_full = False
        """The last write found no room on the disk; the next one that does ends it."""

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction: committed at the end, rolled back when the body raises.

        Raises DatabaseUnusable when the disk is full or the file can't be written, DatabaseCorrupt when it is damaged.
        """
        with self.translated():
            self.connection.execute("BEGIN IMMEDIATE")
            before = self.connection.total_changes
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException as error:
                if isinstance(error, sqlite3.Error) and _tells_of_full_disk(error):
                    self.is_full = True
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise
            # One that changed nothing has written nothing.
            if self.connection.total_changes > before:
                self.is_full = False

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """SQLite's errors become ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise translate(self.path, error) from error

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a reading statement."""
        with self.translated():
            return self.connection.execute(sql, parameters).fetchall()

    def used_bytes(self) -> int:
        """The pages of the file that hold something; free ones are used again before the file grows."""
        page, pages, free = (
            int(self.query(f"PRAGMA {name}")[0][0]) for name in ("page_size", "page_count", "freelist_count")
        )
        return page * (pages - free)

    def compact(self) -> None:
        """Writes the file anew without the holes that deleted rows left in its pages, and gives the rest back.

        Takes about 10 s for a GB, during which nothing else is done on this thread, and as much room again on the disk.
        Raises StorageFault where that is missing; nothing is lost then.
        """
        with self.translated():
            self.connection.execute("VACUUM")
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def meta(self, key: str) -> str | None:
        """A value of the small key-value table, or None."""
        rows = self.query("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else None

    def set_meta(self, key: str, value: str | None) -> None:
        """Sets (or with None removes) a value of the small key-value table."""
        with self.transaction() as connection:
            if value is None:
                connection.execute("DELETE FROM meta WHERE key = ?", (key,))
            else:
                connection.execute("INSERT OR REPLACE INTO meta(key, value) VALUES (?, ?)", (key, value))

    def sync(self) -> None:
        """Everything committed before this call is on the disk when it returns; may run on any thread.

        SQLite holds no lock on the WAL file itself, so a second descriptor on it does no harm.
        Raises DatabaseUnusable: what was committed since the last good sync may be lost if the machine dies.
        """
        try:
            if self._wal is None:
                self._wal = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
                sync_folder(self.path.parent)
            os.fsync(self._wal)
        except FileNotFoundError:
            return  # nothing was written since the last checkpoint, which SQLite itself synced
        except OSError as error:
            raise DatabaseUnusable(
                f"{self.path} could not be flushed to the disk: {error.strerror}. Check the disk, and start again."
            ) from error

    def close(self) -> None:
        """Closes the file and lets go of the lock; a second call does nothing."""
        if self.closed:
            return
        self.closed = True
        try:
            with contextlib.suppress(sqlite3.Error):  # a full disk must not keep the lock held
                self.connection.close()
        finally:
            if self._wal is not None:
                os.close(self._wal)
            os.close(self._lock)


def open_database(path: Path, *, create: bool) -> Database:
    """Opens (or with `create` makes) the database of one peer and locks it for this process.

    Raises DatabaseCorrupt, DatabaseUnusable (absent, not writable, disk full, a newer schema, not ours) or
    DatabaseLocked; none of them overwrites, truncates or leaves anything behind.
    """
    path = Path(path)
    exists = path.exists()
    if exists:
        check_header(path)
    elif not create:
        raise DatabaseUnusable(f"There is no database at {path}. Run `ssb-rtc init`, or name the right folder.")
    lock = _lock(path)
    try:
        if not exists and not path.exists():
            _make(path)
        beside = [side for side in (Path(f"{path}-wal"), Path(f"{path}-shm")) if not side.exists()]
        connection = _connect(path)
        try:
            with _translated(path):
                _set_up(connection)
                _inspect(path, connection)
                _migrate(path, connection)
        except BaseException:
            connection.close()
            for side in beside:  # SQLite leaves them where it could not checkpoint; nothing of ours is in them
                side.unlink(missing_ok=True)
            raise
        return Database(path, connection, lock)
    except BaseException:
        if not exists and not path.exists():
            with contextlib.suppress(OSError):
                _lock_path(path).unlink()
        os.close(lock)
        raise


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def translate(path: Path, error: sqlite3.Error) -> StorageFault:
    """The error of ours that says what SQLite's means, with the file and what to do."""
    name = getattr(error, "sqlite_errorname", "")
    if isinstance(error, sqlite3.ProgrammingError) and "closed database" in str(error):
        return DatabaseUnusable(f"{path} is closed: the peer that it belongs to has ended. Open another one.")
    if name.split("_EXTRA")[0] in _CORRUPT or name.startswith("SQLITE_CORRUPT"):
        return _corrupt(path, str(error))
    if _tells_of_full_disk(error):
        return DatabaseUnusable(f"{path} can't be written: the disk is full or fails ({error}). Make room, try again.")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return DatabaseLocked(f"{path} is held by another program. Stop it and try again.")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return DatabaseUnusable(f"{path} can't be written ({error}). Check the permissions of the file and its folder.")
    return DatabaseUnusable(f"{path} can't be used: {error}. Check the disk and the folder, and start again.")


def _tells_of_full_disk(error: sqlite3.Error) -> bool:
    # A full disk is an I/O error to SQLite where it can't enlarge a file that it has mapped.
    name = getattr(error, "sqlite_errorname", "")
    return name in _DISK_FULL or name.startswith("SQLITE_IOERR_SHM") or "disk is full" in str(error)


def _corrupt(path: Path, detail: str) -> DatabaseCorrupt:
    return DatabaseCorrupt(f"{path} is damaged ({' '.join(detail.split())}). Nothing was changed. {DAMAGE_REMEDY}")


def check_header(path: Path) -> None:
    """Raises DatabaseCorrupt or DatabaseUnusable unless the file begins as ours do, and can be read and written."""
    try:
        if not path.is_file():
            raise DatabaseUnusable(f"{path} is no file. Move it away, or name another folder.")
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise DatabaseUnusable(f"{path} can't be read: {error.strerror}. Check its permissions.") from error
    if len(header) < 100 or not header.startswith(MAGIC):
        raise _corrupt(path, "it does not begin like an SQLite database")
    if header[68:72] != APPLICATION_ID.to_bytes(4, "big"):
        raise DatabaseUnusable(f"{path} is a database of another program. Name another file or folder.")
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        raise DatabaseUnusable(f"{path} can't be written. Check the permissions of the file and its folder.")


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _lock(path: Path) -> int:
    """The descriptor of the locked file beside the database; retried when its name was taken away under us."""
    name = _lock_path(path)
    while True:
        try:
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DatabaseUnusable(f"{name} can't be made: {error.strerror}. Check the folder.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise DatabaseLocked(
                f"{path} is in use by another ssb-rtc. Stop that one, or give this one another folder."
            ) from error
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(name.stat(), os.fstat(descriptor)):
                return descriptor
        os.close(descriptor)


def _make(path: Path) -> None:
    """Makes the file whole under another name and renames it, so that a half-made database never bears its name."""
    unfinished = path.with_name(path.name + ".new")
    for leftover in (unfinished, Path(f"{unfinished}-wal"), Path(f"{unfinished}-shm"), Path(f"{unfinished}-journal")):
        leftover.unlink(missing_ok=True)
    with _translated(path):
        connection = sqlite3.connect(unfinished, isolation_level=None)
        try:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("PRAGMA synchronous = FULL")
            _migrate(path, connection)
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
    unfinished.chmod(0o600)
    unfinished.rename(path)
    sync_folder(path.parent)


def _connect(path: Path) -> sqlite3.Connection:
    with _translated(path):
        return sqlite3.connect(path, isolation_level=None, check_same_thread=True, timeout=BUSY_TIMEOUT_MS / 1000)


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_TRUNCATE_BYTES}")


def _inspect(path: Path, connection: sqlite3.Connection) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise DatabaseUnusable(
            f"{path} was written by a newer ssb-rtc: it has schema {version}, this one knows {SCHEMA_VERSION}."
            " Update ssb-rtc."
        )
    if version == 0:
        raise _corrupt(path, "its tables are missing")
    if path.stat().st_size <= CHECKED_AT_OPENING_MAX_BYTES:
        found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        if found != "ok":
            raise _corrupt(path, found)


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            _run(step, connection)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            connection.execute("ROLLBACK")
            raise translate(path, error) from error


def _run(step: Sequence[str | Callable[[sqlite3.Connection], None]], connection: sqlite3.Connection) -> None:
    for statement in step:
        if isinstance(statement, str):
            connection.execute(statement)
        else:
            statement(connection)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise translate(path, error) from error
    except OSError as error:
        raise DatabaseUnusable(f"{path} can't be used: {error.strerror}. Check the disk and the folder.") from error
