"""The follow graph of a world: a ring of neighbourhoods with some far friends, or everybody with everybody."""

from __future__ import annotations

from ssb_rtc.sim.dice import Dice


def follow_graph(number: int, follows: int, far: float, dice: Dice) -> list[list[int]]:
    """Whom each of so many peers follows; `far` is the share of follows that lead far away."""
    if follows == 0 or follows >= number - 1:
        return [[other for other in range(number) if other != peer] for peer in range(number)]
    graph: list[dict[int, bool]] = [{} for _ in range(number)]
    for peer in range(number):
        for step in range(1, follows // 2 + 1):
            for other in ((peer + step) % number, (peer - step) % number):
                chosen = dice.below(number) if dice.chance(far) else other
                if chosen != peer:
                    graph[peer][chosen] = True
    return [list(followed) for followed in graph]


def within_two_hops(graph: list[list[int]], peer: int) -> dict[int, int]:
    """Whose feeds a peer replicates, with how far away they are."""
    hops = dict.fromkeys(graph[peer], 1)
    for followed in graph[peer]:
        for other in graph[followed]:
            if other != peer:
                hops.setdefault(other, 2)
    return hops
