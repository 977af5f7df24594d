"""Our own feed: durability, freezing, and that nothing leaves before it is on the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

import pytest

from ssb_rtc.errors import AuthorFault, DatabaseUnusable, MisuseError
from ssb_rtc.feeds import validate
from ssb_rtc.feeds.canonical import compact
from ssb_rtc.feeds.hops import BLOCKS
from ssb_rtc.feeds.message import create
from ssb_rtc.storage.author import CLAIMS_MAX, DOUBT_EVERY_MS, mark_imported
from ssb_rtc.storage.database import Database
from ssb_rtc.types import peer_of
from tests.storage.feedmaker import Clock, Store, feed_of, keys_of, raws
from tests.storage.test_database import fill_up

POST = {"type": "post", "text": "hello"}
PEER = peer_of(keys_of(9).id)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path / "db", keys_of(1))
    yield store
    await store.close()


async def test_publish_returns_what_is_in_the_log(store: Store) -> None:
    first = await store.author.publish(POST)
    second = await store.author.publish({"type": "post", "text": "zwei"})
    assert [first.sequence, second.sequence] == [1, 2]
    assert store.log.get(second.key) == second
    assert second.value()["previous"] == first.key


async def test_overlapping_calls_keep_their_order_and_share_a_transaction(store: Store) -> None:
    batches: list[int] = []
    store.ingest.subscribe(lambda messages: batches.append(len(messages)))
    made = await asyncio.gather(*(store.author.publish({"type": "post", "text": str(n)}) for n in range(50)))
    assert [one.sequence for one in made] == list(range(1, 51))
    assert [one.value()["content"]["text"] for one in made] == [str(n) for n in range(50)]
    assert batches == [50]


async def test_timestamps_never_repeat(tmp_path: Path) -> None:
    clock = Clock()
    store = Store(tmp_path / "db", keys_of(1), clock)
    stamps = []
    for _ in range(3):
        clock.now_ms = 1_700_000_000_000
        stamps.append((await store.author.publish(POST)).value()["timestamp"])
    assert stamps == sorted(set(stamps))
    await store.close()


async def test_bad_content_is_misuse_and_spoils_nothing(store: Store) -> None:
    results = await asyncio.gather(
        store.author.publish(POST),
        store.author.publish({"no": "type"}),
        store.author.publish(POST),
        return_exceptions=True,
    )
    assert isinstance(results[1], MisuseError)
    assert store.author.state.sequence == 2


async def test_nothing_may_leave_before_its_fsync(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    hold, started = asyncio.Event(), asyncio.Event()
    loop, real = asyncio.get_running_loop(), store.database.sync

    def slow_sync() -> None:
        loop.call_soon_threadsafe(started.set)
        asyncio.run_coroutine_threadsafe(hold.wait(), loop).result(10)
        real()

    monkeypatch.setattr(store.database, "sync", slow_sync)
    told: list[int] = []
    store.author.subscribe_servable(told.append)
    await store.author.publish(POST)
    durable = asyncio.create_task(store.author.publish(POST, durable=True))
    await started.wait()
    await store.author.publish(POST)
    assert store.author.servable == 0
    assert not durable.done()
    hold.set()
    assert (await durable).sequence == 2
    await store.author.synced(3)
    assert store.author.servable == 3
    assert told == [2, 3]


async def test_what_was_committed_before_is_synced_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "db", keys_of(1))
    await store.author.publish(POST)
    await store.close()

    def fail(_database: Database) -> None:
        raise DatabaseUnusable("the disk is broken.")

    monkeypatch.setattr(Database, "sync", fail)
    with pytest.raises(DatabaseUnusable):
        Store(tmp_path / "db", keys_of(1))


async def test_a_disk_that_can_not_sync_stops_publishing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise DatabaseUnusable("the disk is broken.")

    monkeypatch.setattr(store.database, "sync", fail)
    with pytest.raises(DatabaseUnusable):
        await store.author.publish(POST, durable=True)
    assert store.author.servable == 0
    with pytest.raises(AuthorFault, match="broken"):
        await store.author.publish(POST)


async def test_a_full_disk_refuses_and_nothing_is_half_done(store: Store) -> None:
    fill_up(store.database)
    with pytest.raises(DatabaseUnusable):
        await asyncio.gather(*(store.author.publish(POST) for _ in range(2000)))
    before = store.author.state.sequence
    store.database.query("PRAGMA max_page_count = 100000")
    assert (await store.author.publish(POST)).sequence == before + 1


FOLLOW = {"type": "contact", "contact": keys_of(9).id, "following": True}


@cache
def feed_that_follows(length: int = 40) -> list[bytes]:
    """Our feed, whose fifth message follows PEER."""
    keys, made, head = keys_of(1), list[bytes](), None
    for n in range(length):
        value = create(
            keys,
            FOLLOW if n == 4 else {"type": "post", "text": str(n)},
            previous=head.id if head else None,
            sequence=n + 1,
            timestamp_ms=1_600_000_000_000 + n,
        )
        head = validate.check(head, value).head
        made.append(compact(value))
    return made


async def with_feed(path: Path, length: int, *, imported: bool = False) -> Store:
    store = Store(path, keys_of(1))
    await store.ingest.add(feed_that_follows()[:length], "backup")
    if imported:
        mark_imported(store.database)
        await store.close()
        store = Store(path, keys_of(1))
    return store


async def test_whom_we_follow_and_who_has_more_of_our_feed_freezes_us_until_it_is_fetched(tmp_path: Path) -> None:
    store = await with_feed(tmp_path / "db", 10)
    store.author.remote_clock(PEER, 40)
    with pytest.raises(AuthorFault, match=f"{PEER}.*40.*10.*--force"):
        await store.author.publish(POST)
    await store.close()
    store = Store(tmp_path / "db", keys_of(1))
    with pytest.raises(AuthorFault):
        await store.author.publish(POST)
    await store.ingest.add(feed_that_follows(), "link")
    assert (await store.author.publish(POST)).sequence == 41
    await store.close()


async def test_the_user_may_override_a_claim_once_and_for_all(tmp_path: Path) -> None:
    store = await with_feed(tmp_path / "db", 10)
    frozen = []
    for _ in range(2):
        store.author.remote_clock(PEER, 40)
        frozen.append(store.author.frozen is not None)
        store.author.override()
        frozen.append(store.author.frozen is not None)
    store.author.remote_clock(PEER, 41)
    frozen.append(store.author.frozen is not None)
    await store.close()
    store = Store(tmp_path / "db", keys_of(1))
    store.author.override()
    store.author.remote_clock(PEER, 41)
    assert [*frozen, store.author.frozen is not None] == [True, False, False, False, True, False]
    await store.close()


async def test_whom_we_no_longer_follow_freezes_us_no_longer(tmp_path: Path) -> None:
    store = await with_feed(tmp_path / "db", 10)
    store.author.remote_clock(PEER, 2**31 - 1)
    store.log.graph.set(keys_of(1).id, keys_of(9).id, BLOCKS)
    assert store.author.frozen is None
    await store.close()


async def test_strangers_hold_publishing_up_for_a_moment_and_never_for_long(store: Store) -> None:
    refused, began_ms = 0, store.clock.now_ms
    for number in range(20, 1000):
        store.author.remote_clock(peer_of(f"@{number}.ed25519"), number)  # type: ignore[arg-type]
        refused += "don't follow" in (store.author.frozen or "")
        store.clock.now_ms += 1_000
    assert refused <= 11 * (1 + (store.clock.now_ms - began_ms) // DOUBT_EVERY_MS)
    assert refused >= 9
    assert store.database.meta("author.claims") is None


async def test_a_stranger_who_proves_its_claim_makes_the_feed_whole(tmp_path: Path) -> None:
    store = await with_feed(tmp_path / "db", 10)
    stranger = peer_of(keys_of(8).id)
    store.author.remote_clock(stranger, 40)
    with pytest.raises(AuthorFault, match="follow"):
        await store.author.publish(POST)
    await store.ingest.add(feed_that_follows(), "link")
    assert (await store.author.publish(POST)).sequence == 41
    await store.close()


@pytest.mark.parametrize("held", [0, 10, 40])
async def test_an_imported_secret_waits_for_one_we_follow_that_holds_as_much(tmp_path: Path, held: int) -> None:
    stranger = peer_of(keys_of(8).id)
    store = await with_feed(tmp_path / "db", held, imported=True)
    for claim in (0, 1, held):
        store.author.remote_clock(stranger, claim)
        with pytest.raises(AuthorFault, match=r"imported|claim"):
            await store.author.publish(POST)
    if held > 1:
        store.author.remote_clock(PEER, held - 1)
        assert store.author.frozen is not None
    store.author.remote_clock(stranger, 40)
    await store.ingest.add(feed_that_follows(), "a stranger")
    assert "imported" in (store.author.frozen or "")
    store.author.remote_clock(PEER, 40)
    assert (await store.author.publish(POST)).sequence == 41
    await store.close()


async def test_an_imported_secret_is_whole_when_what_a_friend_claimed_has_come(tmp_path: Path) -> None:
    store = await with_feed(tmp_path / "db", 0, imported=True)
    store.author.remote_clock(PEER, 40)
    with pytest.raises(AuthorFault, match=f"{PEER}.*40"):
        await store.author.publish(POST)
    await store.ingest.add(feed_that_follows()[:20], "the friend")
    assert store.author.frozen is not None
    await store.ingest.add(feed_that_follows(), "the friend")
    assert (await store.author.publish(POST)).sequence == 41
    await store.close()


async def test_claims_are_bounded_and_strangers_keep_no_friend_out(tmp_path: Path) -> None:
    store = await with_feed(tmp_path / "db", 10, imported=True)
    for number in range(3 * CLAIMS_MAX):
        store.author.remote_clock(peer_of(f"@{number}.ed25519"), 2**31 - 1)  # type: ignore[arg-type]
    store.author.remote_clock(PEER, 40)
    for number in range(3 * CLAIMS_MAX):
        store.author.remote_clock(peer_of(f"@x{number}.ed25519"), 2**31 - 1)  # type: ignore[arg-type]
    assert len(store.author._claims) == CLAIMS_MAX
    await store.ingest.add(feed_that_follows(), "the friend")
    assert (await store.author.publish(POST)).sequence == 41
    await store.close()


async def test_an_imported_secret_can_be_overridden(tmp_path: Path) -> None:
    store = Store(tmp_path / "db", keys_of(1))
    mark_imported(store.database)
    await store.close()
    store = Store(tmp_path / "db", keys_of(1))
    store.author.override()
    await store.author.publish(POST)
    await store.close()


async def test_our_own_fork_stops_publishing(store: Store) -> None:
    await store.ingest.add(raws(feed_of(1)), "one")
    await store.ingest.add(raws(feed_of(1, 40, " other", 20)), "two")
    with pytest.raises(AuthorFault, match="forked"):
        await store.author.publish(POST)
    store.author.override()
    with pytest.raises(AuthorFault, match="forked"):
        await store.author.publish(POST)


async def test_publishing_waits_for_our_own_messages_that_are_on_their_way_in(store: Store) -> None:
    intake = store.ingest.intake("link")
    offering = asyncio.create_task(intake.offer(raws(feed_of(1))))
    await asyncio.sleep(0)
    published = await store.author.publish(POST)
    await offering
    assert published.sequence == 41
    assert store.forks.all() == []
