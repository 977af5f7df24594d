"""Indexes: cursors and rows stay together through crashes, purges, rebuilds and changed versions."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ssb_rtc.errors import MisuseError, StorageFault
from ssb_rtc.feeds.links import links_of, target_number
from ssb_rtc.storage.database import open_database
from ssb_rtc.storage.index_links import RELS_MAX, LinkIndex, rel_numbers
from ssb_rtc.storage.index_private import PrivateIndex
from ssb_rtc.storage.indexes import SLICE_MESSAGES_MAX, Indexes, IndexState
from ssb_rtc.storage.log import Log, Stored
from tests.storage.feedmaker import Store, keys_of, linking_feed


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(open_database(tmp_path / "db", create=True))
    yield log
    log.database.close()


def rows(log: Log) -> set[tuple[int, int]]:
    return set(log.database.query("SELECT target, message FROM links"))


def expected(log: Log, upto: int | None = None) -> set[tuple[int, int]]:
    """What the table must hold when it is made up to a place in the log."""
    return {
        (target_number(target), stored.rowid)
        for stored in log.iterate()
        if upto is None or stored.rowid <= upto
        for _, target in links_of(stored.value()["content"])
    }


async def test_caught_up_and_kept(log: Log) -> None:
    log.append(linking_feed(1), 1)
    indexes = Indexes(log, [LinkIndex()])
    assert indexes.state() == [IndexState("links", 1, 0, 60)]
    await indexes.caught_up(upto=10)
    assert 10 <= indexes.cursor("links") <= 60
    assert rows(log) == expected(log, indexes.cursor("links"))
    await indexes.caught_up()
    assert indexes.state() == [IndexState("links", 1, 60, 60)]
    assert rows(log) == expected(log)
    log.append(linking_feed(2), 1)
    again = Indexes(log, [LinkIndex()])
    assert again.cursor("links") == 60
    await again.caught_up()
    assert rows(log) == expected(log)


async def test_slices_are_short_and_leave_the_loop(log: Log) -> None:
    """However slow an index is, a slice shrinks until it keeps its time; however fast, it stays bounded."""
    for number in range(1, 30):
        log.append(linking_feed(number), 1)
    now_s, sizes = 0.0, list[int]()

    class Slow(LinkIndex):
        cost_s = 0.001

        def prepare(self, stored: Sequence[Stored]) -> Sequence[tuple[int, int, str]]:
            nonlocal now_s
            now_s += self.cost_s * len(stored)
            sizes.append(len(stored))
            return super().prepare(stored)

    slow = Slow()
    indexes = Indexes(log, [slow], now_s=lambda: now_s)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(other())
    await indexes.caught_up()
    others.cancel()
    assert max(sizes[5:]) <= 8
    assert turns >= len(sizes) - 1
    sizes.clear()
    slow.cost_s = 0.0
    await indexes.rebuild()
    assert sizes[-2] > 200
    assert max(sizes) <= SLICE_MESSAGES_MAX


async def test_rebuild_with_progress(log: Log) -> None:
    for number in range(1, 6):
        log.append(linking_feed(number), 1)
    indexes = Indexes(log, [LinkIndex(), PrivateIndex(lambda _stored: None)])
    await indexes.caught_up()
    with log.database.transaction() as connection:
        connection.execute("DELETE FROM links WHERE message % 2")
        connection.execute("INSERT INTO private VALUES (5)")
    seen: list[tuple[int, int]] = []
    await indexes.rebuild(["links"], lambda done, total: seen.append((done, total)))
    assert rows(log) == expected(log)
    assert seen[-1] == (300, 300)
    assert seen == sorted(seen)
    assert log.database.query("SELECT message FROM private") == [(5,)]
    await indexes.rebuild()
    assert log.database.query("SELECT message FROM private") == []


async def test_cut_short_rebuild_is_completed(log: Log) -> None:
    for number in range(1, 12):
        log.append(linking_feed(number), 1)
    indexes = Indexes(log, [LinkIndex()], now_s=lambda: 0.0)
    await indexes.caught_up()
    task = asyncio.create_task(Indexes(log, [LinkIndex()], now_s=lambda: 0.0).rebuild())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    again = Indexes(log, [LinkIndex()])
    assert 0 < again.cursor("links") < 660
    await again.caught_up()
    assert rows(log) == expected(log)


async def test_changed_version_is_made_anew_when_needed(log: Log) -> None:
    log.append(linking_feed(1), 1)
    await Indexes(log, [LinkIndex()]).caught_up()

    class Newer(LinkIndex):
        version = 2  # type: ignore[misc]

        def add(self, connection: sqlite3.Connection, rows: Sequence[tuple[int, int, str]]) -> None:
            super().add(connection, [(target + 1, message, rel) for target, message, rel in rows])

    indexes = Indexes(log, [Newer()])
    assert indexes.cursor("links") == 0
    assert rows(log) == expected(log), "opening changes nothing"
    await indexes.caught_up()
    assert rows(log) == {(target + 1, message) for target, message in expected(log)}
    assert Indexes(log, [Newer()]).cursor("links") == 60


async def test_purge_takes_the_rows_along(log: Log) -> None:
    for number in (1, 2, 3):
        log.append(linking_feed(number), 1)
    indexes = Indexes(log, [LinkIndex(), PrivateIndex(lambda _stored: None)])
    await indexes.caught_up(upto=90)
    for number in (2, 3):
        log.purge(keys_of(number).id)
        assert rows(log) == expected(log, indexes.cursor("links"))
    # The newest places are free now, and must not be given away again: the cursor has passed them.
    again = Log(log.database)
    assert again.last_rowid == 180
    indexes = Indexes(again, [LinkIndex()])
    again.append(linking_feed(4), 1)
    await indexes.caught_up()
    assert rows(again) == expected(again)
    assert {message for _, message in rows(again)} & set(range(181, 241))


async def test_a_failed_slice_changes_nothing(log: Log) -> None:
    log.append(linking_feed(1), 1)

    class Failing(LinkIndex):
        def add(self, connection: sqlite3.Connection, rows: Sequence[tuple[int, int, str]]) -> None:
            super().add(connection, rows)
            raise MisuseError("broken")

    indexes = Indexes(log, [Failing()])
    with pytest.raises(MisuseError, match="broken"):
        await indexes.caught_up()
    assert rows(log) == set()
    assert indexes.cursor("links") == 0
    await Indexes(log, [LinkIndex()]).caught_up()
    assert rows(log) == expected(log)


@pytest.mark.parametrize("table", ["links", "meta"])
async def test_rows_and_cursor_are_one_transaction(log: Log, table: str) -> None:
    """Whichever of the two can't be written, the other is not there either."""
    log.append(linking_feed(1), 1)
    await Indexes(log, [LinkIndex()]).caught_up()
    log.append(linking_feed(2), 1)
    broken = "BEGIN SELECT RAISE(ABORT, 'broken'); END"
    log.database.connection.execute(f"CREATE TEMP TRIGGER broken BEFORE INSERT ON main.{table} {broken}")
    with pytest.raises(StorageFault, match="broken"):
        await Indexes(log, [LinkIndex()]).caught_up()
    assert Indexes(log, [LinkIndex()]).cursor("links") == 60
    assert rows(log) == expected(log, 60)
    log.database.connection.execute("DROP TRIGGER broken")
    await Indexes(log, [LinkIndex()]).caught_up()
    assert rows(log) == expected(log)


