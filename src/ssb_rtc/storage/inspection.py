"""A look at a peer's database from outside, also while the peer runs: is it whole, and which hubs stand in it.

Nothing is made, written, locked or mended. A file that no peer has open is read as it is (`immutable`), or SQLite would
leave a -wal and a -shm beside it. After a crash there is a -wal; then SQLite makes the -shm, its index, anew.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ssb_rtc.storage.contacts import HubRecord
from ssb_rtc.storage.database import DAMAGE_REMEDY, check_header, translate
from ssb_rtc.storage.schema import SCHEMA_VERSION
from ssb_rtc.types import HubUrl

DAMAGES_MAX: Final = 5
"""Of a damaged file, so many places are told."""
STEPS_BETWEEN_LOOKS: Final = 10_000
"""Steps of SQLite's machine until it looks at the clock again: well under a millisecond."""
BUSY_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was seen of a database."""

    size_bytes: int
    schema: int
    """Its version; SCHEMA_VERSION is ours."""
    damages: tuple[str, ...]
    """In SQLite's words; none where all is well as far as it was read."""
    complete: bool
    """The whole file was read within the time."""


def inspect(path: Path, *, limit_s: float, stopped: Callable[[], bool] = lambda: False) -> Inspection:
    """Reads a database page by page, for `limit_s` seconds at most. Blocks; to be called on a thread of its own.

    stopped: asked all the time; once it is true, the rest is not read.
    Raises DatabaseCorrupt, DatabaseUnusable (absent, no database of ours, not to be read or written).
    """
    check_header(path)
    unopened = not _wal(path).exists()
    found = _inspect(path, limit_s, stopped)
    if found.damages and unopened and _wal(path).exists():  # a peer has started, and changed what we were reading
        found = _inspect(path, limit_s, stopped)
    return found


def _inspect(path: Path, limit_s: float, stopped: Callable[[], bool]) -> Inspection:
    with _opened(path) as connection:
        schema = int(connection.execute("PRAGMA user_version").fetchone()[0])
        deadline_s = time.monotonic() + limit_s
        connection.set_progress_handler(lambda: stopped() or time.monotonic() > deadline_s, STEPS_BETWEEN_LOOKS)
        damages: tuple[str, ...] = ()
        complete = True
        try:
            rows = connection.execute(f"PRAGMA quick_check({DAMAGES_MAX})").fetchall()
            damages = tuple(" ".join(str(row[0]).split()) for row in rows if row[0] != "ok")
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorname", "") != "SQLITE_INTERRUPT":
                raise
            complete = False
        if schema == 0:
            damages = (*damages, "its tables are missing")
        return Inspection(path.stat().st_size, schema, damages, complete)


def hubs_in(path: Path) -> list[HubRecord]:
    """The hubs that are kept in a database, in the order in which they were added; none where there is no database.

    Raises what `inspect` does.
    """
    if not path.exists():
        return []
    check_header(path)
    with _opened(path) as connection:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if not 1 <= version <= SCHEMA_VERSION:
            return []
        rows = connection.execute("SELECT url, source, added_ms FROM hubs ORDER BY added_ms, rowid").fetchall()
    return [HubRecord(HubUrl(url), source, added_ms) for url, source, added_ms in rows]


def remedy_of(fault: Exception) -> tuple[str, str]:
    """A fault's sentence, and what to do about it, apart."""
    sentence = str(fault)
    if sentence.endswith(DAMAGE_REMEDY):
        return sentence.removesuffix(DAMAGE_REMEDY).strip(), f"Stop the peer. {DAMAGE_REMEDY}"
    return sentence, ""


def _wal(path: Path) -> Path:
    """There as long as somebody has the database open, and after a crash."""
    return Path(f"{path}-wal")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    mode = "mode=ro" if _wal(path).exists() else "immutable=1"
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S
        )
        with contextlib.closing(connection):
            yield connection
    except sqlite3.Error as error:
        raise translate(path, error) from error
