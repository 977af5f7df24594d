"""Messages from links and imports: order, bad signatures, forks, duplicates, back-pressure."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ssb_rtc.errors import DatabaseUnusable, MessageInvalid
from ssb_rtc.feeds import canonical
from ssb_rtc.feeds.message import message_id
from ssb_rtc.feeds.validate import Checked
from ssb_rtc.storage import ingest as ingest_module
from ssb_rtc.storage.ingest import Intake
from ssb_rtc.types import FeedId
from tests.storage.feedmaker import Store, break_signature, feed_of, keys_of, raws
from tests.storage.test_database import fill_up


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path / "db")
    yield store
    await store.close()


def held(store: Store, number: int) -> list[bytes]:
    return [stored.raw for stored in store.log.read_feed(keys_of(number).id)]


async def offer_all(intake: Intake, messages: list[bytes]) -> None:
    await intake.offer(messages)
    await intake.flush()


async def add_all(store: Store) -> None:
    for number in range(1, 10):
        await store.ingest.add(raws(feed_of(number)), "test")


async def test_a_feed_is_taken_in_order_and_announced(store: Store) -> None:
    announced: list[int] = []
    stop = store.ingest.subscribe(lambda messages: announced.extend(m.sequence for m in messages))
    intake = await store.ingest.add(raws(feed_of(1)), "test")
    assert (intake.accepted, intake.duplicates, intake.gaps) == (40, 0, 0)
    assert held(store, 1) == raws(feed_of(1))
    assert announced == list(range(1, 41))
    stop()
    await store.ingest.add(raws(feed_of(2)), "test")
    assert len(announced) == 40


async def test_duplicates_and_gaps_fault_nobody(store: Store) -> None:
    feed = raws(feed_of(1))
    one, two = store.ingest.intake("one"), store.ingest.intake("two")
    await one.offer(feed[:30])
    await two.offer(feed[:20])
    await two.offer(feed[35:])
    await one.flush()
    await two.flush()
    await two.offer(feed[10:])
    await two.flush()
    assert held(store, 1) == feed
    assert (one.accepted, two.accepted) == (30, 10)
    assert (two.duplicates, two.gaps) == (40, 5)


@pytest.mark.parametrize("at", [0, 1, 31, 32, 39])
async def test_a_bad_signature_stops_the_feed_at_the_last_good_message(store: Store, at: int) -> None:
    feed = raws(feed_of(1))
    rolled_back: list[FeedId] = []
    store.ingest.subscribe_rollback(rolled_back.append)
    bad = store.ingest.intake("bad")
    with pytest.raises(MessageInvalid, match="signature"):
        await offer_all(bad, [*feed[:at], break_signature(feed_of(1)[at])])
    await store.ingest.settle(keys_of(1).id)
    assert held(store, 1) == feed[:at]
    assert rolled_back == [keys_of(1).id]
    with pytest.raises(MessageInvalid):
        await bad.offer(feed[at:])
    await store.ingest.add(feed, "good")
    assert held(store, 1) == feed
    assert keys_of(1).id not in store.forks


async def test_what_is_queued_upon_a_bad_message_goes_with_it_and_other_feeds_stay(store: Store) -> None:
    """The message after the bad one names it as previous, so that only its signature is wrong."""
    feed = feed_of(1)
    bad_raw = break_signature(feed[3])
    bad_key = store_key(bad_raw)
    follower = canonical.compact({**feed[4].value, "previous": bad_key})
    mixed = [*raws(feed[:3]), bad_raw, *raws(feed_of(2)[:10]), follower, *raws(feed_of(2)[10:])]
    intake = store.ingest.intake("bad")
    with pytest.raises(MessageInvalid):
        await offer_all(intake, mixed)
    await store.ingest.settle(keys_of(2).id)
    assert held(store, 1) == raws(feed[:3])
    assert held(store, 2) == raws(feed_of(2))


def store_key(raw: bytes) -> str:
    return message_id(canonical.parse(raw))


async def test_a_bad_message_of_one_peer_does_not_fault_another_with_the_good_one(store: Store) -> None:
    feed = feed_of(1)
    bad, good = store.ingest.intake("bad"), store.ingest.intake("good")
    await bad.offer([*raws(feed[:5]), break_signature(feed[5])])
    await good.offer(raws(feed[5:10]))
    await good.flush()
    assert held(store, 1) == raws(feed[:10])
    assert good.fault is None
    assert isinstance(bad.fault, MessageInvalid)
    assert keys_of(1).id not in store.forks


async def test_a_message_upon_the_good_one_does_not_prove_a_fork_against_the_bad_one(store: Store) -> None:
    feed = feed_of(1)
    bad, good = store.ingest.intake("bad"), store.ingest.intake("good")
    await bad.offer([*raws(feed[:5]), break_signature(feed[5])])
    await good.offer(raws(feed[6:8]))
    await good.offer(raws(feed[5:8]))
    await good.flush()
    assert held(store, 1) == raws(feed[:8])
    assert store.forks.all() == []
    assert good.fault is None


async def test_every_bad_signature_of_a_batch_is_found(store: Store) -> None:
    mixed = [break_signature(feed_of(1)[0]), *raws(feed_of(2)[:1]), break_signature(feed_of(2)[1])]
    with pytest.raises(MessageInvalid):
        await store.ingest.add([*mixed, *raws(feed_of(3))], "bad")
    assert (held(store, 1), held(store, 2), held(store, 3)) == ([], raws(feed_of(2)[:1]), raws(feed_of(3)))


async def test_a_fault_that_is_found_later_is_told(store: Store) -> None:
    told: list[Exception] = []
    intake = store.ingest.intake("bad", on_fault=told.append)
    await intake.offer([break_signature(feed_of(1)[0])])
    await store.ingest.settle(keys_of(1).id)
    assert [type(fault) for fault in told] == [MessageInvalid]


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"[]",
        b"{}",
        b"nonsense",
        b'{"author":5,"sequence":1}',
        b'{"author":"@x","sequence":true}',
        b'{"author":"@x","sequence":1}',
        b'{"author":"@x","sequence":2147483648}',
        b'{"author":"@x","sequence":1e300}',
        b'{"previous":null,"sequence":1,"author":"@x"}',
        b"[" * 5000,
        b" " * 70_000,
    ],
)
async def test_rubbish_is_the_intakes_fault(store: Store, wrong: bytes) -> None:
    intake = store.ingest.intake("rubbish")
    with pytest.raises(MessageInvalid):
        await offer_all(intake, [*raws(feed_of(1)[:2]), wrong])
    await store.ingest.settle(keys_of(1).id)
    assert len(held(store, 1)) == 2


async def test_a_message_may_be_spelled_otherwise_and_is_kept_as_javascript_spells_it(store: Store) -> None:
    feed = raws(feed_of(1)[:2])
    await store.ingest.add([feed[0].replace(b":1,", b" : 1.0 ,"), feed[1].replace(b":2,", b":2e0,")], "a link")
    assert held(store, 1) == feed


@given(raw=st.binary(max_size=300))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_bytes_fault_the_intake_or_nobody(store: Store, raw: bytes) -> None:
    intake = store.ingest.intake("any")
    with pytest.raises(MessageInvalid):
        await offer_all(intake, [raw])
    assert store.log.count() == 0


# --- forks ---


async def test_a_signed_conflict_at_an_old_sequence_marks_a_fork_and_keeps_both(store: Store) -> None:
    ours, theirs = feed_of(1), feed_of(1, 40, " other", 20)
    marks: list[tuple[FeedId, bool]] = []
    store.forks.subscribe(lambda feed, forked: marks.append((feed, forked)))
    await store.ingest.add(raws(ours), "one")
    intake = await store.ingest.add(raws(theirs), "two")
    assert intake.fault is None
    assert held(store, 1) == raws(ours)
    assert marks == [(keys_of(1).id, True)]
    (fork,) = store.forks.all()
    assert (fork.sequence, fork.ours, fork.theirs) == (21, ours[20].raw, theirs[20].raw)
    longer = feed_of(1, 41)
    await store.ingest.add(raws(longer), "one")
    assert len(held(store, 1)) == 40
    store.forks.reset(keys_of(1).id)
    await store.ingest.add(raws(longer), "one")
    assert len(held(store, 1)) == 41


async def test_a_signed_message_with_another_previous_marks_a_fork(store: Store) -> None:
    ours, theirs = feed_of(1), feed_of(1, 40, " other", 20)
    await store.ingest.add(raws(ours[:25]), "one")
    intake = store.ingest.intake("two")
    await intake.offer([theirs[25].raw])
    await intake.flush()
    assert keys_of(1).id in store.forks
    (fork,) = store.forks.all()
    assert (fork.sequence, fork.ours, fork.theirs) == (25, ours[24].raw, theirs[25].raw)


@pytest.mark.parametrize("at", [20, 25])
async def test_an_unsigned_conflict_marks_nothing_and_faults_who_sent_it(store: Store, at: int) -> None:
    theirs = feed_of(1, 40, " other", 20)
    await store.ingest.add(raws(feed_of(1)[:25]), "one")
    intake = store.ingest.intake("two")
    with pytest.raises(MessageInvalid):
        await intake.offer([break_signature(theirs[at])])
    assert keys_of(1).id not in store.forks
    assert len(held(store, 1)) == 25


async def test_a_fork_within_the_queue_is_judged_after_it_is_settled(store: Store) -> None:
    ours, theirs = feed_of(1), feed_of(1, 40, " other", 20)
    one, two = store.ingest.intake("one"), store.ingest.intake("two")
    await asyncio.gather(one.offer(raws(ours)), two.offer(raws(theirs)))
    await one.flush()
    await two.flush()
    assert keys_of(1).id in store.forks
    assert held(store, 1)[:20] == raws(ours[:20])
    assert held(store, 1) in (raws(ours[: len(held(store, 1))]), raws(theirs[: len(held(store, 1))]))


async def test_forks_are_remembered(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    await store.ingest.add(raws(feed_of(1)), "one")
    await store.ingest.add(raws(feed_of(1, 40, " other", 20)), "two")
    await store.close()
    again = Store(tmp_path / "db")
    assert keys_of(1).id in again.forks
    await again.close()


# --- limits and failures ---


async def test_a_full_queue_makes_offer_wait(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_module, "QUEUE_MESSAGES_MAX", 64)
    most = 0
    intake = store.ingest.intake("fast")

    async def watch() -> None:
        nonlocal most
        while intake.accepted < 400:
            most = max(most, store.ingest.queued)
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    for number in range(1, 11):
        await intake.offer(raws(feed_of(number)))
    await intake.flush()
    await watching
    assert intake.accepted == 400
    assert 0 < most <= 64 + ingest_module.SLICE_MESSAGES


async def test_a_disk_that_refuses_faults_the_intake_and_a_later_one_may_go_on(store: Store) -> None:
    fill_up(store.database)
    with pytest.raises(DatabaseUnusable):
        await add_all(store)
    count = store.log.count()
    store.database.query("PRAGMA max_page_count = 100000")
    await add_all(store)
    assert count < store.log.count() == 360


async def test_whoever_waits_for_a_feed_is_woken_when_the_disk_refuses_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any) -> None:
        raise DatabaseUnusable("no room")

    monkeypatch.setattr(store.log, "append", refuse)
    intake = store.ingest.intake("test")
    await intake.offer(raws(feed_of(1)))
    async with asyncio.timeout(5):
        await store.ingest.settle(keys_of(1).id)
    assert store.ingest.queued == 0
    assert isinstance(intake.fault, DatabaseUnusable)


async def test_unwanted_feeds_are_ignored(store: Store) -> None:
    seen: list[tuple[FeedId, int]] = []
    wanted = keys_of(2).id
    intake = store.ingest.intake("test", lambda feed: feed == wanted, lambda feed, at: seen.append((feed, at)))
    await intake.offer([*raws(feed_of(1)), *raws(feed_of(2)[:2])])
    await intake.flush()
    assert (intake.unwanted, intake.accepted) == (40, 2)
    assert seen == [(wanted, 1), (wanted, 2)]


async def test_a_listener_that_fails_stops_nothing(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_messages: Any) -> None:
        raise RuntimeError("mine")

    store.ingest.subscribe(fail)
    await store.ingest.add(raws(feed_of(1)), "test")
    assert len(held(store, 1)) == 40
    assert "mine" in caplog.text


async def test_close_commits_what_is_queued(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    await store.ingest.intake("test").offer(raws(feed_of(1)))
    await store.close()
    again = Store(tmp_path / "db")
    assert len(held(again, 1)) == 40
    await again.close()


offers = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(0, 19), st.integers(0, 30)), max_size=150)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=offers, honest=st.permutations([1, 2, 3]))
async def test_whatever_arrives_feeds_stay_whole(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[int, int, int, int]], honest: list[int]
) -> None:
    """Several links bring messages in any order, some broken; then an honest one brings all: every feed is whole."""
    store = Store(tmp_path_factory.mktemp("any") / "db")
    intakes = [store.ingest.intake(str(n)) for n in range(4)]

    async def run(number: int) -> None:
        for who, feed, at, luck in script:
            if who == number and intakes[who].fault is None:
                message: Checked = feed_of(feed)[at]
                try:
                    await intakes[who].offer([break_signature(message) if luck == 0 else message.raw])
                except MessageInvalid:
                    return

    await asyncio.gather(*(run(number) for number in range(4)))
    for number in honest:
        await store.ingest.add(raws(feed_of(number)), "honest")
    for number in (1, 2, 3):
        assert held(store, number) == raws(feed_of(number))
    assert store.forks.all() == []
    broken = {who for who, _, _, luck in script if luck == 0}
    assert {n for n in range(4) if intakes[n].fault is not None} <= broken
    await store.close()


def respelled(message: Checked, spare: bytes = b"\x01") -> bytes:
    """ssb-validate takes a byte or two behind the signature, so anybody can make another spelling with another id."""
    signature = b64decode(message.value["signature"].removesuffix(".sig.ed25519"))
    value = {**message.value, "signature": b64encode(signature + spare).decode() + ".sig.ed25519"}
    assert message_id(value) != message.key
    return canonical.compact(value)


async def test_a_respelled_signature_is_no_fork(store: Store) -> None:
    ours = feed_of(1, 25)
    await store.ingest.add(raws(ours), "a link")
    intake = await store.ingest.add([respelled(ours[20])], "another link")
    assert intake.duplicates == 1
    assert store.forks.all() == []


@pytest.mark.parametrize("spare", [b"\x01", b"\x01\x02"])
@pytest.mark.parametrize("at_once", [False, True])
async def test_a_respelled_head_is_put_right_by_the_message_that_follows(
    tmp_path: Path, spare: bytes, at_once: bool
) -> None:
    store, feed = Store(tmp_path / "db"), feed_of(1, 25)
    planted = [*raws(feed[:20]), respelled(feed[20], spare)]
    if at_once:
        await store.ingest.add([*planted, *raws(feed[21:])], "a link")
    else:
        await store.ingest.add(planted, "a relay")
        intake = await store.ingest.add(raws(feed), "a link")
        assert (intake.accepted, intake.duplicates) == (4, 21)
    assert held(store, 1) == raws(feed)
    assert store.forks.all() == []
    found = store.log.get(feed[20].key)
    assert found is not None
    assert found.raw == feed[20].raw
    head = store.log.head(feed[0].author)
    await store.close()
    again = Store(tmp_path / "db")
    assert head == again.log.head(feed[0].author) == feed[24].head
    await again.close()


async def test_a_respelled_head_before_a_fork_is_still_a_fork(store: Store) -> None:
    feed, other = feed_of(1, 25), feed_of(1, 25, " other", 20)
    await store.ingest.add([*raws(feed[:20]), respelled(feed[20])], "a relay")
    await store.ingest.add([other[21].raw], "a link")
    assert feed[0].author in store.forks
    assert len(held(store, 1)) == 21


async def test_nobody_respells_the_feed_that_we_write(tmp_path: Path) -> None:
    store = Store(tmp_path / "own", keys_of(1))
    feed = feed_of(1, 25)
    with pytest.raises(MessageInvalid, match="signature"):
        await store.ingest.add([*raws(feed[:20]), respelled(feed[20])], "a relay")
    assert held(store, 1) == raws(feed[:20])
    await store.close()
