"""Many managers with one another: they find each other, agree on which link stays, and come to rest."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from ssb_rtc.manager import actions as a
from ssb_rtc.manager.slots import count
from ssb_rtc.types import PeerId
from tests.manager.mesh import Mesh
from tests.manager.names import ONE, TWO, peer_id


def nodes(number: int) -> list[PeerId]:
    return [peer_id(0x10 + 7 * at) for at in range(number)]


def check_symmetry(mesh: Mesh) -> None:
    """Both ends of each link say the same."""
    for node in mesh.nodes.values():
        if node.alive:
            for peer in node.state.linked:
                assert node.id in mesh.linked(peer)
                mine, theirs = node.state.peers[peer].link, mesh.nodes[peer].state.peers[node.id].link
                assert mine is not None
                assert theirs is not None
                assert mine.dialled != theirs.dialled
                assert node.links[mine.id] == (peer, theirs.id)
            assert count(node.state).used <= node.state.settings.peers_max


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(2, 6), st.booleans())
def test_a_few_peers_are_all_linked_within_a_minute(seed: int, number: int, two_hubs: bool) -> None:
    crowd = nodes(number)
    mesh = Mesh(crowd, [ONE, TWO] if two_hubs else [ONE], seed=seed)
    mesh.run(60)
    check_symmetry(mesh)
    for node in crowd:
        assert mesh.linked(node) == set(crowd) - {node}
    mesh.disconnects.clear()
    mesh.run(600)
    assert mesh.disconnects == [], "they have come to rest"


def befriend(mesh: Mesh, crowd: list[PeerId]) -> None:
    """Everybody there replicates everybody."""
    for node in mesh.nodes:
        mesh.act(node, a.HopsDidChange(tuple((other, 1) for other in crowd if other != node)))


def reached(mesh: Mesh, start: PeerId) -> set[PeerId]:
    """All to whom a way of links leads."""
    found, fresh = {start}, {start}
    while fresh:
        fresh = {peer for node in fresh for peer in mesh.linked(node)} - found
        found |= fresh
    return found


@pytest.mark.parametrize("seed", range(3))
def test_thirty_peers_are_one_mesh(seed: int) -> None:
    crowd = nodes(30)
    mesh = Mesh(crowd, [ONE], seed=seed)
    mesh.run(300)
    check_symmetry(mesh)
    assert reached(mesh, crowd[0]) == set(crowd)
    assert sum(len(mesh.linked(node)) for node in crowd) / 30 > 5
    mesh.run(3_300)
    mesh.disconnects.clear()
    mesh.run(3_600)
    links = sum(len(mesh.linked(node)) for node in crowd) / 2
    assert len(mesh.disconnects) < 3 * links, "after an hour a link lasts for half an hour, -30 %"


@pytest.mark.parametrize("seed", [0, 1])
def test_friends_who_fill_each_other_s_houses_soon_have_room_for_others(seed: int) -> None:
    """Nine find one another before the tenth comes: eight links each, so none of them has a slot for the rest."""
    early, late = nodes(30)[:9], nodes(30)[9:]
    mesh = Mesh([], [ONE], seed=seed)
    for node in early:
        mesh.join([node], [ONE])
        befriend(mesh, early + late)
        mesh.run(3)
    mesh.run(20)
    assert all(mesh.linked(node) == set(early) - {node} for node in early)
    mesh.join(late, [ONE])
    befriend(mesh, early + late)
    mesh.run(150)
    assert reached(mesh, early[0]) == set(early + late)


@pytest.mark.parametrize("crowd", [5, 9])
def test_an_idle_peer_asks_next_to_nothing_of_a_hub(crowd: int) -> None:
    """Fewer than ten requests an hour, with all slots taken and without; friends know each other's inboxes."""
    mesh = Mesh(friends := nodes(crowd), [ONE], seed=1)
    befriend(mesh, friends)
    for node in friends:
        mesh.act(node, a.InboxesDidChange(tuple((other, True) for other in friends if other != node)))
    mesh.run(7_200)
    assert all(len(mesh.linked(node)) == crowd - 1 for node in friends)
    mesh.requests.clear()
    mesh.run(3_600)
    assert 0 < max(mesh.requests.values()) < 10


def test_a_crash_is_noticed_and_a_return_is_welcome() -> None:
    crowd = nodes(4)
    mesh = Mesh(crowd, [ONE], seed=5)
    mesh.run(60)
    mesh.crash(crowd[1])
    mesh.run(30)
    assert all(crowd[1] not in mesh.linked(node) for node in crowd if node != crowd[1])
    reborn = Mesh([crowd[1]], [ONE], seed=99).nodes[crowd[1]]
    mesh.nodes[crowd[1]] = reborn
    mesh.act(crowd[1], a.HubAddressAdded(ONE, stored=True))
    mesh.run(60)
    check_symmetry(mesh)
    assert mesh.linked(crowd[1]) == set(crowd) - {crowd[1]}


def test_links_outlive_the_hub_and_a_new_one_heals_the_rest() -> None:
    crowd = nodes(4)
    mesh = Mesh(crowd, [ONE], seed=6)
    mesh.run(60)
    mesh.hubs_down.add(ONE)
    for node in crowd:
        connection = mesh.nodes[node].state.hubs[ONE].connection
        assert connection is not None
        mesh.act(node, a.HubConnectionLost(ONE, connection, "the hub died"))
    mesh.run(600)
    assert all(len(mesh.linked(node)) == 3 for node in crowd)
    mesh.act(crowd[0], a.DisconnectFromRemotePeer(crowd[1], not_before_s=10.0))
    mesh.run(60)
    assert crowd[1] not in mesh.linked(crowd[0])
    for node in crowd:
        mesh.act(node, a.HubAddressAdded(TWO))
    mesh.run(60)
    check_symmetry(mesh)
    assert crowd[1] in mesh.linked(crowd[0])


def test_a_shutdown_is_a_goodbye() -> None:
    crowd = nodes(3)
    mesh = Mesh(crowd, [ONE], seed=7)
    mesh.run(60)
    mesh.act(crowd[0], a.ShutdownRequested())
    mesh.run(5)
    for node in crowd[1:]:
        row = mesh.nodes[node].state.peers.get(crowd[0])
        assert row is None or not row.routes, "its only hub has heard the goodbye"
    assert all(row.failures == 0 for node in crowd[1:] for row in mesh.nodes[node].state.peers.values())


def test_a_pair_that_never_connects_does_not_keep_others_apart() -> None:
    crowd = nodes(4)
    mesh = Mesh(crowd, [ONE], seed=8)
    mesh.deaf.add(frozenset(crowd[:2]))
    mesh.run(300)
    check_symmetry(mesh)
    assert mesh.linked(crowd[0]) == set(crowd[2:])
    assert mesh.linked(crowd[3]) == set(crowd[:3])
    row = mesh.nodes[crowd[0]].state.peers[crowd[1]]
    other = mesh.nodes[crowd[1]].state.peers[crowd[0]]
    assert row.failures + other.failures > 0
