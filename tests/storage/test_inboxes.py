"""Inbox secrets on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ssb_rtc.storage import inboxes
from ssb_rtc.storage.database import Database, open_database
from ssb_rtc.storage.inboxes import SECRET_BYTES, Inboxes
from ssb_rtc.types import PeerId, peer_of
from tests.storage.feedmaker import keys_of

ANN, BEN, EVE = (peer_of(keys_of(number).id) for number in (1, 2, 3))
SECRET = bytes(range(32))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "db", create=True)
    yield opened
    opened.close()


def test_ours_is_made_once_and_anew_when_it_is_renewed(database: Database) -> None:
    first = Inboxes(database)
    assert len(first.own) == SECRET_BYTES
    assert Inboxes(database).own == first.own
    before = first.own
    assert first.renew() == first.own != before
    assert Inboxes(database).own == first.own


def test_what_friends_told_is_kept_the_newest_first_until_it_is_forgotten(database: Database) -> None:
    kept = Inboxes(database)
    assert kept.keep(ANN, SECRET, 1)
    assert kept.keep(BEN, SECRET[::-1], 2)
    assert not kept.keep(ANN, SECRET, 3), "that was known"
    again = Inboxes(database)
    assert again.peers() == [BEN, ANN]
    assert (again.of(ANN), again.of(EVE)) == (SECRET, None)
    assert again.keep(ANN, SECRET[::-1], 3)
    assert again.forget(BEN)
    assert not again.forget(BEN)
    assert Inboxes(database).peers() == [ANN]
    assert Inboxes(database).of(ANN) == SECRET[::-1]


def test_a_full_table_takes_no_new_friend_and_renews_old_ones(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inboxes, "INBOXES_MAX", 1)
    kept = Inboxes(database)
    assert kept.keep(ANN, SECRET, 1)
    assert not kept.keep(BEN, SECRET, 2)
    assert kept.keep(ANN, SECRET[::-1], 3)
    assert kept.of(PeerId(BEN)) is None
