"""What strangers can do to whole peers that speak the sealed dialect: ask who is there, crowd, point at others."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from ssb_rtc import ConfigFault, Peer, Settings
from ssb_rtc.feeds.keys import Keys, keys_from_seed
from ssb_rtc.manager import effects as e
from ssb_rtc.signalhub.client import open_session
from ssb_rtc.types import FeedId, HubUrl, PeerId, peer_of
from ssb_rtc.wire import channels, envelope, letters
from ssb_rtc.wire.envelope import Kind, Letter
from ssb_rtc.wire.swarm import Signal
from tests.e2e.rogue_hub import RogueHub, ordering, rogue_process
from tests.e2e.sealed_peers import friends_on, linked, prepare_friends
from tests.runtime.watching import Watched
from tests.signalhub.sealed_party import KNOCK, NETWORK, Party, fresh_session
from tests.storage.feedmaker import keys_of

STRANGER = keys_of(9)
SYBILS = 90


@pytest.fixture(scope="module")
def rogue() -> Iterator[HubUrl]:
    with rogue_process() as url:
        yield url


@pytest.fixture
async def hub(rogue: HubUrl) -> AsyncIterator[RogueHub]:
    async with ordering(rogue) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as opened:
        yield opened


async def knock_as(hub: RogueHub, keys: Keys, to: Watched, channel: str) -> str:
    """Knocks at a peer; the channel where its answer would come."""
    reply = secrets.token_bytes(16)
    payload = letters.knock(letters.public_of(secrets.token_bytes(32)), reply)
    wall_ms = int(to.network._sealed._desk._wall() * 1000)
    letter = Letter(Kind.KNOCK, PeerId(keys.id), secrets.token_bytes(16), 0, wall_ms, payload)
    body = envelope.seal(letter, keys, peer_of(to.peer.id), NETWORK, secrets.token_bytes(32))
    await hub.say((channel, body))
    return channels.reply_channel(reply)


def inboxes(watched: Watched) -> tuple[str, str]:
    """The friend inbox and the public one of today."""
    day = channels.day_of(watched.network._sealed._desk._wall())
    own = watched.peer._inboxes.inboxes.own
    return channels.friend_inbox(own, day), channels.public_inbox(NETWORK, peer_of(watched.peer.id), day)


# --- who is there? ------------------------------------------------------------------------------------------------


async def test_who_wants_no_strangers_answers_none(tmp_path: Path, hub: RogueHub) -> None:
    """Though the hub's operator sees the name of the inbox that only friends know, and knocks there."""
    async with friends_on(tmp_path, [hub.url], names=["ann"]) as (ann,):
        await hub.until(lambda known: known["listeners"])
        await hub.order(forget=True)
        friend_inbox, public_inbox = inboxes(ann)
        assert friend_inbox in await hub.channels()
        assert public_inbox not in await hub.channels()
        replies = {await knock_as(hub, STRANGER, ann, channel) for channel in inboxes(ann)}
        refused = await ann.heard(e.RefuseOffer)
        assert (refused.peer, refused.not_before_s) == (peer_of(STRANGER.id), None)
        await answered_after(hub, ann, replies, tmp_path)


async def answered_after(hub: RogueHub, watched: Watched, replies: set[str], folder: Path) -> None:
    """A friend's knock that comes later is answered, so those before it never will be."""
    settings = Settings(network_key=NETWORK)
    async with Peer(folder / "ben", settings, online=False) as ben:
        friend, known = ben.keys, watched.peer._inboxes.inboxes.of(peer_of(ben.id))
    assert known is not None
    reply = await knock_as(hub, friend, watched, inboxes(watched)[0])
    seen = await hub.until(lambda known: any(channel == reply for channel, _ in known["seen"]))
    assert not replies & {channel for channel, _ in seen["seen"]}


async def test_a_blocked_peer_gets_no_answer_even_where_it_knows_the_inbox(tmp_path: Path, hub: RogueHub) -> None:
    async with friends_on(tmp_path, [hub.url], strangers_max=3, names=["ann"]) as (ann,):
        await hub.until(lambda known: known["listeners"])
        await ann.peer.follow(FeedId(STRANGER.id))
        before = ann.peer._inboxes.inboxes.own
        await ann.peer.block(FeedId(STRANGER.id))
        await ann.until(lambda: peer_of(STRANGER.id) in ann.state.blocked, "the block")
        assert ann.peer._inboxes.inboxes.own != before, "it gets another inbox"
        await hub.until(lambda known: inboxes(ann)[0] in str(known["listeners"]))
        replies = {await knock_as(hub, STRANGER, ann, channel) for channel in inboxes(ann)}
        refused = await ann.heard(e.RefuseOffer, 2)
        assert refused.not_before_s is None
        await answered_after(hub, ann, replies, tmp_path)


