"""Who counts as a witness: paths through different direct follows, against a search through all of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.feeds.hops import BLOCKS, FOLLOWS, FollowGraph
from ssb_rtc.feeds.witnesses import WITNESSES_MAX, first_steps, witnesses
from ssb_rtc.types import FeedId

ME, AMY, BOB, CAROL, DAVE, EVE = (FeedId(name) for name in ("me", "amy", "bob", "carol", "dave", "eve"))


def graph_of(*edges: tuple[FeedId, FeedId]) -> FollowGraph:
    graph = FollowGraph()
    for source, target in edges:
        graph.set(source, target, FOLLOWS)
    return graph


def counted(graph: FollowGraph, *signers: FeedId, hops_max: int = 2) -> int:
    through = first_steps(graph, graph.hops(ME, hops_max), signers)
    return len(witnesses(through, signers))


def test_friends_count_for_themselves() -> None:
    graph = graph_of((ME, AMY), (ME, BOB), (AMY, BOB))
    assert counted(graph, AMY) == 1
    assert counted(graph, AMY, BOB) == 2
    assert counted(graph, ME) == 0


def test_whomever_one_friend_follows_counts_once_with_that_friend() -> None:
    names = [FeedId(f"made up {number}") for number in range(20)]
    graph = graph_of((ME, AMY), (ME, BOB), *((AMY, name) for name in names))
    assert counted(graph, *names) == 1
    assert counted(graph, AMY, *names) == 1
    assert counted(graph, AMY, BOB, *names) == 2


def test_a_friend_whom_another_friend_follows_is_still_one() -> None:
    """Amy signs, has her own Carol sign, and Bob, who follows Amy, says nothing."""
    graph = graph_of((ME, AMY), (ME, BOB), (BOB, AMY), (AMY, CAROL))
    assert counted(graph, AMY, CAROL) == 1


def test_a_farther_signer_counts_through_another_friend() -> None:
    graph = graph_of((ME, AMY), (ME, BOB), (AMY, CAROL), (BOB, CAROL), (AMY, DAVE))
    assert counted(graph, AMY, CAROL) == 2, "Carol through Bob"
    assert counted(graph, CAROL, DAVE) == 2, "Carol makes room for Dave"
    assert counted(graph, CAROL) == 1


def test_who_is_out_of_reach_or_kept_out_does_not_count() -> None:
    graph = graph_of((ME, AMY), (AMY, BOB), (BOB, CAROL))
    assert counted(graph, CAROL) == 0
    assert counted(graph, CAROL, hops_max=3) == 1
    graph.set(ME, BOB, BLOCKS)
    assert counted(graph, BOB) == 0
    assert counted(graph, CAROL, hops_max=3) == 0


def test_more_than_enough_is_enough() -> None:
    friends = [FeedId(f"f{number:02}") for number in range(20)]
    graph = graph_of(*((ME, friend) for friend in friends))
    assert counted(graph, *friends) == WITNESSES_MAX


feeds = st.sampled_from([ME, AMY, BOB, CAROL, DAVE, EVE])
edges = st.lists(st.tuples(feeds, feeds, st.sampled_from([FOLLOWS, FOLLOWS, FOLLOWS, BLOCKS])), max_size=16)


def paths(graph: FollowGraph, distances: dict[FeedId, int], signer: FeedId) -> Iterator[tuple[FeedId, ...]]:
    """All shortest paths, searched from their end."""
    if distances.get(signer, 0) == 1:
        yield (signer,)
    for feed, distance in distances.items():
        if 1 <= distance == distances.get(signer, 0) - 1 and graph.kind(feed, signer) == FOLLOWS:
            for path in paths(graph, distances, feed):
                yield (*path, signer)


@given(edges, st.sets(feeds, max_size=5), st.integers(1, 4))
def test_against_a_search(said: list[tuple[FeedId, FeedId, int]], signers: set[FeedId], hops_max: int) -> None:
    graph = FollowGraph()
    for source, target, kind in said:
        if source != target:
            graph.set(source, target, kind)
    distances = graph.hops(ME, hops_max)
    through = first_steps(graph, distances, signers)
    expected = {one: {path[0] for path in paths(graph, distances, one)} for one in signers if distances.get(one, 0) > 0}
    assert {one: set(steps) for one, steps in through.items()} == expected
    direct = sorted(graph.follows(ME))
    best = max(
        (
            sum(step in expected.get(signer, ()) for signer, step in zip(sorted(signers), chosen, strict=False))
            for chosen in permutations([*direct, *[None] * len(signers)], len(signers))
        ),
        default=0,
    )
    found = witnesses(through, signers)
    assert len(found) == best
    assert len({signer for signer, _ in found}) == len({step for _, step in found}) == len(found)
    assert all(step in expected[signer] for signer, step in found)
