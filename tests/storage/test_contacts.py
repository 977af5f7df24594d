"""The tables of hubs and peers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ssb_rtc.storage import contacts as contacts_module
from ssb_rtc.storage.contacts import Contacts, HubRecord, PeerRecord
from ssb_rtc.storage.database import Database, open_database
from ssb_rtc.types import HubUrl, peer_of
from tests.storage.feedmaker import keys_of


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "db", create=True)
    yield database
    database.close()


def hub(name: str, **rest: object) -> HubRecord:
    return HubRecord(HubUrl(f"https://{name}"), **{"source": "user", "added_ms": 1, **rest})  # type: ignore[arg-type]


def test_hubs_are_kept_replaced_and_removed(database: Database) -> None:
    contacts = Contacts(database)
    contacts.save_hub(hub("a", added_ms=2))
    contacts.save_hub(hub("b", added_ms=1))
    contacts.save_hub(hub("a", added_ms=2, failures=3, last_success_ms=9))
    assert contacts.hubs() == [hub("b"), hub("a", added_ms=2, failures=3, last_success_ms=9)]
    assert contacts.remove_hub(HubUrl("https://b"))
    assert not contacts.remove_hub(HubUrl("https://b"))
    contacts.save_hubs([hub("c"), hub("d")])
    assert [record.url for record in contacts.hubs()] == ["https://c", "https://d"]


def test_a_hub_keeps_where_it_came_from_and_whether_it_is_private(database: Database) -> None:
    contacts = Contacts(database)
    contacts.save_hubs([hub("a", source="gossip", private=True, last_success_ms=7), hub("b")])
    assert contacts.hub(HubUrl("https://a")) == hub("a", source="gossip", private=True, last_success_ms=7)
    contacts.save_hub(hub("a", private=False))
    assert contacts.hub(HubUrl("https://a")) == hub("a")
    assert contacts.hub(HubUrl("https://c")) is None


def test_a_database_of_before_has_no_private_hubs(tmp_path: Path) -> None:
    file = tmp_path / "before"
    open_database(file, create=True).close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("ALTER TABLE hubs DROP COLUMN private")
        for table in ("hub_entries", "hub_probes", "inboxes", "welcomes", "joins"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("INSERT INTO hubs(url, source, added_ms) VALUES ('https://a', 'user', 1)")
        connection.execute("PRAGMA user_version = 2")
        connection.commit()
    database = open_database(file, create=False)
    assert Contacts(database).hubs() == [hub("a")]
    database.close()


def test_the_tables_are_capped(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contacts_module, "HUBS_MAX", 3)
    monkeypatch.setattr(contacts_module, "PEERS_MAX", 3)
    contacts = Contacts(database)
    contacts.save_hubs([hub(f"learnt{n}", source="peer", added_ms=n) for n in range(5)] + [hub("mine", added_ms=0)])
    assert [record.url for record in contacts.hubs()] == ["https://mine", "https://learnt3", "https://learnt4"]
    records = [PeerRecord(peer_of(keys_of(n).id), last_seen_ms=n, blocked=n == 0) for n in range(5)]
    contacts.save_peers(records)
    assert contacts.peers() == [records[4], records[3], records[0]]


def test_peers(database: Database) -> None:
    contacts = Contacts(database)
    record = PeerRecord(peer_of(keys_of(1).id), "net:host:1~shs:x", 5, 4, 2, pinned=True)
    contacts.save_peers([record])
    assert contacts.peers() == [record]
    assert contacts.peer(record.id) == record
    assert contacts.peer(peer_of(keys_of(2).id)) is None
    assert contacts.remove_peer(record.id)
    assert contacts.peers() == []
