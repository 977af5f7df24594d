"""Our own feed: durability, freezing, and that nothing leaves before it is on the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ssb_rtc.errors import AuthorFault, DatabaseUnusable, MisuseError
from ssb_rtc.storage.author import mark_imported
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


async def test_a_remote_that_has_more_of_our_feed_freezes_us_until_it_is_fetched(tmp_path: Path) -> None:
    store = Store(tmp_path / "db", keys_of(1))
    await store.ingest.add(raws(feed_of(1)[:10]), "backup")
    store.author.remote_clock(PEER, 40)
    with pytest.raises(AuthorFault, match=f"{PEER}.*40.*10"):
        await store.author.publish(POST)
    await store.close()
    store = Store(tmp_path / "db", keys_of(1))
    with pytest.raises(AuthorFault):
        await store.author.publish(POST)
    await store.ingest.add(raws(feed_of(1)), "link")
    assert (await store.author.publish(POST)).sequence == 41
    await store.close()


async def test_the_user_may_override_a_claim_once_and_for_all(store: Store) -> None:
    store.author.remote_clock(PEER, 40)
    before = store.author.state
    store.author.override()
    store.author.remote_clock(PEER, 40)
    after = store.author.state
    store.author.remote_clock(PEER, 41)
    assert (before.frozen is None, after.frozen is None, store.author.state.frozen is None) == (False, True, False)


async def test_an_imported_secret_waits_for_a_peer_that_holds_the_feed(tmp_path: Path) -> None:
    store = Store(tmp_path / "db", keys_of(1))
    mark_imported(store.database)
    await store.close()
    store = Store(tmp_path / "db", keys_of(1))
    with pytest.raises(AuthorFault, match="imported"):
        await store.author.publish(POST)
    store.author.remote_clock(PEER, 0)
    with pytest.raises(AuthorFault, match="imported"):
        await store.author.publish(POST)
    store.author.remote_clock(PEER, 40)
    with pytest.raises(AuthorFault, match="40"):
        await store.author.publish(POST)
    await store.ingest.add(raws(feed_of(1)), "link")
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
