"""What is remembered of peers: taken once, bounded, never older than a week, gone with a restored log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.storage import clocks
from ssb_rtc.storage.author import mark_imported
from ssb_rtc.storage.clocks import AGE_MAX_MS, Clocks
from ssb_rtc.storage.database import open_database
from ssb_rtc.storage.log import Log
from ssb_rtc.types import FeedId, PeerId, peer_of
from tests.storage.feedmaker import keys_of

PEER = peer_of(keys_of(9).id)
FEEDS = [keys_of(n).id for n in range(1, 5)]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Clocks]:
    database = open_database(tmp_path / "db", create=True)
    with database.transaction() as connection:
        connection.executemany("INSERT INTO authors(feed) VALUES (?)", [(feed,) for feed in FEEDS])
    yield Clocks(Log(database))
    database.close()


def count(kept: Clocks) -> int:
    return int(kept._database.query("SELECT count(*) FROM clocks")[0][0])


def test_a_clock_is_taken_once(kept: Clocks) -> None:
    notes = dict(zip(FEEDS, (0, 7, -1, 2**32 - 2), strict=True))
    kept.save(PEER, notes, 5)
    assert kept.take(peer_of(FEEDS[0]), 6) == {}
    assert kept.take(PEER, 6) == notes
    assert kept.take(PEER, 6) == {}


def test_any_notes_come_back(kept: Clocks) -> None:
    @given(notes=st.dictionaries(st.sampled_from(FEEDS), st.integers(-1, 2**32 - 2)))
    def check(notes: dict[FeedId, int]) -> None:
        kept.save(PEER, notes, 5)
        assert kept.take(PEER, 5) == notes

    check()


def test_feeds_that_the_log_does_not_know_are_left_out(kept: Clocks) -> None:
    kept.save(PEER, {FeedId("@unknown.ed25519"): 4, FEEDS[0]: 6}, 5)
    assert kept.take(PEER, 6) == {FEEDS[0]: 6}
    kept.save(PEER, {FeedId("@unknown.ed25519"): 4}, 5)
    assert count(kept) == 0


@pytest.mark.parametrize("later_ms", [AGE_MAX_MS + 1, -1])
def test_an_old_clock_and_one_of_the_future_are_not_used(kept: Clocks, later_ms: int) -> None:
    kept.save(PEER, {FEEDS[0]: 6}, 5)
    assert kept.take(PEER, 5 + later_ms) == {}
    assert count(kept) == 0


def test_only_so_many_peers_are_remembered(kept: Clocks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "PEERS_MAX", 3)
    for number in range(10):
        kept.save(PeerId(f"@{number}.ed25519"), {FEEDS[0]: number}, number)
    assert count(kept) == 3
    assert kept.take(PeerId("@9.ed25519"), 10) == {FEEDS[0]: 9}


def test_a_restored_backup_remembers_nobody(kept: Clocks) -> None:
    kept.save(PEER, {FEEDS[0]: 6}, 5)
    mark_imported(kept._database)
    assert kept.take(PEER, 6) == {}
