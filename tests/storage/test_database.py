"""Opening a database: what is refused, with what words, and that a refusal changes nothing."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssb_rtc.errors import DatabaseCorrupt, DatabaseLocked, DatabaseUnusable, StorageFault
from ssb_rtc.storage.database import Database, open_database
from ssb_rtc.storage.log import Log
from tests.storage.feedmaker import feed_of


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def filled(path: Path) -> None:
    database = open_database(path, create=True)
    Log(database).append(feed_of(1), 1)
    database.close()


def refused(path: Path, fault: type[StorageFault], *, create: bool = True) -> str:
    before = snapshot(path.parent)
    with pytest.raises(fault) as caught:
        open_database(path, create=create)
    after = snapshot(path.parent)
    after.pop(path.name + ".lock", None) if path.name + ".lock" not in before else None
    assert after == before
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_new_database_is_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "db"
    open_database(path, create=True).close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in tmp_path.iterdir()) == ["db", "db.lock"]
    database = open_database(path, create=False)
    assert database.query("PRAGMA journal_mode") == [("wal",)]
    assert database.query("PRAGMA integrity_check") == [("ok",)]
    database.close()


def test_absent_and_not_to_be_created(tmp_path: Path) -> None:
    assert "ssb-rtc init" in refused(tmp_path / "db", DatabaseUnusable, create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 4096, b"SQLite format 3\0"], ids=str)
def test_what_is_no_database_is_corrupt(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "db"
    path.write_bytes(content)
    assert "Move the file away, start again, name your hubs again" in refused(path, DatabaseCorrupt)


def test_a_cut_file_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "db"
    filled(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, DatabaseCorrupt)


def test_damage_in_the_middle_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "db"
    filled(path)
    data = bytearray(path.read_bytes())
    for at in range(4096, len(data), 4096):
        data[at : at + 64] = b"\xff" * 64
    path.write_bytes(data)
    refused(path, DatabaseCorrupt)


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs(x)")
    connection.commit()
    connection.close()
    assert "another program" in refused(path, DatabaseUnusable)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "db"
    filled(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "newer" in refused(path, DatabaseUnusable)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.mkdir()
    refused(path, DatabaseUnusable)


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[Path]:
    """A database that we may read only: by its mode or, since root may write everywhere, by a read-only mount."""
    path = tmp_path / "db"
    filled(path)
    if os.geteuid() != 0:
        path.chmod(0o400)
        yield path
        return
    subprocess.run(["mount", "--bind", str(tmp_path), str(tmp_path)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(tmp_path)], check=True)
        yield path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_file_that_may_not_be_written_is_refused(unwritable: Path) -> None:
    refused(unwritable, DatabaseUnusable)


def test_two_in_one_process_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / "db"
    first = open_database(path, create=True)
    refused(path, DatabaseLocked)
    first.close()
    open_database(path, create=False).close()


def test_another_process_excludes_us_until_it_dies(tmp_path: Path) -> None:
    path = tmp_path / "db"
    code = (
        "import sys; from pathlib import Path; from ssb_rtc.storage.database import open_database\n"
        "open_database(Path(sys.argv[1]), create=True); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(DatabaseLocked, match="another ssb-rtc"):
            open_database(path, create=False)
        process.kill()
        process.wait(10)
        open_database(path, create=False).close()


def fill_up(database: Database) -> None:
    """Gives the file no page to grow: what a full disk is to SQLite."""
    pages = database.query("PRAGMA page_count")[0][0]
    database.query(f"PRAGMA max_page_count = {pages}")


def append_many(log: Log) -> None:
    for number in range(2, 30):
        log.append(feed_of(number), 1)


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "db"
    database = open_database(path, create=True)
    log = Log(database)
    log.append(feed_of(1)[:10], 1)
    fill_up(database)
    with pytest.raises(DatabaseUnusable, match="Make room, try again"):
        append_many(log)
    seen = [database.is_full]
    database.query("PRAGMA max_page_count = 100000")
    database.set_meta("a", "1")
    seen.append(database.is_full)
    assert seen == [True, False]
    fill_up(database)
    count, head = log.count(), log.head(feed_of(1)[0].author)
    assert head is not None
    assert head.sequence == 10
    database.close()
    again = Log(open_database(path, create=False))
    assert again.count() == count
    assert dict(again.heads()) == dict(log.heads())
    again.database.close()


def test_close_twice_and_sync_without_writes(tmp_path: Path) -> None:
    database = open_database(tmp_path / "db", create=True)
    database.sync()
    database.set_meta("a", "1")
    database.sync()
    database.set_meta("a", None)
    assert database.meta("a") is None
    database.close()
    database.close()
