"""Hops through follows, blocks honoured."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.feeds.hops import BLOCKS, FOLLOWS, NEITHER, FollowGraph, edge_of
from ssb_rtc.feeds.keys import keys_from_seed
from ssb_rtc.types import FeedId

A, B, C, D, E = (keys_from_seed(bytes([n] * 32)).id for n in range(1, 6))


def graph(*edges: tuple[FeedId, FeedId, int]) -> FollowGraph:
    made = FollowGraph()
    for source, target, kind in edges:
        made.set(source, target, kind)
    return made


def test_distance_is_the_shortest_way() -> None:
    g = graph((A, B, FOLLOWS), (B, C, FOLLOWS), (C, D, FOLLOWS), (A, C, FOLLOWS), (D, E, FOLLOWS))
    assert g.hops(A) == {A: 0, B: 1, C: 1, D: 2}
    assert g.hops(A, 3)[E] == 3
    assert g.hops(A, 0) == {A: 0}
    assert g.hops(E) == {E: 0}


def test_whom_the_root_blocks_is_out_and_leads_nowhere() -> None:
    g = graph((A, B, FOLLOWS), (B, C, FOLLOWS), (C, D, FOLLOWS), (A, C, BLOCKS))
    assert g.hops(A, 3) == {A: 0, B: 1}
    assert g.hops(A, 3, blocked=[B]) == {A: 0}


def test_a_blocker_counts_where_nobody_as_near_follows() -> None:
    blocked_only_nearer = graph((A, B, FOLLOWS), (B, D, BLOCKS), (B, C, FOLLOWS), (C, D, FOLLOWS))
    assert D not in blocked_only_nearer.hops(A, 3)
    as_near = graph((A, B, FOLLOWS), (A, C, FOLLOWS), (B, D, BLOCKS), (C, D, FOLLOWS))
    assert as_near.hops(A)[D] == 2
    root_follows = graph((A, B, FOLLOWS), (A, D, FOLLOWS), (B, D, BLOCKS))
    assert root_follows.hops(A)[D] == 1


def test_the_last_word_counts_and_changes_are_told() -> None:
    g = graph((A, B, FOLLOWS))
    version = g.version
    assert not g.set(A, B, FOLLOWS)
    assert g.version == version
    assert g.set(A, B, BLOCKS)
    assert (g.blocks(A), g.follows(A), g.kind(A, B)) == ([B], [], BLOCKS)
    assert g.set(A, B, NEITHER)
    assert g.hops(A) == {A: 0}
    g.set(A, C, FOLLOWS)
    g.drop(A)
    assert dict(g.edges(A)) == {}
    assert g.version > version


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"type": "contact", "contact": B, "following": True}, FOLLOWS),
        ({"type": "contact", "contact": B, "following": True, "blocking": False}, FOLLOWS),
        ({"type": "contact", "contact": B, "following": False}, NEITHER),
        ({"type": "contact", "contact": B, "following": "yes"}, NEITHER),
        ({"type": "contact", "contact": B}, NEITHER),
        ({"type": "contact", "contact": B, "following": True, "blocking": True}, BLOCKS),
        ({"type": "contact", "contact": B, "blocking": 1}, BLOCKS),
        ({"type": "contact", "contact": B, "flagged": {}}, BLOCKS),
        ({"type": "contact", "contact": B, "flagged": 0}, NEITHER),
        ({"type": "contact", "contact": A, "following": True}, None),
        ({"type": "contact", "contact": B[:-1], "following": True}, None),
        ({"type": "contact", "contact": 5, "following": True}, None),
        ({"type": "post", "contact": B, "following": True}, None),
        ("abc.box", None),
        (None, None),
    ],
)
def test_edges_are_read_as_ssb_friends_reads_them(content: Any, kind: int | None) -> None:
    assert edge_of(A, content) == (None if kind is None else (A, B, kind))


people = st.sampled_from([A, B, C, D, E])


@given(
    edges=st.lists(st.tuples(people, people, st.sampled_from([FOLLOWS, BLOCKS, NEITHER])), max_size=30),
    most=st.integers(0, 4),
)
def test_properties(edges: list[tuple[FeedId, FeedId, int]], most: int) -> None:
    g = graph(*((s, t, k) for s, t, k in edges if s != t))
    hops = g.hops(A, most)
    assert hops[A] == 0
    for feed, hop in hops.items():
        assert hop <= most
        assert g.kind(A, feed) != BLOCKS
        if hop:
            assert any(g.kind(other, feed) == FOLLOWS for other, at in hops.items() if at == hop - 1)
            assert not any(g.kind(other, feed) == FOLLOWS for other, at in hops.items() if at < hop - 1)
    assert list(hops.values()) == sorted(hops.values())
