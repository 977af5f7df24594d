"""The checks of a peer's own files: its key, its database, and the room that they have."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import threading
from pathlib import Path
from typing import Final

from ssb_rtc.config import Settings
from ssb_rtc.doctor.findings import Finding, State
from ssb_rtc.errors import DatabaseCorrupt, IdentityMissing, MisuseError, StorageFault
from ssb_rtc.storage import folder as files
from ssb_rtc.storage.database import DAMAGE_REMEDY
from ssb_rtc.storage.inspection import Inspection, inspect, remedy_of
from ssb_rtc.storage.schema import SCHEMA_VERSION

READ_LIMIT_S: Final = 90.0
"""A database that takes longer to read is looked at in part."""
LITTLE_BYTES: Final = 100_000_000
"""With less room than this SQLite will soon be unable to write at all."""
RIGHTS_REMEDY: Final = "Run ssb-rtc as the user that owns the folder, or mend the rights of the folder and its files."


def keys(folder: Path) -> Finding:
    """The secret file: there, ours alone, and whole."""
    path = files.secret_path(folder)
    try:
        own = files.load(folder)
    except IdentityMissing:
        if not files.database_path(folder).exists():
            remedy = "`ssb-rtc start` makes one, or `ssb-rtc init --secret FILE` takes over the one of a backup."
            return Finding("keys", State.WARNING, f"There is no identity in {folder} yet.", remedy)
        remedy = "Put the copy of the secret back: nobody can restore it for you, and a new identity is somebody else."
        return Finding("keys", State.BROKEN, f"There is a database, and no secret at {path}.", remedy)
    except MisuseError as fault:
        remedy = "Put a copy of the secret back from your backup, and keep this file until that works."
        return Finding("keys", State.BROKEN, f"{fault}.", remedy)
    except StorageFault as fault:
        return Finding("keys", State.BROKEN, str(fault), RIGHTS_REMEDY)
    facts = {"id": own.keys.id}
    if own.warning is not None:
        seen, _, remedy = own.warning.partition(" Run: ")
        return Finding("keys", State.WARNING, seen, f"Run: {remedy}", facts=facts)
    return Finding("keys", State.OK, f"We are {own.keys.id}; only this user can read the secret.", facts=facts)


async def database(folder: Path, *, limit_s: float = READ_LIMIT_S) -> Finding:
    """The database, page by page; also while a peer has it open."""
    path = files.database_path(folder)
    try:
        there = await asyncio.to_thread(path.exists)
    except OSError as fault:
        seen = f"{path} can't be looked at: {fault.strerror}."
        return Finding("database", State.BROKEN, seen, RIGHTS_REMEDY)
    if not there:
        return Finding("database", State.SKIPPED, f"There is no database at {path} yet; `ssb-rtc start` makes it.")
    stop = threading.Event()
    try:
        found = await asyncio.to_thread(inspect, path, limit_s=limit_s, stopped=stop.is_set)
    except DatabaseCorrupt as fault:
        seen, remedy = remedy_of(fault)
        return Finding("database", State.BROKEN, seen, remedy)
    except StorageFault as fault:
        return Finding("database", State.BROKEN, str(fault), _remedy_of_place(path))
    finally:
        stop.set()  # where we were cancelled, the thread reads on
    return _database(path, found)


def _remedy_of_place(path: Path) -> str:
    if os.access(path, os.F_OK) and not path.is_file():
        return "Move it away, or name another folder with --path."
    if os.access(path, os.R_OK | os.W_OK) and os.access(path.parent, os.W_OK):
        return "Name another folder with --path: the file is not ours."
    return RIGHTS_REMEDY


def _database(path: Path, found: Inspection) -> Finding:
    size = size_told(found.size_bytes)
    facts = {"size_bytes": found.size_bytes, "schema": found.schema, "complete": found.complete}
    if found.damages:
        seen = f"{path} is damaged: {'; '.join(found.damages)[:300]}."
        return Finding("database", State.BROKEN, seen, f"Stop the peer. {DAMAGE_REMEDY}", facts=facts)
    if found.schema > SCHEMA_VERSION:
        seen = f"{path} was written by a newer ssb-rtc (schema {found.schema}, this one knows {SCHEMA_VERSION})."
        return Finding("database", State.BROKEN, seen, "Update ssb-rtc.", facts=facts)
    if not found.complete:
        seen = f"{size} are too much to read in the time; nothing was wrong with what was read."
        remedy = f"To be sure, read it whole: sqlite3 '{path}' 'PRAGMA quick_check'"
        return Finding("database", State.SKIPPED, seen, remedy, facts=facts)
    return Finding("database", State.OK, f"Whole ({size}).", facts=facts)


def disk(folder: Path, settings: Settings) -> Finding:
    """Whether the folder can be written, and has room for all that it may have to hold."""
    place = next((at for at in (folder, *folder.parents) if os.access(at, os.F_OK)), Path("/"))
    try:
        if not stat.S_ISDIR(place.stat().st_mode):
            remedy = "Name another folder with --path."
            return Finding("disk", State.BROKEN, f"{place} is no folder, so {folder} can't be one.", remedy)
        usage = shutil.disk_usage(place)
        read_only = bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    except OSError as fault:
        return Finding("disk", State.BROKEN, f"{place} can't be looked at: {fault.strerror}.", RIGHTS_REMEDY)
    path = files.database_path(folder)
    # `exists` and `is_file` raise where the folder may not be entered.
    held_bytes = path.stat().st_size if os.access(path, os.F_OK) else 0
    wanted_bytes = max(0, settings.storage_max - held_bytes)
    facts = {"free_bytes": usage.free, "wanted_bytes": wanted_bytes}
    if read_only or not os.access(place, os.W_OK | os.X_OK):
        why = "its disk can only be read" if read_only else "this user may not"
        return Finding("disk", State.BROKEN, f"{place} can't be written: {why}.", RIGHTS_REMEDY, facts=facts)
    free = f"{size_told(usage.free)} are free at {place}"
    if usage.free < LITTLE_BYTES:
        return Finding("disk", State.BROKEN, f"The disk is nearly full: {free}.", "Make room there.", facts=facts)
    if usage.free < wanted_bytes:
        seen = f"{free}, and messages may take {size_told(wanted_bytes)} more (--storage-max)."
        remedy = "Make room there, or give a lower --storage-max: a full disk stops the peer from writing anything."
        return Finding("disk", State.WARNING, seen, remedy, facts=facts)
    return Finding("disk", State.OK, f"{free}.", facts=facts)


def size_told(size_bytes: int) -> str:
    """A number of bytes for a person."""
    size, unit = float(size_bytes), "bytes"
    for name in ("kB", "MB", "GB", "TB"):
        if size < 1_000:
            break
        size, unit = size / 1_000, name
    return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"
