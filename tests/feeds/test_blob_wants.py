"""The gossip of wants, without I/O: what is told to whom, what is asked of whom, and the limits."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ssb_rtc.feeds import blob_wants
from ssb_rtc.feeds.blob_wants import EMPTY_BLOB, OWN, BlobWants, Fetch, Outcome, read_notes
from ssb_rtc.feeds.refs import blob_id
from ssb_rtc.types import BlobId, PeerId
from tests.storage.feedmaker import keys_of

BLOBS = [blob_id(sha256(bytes([n])).digest()) for n in range(8)]
A, B, C, D, *_ = BLOBS
PEERS = [PeerId(keys_of(n).id) for n in range(1, 6)]


def id_of_number(number: int) -> BlobId:
    return blob_id(sha256(b"%d" % number).digest())


def linked(*links: int, **settings_: Any) -> BlobWants:
    wants = BlobWants(**settings_)
    for link in links:
        wants.connect(link, PEERS[link])
        wants.listen(link)
    return wants


def fetch_all(wants: BlobWants) -> list[Fetch]:
    found = []
    while (fetch := wants.next_fetch()) is not None:
        found.append(fetch)
    return found


def test_a_want_is_told_and_the_answer_is_fetched() -> None:
    wants = linked(0, 1)
    wants.want(A)
    assert wants.take_notes(0) == wants.take_notes(1) == {A: OWN}
    assert wants.take_notes(0) == {}
    wants.remote_has(1, A, 100)
    assert wants.next_fetch() == Fetch(A, 1, 100, own=True)
    assert wants.next_fetch() is None
    wants.fetched(Fetch(A, 1, 100, own=True), Outcome.ARRIVED, 0.0)
    wants.arrived(A, 100)
    assert wants.wanted == {}


def test_who_listens_later_hears_all() -> None:
    wants = BlobWants()
    wants.want(A)
    wants.push(B)
    wants.connect(0, PEERS[0])
    assert wants.take_notes(0) == {}
    wants.remote_wants(0, C, OWN, 7, 0.0)
    wants.listen(0)
    assert wants.take_notes(0) == {C: 7}
    assert wants.take_notes(0) == {A: OWN, B: OWN}


def test_sympathy_goes_as_far_as_its_setting_and_tells_who_asked() -> None:
    wants = linked(0, 1, sympathy=3)
    wants.remote_wants(0, A, -1, None, 0.0)
    wants.remote_wants(0, B, -2, None, 0.0)
    wants.remote_wants(0, C, -3, None, 0.0)
    assert wants.take_notes(1) == {A: -2, B: -3}
    wants.take_notes(0)
    wants.remote_has(1, A, 10)
    assert wants.next_fetch() == Fetch(A, 1, 10, own=False)
    wants.arrived(A, 10)
    assert wants.take_notes(0) == {A: 10}
    wants.arrived(C, 5)  # not taken over, yet promised
    assert wants.take_notes(0) == {C: 5}
    assert wants.take_notes(1) == {}


def test_no_sympathy_is_none() -> None:
    wants = linked(0, 1, sympathy=0)
    wants.remote_wants(0, A, -1, None, 0.0)
    assert wants.wanted == {}


def test_a_nearer_want_replaces_one_further_off_and_never_the_other_way() -> None:
    wants = linked(0, 1)
    wants.remote_wants(0, A, -2, None, 0.0)
    wants.take_notes(1)
    wants.remote_wants(1, A, -1, None, 0.0)
    assert wants.take_notes(0) == {A: -2}
    wants.want(A)
    assert wants.is_own(A)
    wants.take_notes(0)
    wants.remote_wants(0, A, -1, None, 0.0)
    assert wants.is_own(A)
    assert wants.take_notes(0) == {}


def test_sizes_that_are_too_great_are_not_fetched_unless_asked_for() -> None:
    wants = linked(0, size_limit=1000)
    wants.want(A)
    wants.remote_has(0, A, 1000)
    assert wants.next_fetch() is None
    wants.want(A, size_limit=2000)
    wants.remote_has(0, A, 1000)
    assert wants.next_fetch() == Fetch(A, 0, 1000, own=True)


def test_a_push_ends_when_enough_peers_have_it() -> None:
    wants = linked(0, 1, 2, 3, push_peers=3)
    wants.push(A, [PEERS[4]])
    assert wants.take_notes(0) == {A: OWN}
    assert wants.remote_has(0, A, 10)
    assert not wants.remote_has(0, A, 10)
    assert wants.pushes == {A: {PEERS[4], PEERS[0]}}
    assert wants.remote_has(1, A, 10)
    assert wants.pushes == {}
    assert wants.next_fetch() is None


def test_what_is_pushed_and_asked_for_is_told_both_ways() -> None:
    wants = linked(0)
    wants.remote_wants(0, A, -1, None, 0.0)
    wants.take_notes(0)
    wants.arrived(A, 9)
    wants.push(A)
    assert wants.take_notes(0) == {A: 9}
    assert wants.take_notes(0) == {A: OWN}


def test_a_blob_is_fetched_once_at_a_time_even_when_it_is_unwanted_and_wanted_again() -> None:
    wants = linked(0, 1)
    wants.want(A)
    wants.remote_has(0, A, 10)
    first = wants.next_fetch()
    assert first is not None
    wants.unwant(A)
    wants.want(A)
    wants.remote_has(1, A, 10)
    assert wants.next_fetch() is None
    wants.fetched(first, Outcome.FAILED, 0.0)
    assert wants.next_fetch() == Fetch(A, 1, 10, own=True)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.LIED])
def test_after_a_failure_another_source_is_asked(outcome: Outcome) -> None:
    wants = linked(0, 1)
    wants.want(A)
    wants.remote_has(0, A, 10)
    wants.remote_has(1, A, 10)
    first = wants.next_fetch()
    assert first is not None
    assert wants.next_fetch() is None
    wants.fetched(first, outcome, 0.0)
    second = wants.next_fetch()
    assert second is not None
    assert {first.link, second.link} == {0, 1}
    wants.fetched(second, outcome, 0.0)
    assert wants.next_fetch() is None
    wants.remote_has(first.link, A, 10)  # saying it again is no way around the rest, or the bar
    assert wants.next_fetch() is None
    wants.tick(blob_wants.RETRY_MAX_S)
    again = fetch_all(wants)
    assert [fetch.link for fetch in again] == ([first.link] if outcome is Outcome.FAILED else [])


def test_without_room_the_want_of_others_is_given_up_and_ours_rests() -> None:
    wants = linked(0, 1)
    wants.want(A)
    wants.remote_wants(1, B, -1, None, 0.0)
    for blob in (A, B):
        wants.remote_has(0, blob, 10)
    for fetch in fetch_all(wants):
        wants.fetched(fetch, Outcome.NO_ROOM, 0.0)
    assert wants.wanted == {A: OWN}
    wants.tick(1000.0)
    assert [fetch.blob for fetch in fetch_all(wants)] == [A]


def test_ours_come_first_and_one_link_does_not_take_all_places() -> None:
    wants = linked(0, 1, 2)
    for blob in BLOBS[:4]:
        wants.remote_wants(2, blob, -1, None, 0.0)
        wants.remote_has(0, blob, 10)
        wants.remote_has(1, blob, 10)
    wants.want(D)
    fetches = fetch_all(wants)
    assert fetches[0].blob == D
    assert len(fetches) == 2 * blob_wants.FETCHES_PER_LINK_MAX
    assert len({fetch.blob for fetch in fetches}) == len(fetches)


def test_others_never_take_all_places() -> None:
    wants = linked(0, 1, 2, 3)
    for link, blob in enumerate(BLOBS):
        wants.remote_wants(0, blob, -1, None, 0.0)
        wants.remote_has(link % 4, blob, 10)
    assert len(fetch_all(wants)) == blob_wants.FETCHES_FOR_OTHERS_MAX
    own = id_of_number(99)
    wants.want(own)
    wants.connect(4, PEERS[4])
    wants.remote_has(4, own, 10)
    assert [fetch.blob for fetch in fetch_all(wants)] == [own]


def test_one_peer_can_make_us_want_only_so_much() -> None:
    wants = linked(0, 1)
    many = [id_of_number(n) for n in range(blob_wants.WANTS_PER_LINK_MAX + 500)]
    for blob in many:
        wants.remote_wants(0, blob, -1, None, 0.0)
    assert len(wants.wanted) == blob_wants.SYMPATHY_PER_PEER_MAX
    assert len(wants._remotes[0].wants) == blob_wants.WANTS_PER_LINK_MAX
    wants.remote_wants(1, A, -1, None, 0.0)
    assert A in wants.wanted
    items = []
    while notes := wants.take_notes(1):
        items.append(len(notes))
    assert sum(items) == blob_wants.SYMPATHY_PER_PEER_MAX + 1
    assert max(items) <= blob_wants.NOTES_PER_ITEM_MAX


def test_wants_of_others_end_when_nobody_asks_any_more() -> None:
    wants = linked(0, 1)
    wants.remote_wants(0, A, -1, None, 0.0)
    wants.want(B)
    late = blob_wants.SYMPATHY_LIFE_S + 1
    wants.tick(late)
    assert set(wants.wanted) == {A, B}  # who asked is still there
    wants.disconnect(0)
    wants.tick(2 * late)
    assert set(wants.wanted) == {B}


@given(
    st.dictionaries(
        st.one_of(st.sampled_from([*BLOBS, EMPTY_BLOB, A.replace(".", "!"), "&../../etc/passwd.sha256"]), st.text()),
        st.one_of(
            st.integers(-5, 5), st.integers(), st.floats(), st.none(), st.booleans(), st.text(), st.lists(st.integers())
        ),
    )
)
def test_notes_of_any_shape_are_sorted_or_left_out(notes: dict[str, Any]) -> None:
    read = read_notes(notes.items())
    assert all(blob in BLOBS and hops < 0 and notes[blob] == hops for blob, hops in read.wants)
    assert all(blob in BLOBS and 0 < size <= blob_wants.SIZE_MAX for blob, size in read.has)
    meant = [b for b, n in notes.items() if b in BLOBS and type(n) is int and n and n <= blob_wants.SIZE_MAX]
    assert [blob for blob in notes if blob in dict(read.wants) or blob in dict(read.has)] == meant


blobs, links = st.sampled_from(BLOBS), st.integers(0, 3)
LIMIT = 1000


class Wants(RuleBasedStateMachine):
    """Any order of events against what must always hold."""

    def __init__(self) -> None:
        super().__init__()
        self.wants = BlobWants(sympathy=3, size_limit=LIMIT, push_peers=2)
        self.now = 0.0
        self.up: set[int] = set()
        self.listening: set[int] = set()
        self.own: set[BlobId] = set()
        self.held: dict[BlobId, int] = {}
        self.claims: dict[tuple[int, BlobId], int] = {}
        self.lies: set[tuple[int, BlobId]] = set()
        self.running: list[Fetch] = []
        self.told: dict[int, dict[BlobId, int]] = {}

    @rule(link=links, listens=st.booleans())
    def connects(self, link: int, listens: bool) -> None:
        self.wants.connect(link, PEERS[link])
        self.up.add(link)
        if listens:
            self.wants.listen(link)
            self.listening.add(link)
            self.told[link] = {}

    @precondition(lambda self: self.up)
    @rule(data=st.data())
    def disconnects(self, data: st.DataObject) -> None:
        link = data.draw(st.sampled_from(sorted(self.up)))
        self.wants.disconnect(link)
        self.up.discard(link)
        self.listening.discard(link)
        self.lies = {lie for lie in self.lies if lie[0] != link}
        self.claims = {claim: size for claim, size in self.claims.items() if claim[0] != link}
        for fetch in [fetch for fetch in self.running if fetch.link == link]:
            self.running.remove(fetch)
            self.wants.fetched(fetch, Outcome.FAILED, self.now)

    @rule(blob=blobs)
    def wanted(self, blob: BlobId) -> None:
        if blob not in self.held:
            self.wants.want(blob)
            self.own.add(blob)

    @rule(blob=blobs)
    def unwanted(self, blob: BlobId) -> None:
        self.wants.unwant(blob)
        self.own.discard(blob)

    @rule(blob=blobs)
    def pushed(self, blob: BlobId) -> None:
        if blob in self.held:
            self.wants.push(blob)

    @rule(blob=blobs, size=st.integers(1, 2 * LIMIT))
    def arrives(self, blob: BlobId, size: int) -> None:
        self.wants.arrived(blob, size)
        self.held[blob] = size
        self.own.discard(blob)

    @rule(link=links, blob=blobs, hops=st.integers(-6, -1))
    def remote_wants(self, link: int, blob: BlobId, hops: int) -> None:
        self.wants.remote_wants(link, blob, hops, self.held.get(blob), self.now)

    @rule(link=links, blob=blobs, size=st.integers(1, 2 * LIMIT))
    def remote_has(self, link: int, blob: BlobId, size: int) -> None:
        if link in self.up and size < LIMIT and blob in self.wants.wanted and (link, blob) not in self.lies:
            self.claims[link, blob] = size
        self.wants.remote_has(link, blob, size)

    @rule()
    def fetches(self) -> None:
        while (fetch := self.wants.next_fetch()) is not None:
            assert fetch.blob not in {running.blob for running in self.running}
            assert fetch.blob not in self.held or fetch.blob in self.wants.wanted
            assert self.claims.get((fetch.link, fetch.blob)) == fetch.size < LIMIT
            assert (fetch.link, fetch.blob) not in self.lies
            assert fetch.own == (fetch.blob in self.own)
            self.running.append(fetch)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def fetch_ends(self, data: st.DataObject, outcome: Outcome) -> None:
        fetch = data.draw(st.sampled_from(self.running))
        self.running.remove(fetch)
        self.wants.fetched(fetch, outcome, self.now)
        if outcome is Outcome.LIED and fetch.link in self.barred(fetch.blob):
            self.lies.add((fetch.link, fetch.blob))
        if outcome is Outcome.ARRIVED:
            self.arrives(fetch.blob, fetch.size)

    def barred(self, blob: BlobId) -> set[int]:
        want = self.wants._wants.get(blob)
        return want.barred if want is not None else set()

    @rule(seconds=st.sampled_from([1.0, 100.0, 10_000.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.wants.tick(self.now)

    @rule(link=links)
    def tells(self, link: int) -> None:
        if link in self.up:
            while notes := self.wants.take_notes(link):
                for blob, number in notes.items():
                    assert number > 0 or -3 <= number <= -1
                    if number > 0:
                        assert blob in self.held
                self.told.setdefault(link, {}).update({blob: n for blob, n in notes.items() if n < 0})

    @invariant()
    def a_want_that_ends_takes_all_with_it(self) -> None:
        wanted = self.wants.wanted
        self.lies = {lie for lie in self.lies if lie[1] in wanted}
        self.claims = {claim: size for claim, size in self.claims.items() if claim[1] in wanted}

    @invariant()
    def own_wants_stay_and_are_told(self) -> None:
        wanted = self.wants.wanted
        assert {blob for blob, hops in wanted.items() if hops == OWN} == self.own
        for link in self.listening:
            for blob in self.own:
                heard = self.wants._remotes[link].notes.get(blob, self.told[link].get(blob))
                assert heard is not None

    @invariant()
    def limits_hold(self) -> None:
        assert len(self.running) <= blob_wants.FETCHES_MAX
        assert self.wants._running == {fetch.blob for fetch in self.running}
        for link in self.up:
            assert self.wants._remotes[link].getting <= blob_wants.FETCHES_PER_LINK_MAX
        taken_over = [want for want in self.wants._wants.values() if want.counts_for is not None]
        assert sum(self.wants._for_others.values()) == len(taken_over)


Wants.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_any_order_of_events = Wants.TestCase