async def test_a_stranger_learns_nothing_of_a_full_house(tmp_path: Path, hub: RogueHub) -> None:
    """The only place for strangers is taken by an attempt that leads nowhere."""
    async with friends_on(tmp_path, [hub.url], strangers_max=1, names=["ann"]) as (ann,):
        await hub.until(lambda known: known["listeners"])
        first = await knock_as(hub, STRANGER, ann, inboxes(ann)[1])
        await hub.until(lambda known: any(channel == first for channel, _ in known["seen"]))
        second = await knock_as(hub, keys_of(8), ann, inboxes(ann)[1])
        refused = await ann.heard(e.RefuseOffer)
        assert (refused.peer, refused.not_before_s) == (peer_of(keys_of(8).id), None)
        await answered_after(hub, ann, {second}, tmp_path)


# --- crowds -------------------------------------------------------------------------------------------------------


def sybils() -> Iterator[Keys]:
    for number in range(SYBILS):
        yield keys_from_seed(b"sybil" + number.to_bytes(27, "big"))


async def test_sybils_who_announce_themselves_and_fill_the_inbox_keep_no_friend_out(
    tmp_path: Path, hub: RogueHub
) -> None:
    async with friends_on(tmp_path, [hub.url], strangers_max=3, names=["ann"]) as (ann,):
        await hub.until(lambda known: len(known["listeners"]) == 2)
        everybody = channels.announce_channel(NETWORK, 0, 0)
        wall_ms = int(ann.network._sealed._desk._wall() * 1000)
        crowd = []
        for keys in sybils():
            letter = Letter(Kind.ANNOUNCE, PeerId(keys.id), bytes(16), 0, wall_ms, letters.announce(64))
            crowd.append((everybody, envelope.seal_announcement(letter, keys, NETWORK, secrets.token_bytes(24))))
        junk = (inboxes(ann)[1], f'"{"A" * 684}"')
        await hub.say(*crowd, *[junk] * 500)
        async with asyncio.timeout(20):
            while not ann.network._sealed.dropped.get("flood"):
                await asyncio.sleep(0.01)
        assert len(ann.state.peers) > SYBILS // 2
        settings = Settings(network_key=NETWORK, hub=(hub.url,), strangers_max=0)
        async with Peer(tmp_path / "ben", settings) as ben:
            await linked(ann, ben.id)


# --- who is named as a candidate ----------------------------------------------------------------------------------


async def test_candidates_that_point_at_others_are_not_tried(
    tmp_path: Path, hub: RogueHub, session: aiohttp.ClientSession
) -> None:
    """In an offer, and after it: multicast, link-local, names. Something is sent to one that is allowed."""
    with contextlib.ExitStack() as stack:
        allowed, forbidden = (stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2))
        for listener in (allowed, forbidden):
            listener.setblocking(False)
            listener.bind(("0.0.0.0", 0))
        bad_port, port = forbidden.getsockname()[1], allowed.getsockname()[1]
        bad = ["239.255.77.77", "224.0.0.1", "169.254.1.1", "0.0.0.0", "255.255.255.255", "localhost", "a.local", "::"]
        places = [(address, bad_port) for address in bad] + [("127.0.0.1", port)]
        lines = [f"candidate:{n} 1 udp 2122260223 {where} {at} typ host" for n, (where, at) in enumerate(places)]
        async with friends_on(tmp_path, [hub.url], strangers_max=3, names=["ann"]) as (ann,):
            template, caller = (Party(keys, session) for keys in (keys_of(8), STRANGER))
            for party in (template, caller):
                party.wall_s = ann.network._sealed._desk._wall()
                await party.signalling.connect(hub.url)
            attempt = fresh_session()
            await template.signalling.send(hub.url, peer_of(ann.peer.id), attempt, KNOCK)
            await template.until(lambda: template.heard("offer"))
            sdp = "\r\n".join(s for s in template.heard("offer")[0].signal.sdp.split("\r\n") if "candidate" not in s)
            await caller.signalling.announce(hub.url, 64)
            await caller.until(lambda: caller.heard("knock"))
            session_name = caller.heard("knock")[0].session
            assert session_name is not None
            inside = "".join(f"a={line}\r\n" for line in lines[: len(bad)])
            await caller.signalling.send(hub.url, peer_of(ann.peer.id), session_name, Signal("offer", sdp=sdp + inside))
            for line in lines:
                signal = Signal("candidate", candidate=line, sdp_mid="0", sdp_m_line_index=0)
                await caller.signalling.send(hub.url, peer_of(ann.peer.id), session_name, signal)

            async def tried() -> None:
                while True:
                    with contextlib.suppress(BlockingIOError):
                        allowed.recv(2_000)
                        return
                    await asyncio.sleep(0.02)

            await asyncio.wait_for(tried(), 20)
            await asyncio.sleep(0.3)
            with pytest.raises(BlockingIOError):
                forbidden.recv(2_000)
            for party in (template, caller):
                await party.signalling.close()


