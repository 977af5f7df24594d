"""The book of what signers say of hubs: what is kept, for how long, who counts, and what is told on."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import pytest

from ssb_rtc.feeds.hub_entry import DAY_MS, LIFE_MS, LIST_MAX, HubEntry, entry_key, sign_entry, verify_entry
from ssb_rtc.feeds.hub_message import HubMessage
from ssb_rtc.feeds.keys import Keys, keys_from_seed
from ssb_rtc.manager.state import KnownHub
from ssb_rtc.runtime import hub_book
from ssb_rtc.runtime.hub_book import SIGNER_MAX, HubBook
from ssb_rtc.storage.contacts import Contacts, HubRecord
from ssb_rtc.storage.database import Database, open_database
from ssb_rtc.storage.hub_entries import HubEntries
from ssb_rtc.transport.link import Link
from ssb_rtc.types import FeedId, HubUrl, peer_of

NETWORK_KEY = b"\7" * 32
KEY = entry_key(NETWORK_KEY)
NOW_MS = 1_700_000_000_000


def keys_of(name: str) -> Keys:
    return keys_from_seed(sha256(name.encode()).digest())


ME, AMY, BOB, CAROL = (keys_of(name) for name in ("me", "amy", "bob", "carol"))
ONE, TWO, THREE = (HubUrl(f"https://{name}.example") for name in ("one", "two", "three"))


class Wire:
    """Stands for a link: only who is at its other end counts."""

    def __init__(self, remote: Keys) -> None:
        self.remote = peer_of(remote.id)


class Desk:
    """A book with a clock, whose reach is whoever was named."""

    def __init__(self, database: Database, *near: Keys) -> None:
        self.database = database
        self.now_ms = NOW_MS
        self.near = {keys.id for keys in near}
        self.contacts = Contacts(database)
        self.book = self.opened()

    def opened(self) -> HubBook:
        book = HubBook(HubEntries(self.database), self.contacts, ME, NETWORK_KEY, lambda: self.now_ms)
        book.reaches = self.near.__contains__
        return book

    def hear(self, *entries: HubEntry, link: object = None, loopback: bool = False) -> set[HubUrl]:
        return self.book.hear(cast("Link", link or Wire(AMY)), entries, allow_loopback=loopback)

    def says(self, keys: Keys, hub: HubUrl, *, ago_ms: int = 0) -> HubEntry:
        return sign_entry(keys, KEY, hub, time_ms=self.now_ms - ago_ms, last_success_ms=self.now_ms - ago_ms)

    def speakers(self) -> dict[HubUrl, set[FeedId]]:
        return {hub: set(found) for hub, found in self.book.speakers(allow_loopback=False).items()}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    database = open_database(tmp_path / "db", create=True)
    yield Desk(database, AMY, BOB)
    database.close()


def working(*hubs: HubUrl, ago_s: float = 0.0) -> list[KnownHub]:
    return [KnownHub(hub, "user", False, NOW_MS / 1000 - ago_s) for hub in hubs]


def test_whoever_brings_an_entry_its_signer_speaks_and_it_outlives_a_restart(desk: Desk) -> None:
    assert desk.hear(desk.says(AMY, ONE), desk.says(BOB, ONE), desk.says(BOB, TWO), link=Wire(CAROL)) == {ONE, TWO}
    assert desk.speakers() == {ONE: {AMY.id, BOB.id}, TWO: {BOB.id}}
    desk.book = desk.opened()
    assert len(desk.book) == 3
    assert desk.speakers() == {ONE: {AMY.id, BOB.id}, TWO: {BOB.id}}


def test_what_is_not_kept(desk: Desk) -> None:
    far, forged = desk.says(CAROL, ONE), sign_entry(AMY, entry_key(bytes(32)), ONE, time_ms=NOW_MS, last_success_ms=1)
    as_amy = desk.says(BOB, ONE)
    for entry in (
        far,
        forged,
        HubEntry(ONE, AMY.id, as_amy.time_ms, as_amy.last_success_ms, as_amy.signature),
        desk.says(ME, ONE),
        desk.says(AMY, ONE, ago_ms=LIFE_MS),
        desk.says(AMY, ONE, ago_ms=-2 * DAY_MS),
        desk.says(AMY, HubUrl("https://10.0.0.1")),
        desk.says(AMY, HubUrl("https://user:pass@hub.example.org")),
        desk.says(AMY, HubUrl("http://127.0.0.1:8000")),
        desk.says(AMY, HubUrl("https://One.example")),
    ):
        assert not desk.hear(entry)
    assert not len(desk.book)
    assert desk.hear(desk.says(AMY, HubUrl("http://127.0.0.1:8000")), loopback=True), "who meets there may be told"
    assert not desk.speakers()
    assert desk.book.speakers(allow_loopback=True)


def test_the_newest_entry_of_a_signer_counts(desk: Desk) -> None:
    old, new = desk.says(AMY, ONE, ago_ms=DAY_MS), desk.says(AMY, ONE)
    assert desk.hear(old) == {ONE}
    assert desk.hear(new, old) == {ONE}
    assert not desk.hear(old, new)
    assert desk.book.store.all() == [new]


def test_entries_expire_and_go_when_their_signer_is_out_of_reach(desk: Desk) -> None:
    desk.hear(desk.says(AMY, ONE, ago_ms=29 * DAY_MS), desk.says(BOB, TWO))
    desk.now_ms += DAY_MS
    assert desk.speakers() == {TWO: {BOB.id}}
    assert desk.book.sweep() == {ONE}
    desk.near.discard(BOB.id)
    assert desk.speakers() == {}
    assert desk.book.sweep() == {TWO}
    assert not desk.book.sweep()
    assert not desk.book.store.all()
    assert not len(desk.book)


def test_a_signer_has_so_many_hubs_and_keeps_the_newest(desk: Desk) -> None:
    hubs = [HubUrl(f"https://h{number}.example") for number in range(SIGNER_MAX + 5)]
    for at, hub in enumerate(hubs):
        desk.hear(desk.says(AMY, hub, ago_ms=1_000 - at))
    assert set(desk.speakers()) == set(hubs[5:])
    assert {entry.url for entry in desk.book.store.all()} == set(hubs[5:])
    assert not desk.hear(desk.says(AMY, hubs[0], ago_ms=1_000)) & set(desk.speakers())


def test_a_full_book_takes_from_who_has_most(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_book, "ENTRIES_MAX", 4)
    desk.hear(desk.says(BOB, ONE))
    for at in range(9):
        desk.hear(desk.says(AMY, HubUrl(f"https://h{at}.example"), ago_ms=100 - at))
    assert desk.speakers()[ONE] == {BOB.id}
    assert len(desk.book) == len(desk.book.store.all()) == 4


def test_published_messages_speak_until_they_are_taken_back(desk: Desk) -> None:
    assert desk.book.read(AMY.id, HubMessage(ONE, NOW_MS - 5, retired=False))
    assert not desk.book.read(AMY.id, HubMessage(ONE, NOW_MS - 5, retired=False))
    desk.book.read(CAROL.id, HubMessage(ONE, NOW_MS - 5, retired=False))
    assert desk.speakers() == {ONE: {AMY.id}}
    desk.hear(desk.says(AMY, ONE, ago_ms=10))
    assert desk.book.read(AMY.id, HubMessage(ONE, NOW_MS, retired=True))
    assert desk.speakers() == {}, "what was signed before ends with it"
    desk.now_ms += 10
    desk.hear(desk.says(AMY, ONE))
    assert desk.speakers() == {ONE: {AMY.id}}, "what is signed later is another word"
    desk.now_ms += LIFE_MS
    assert desk.speakers() == {}
    for at in range(SIGNER_MAX + 1):
        desk.book.read(BOB.id, HubMessage(HubUrl(f"https://h{at}.example"), NOW_MS + at, retired=False))
    assert len(desk.speakers()) == SIGNER_MAX


def test_a_crowd_of_made_up_names_with_much_to_say_costs_the_others_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_book, "MESSAGES_MAX", 40)
    crowd = [keys_of(f"crowd {number}") for number in range(12)]
    desk.near.update(keys.id for keys in crowd[:4])
    desk.book.read(BOB.id, HubMessage(ONE, NOW_MS - 9, retired=False))
    for keys in crowd:
        for at in range(SIGNER_MAX):
            url = HubUrl(f"https://h{at}.example")
            assert desk.book.read(keys.id, HubMessage(url, NOW_MS - SIGNER_MAX + at, retired=False))
    assert sum(map(len, desk.speakers().values())) <= 80
    assert BOB.id in desk.speakers()[ONE]
    assert not desk.book.read(AMY.id, HubMessage(HubUrl("https://10.0.0.1"), NOW_MS, retired=False))
    desk.book.read(AMY.id, HubMessage(HubUrl("http://127.0.0.1:8000"), NOW_MS, retired=False))
    assert not any("127" in url for url in desk.speakers())
    assert any("127" in url for url in desk.book.speakers(allow_loopback=True))


def test_our_word_and_that_of_others_is_told_once_over_a_link(desk: Desk) -> None:
    link, source, theirs = Wire(BOB), Wire(AMY), desk.says(AMY, TWO)
    desk.hear(theirs, desk.says(BOB, THREE), link=source)
    told = desk.book.list_for(link, working(ONE))  # type: ignore[arg-type]
    assert [(entry.signer, entry.url) for entry in told] == [(ME.id, ONE), (AMY.id, TWO)], "not Bob's to Bob"
    assert told[1] == theirs, "as she signed it"
    assert verify_entry(told[0], KEY)
    assert desk.book.list_for(link, working(ONE)) == told, "it was not taken yet"  # type: ignore[arg-type]
    desk.book.was_told(link, told)  # type: ignore[arg-type]
    assert not desk.book.list_for(link, working(ONE))  # type: ignore[arg-type]
    assert not desk.book.list_for(source, []), "what came over a link does not go back"  # type: ignore[arg-type]
    desk.book = desk.opened()
    assert told[0] in desk.book.list_for(link, working(ONE)), "our entry is kept too"  # type: ignore[arg-type]


def test_what_is_private_or_local_or_has_a_password_is_told_by_nobody(desk: Desk) -> None:
    desk.contacts.save_hub(HubRecord(TWO, "user", NOW_MS, private=True))
    desk.hear(desk.says(AMY, TWO), desk.says(AMY, THREE))
    hubs = working(
        ONE, TWO, HubUrl("https://hub.lan"), HubUrl("https://u:p@hub.example.org"), HubUrl("http://h.example")
    )
    told = desk.book.list_for(Wire(BOB), hubs)  # type: ignore[arg-type]
    assert {entry.url for entry in told} == {ONE, THREE}
    assert {entry.url for entry in desk.book.store.all()} == {ONE, TWO, THREE}


def test_our_entries_are_signed_anew_each_week_while_the_hub_works(desk: Desk) -> None:
    link: Any = Wire(BOB)
    (first,) = desk.book.list_for(link, working(ONE))
    desk.now_ms += 6 * DAY_MS
    assert desk.book.list_for(link, working(ONE)) == [first]
    desk.now_ms += DAY_MS
    assert not desk.book.list_for(link, working(ONE)), "we have not seen it at work for a week"
    (second,) = desk.book.list_for(link, working(ONE, ago_s=-7 * 86_400))
    assert second.time_ms == desk.now_ms
    assert [entry.time_ms for entry in desk.book.store.all()] == [desk.now_ms]
    assert len(desk.book) == 1
    assert not desk.book.list_for(link, []), "it works no longer for us, or was removed"
    assert not len(desk.book)
    assert not desk.book.store.all()


def test_a_hub_that_we_took_back_is_not_vouched_for(desk: Desk) -> None:
    desk.book.read(ME.id, HubMessage(ONE, NOW_MS, retired=True))
    assert not desk.book.list_for(Wire(BOB), working(ONE))  # type: ignore[arg-type]
    desk.book.read(ME.id, HubMessage(ONE, NOW_MS, retired=False))
    assert desk.book.list_for(Wire(BOB), working(ONE))  # type: ignore[arg-type]
    assert not desk.speakers(), "we are no witness of ours"


def test_a_list_is_no_longer_than_what_is_taken_and_over_many_all_get_around(desk: Desk) -> None:
    crowd = [keys_of(f"crowd {number}") for number in range(8)]
    desk.near |= {keys.id for keys in crowd}
    everything = [desk.says(keys, HubUrl(f"https://h{at}.example")) for keys in crowd for at in range(12)]
    for entry in everything:
        desk.hear(entry)
    link: Any = Wire(BOB)
    first = desk.book.list_for(link, working(ONE))
    desk.book.was_told(link, first)
    rest = desk.book.list_for(link, working(ONE))
    assert len(first) == LIST_MAX
    assert {entry.signature for entry in (*first[1:], *rest)} == {entry.signature for entry in everything}


def test_what_passed_over_a_link_is_remembered_within_a_limit(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_book, "ENTRIES_MAX", 3)
    link: Any = Wire(AMY)
    for at in range(20):
        desk.hear(desk.says(AMY, ONE, ago_ms=100 - at), link=link)
    assert len(desk.book._told[link]) <= 7


def test_hosts_that_were_asked_are_kept_for_a_day(desk: Desk) -> None:
    store = desk.book.store
    store.note_probe("a.example", 100)
    store.note_probe("b.example", 200)
    store.note_probe("b.example", 300)
    store.note_probe("c.example", 400)
    store.forget_probe("c.example")
    assert store.probes(100) == {"b.example": 300}
    assert store.probes(0) == {"b.example": 300}, "the older one is forgotten"
    store.note_probe("d.example", 300 + DAY_MS)
    assert store.probes(0) == {"d.example": 300 + DAY_MS}, "also while one run lasts for days"
