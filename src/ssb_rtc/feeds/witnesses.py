"""Through whom a signer's word reaches us: what makes several voices several. Pure.

A **path** goes from us along follows to the signer and is as short as any such path; its first step is one of those
that we follow directly (for somebody whom we follow directly, that is the signer itself). A hub has k witnesses where
there are k different signers within our hops, each with a path of its own, and the k paths begin with k different
direct follows. So whoever is followed by one of our friends only counts once, however many names it makes up and has
that friend, or each other, follow; and a friend can't count for itself and for somebody it follows.

Only shortest paths count, or a friend of ours who is followed by another friend of ours would seem to be two.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from ssb_rtc.feeds.hops import FOLLOWS, FollowGraph
from ssb_rtc.types import FeedId

WITNESSES_MAX: Final = 8
"""More witnesses of one hub than this tell nothing more."""


def first_steps(
    graph: FollowGraph, hops: Mapping[FeedId, int], signers: Collection[FeedId]
) -> dict[FeedId, tuple[FeedId, ...]]:
    """With which direct follows the shortest paths to each signer begin; without the signers that are out of reach.

    hops: how far away each feed is, from `FollowGraph.hops`; what is below 1 is ourselves, or kept out.
    """
    wanted = {signer for signer in signers if hops.get(signer, 0) >= 1}
    farthest = max((hops[signer] for signer in wanted), default=0)
    rings: list[list[FeedId]] = [[] for _ in range(farthest + 1)]
    for feed, distance in hops.items():
        if 1 <= distance <= farthest:
            rings[distance].append(feed)
    direct = sorted(rings[1]) if farthest else []
    # One bit for each direct follow: sets of them, for thousands of feeds, in little space.
    steps = {feed: 1 << place for place, feed in enumerate(direct)}
    for distance in range(1, farthest):
        farther = distance + 1
        for feed in rings[distance]:
            mine = steps.get(feed, 0)
            edges = graph.edges(feed)
            # Beyond the last ring nobody asks, so there only the signers themselves matter.
            targets = wanted if farther == farthest and len(wanted) < len(edges) else edges
            for target in targets:
                if hops.get(target) == farther and edges.get(target) == FOLLOWS:
                    steps[target] = steps.get(target, 0) | mine
    return {
        signer: tuple(feed for place, feed in enumerate(direct) if steps.get(signer, 0) >> place & 1)
        for signer in sorted(wanted)
    }


def witnesses(
    through: Mapping[FeedId, Collection[FeedId]], signers: Collection[FeedId]
) -> tuple[tuple[FeedId, FeedId], ...]:
    """As many pairs (signer, direct follow) as there can be, no signer and no direct follow twice; WITNESSES_MAX most.

    through: see `first_steps`. The same arguments give the same pairs.
    """
    taken: dict[FeedId, FeedId] = {}  # direct follow -> the signer that it stands for
    # Who has the fewest ways goes first, so that the others rarely have to move.
    able = sorted(
        (signer for signer in signers if through.get(signer)), key=lambda signer: (len(through[signer]), signer)
    )
    for signer in able:
        if len(taken) == WITNESSES_MAX:
            break
        _seat(signer, through, taken, set())
    return tuple(sorted((signer, step) for step, signer in taken.items()))


def _seat(
    signer: FeedId, through: Mapping[FeedId, Collection[FeedId]], taken: dict[FeedId, FeedId], asked: set[FeedId]
) -> bool:
    """Find a direct follow for one more signer; whoever has it moves to another one, if it can (Kuhn's matching)."""
    for step in through[signer]:
        if step in asked:
            continue
        asked.add(step)
        if step not in taken or _seat(taken[step], through, taken, asked):
            taken[step] = signer
            return True
    return False