async def test_hostile_rels_make_no_endless_table(log: Log) -> None:
    indexes = Indexes(log, [LinkIndex()])
    with log.database.transaction() as connection:
        LinkIndex().add(connection, [(number, number, f"rel {number}") for number in range(2 * RELS_MAX)])
        LinkIndex().add(connection, [(1, 1, "x" * 1_000), (2, 1, "\ud800")])
        assert len(rel_numbers(connection)) == RELS_MAX
    await indexes.caught_up()


async def test_misuse_is_refused(log: Log) -> None:
    indexes = Indexes(log, [LinkIndex()])
    with pytest.raises(MisuseError, match="two indexes"):
        indexes.register(LinkIndex())
    with pytest.raises(MisuseError, match="there is no index 'speed'; there are: links"):
        await indexes.rebuild(["speed"])


async def test_goes_on_in_idle_time(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    indexes = Indexes(store.log, [LinkIndex()])
    stop = store.ingest.subscribe(indexes.committed)
    await store.ingest.add([checked.raw for checked in linking_feed(1)], "test")
    async with asyncio.timeout(20):
        while indexes.cursor("links") < 60:
            await asyncio.sleep(0.01)
    assert rows(store.log) == expected(store.log)
    stop()
    indexes.close()
    await store.close()


WORKER = """
import asyncio, sys
from pathlib import Path
from ssb_rtc.storage.database import open_database
from ssb_rtc.storage.index_links import LinkIndex
from ssb_rtc.storage.indexes import Indexes
from ssb_rtc.storage.log import Log
from tests.storage.feedmaker import linking_feed, keys_of

async def main():
    log = Log(open_database(Path(sys.argv[1]), create=True))
    indexes = Indexes(log, [LinkIndex()])
    for number in range(1, 1000):
        log.append(linking_feed(number % 12 + 1), 1)
        await indexes.caught_up()
        print(indexes.cursor("links"), flush=True)
        if number % 3 == 0:
            await indexes.rebuild()
        if number >= 12:
            log.purge(keys_of((number + 1) % 12 + 1).id)
        elif number % 5 == 0:
            log.purge(keys_of(number % 12 + 1).id)
            log.append(linking_feed(number % 12 + 1), 1)

asyncio.run(main())
"""


@pytest.mark.parametrize("after_lines", [1, 7, 19])
async def test_killed_in_the_middle(tmp_path: Path, after_lines: int) -> None:
    """At whatever place the process dies, rows and cursor agree, and the rest is made up for."""
    path = tmp_path / "db"
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout is not None
        for _ in range(after_lines):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    log = Log(open_database(path, create=False))
    indexes = Indexes(log, [LinkIndex()])
    if indexes.cursor("links"):
        assert rows(log) == expected(log, indexes.cursor("links"))
    await indexes.caught_up()
    assert rows(log) == expected(log)
    assert rows(log)
    log.database.close()