async def test_private_addresses_are_tried_for_friends_and_in_our_own_network_only(tmp_path: Path) -> None:
    feeds = await prepare_friends(tmp_path)
    async with Peer(tmp_path / "ann", Settings(network_key=NETWORK)) as ann:
        network = Watched(ann).network
        await Watched(ann).until(lambda: peer_of(feeds["ben"]) in Watched(ann).state.hops, "the friend being known")
        far, stranger = HubUrl("https://hub.example"), peer_of(STRANGER.id)
        assert network._care_for(far, peer_of(feeds["ben"])).allow_private
        assert not network._care_for(far, stranger).allow_private
        for near in ("http://127.0.0.1:1", "http://localhost", "http://192.168.7.7", "swarm+http://[fd00::1]:80"):
            assert network._care_for(HubUrl(near), stranger).allow_private
            assert not network._care_for(HubUrl(near), stranger).relay_only


async def test_strangers_and_who_may_be_one_are_met_through_relays_only_where_so_set(tmp_path: Path) -> None:
    feeds = await prepare_friends(tmp_path)
    with pytest.raises(ConfigFault, match="--relay-strangers needs a TURN server"):
        async with Peer(tmp_path / "ann", Settings(network_key=NETWORK, relay_strangers=True)):
            pass
    settings = Settings(network_key=NETWORK, relay_strangers=True, turn=("turn:u:p@127.0.0.1:9",))
    async with Peer(tmp_path / "ann", settings) as ann:
        network, friend, stranger = Watched(ann).network, peer_of(feeds["ben"]), peer_of(STRANGER.id)
        await Watched(ann).until(lambda: friend in Watched(ann).state.hops, "the friend being known")
        for hub in ("https://hub.example", "http://127.0.0.1:1"):
            assert not network._care_for(HubUrl(hub), friend).relay_only
            assert network._care_for(HubUrl(hub), stranger).relay_only
        assert network._care_for(HubUrl("swarm+https://hub.example"), friend).relay_only, "anybody could say so there"
        network.pin(stranger)
        await Watched(ann).until(lambda: stranger in Watched(ann).state.pinned, "the pin")
        assert not network._care_for(HubUrl("https://hub.example"), stranger).relay_only, "somebody here wants it"


async def test_a_goodbye_in_a_friend_s_name_ends_nothing(tmp_path: Path, hub: RogueHub) -> None:
    async with friends_on(tmp_path, [hub.url], strangers_max=3) as (ann, ben):
        await linked(ann, ben.peer.id)
        before = ann.state.peers[peer_of(ben.peer.id)].routes
        wall_ms = int(ann.network._sealed._desk._wall() * 1000)
        letter = Letter(Kind.LEAVE, PeerId(STRANGER.id), bytes(16), 0, wall_ms, b"")
        body = envelope.seal_announcement(letter, STRANGER, NETWORK, secrets.token_bytes(24))
        flipped = body[:60] + ("A" if body[60] != "A" else "B") + body[61:]
        everybody = channels.announce_channel(NETWORK, 0, 0)
        dropped = ann.network._sealed.dropped.get("invalid", 0)
        await hub.say((everybody, flipped), (everybody, body))
        async with asyncio.timeout(15):
            while ann.network._sealed.dropped.get("invalid", 0) == dropped:
                await asyncio.sleep(0.01)
        assert ann.state.peers[peer_of(ben.peer.id)].routes == before
        assert ann.state.linked
