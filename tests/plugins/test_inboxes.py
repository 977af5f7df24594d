"""Friends tell each other their inboxes over a link, nobody else does, and who is a friend no more knows an old one."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from ssb_rtc import Peer, Settings
from ssb_rtc.errors import RemoteCallError
from ssb_rtc.plugins.inboxes import TELLS_AT_ONCE
from ssb_rtc.storage.inboxes import Inboxes
from ssb_rtc.testing import Swarm
from ssb_rtc.testing.waiting import LIMIT_S
from ssb_rtc.types import Json, PeerId, peer_of
from tests.runtime.watching import Watched


def inboxes(peer: Peer) -> Inboxes:
    return peer._inboxes.inboxes


def knows(peer: Peer, other: Peer) -> bool:
    return inboxes(peer).of(peer_of(other.id)) == inboxes(other).own


async def until(peer: Peer, other: Peer, known: bool = True) -> None:
    """Waits until one knows where the other is found."""
    async with asyncio.timeout(LIMIT_S):
        while knows(peer, other) != known:
            await asyncio.sleep(0.01)
    if known:
        watched = Watched(peer)
        await watched.until(lambda: peer_of(other.id) in watched.state.inboxes, "the manager knowing it too")


@pytest.fixture
async def pair(swarm: Swarm) -> tuple[Peer, Peer]:
    """Two peers with a link, who don't know each other yet."""
    ann, ben = await swarm.peers("ann", "ben")
    await swarm.connect("line")
    return ann, ben


async def befriend(one: Peer, other: Peer) -> None:
    await one.follow(other.id)
    await other.follow(one.id)
    await until(one, other)
    await until(other, one)


async def test_who_follows_each_other_exchanges_inboxes(pair: tuple[Peer, Peer]) -> None:
    ann, ben = pair
    await ann.follow(ben.id)
    link = ann.rpc(ben.id)
    assert await link.call("inboxes.tell", base64.b64encode(inboxes(ann).own).decode()) is False, "ben follows nobody"
    assert inboxes(ben).peers() == inboxes(ann).peers() == []
    await ben.follow(ann.id)
    await until(ann, ben)
    await until(ben, ann)


async def test_friends_who_meet_again_are_told_what_changed_meanwhile(swarm: Swarm, pair: tuple[Peer, Peer]) -> None:
    ann, ben = pair
    await befriend(ann, ben)
    await swarm.stop(ben)
    inboxes(ann).renew()
    ben = await swarm.restart(ben)
    await until(ben, ann)


@pytest.mark.parametrize("how", ["unfollow", "block"])
async def test_who_is_a_friend_no_more_knows_an_old_inbox_and_the_others_the_new_one(swarm: Swarm, how: str) -> None:
    ann, ben, eve = await swarm.peers("ann", "ben", "eve")
    await swarm.connect((ann, ben), (ann, eve))
    for friend in (ben, eve):
        await befriend(ann, friend)
    before = inboxes(ann).own
    await (ann.unfollow(eve.id) if how == "unfollow" else ann.block(eve.id))
    await until(ben, ann)
    assert inboxes(ann).own != before
    assert inboxes(eve).of(peer_of(ann.id)) == before
    assert inboxes(ann).of(peer_of(eve.id)) is None
    assert list(Watched(ann).state.inboxes) == [peer_of(ben.id)]


async def test_who_was_unfollowed_while_nobody_looked_makes_a_new_inbox_necessary(
    swarm: Swarm, pair: tuple[Peer, Peer]
) -> None:
    ann, ben = pair
    await befriend(ann, ben)
    before = inboxes(ann).own
    ann = await swarm.restart(ann)
    assert inboxes(ann).own == before
    stranger = PeerId(base64.b64encode(bytes(33)).decode())
    inboxes(ann).keep(stranger, bytes(32), 1)
    ann = await swarm.restart(ann)
    assert inboxes(ann).own != before
    assert inboxes(ann).peers() == [peer_of(ben.id)]


async def test_what_is_no_secret_is_refused_and_too_much_is_not_kept(pair: tuple[Peer, Peer]) -> None:
    ann, ben = pair
    await ben.follow(ann.id)
    link = ann.rpc(ben.id)
    wrong: list[Json] = [
        None,
        5,
        "",
        "x" * 44,
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(66)).decode(),
        {},
    ]
    for said in wrong:
        with pytest.raises(RemoteCallError, match="32 bytes"):
            await link.call("inboxes.tell", said)
    told = [await link.call("inboxes.tell", base64.b64encode(bytes(31) + bytes([n])).decode()) for n in range(12)]
    assert told == [True] * TELLS_AT_ONCE + [False] * 2
    assert inboxes(ben).of(peer_of(ann.id)) == bytes(31) + bytes([TELLS_AT_ONCE - 1])


async def test_secrets_are_told_to_no_guest_and_not_without_a_network(tmp_path: Path) -> None:
    async with Peer(tmp_path, Settings(), online=False) as peer:
        async with peer.local_link() as link:
            with pytest.raises(RemoteCallError):
                await link.call("inboxes.tell", base64.b64encode(bytes(32)).decode())
        assert inboxes(peer).peers() == []
