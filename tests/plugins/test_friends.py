"""Follows and blocks: what is said over rpc, what is replicated, whom we hold a link with."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ssb_rtc.config import Settings
from ssb_rtc.errors import ConnectFailed, MisuseError, RemoteCallError
from ssb_rtc.peer import Peer
from ssb_rtc.transport.link import Link
from ssb_rtc.types import FeedId, peer_of
from tests.storage.feedmaker import feed_of, keys_of, raws

LIMIT_S = 30.0
B, C, D = (keys_of(number).id for number in (71, 72, 73))


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[tuple[Peer, Link]]:
    """A peer without a network, and a local caller."""
    async with Peer(tmp_path, online=False) as peer, peer.local_link() as link:
        yield peer, link


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that no event tells of."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.01)


async def test_the_manifest_is_that_of_ssb_friends(alone: tuple[Peer, Link], wire_captures: Path) -> None:
    theirs = msgspec.json.decode((wire_captures / "modern.manifest.json").read_bytes())["friends"]
    assert alone[0].registry.manifest_json()["friends"] == theirs


async def test_follows_and_blocks_are_published_as_ssb_friends_does(alone: tuple[Peer, Link]) -> None:
    peer, link = alone
    made = await link.call("friends.follow", B)
    assert made["value"]["content"] == {"type": "contact", "contact": B, "following": True}
    assert made["key"].startswith("%")
    made = await link.call("friends.block", C, {"reason": "spam"})
    assert made["value"]["content"] == {"type": "contact", "contact": C, "blocking": True, "reason": "spam"}
    assert await link.call("friends.graph") == {peer.id: {B: 1, C: -1}}
    assert await link.call("friends.isFollowing", {"source": peer.id, "dest": B}) is True
    assert await link.call("friends.isFollowing", {"source": B, "dest": peer.id}) is False
    details = {"source": peer.id, "dest": C, "details": True}
    assert await link.call("friends.isBlocking", details) == {"response": True, "private": False}
    assert await link.call("friends.hops") == {peer.id: 0, B: 1, C: -1}
    assert peer.context.wanted.feeds == {peer.id, B}
    assert peer.context.blocked.peers == {peer_of(C)}

    await link.call("friends.follow", B, {"state": False})
    await link.call("friends.block", C, {"state": False})
    assert await link.call("friends.graph") == {peer.id: {B: -2, C: -2}}
    assert await link.call("friends.hops") == {peer.id: 0, B: -2, C: -2}
    assert peer.context.wanted.feeds == {peer.id}
    assert not peer.context.blocked.peers
    assert set((await link.call("friends.help"))["commands"]) >= {"isFollowing", "hops", "graphStream"}


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("follow", ["@nobody"]),
        ("block", []),
        ("follow", [B, {"recps": [C]}]),
        ("follow", [B, {"state": 1}]),
        ("isFollowing", [{"source": B}]),
        ("isBlocking", ["x"]),
        ("hops", [{"start": 5}]),
        ("hops", [{"max": "far"}]),
        ("hops", [{"max": -1}]),
    ],
)
async def test_what_makes_no_sense_is_refused(alone: tuple[Peer, Link], method: str, args: list[Any]) -> None:
    with pytest.raises(RemoteCallError):
        await alone[1].call(f"friends.{method}", *args)
    assert alone[0].context.log.count() == 0


async def test_nobody_follows_or_blocks_itself(alone: tuple[Peer, Link]) -> None:
    with pytest.raises(MisuseError):
        await alone[0].friends.block(alone[0].id)


async def test_hops_from_elsewhere_farther_and_backwards(alone: tuple[Peer, Link]) -> None:
    peer, link = alone
    graph = peer.context.log.graph
    await peer.friends.follow(B)
    for source, target in ((B, C), (C, D)):
        graph.set(source, target, 1)
    peer.friends.settle()
    assert await link.call("friends.hops") == {peer.id: 0, B: 1, C: 2}
    assert await link.call("friends.hops", {"max": 1}) == {peer.id: 0, B: 1}
    assert await link.call("friends.hops", {"max": 3}) == {peer.id: 0, B: 1, C: 2, D: 3}
    assert await link.call("friends.hops", {"start": B}) == {B: 0, C: 1, D: 2}
    assert await link.call("friends.hops", {"start": D, "max": 1.5, "reverse": True}) == {D: 0, C: 1, B: 2}
    assert peer.friends.hops() == {peer.id: 0, B: 1, C: 2}
    assert (peer.friends.follows(), peer.friends.follows(B), peer.friends.blocks()) == ([B], [C], [])


async def test_streams_begin_with_what_there_is_and_go_on(alone: tuple[Peer, Link]) -> None:
    peer, link = alone
    await peer.friends.follow(B)
    for name, whole in (("hopStream", {peer.id: 0, B: 1}), ("graphStream", {peer.id: {B: 1}})):
        assert [one async for one in link.source(f"friends.{name}", {"live": False})] == [whole]
    async with (
        asyncio.timeout(LIMIT_S),
        aclosing(link.source("friends.hopStream", {"old": True})) as hops,
        aclosing(link.source("friends.graphStream", {"old": True})) as graph,
    ):
        assert (await anext(hops), await anext(graph)) == ({peer.id: 0, B: 1}, {peer.id: {B: 1}})
        await peer.friends.block(C)
        assert (await anext(hops), await anext(graph)) == ({C: -1}, {peer.id: {C: -1}})
        peer.context.log.graph.set(B, D, 1)
        peer.friends.settle()
        assert (await anext(hops), await anext(graph)) == ({D: 2}, {B: {D: 1}})
        await peer.friends.unfollow(B)
        # D is out of reach altogether, which npm's does not tell.
        assert (await anext(hops), await anext(graph)) == ({B: -2, D: -3}, {peer.id: {B: -2}})


def online(path: Path, network: bytes, **settings: Any) -> Peer:
    return Peer(path, Settings(net=0, network_key=network, **settings))


def sequence(peer: Peer, feed: FeedId) -> int:
    head = peer.context.log.head(feed)
    return head.sequence if head else 0


def is_linked(peer: Peer, other: Peer) -> bool:
    return any(link.remote == peer_of(other.id) for link in peer.context.links.live())


async def test_a_block_ends_the_live_link_whoever_dialled_and_keeps_it_ended(tmp_path: Path) -> None:
    network = os.urandom(32)
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(online(tmp_path / name, network)) for name in ("one", "two")]
        for dialler, acceptor in ((one, two), (two, one)):
            link = await dialler.connect(acceptor.addresses[0])
            with pytest.raises(RemoteCallError):
                await link.call("friends.hops")
            await one.friends.block(two.id)
            async with asyncio.timeout(LIMIT_S):
                await link.closed
            await until(lambda: not is_linked(one, two) and not is_linked(two, one))
            # Refused before anything is said, and not dialled either.
            with pytest.raises(ConnectFailed):
                await two.connect(one.addresses[0])
            assert not is_linked(one, two)
            await one.friends.unblock(two.id)
        await two.connect(one.addresses[0])


async def test_what_is_unfollowed_or_blocked_stops_on_a_live_link(tmp_path: Path) -> None:
    network = os.urandom(32)
    theirs = raws(feed_of(71, 30)), raws(feed_of(72, 30))
    async with AsyncExitStack() as stack:
        reader, holder = [await stack.enter_async_context(online(tmp_path / name, network)) for name in ("r", "h")]
        for feed in (B, C):
            await reader.friends.follow(feed)
            await holder.friends.follow(feed)
        await holder.connect(reader.addresses[0])
        for messages in theirs:
            await holder.context.ingest.add(messages[:10], "test")
        await until(lambda: sequence(reader, B) == sequence(reader, C) == 10)

        await reader.friends.unfollow(B)
        await reader.friends.block(C)
        assert reader.context.wanted.feeds == {reader.id}
        for messages in theirs:
            await holder.context.ingest.add(messages[10:20], "test")
        await reader.friends.follow(holder.id)  # a word that comes after the others on the same link
        await holder.publish({"type": "post", "text": "after them"})
        await until(lambda: sequence(reader, holder.id) == sequence(holder, holder.id))
        assert (sequence(reader, B), sequence(reader, C)) == (20, 10)  # B came back: the holder follows it

        await reader.friends.unblock(C)
        await until(lambda: sequence(reader, C) == 20)


async def test_the_manager_learns_who_is_near(tmp_path: Path) -> None:
    network = os.urandom(32)
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(online(tmp_path / name, network)) for name in ("one", "two")]
        await one.friends.follow(two.id)
        await one.connect(two.addresses[0])
        (row,) = one.controls.running().reports.peers(everyone=True)
        assert row["hops"] == 1
        await one.friends.unfollow(two.id)
        await until(lambda: one.controls.running().reports.peers(everyone=True)[0]["hops"] is None)
