"""Who is linked to whom: the usual shapes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Literal, TypeVar

from ssb_rtc.errors import MisuseError

Topology = Literal["line", "ring", "star", "full"]
"""line: each with the next; ring: and the last with the first; star: the first with all; full: all with all."""

T = TypeVar("T")


def pairs(topology: Topology, members: Sequence[T]) -> list[tuple[T, T]]:
    """The links of a topology, each as (who dials, who is dialled). Raises MisuseError where it has no such name."""
    match topology:
        case "line":
            return list(pairwise(members))
        case "ring":
            closing = [(members[-1], members[0])] if len(members) > 2 else []
            return [*pairwise(members), *closing]
        case "star":
            return [(members[0], member) for member in members[1:]]
        case "full":
            return list(combinations(members, 2))
    raise MisuseError(f"there is no topology {topology!r}: take line, ring, star or full, or name pairs of peers")
