"""The throw-away peers of ssb_rtc.testing: links, convergence, restarts, and the same ids in each run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ssb_rtc import ConnectFailed, MisuseError, Peer, Settings
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.testing import Clock, NotConverged, Swarm, Topology, keys_of
from ssb_rtc.testing.topology import pairs


def texts(peer: Peer, author: Peer) -> list[object]:
    feed = peer.ids_by_feed().get(author.id, [])
    return [message.content["text"] for key in feed if (message := peer.get(key)) and message.type == "post"]


def remotes(peer: Peer) -> dict[str, bool]:
    """Whom a peer is linked to, and whether it dialled."""
    return {link.remote: link.dialled for link in peer.context.links.live()}


async def post(peer: Peer, text: str) -> None:
    await peer.publish({"type": "post", "text": text})


@pytest.mark.parametrize("topology", ["line", "ring", "star", "full"])
async def test_a_post_comes_to_everybody(swarm: Swarm, topology: Topology) -> None:
    peers = await swarm.peers("ann", "ben", "cleo", "dan")
    await swarm.connect(topology)
    await swarm.befriend()
    for peer in peers:
        await post(peer, f"by {swarm.name_of(peer)}")
    await swarm.converged()
    for peer in peers:
        assert [texts(peer, other) for other in peers] == [["by ann"], ["by ben"], ["by cleo"], ["by dan"]]
        assert peer.ids_by_feed() == peers[0].ids_by_feed()


def test_topologies_are_what_they_are_called() -> None:
    assert pairs("line", "abc") == [("a", "b"), ("b", "c")]
    assert pairs("ring", "abc") == [("a", "b"), ("b", "c"), ("c", "a")]
    assert pairs("ring", "ab") == pairs("line", "ab") == [("a", "b")]
    assert pairs("star", "abcd") == [("a", "b"), ("a", "c"), ("a", "d")]
    assert len(pairs("full", "abcde")) == 10
    assert pairs("full", "") == pairs("line", "a") == pairs("star", "a") == []
    with pytest.raises(MisuseError, match="take line, ring, star or full"):
        pairs("tree", "abc")  # type: ignore[arg-type]


async def test_links_are_those_that_were_asked_for(swarm: Swarm) -> None:
    ann, ben, cleo = await swarm.peers("ann", "ben", "cleo")
    await swarm.connect((ann, ben), (cleo, ben))
    assert remotes(ann) == {ben.id: True}
    assert remotes(ben) == {ann.id: False, cleo.id: False}
    assert remotes(cleo) == {ben.id: True}
    assert ann.rpc(ben.id).transport == "memory"
    await swarm.connect((ann, ben), (ben, ann))
    assert len(ann.context.links.live()) == 1


async def test_ids_are_the_same_in_each_run(swarm: Swarm) -> None:
    ann, ben = await swarm.peers("ann", "ben")
    assert ann.id == keys_of("ann").id == "@0qRWPzLLGoGu5PXH4FsVUoXhdEgIlUaI/sODzFh3R+8=.ed25519"
    first = await ann.publish({"type": "post", "text": "one"})
    second = await ben.publish({"type": "post", "text": "two"})
    assert (first.timestamp_ms, second.timestamp_ms) == (1_700_000_000_000, 1_700_000_000_001)
    swarm.clock.set(1_800_000_000_000)
    swarm.clock.advance(500)
    third = await ann.publish({"type": "post", "text": "three"})
    assert (third.timestamp_ms, third.received_ms) == (1_800_000_000_500, 1_800_000_000_500)
    assert first.key == "%cyRh4SBLGYCACPoZVMGWZIiUGEzF4BC5LfopVaQjPG0=.sha256"
    assert second.key == "%RlX8zq+ofDtCj3G6gnd8Hg6SL9tSeqnsxuWfRor7AQ4=.sha256"
    assert third.key == "%1j1qkSq0g97A8YbF3TN3WeYLVnbz2DMURl56bAxZHYQ=.sha256"


async def test_what_arrives_does_not_move_the_clock(swarm: Swarm) -> None:
    ann, ben = await swarm.peers("ann", "ben")
    await swarm.connect("line")
    await swarm.befriend()
    await swarm.converged()
    assert swarm.clock.now_ms == 1_700_000_000_002
    with pytest.raises(MisuseError, match=r"clock\.set"):
        Clock().advance(-1)
    assert (ann.context.now_ms(), ben.context.now_ms()) == (swarm.clock(), swarm.clock())


async def test_a_cut_keeps_peers_apart_until_it_is_healed(swarm: Swarm) -> None:
    ann, ben, cleo = await swarm.peers("ann", "ben", "cleo")
    await swarm.connect("line")
    await swarm.befriend()
    await swarm.converged()
    await swarm.partition([ann, ben], [cleo])
    assert cleo.context.links.live() == []
    await post(ann, "while apart")
    await swarm.converged(ann, ben)
    with pytest.raises(ConnectFailed, match="the test has cut the wire between cleo and ben"):
        await cleo.connect(ben.addresses[0])
    assert texts(cleo, ann) == []
    await swarm.heal()
    await swarm.converged()
    assert texts(cleo, ann) == ["while apart"]


async def test_who_lacks_what_is_said_when_the_limit_comes(swarm: Swarm) -> None:
    ann, ben = await swarm.peers("ann", "ben")
    await swarm.befriend()
    await post(ann, "unheard")
    with pytest.raises(NotConverged) as raised:
        await swarm.converged(limit_s=0.05)
    assert str(raised.value) == (
        "after 0.05 s these peers still lack messages:\n"
        "  ann holds 0 of the 1 messages of ben that ben holds; ann is linked to nobody\n"
        "  ben holds 0 of the 2 messages of ann that ann holds; ben is linked to nobody"
    )
    with pytest.raises(NotConverged, match="waited for rain, which did not come within"):
        await swarm.until(lambda: False, "rain", limit_s=0.05)
    await swarm.connect((ann, ben))
    await swarm.converged()


async def test_what_a_peer_does_not_want_or_may_not_have_it_does_not_lack(swarm: Swarm) -> None:
    ann, ben = await swarm.peers("ann", "ben")
    await post(ann, "for nobody")
    await swarm.converged(limit_s=5)  # nobody follows anybody
    await ben.follow(ann.id)
    await ann.block(ben.id)
    await swarm.converged(limit_s=5)  # ben wants what ann keeps from him


async def test_a_restarted_peer_has_its_folder_and_its_links(swarm: Swarm) -> None:
    ann, ben = await swarm.peers("ann", "ben")
    await swarm.connect((ann, ben))
    await swarm.befriend()
    await swarm.converged()
    await swarm.stop(ben)
    assert swarm.open == swarm.online == [ann]
    await post(ann, "you were away")
    again = await swarm.restart(ben)
    assert swarm["ben"] is again
    assert again is not ben
    await swarm.converged()
    assert texts(again, ann) == ["you were away"]
    with pytest.raises(MisuseError, match=r"take what swarm\.restart"):
        swarm.name_of(ben)


async def test_a_peer_without_a_network_writes_and_sends_later(swarm: Swarm) -> None:
    ann, ben = await swarm.peers("ann", "ben")
    await swarm.befriend()
    away = await swarm.restart(ben, online=False)
    await swarm.connect((ann, away))  # waits until both are online
    await post(away, "on the train")
    assert (swarm.open, swarm.online) == ([ann, away], [ann])
    await swarm.converged()  # of those that are online
    await away.start()
    assert swarm.online == [ann, away]
    await swarm.connect((ann, away))
    await swarm.converged()
    home = await swarm.restart(away)
    assert remotes(home) == {ann.id: False}
    assert texts(ann, home) == ["on the train"]


async def test_links_are_real_tcp_on_loopback(loopback_swarm: Swarm) -> None:
    swarm = loopback_swarm
    ann, ben, cleo = await swarm.peers("ann", "ben", "cleo")
    await swarm.connect("star")
    await swarm.befriend()
    await post(cleo, "over sockets")
    await swarm.converged()
    assert texts(ben, cleo) == ["over sockets"]
    assert ann.rpc(ben.id).transport == "net"
    await swarm.cut((ann, cleo))
    await post(ann, "again")
    await swarm.heal((ann, cleo))
    cleo = await swarm.restart(cleo)
    await swarm.converged()
    assert texts(cleo, ann) == ["again"]


async def test_folders_hold_no_socket_and_peers_no_port(swarm: Swarm) -> None:
    (ann,) = await swarm.peers("ann")
    assert sorted(path.name for path in ann.folder.iterdir() if "sqlite" not in path.name) == ["secret"]
    assert ann.addresses == [f"net:ann:1~shs:{ann.id[1:].removesuffix('.ed25519')}"]


async def test_settings_are_the_tests_own_and_the_network_is_not_the_main_one(swarm: Swarm, tmp_path: Path) -> None:
    ann = await swarm.peer("ann", settings=Settings(hops=0, hub=("https://hub.example.org",)))
    assert (ann.settings.hops, ann.settings.hub) == (0, ())
    assert ann.settings.network_key != Settings().network_key
    ben = await swarm.peer("ben", settings=Settings(network_key=bytes(32)))
    assert ben.settings.network_key == bytes(32)
    with pytest.raises(ConnectFailed, match="no link from ann to ben: "):
        await swarm.connect((ann, ben))


async def test_misuse_is_named(swarm: Swarm) -> None:
    await swarm.peers("ann")
    with pytest.raises(MisuseError, match="there is a peer named 'ann' already"):
        await swarm.peer("ann")
    with pytest.raises(MisuseError, match="no name for a peer"):
        await swarm.peer("Ann Smith")
    assert isinstance(keys_of(7), Keys)


async def test_a_dozen_peers_in_a_ring(swarm: Swarm) -> None:
    peers = await swarm.peers(*(f"peer-{number}" for number in range(12)))
    await swarm.connect("ring")
    first, *others = peers
    for peer in others:
        await first.follow(peer.id)
        await peer.follow(first.id)
    await asyncio.gather(*(post(peer, "hello") for peer in peers))
    await swarm.converged()
    assert {len(peer.ids_by_feed()) for peer in peers} == {12}
