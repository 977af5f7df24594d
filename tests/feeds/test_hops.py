"""Hops through follows, blocks honoured, kept while edges change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ssb_rtc.feeds.hops import BLOCKS, FOLLOWS, NEITHER, FollowGraph, HopsFrom, edge_of
from ssb_rtc.feeds.keys import keys_from_seed
from ssb_rtc.types import FeedId

A, B, C, D, E, F, G = PEOPLE = [keys_from_seed(bytes([n] * 32)).id for n in range(1, 8)]


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
    assert g.hops(D, 2, reverse=True) == {D: 0, C: 1, A: 2, B: 2}


def test_whom_the_root_blocks_is_out_and_leads_nowhere() -> None:
    g = graph((A, B, FOLLOWS), (B, C, FOLLOWS), (C, D, FOLLOWS), (A, C, BLOCKS))
    assert g.hops(A, 3) == {A: 0, B: 1, C: -1}


def test_of_the_nearest_voices_the_one_that_follows_wins() -> None:
    blocked_only_nearer = graph((A, B, FOLLOWS), (B, D, BLOCKS), (B, C, FOLLOWS), (C, D, FOLLOWS))
    assert blocked_only_nearer.hops(A, 3)[D] == -2
    as_near = graph((A, B, FOLLOWS), (A, C, FOLLOWS), (B, D, BLOCKS), (C, D, FOLLOWS))
    assert as_near.hops(A)[D] == 2
    root_follows = graph((A, B, FOLLOWS), (A, D, FOLLOWS), (B, D, BLOCKS))
    assert root_follows.hops(A)[D] == 1


def test_who_was_let_go_counts_as_blocked_one_hop_farther() -> None:
    g = graph((A, D, NEITHER), (A, B, FOLLOWS), (B, D, FOLLOWS), (B, E, NEITHER))
    assert g.hops(A) == {A: 0, B: 1, D: 2, E: -3}
    g.set(B, D, NEITHER)
    g.set(B, C, FOLLOWS)
    g.set(C, D, FOLLOWS)
    assert g.hops(A, 3)[D] == -2


def test_the_last_word_counts_and_changes_are_told() -> None:
    g = graph((A, B, FOLLOWS))
    told: list[tuple[FeedId, FeedId, int | None, int | None]] = []
    stop = g.subscribe(lambda *change: told.append(change))
    version = g.version
    assert not g.set(A, B, FOLLOWS)
    assert g.version == version
    assert g.set(A, B, BLOCKS)
    assert (g.blocks(A), g.follows(A), g.kind(A, B)) == ([B], [], BLOCKS)
    assert g.set(A, B, NEITHER)
    assert g.kind(A, B) == NEITHER == g.kind(B, A)
    g.drop(A)
    assert dict(g.edges(A)) == {}
    assert told == [(A, B, FOLLOWS, BLOCKS), (A, B, BLOCKS, NEITHER), (A, B, NEITHER, None)]
    stop()
    g.set(A, C, FOLLOWS)
    assert len(told) == 3
    assert list(g.sources()) == [A]
    assert g.version > version


def test_changes_are_those_since_they_were_last_taken() -> None:
    g = graph((A, B, FOLLOWS))
    hops = HopsFrom(g, A, 2)
    assert hops.take_changes() == {}
    g.set(B, C, FOLLOWS)
    g.set(C, D, FOLLOWS)
    g.set(A, E, FOLLOWS)
    g.set(A, E, NEITHER)
    assert hops.take_changes() == {C: 2, E: -2}
    g.drop(A)
    assert hops.take_changes() == {B: None, C: None, E: None}
    assert hops.values == {A: 0}


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


people = st.sampled_from(PEOPLE)
kinds = st.sampled_from([FOLLOWS, FOLLOWS, BLOCKS, NEITHER])


@given(edges=st.lists(st.tuples(people, people, kinds), max_size=30), most=st.integers(0, 4))
def test_properties(edges: list[tuple[FeedId, FeedId, int]], most: int) -> None:
    g = graph(*((s, t, k) for s, t, k in edges if s != t))
    hops = g.hops(A, most)
    assert hops[A] == 0
    for feed, hop in hops.items():
        assert -most - 1 <= hop <= most
        nearest = {
            said: min((at for s, at in hops.items() if 0 <= at < most and g.edges(s).get(feed) == said), default=99)
            for said in (FOLLOWS, BLOCKS, NEITHER)
        }
        if hop > 0:
            assert nearest[FOLLOWS] == hop - 1
            assert nearest[BLOCKS] >= hop - 1
            assert nearest[NEITHER] >= hop - 2
        elif hop < 0:
            assert min(nearest[BLOCKS] + 1, nearest[NEITHER] + 2) == -hop
            assert nearest[FOLLOWS] >= -hop


class Kept(RuleBasedStateMachine):
    """The values that are kept are those that one pass over all edges gives, after each change."""

    @initialize(edges=st.lists(st.tuples(people, people, kinds), max_size=20), root=people, most=st.integers(0, 5))
    def begin(self, edges: list[tuple[FeedId, FeedId, int]], root: FeedId, most: int) -> None:
        self.graph = graph(*edges)
        self.hops = HopsFrom(self.graph, root, most)
        self.merged = dict(self.hops.values)

    @rule(source=people, about=people, kind=kinds)
    def set(self, source: FeedId, about: FeedId, kind: int) -> None:
        self.graph.set(source, about, kind)

    @rule(source=people)
    def drop(self, source: FeedId) -> None:
        self.graph.drop(source)

    @rule(edges=st.lists(st.tuples(people, people, kinds), max_size=5))
    def set_many(self, edges: list[tuple[FeedId, FeedId, int]]) -> None:
        for edge in edges:
            self.graph.set(*edge)

    @invariant()
    def equal(self) -> None:
        changes = self.hops.take_changes()
        for feed, value in changes.items():
            assert self.merged.get(feed) != value
            if value is None:
                del self.merged[feed]
            else:
                self.merged[feed] = value
        assert self.merged == self.hops.values == self.graph.hops(self.hops.root, self.hops.hops_max)


TestKept = Kept.TestCase
TestKept.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
