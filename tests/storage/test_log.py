"""The log: appending, reading, the follow graph that it keeps, and that it comes back whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds import validate
from ssb_rtc.feeds.message import create
from ssb_rtc.feeds.validate import Checked
from ssb_rtc.storage.database import open_database
from ssb_rtc.storage.log import Log
from ssb_rtc.types import FeedId, MsgId
from tests.storage.feedmaker import feed_of, keys_of


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(open_database(tmp_path / "db", create=True))
    yield log
    log.database.close()


def reopened(log: Log) -> Log:
    log.database.close()
    return Log(open_database(log.database.path, create=False))


def write(number: int, contents: list[dict[str, object]]) -> list[Checked]:
    made: list[Checked] = []
    for content in contents:
        head = made[-1].head if made else None
        value = create(
            keys_of(number),
            content,
            previous=head.id if head else None,
            sequence=head.sequence + 1 if head else 1,
            timestamp_ms=1,
        )
        made.append(validate.check(head, value))
    return made


def test_what_goes_in_comes_out(log: Log) -> None:
    one, two = feed_of(1), feed_of(2)
    log.append(one[:20], 100)
    log.append(two, 200)
    stored = log.append(one[20:], 300)
    assert [s.rowid for s in stored] == list(range(61, 81))
    log = reopened(log)
    assert log.count() == log.last_rowid == 80
    assert [s.raw for s in log.read_feed(one[0].author)] == [m.raw for m in one]
    assert [s.sequence for s in log.read_feed(one[0].author, 35)] == [36, 37, 38, 39, 40]
    assert [s.sequence for s in log.read_feed(one[0].author, 5, 2)] == [6, 7]
    assert [s.author for s in log.iterate()] == [one[0].author] * 20 + [two[0].author] * 40 + [one[0].author] * 20
    found = log.get(one[25].key)
    assert found == stored[5]
    assert found.value() == one[25].value
    assert log.at(two[0].author, 7) == log.get(two[6].key)
    assert log.heads() == {one[0].author: one[-1].head, two[0].author: two[-1].head}
    assert [s.timestamp_ms for s in log.read_log(79)] == [300]
    log.database.close()


def test_absent_things_are_none(log: Log) -> None:
    author = feed_of(1)[0].author
    assert log.head(author) is None
    assert log.at(author, 1) is None
    assert log.read_feed(author) == []
    assert log.get(feed_of(1)[0].key) is None
    assert log.get(MsgId("%nonsense.sha256")) is None
    assert log.get(MsgId("")) is None


@pytest.mark.parametrize("wrong", [lambda f: f[1:], lambda f: [f[0], f[2]], lambda f: [f[0], f[0]]])
def test_a_feed_can_not_be_torn(log: Log, wrong: object) -> None:
    feed = feed_of(1)
    with pytest.raises(MisuseError, match="does not follow"):
        log.append(wrong(feed), 1)  # type: ignore[operator]
    assert log.count() == 0
    assert log.head(feed[0].author) is None
    log.append(feed, 1)
    other = feed_of(1, 42, "branch", 30)
    with pytest.raises(MisuseError):
        log.append(other[40:], 1)


def test_contact_messages_make_the_graph(log: Log) -> None:
    anna, bert, carl = (keys_of(n).id for n in (1, 2, 3))
    log.append(
        write(
            1,
            [
                {"type": "contact", "contact": bert, "following": True},
                {"type": "contact", "contact": carl, "following": True},
                {"type": "contact", "contact": bert, "blocking": True},
            ],
        ),
        1,
    )
    for _ in range(2):
        assert log.graph.hops(anna) == {anna: 0, carl: 1, bert: -1}
        assert log.graph.blocks(anna) == [bert]
        log = reopened(log)
    log.database.close()


def test_purging_forgets_a_feed_and_lets_it_be_fetched_again(log: Log) -> None:
    log.append(feed_of(1), 1)
    log.append(feed_of(2), 1)
    assert log.purge(feed_of(1)[0].author) == 40
    assert log.purge(keys_of(9).id) == 0
    log = reopened(log)
    assert log.count() == 40
    log.append(feed_of(1), 2)
    assert log.count() == 80
    log.database.close()


def test_a_purge_and_its_listeners_are_one_transaction(log: Log) -> None:
    log.append(feed_of(1), 1)
    log.append(feed_of(2), 1)
    seen: list[int] = []

    def listener(connection: sqlite3.Connection, feed: FeedId) -> None:
        seen.append(len(log.read_feed(feed)))
        connection.execute("INSERT INTO private VALUES (1)")
        if len(seen) == 1:
            raise MisuseError("not now")

    stop = log.subscribe_purge(listener)
    with pytest.raises(MisuseError, match="not now"):
        log.purge(keys_of(2).id)
    assert log.count() == 80
    assert log.database.query("SELECT * FROM private") == []
    log.purge(keys_of(2).id)
    assert log.database.query("SELECT * FROM private") == [(1,)]
    assert seen == [40, 40]
    stop()
    log = reopened(log)
    assert [stored.rowid for stored in log.append(feed_of(2)[:2], 2)] == [81, 82], "no place is given away twice"
    log.purge(keys_of(1).id)
    assert len(seen) == 2
    log.database.close()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 15)), max_size=12))
def test_any_interleaving_keeps_every_feed_in_order(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[int, int]]
) -> None:
    log = Log(open_database(tmp_path_factory.mktemp("log") / "db", create=True))
    at = {1: 0, 2: 0, 3: 0}
    for number, length in cuts:
        part = feed_of(number)[at[number] : at[number] + length]
        log.append(part, 1)
        at[number] += len(part)
    log = reopened(log)
    for number, length in at.items():
        assert [s.raw for s in log.read_feed(keys_of(number).id)] == [m.raw for m in feed_of(number)[:length]]
    assert log.count() == sum(at.values())
    log.database.close()
