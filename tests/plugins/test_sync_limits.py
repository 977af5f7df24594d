"""The storage quota, the question before a large first sync, and purging."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc.config import Settings
from ssb_rtc.errors import MisuseError, RemoteCallError
from ssb_rtc.peer import Peer
from ssb_rtc.plugins.gossip import Gossip
from ssb_rtc.storage.database import Database
from ssb_rtc.types import FeedId
from tests.storage.feedmaker import feed_of, keys_of, raws

LIMIT_S = 30.0
NEAR, FAR, LOST = (keys_of(number).id for number in (81, 82, 83))
LENGTH = 60


def peer_in(path: Path, network: bytes = bytes(32), *, online: bool = False, **settings: Any) -> Peer:
    return Peer(path, Settings(net=0, network_key=network, **settings), online=online)


def sequence(peer: Peer, feed: FeedId) -> int:
    head = peer.context.log.head(feed)
    return head.sequence if head else 0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.01)


async def follow_near_and_far(peer: Peer) -> None:
    """We follow NEAR, who follows FAR (as if NEAR had said so)."""
    await peer.friends.follow(NEAR)
    peer.context.log.graph.set(NEAR, FAR, 1)
    peer.friends.settle()


async def take(peer: Peer, number: int, length: int = LENGTH) -> None:
    await peer.context.ingest.add(raws(feed_of(number, length)), "test")


# --- purging ---


async def test_only_what_is_out_of_reach_can_be_purged(tmp_path: Path) -> None:
    async with peer_in(tmp_path) as peer:
        await follow_near_and_far(peer)
        for number in (81, 82, 83):
            await take(peer, number)
        for feed in (peer.id, NEAR, FAR):
            with pytest.raises(MisuseError):
                await peer.limits.purge(feed)
        assert peer.limits.purgeable() == [LOST]
        used = peer.context.log.database.used_bytes()
        async with peer.local_link() as link:
            assert await link.call("sync.purge", LOST) == {"feeds": 1, "messages": LENGTH}
            assert await link.call("sync.purge", LOST) == {"feeds": 1, "messages": 0}
            with pytest.raises(RemoteCallError, match="purge takes"):
                await link.call("sync.purge", {"all": 1})
            await peer.friends.block(NEAR)
            assert (await link.call("sync.status"))["purgeable"] == {"feeds": 2, "messages": 2 * LENGTH}
            assert await link.call("sync.purge", {"all": True}) == {"feeds": 2, "messages": 2 * LENGTH}
        assert peer.context.log.count() == sequence(peer, peer.id) == 2
        assert peer.context.log.database.used_bytes() < used
        assert peer.friends.follows(NEAR) == []


async def test_the_room_of_a_purged_feed_is_used_again_and_the_feed_can_come_back(tmp_path: Path) -> None:
    async with peer_in(tmp_path) as peer:
        database = peer.context.log.database
        await take(peer, 83, 200)
        pages = database.query("PRAGMA page_count")
        assert await peer.limits.purge(LOST) == 200
        await take(peer, 83, 200)
        assert database.query("PRAGMA page_count") == pages
        assert [stored.raw for stored in peer.context.log.read_feed(LOST)] == raws(feed_of(83, 200))


async def test_compacting_gives_back_what_a_purge_leaves_of_shared_pages(tmp_path: Path) -> None:
    async with peer_in(tmp_path) as peer, peer.local_link() as link:
        for at in range(0, LENGTH, 2):  # two feeds, message by message
            for number in (82, 83):
                await peer.context.ingest.add(raws(feed_of(number, LENGTH))[at : at + 2], "test")
        await peer.limits.purge(LOST)
        left = peer.context.log.database.used_bytes()
        assert await link.call("sync.compact") < left
        assert [stored.raw for stored in peer.context.log.read_feed(FAR)] == raws(feed_of(82, LENGTH))


async def test_a_purged_feed_is_fetched_from_its_start_once_it_is_wanted_again(tmp_path: Path) -> None:
    network = os.urandom(32)
    async with AsyncExitStack() as stack:
        reader, holder = [
            await stack.enter_async_context(peer_in(tmp_path / name, network, online=True)) for name in ("r", "h")
        ]
        await take(holder, 81)
        await reader.friends.follow(NEAR)
        await holder.friends.follow(NEAR)
        await reader.connect(holder.addresses[0])
        await until(lambda: sequence(reader, NEAR) == LENGTH)
        await reader.friends.block(NEAR)
        assert await reader.limits.purge(NEAR) == LENGTH
        assert sequence(reader, NEAR) == 0
        await reader.friends.follow(NEAR)
        await until(lambda: sequence(reader, NEAR) == LENGTH)


# --- storage ---


async def test_a_full_storage_narrows_what_is_fetched_until_there_is_room(tmp_path: Path) -> None:
    async with peer_in(tmp_path) as peer:
        await follow_near_and_far(peer)
        empty = peer.context.log.database.used_bytes()
        await take(peer, 83, 400)
        full = peer.context.log.database.used_bytes()
    most = (empty + 2 * full) // 3
    async with peer_in(tmp_path, storage_max=full + 1) as peer:
        assert (peer.limits.reach, peer.context.warnings) == (2, {})
    async with peer_in(tmp_path, storage_max=int(full * 0.95)) as peer:
        peer.context.log.graph.set(NEAR, FAR, 1)
        peer.friends.settle()
        assert peer.limits.reach == 1
        assert peer.context.wanted.feeds == {peer.id, NEAR}
        (warning,) = peer.status()["warnings"]
        assert "whom you follow directly" in warning
        assert "ssb-rtc purge --all --compact" in warning
    async with peer_in(tmp_path, storage_max=most) as peer:
        assert peer.limits.reach == 0
        assert peer.context.wanted.feeds == {peer.id}
        await peer.publish({"type": "post", "text": "our own goes on"})
        await peer.limits.purge(LOST)
        assert (peer.limits.reach, peer.status()["warnings"]) == (2, [])
        assert NEAR in peer.context.wanted


async def test_the_storage_fills_while_messages_come(tmp_path: Path) -> None:
    async with peer_in(tmp_path) as peer:
        empty = peer.context.log.database.used_bytes()
    async with peer_in(tmp_path, storage_max=empty + 60_000) as peer:
        await follow_near_and_far(peer)
        assert peer.limits.reach == 2
        await take(peer, 83, 400)  # however they are split into commits, it was measured after the 300th
        assert peer.limits.reach < 2


async def test_a_little_room_is_not_enough_to_begin_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = [0]
    monkeypatch.setattr(Database, "used_bytes", lambda _self: used[0])
    async with peer_in(tmp_path, storage_max=1_000) as peer, peer.local_link() as link:
        for used[0], reach in (
            *((999, 2), (1_000, 1), (1_050, 1), (960, 1), (949, 2)),
            *((1_100, 0), (1_060, 0), (1_049, 1), (1_099, 1), (1_200, 0), (940, 2)),
        ):
            assert (await link.call("sync.status"))["reach"] == reach


# --- the question ---


def claim(peer: Peer, feed: FeedId, messages: int) -> None:
    """Has a peer tell others that it holds more of a feed than it does."""
    gossip = next(plugin for plugin in peer.registry.plugins if isinstance(plugin, Gossip))
    gossip.replicator.advanced(feed, messages, 0.0)


async def test_a_large_first_sync_waits_for_an_answer_which_is_kept(tmp_path: Path) -> None:
    network = os.urandom(32)
    async with AsyncExitStack() as stack:
        holder = await stack.enter_async_context(peer_in(tmp_path / "holder", network, online=True))
        for feed in (NEAR, FAR):
            await holder.friends.follow(feed)
        claim(holder, FAR, 150_000)
        async with peer_in(tmp_path / "reader", network, online=True) as reader:
            await follow_near_and_far(reader)
            await reader.connect(holder.addresses[0])
            async with asyncio.timeout(LIMIT_S):
                question = await reader.limits.asked()
            assert (question.messages, question.bytes, question.feeds) == (150_000, 150_000 * 830, 1)
            assert reader.status()["warnings"] == [
                "this will fetch about 150,000 messages, 124 MB, from 1 feeds: run `ssb-rtc sync --accept`"
                " (or --decline: only whom you follow directly)"
            ]
            assert reader.context.wanted.feeds == {reader.id, NEAR}
            await take(holder, 81)
            await until(lambda: sequence(reader, NEAR) == LENGTH)
        async with peer_in(tmp_path / "reader", network) as reader:
            assert (reader.limits.question, reader.limits.reach) == (question, 1)
            async with reader.local_link() as link:
                await link.call("sync.decline")
                assert (await link.call("sync.status"))["answer"] == "decline"
            assert (reader.limits.reach, reader.status()["warnings"]) == (1, [])
        async with peer_in(tmp_path / "reader", network, online=True) as reader:
            assert reader.limits.reach == 1
            async with reader.local_link() as link:
                await link.call("sync.accept")
            await follow_near_and_far(reader)
            await reader.connect(holder.addresses[0])
            await take(holder, 82)
            await until(lambda: sequence(reader, FAR) == LENGTH)
            assert (reader.limits.reach, reader.limits.question) == (2, None)


async def test_the_question_goes_away_with_its_reason(tmp_path: Path) -> None:
    network = os.urandom(32)
    async with (
        peer_in(tmp_path / "holder", network, online=True) as holder,
        peer_in(tmp_path / "reader", network, online=True) as reader,
    ):
        for feed in (NEAR, FAR):
            await holder.friends.follow(feed)
        claim(holder, FAR, 150_000)
        await follow_near_and_far(reader)
        await reader.connect(holder.addresses[0])
        async with asyncio.timeout(LIMIT_S):
            await reader.limits.asked()
        await reader.friends.unfollow(NEAR)  # and so FAR is out of reach
        await until(lambda: reader.limits.question is None)
        assert (reader.limits.reach, reader.status()["warnings"]) == (2, [])
        assert reader.context.log.database.meta("sync.question") is None


async def test_nothing_is_asked_about_a_small_sync(tmp_path: Path) -> None:
    network = os.urandom(32)
    async with (
        peer_in(tmp_path / "holder", network, online=True) as holder,
        peer_in(tmp_path / "reader", network, online=True, first_sync_max=10 * LENGTH) as reader,
    ):
        await take(holder, 81)
        await holder.friends.follow(NEAR)
        await follow_near_and_far(reader)
        await reader.connect(holder.addresses[0])
        await until(lambda: sequence(reader, NEAR) == LENGTH and reader.limits._looked_s > 0)
        assert reader.limits.question is None
        assert (reader.limits.reach, reader.status()["warnings"]) == (2, [])
