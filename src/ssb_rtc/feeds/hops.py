"""Who is how far away: hops through public follows, blocks honoured. Pure.

0 is the root itself, 1 whom it follows, 2 whom those follow. Edge kinds and their reading from `contact` messages are
those of ssb-friends 5.1.7 (`contacts.js`): the newest message of source about target decides alone.
A block counts by the nearest voice: the root's own always wins; somebody else's keeps a feed out only when no one as
near as the blocker follows it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from ssb_rtc.types import FeedId

FOLLOWS: Final = 1
BLOCKS: Final = -1
NEITHER: Final = 0

REPLICATED_HOPS: Final = 2
"""How far we replicate by default."""

_NO_EDGES: Final[Mapping[FeedId, int]] = MappingProxyType({})
_KEY_CHARACTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


class FollowGraph:
    """Directed edges between feeds. `version` counts changes, so that whoever derives from it knows when to redo it."""

    def __init__(self) -> None:
        self._edges: dict[FeedId, dict[FeedId, int]] = {}
        self.version = 0

    def set(self, source: FeedId, target: FeedId, kind: int) -> bool:
        """Sets one edge (FOLLOWS, BLOCKS, NEITHER); True when that changed something."""
        edges = self._edges.setdefault(source, {})
        if edges.get(target, NEITHER) == kind:
            return False
        if kind == NEITHER:
            del edges[target]
        else:
            edges[target] = kind
        self.version += 1
        return True

    def drop(self, source: FeedId) -> None:
        """Forgets all edges of one source."""
        if self._edges.pop(source, None):
            self.version += 1

    def kind(self, source: FeedId, target: FeedId) -> int:
        """What source says of target."""
        return self._edges.get(source, _NO_EDGES).get(target, NEITHER)

    def edges(self, source: FeedId) -> Mapping[FeedId, int]:
        """What source says of everybody, live and read-only."""
        return MappingProxyType(self._edges.get(source, {}))

    def follows(self, source: FeedId) -> list[FeedId]:
        """Whom source follows."""
        return [target for target, kind in self._edges.get(source, _NO_EDGES).items() if kind == FOLLOWS]

    def blocks(self, source: FeedId) -> list[FeedId]:
        """Whom source blocks."""
        return [target for target, kind in self._edges.get(source, _NO_EDGES).items() if kind == BLOCKS]

    def hops(
        self, root: FeedId, hops_max: int = REPLICATED_HOPS, *, blocked: Collection[FeedId] = ()
    ) -> dict[FeedId, int]:
        """Every feed within `hops_max` of root with its distance, in order of distance; one pass over the edges.

        `blocked` are further feeds that the root keeps out (its settings, beside its published blocks).
        """
        out = {*self.blocks(root), *blocked} - {root}
        distance = {root: 0}
        ring = [root]
        for hop in range(1, hops_max + 1):
            found: dict[FeedId, int] = {}
            shunned: set[FeedId] = set()
            for source in ring:
                for target, kind in self._edges.get(source, _NO_EDGES).items():
                    if target in distance or target in out:
                        continue
                    if kind == FOLLOWS:
                        found[target] = hop
                    elif kind == BLOCKS:
                        shunned.add(target)
            out |= shunned - found.keys()
            distance.update(found)
            ring = list(found)
        return distance


def edge_of(author: FeedId, content: object) -> tuple[FeedId, FeedId, int] | None:
    """The edge that a message's content sets, or None: `{type: 'contact', contact, following, blocking, flagged}`."""
    if not isinstance(content, dict) or content.get("type") != "contact":
        return None
    target = content.get("contact")
    if not isinstance(target, str) or not _is_feed(target) or target == author:
        return None
    if _truthy(content.get("blocking")) or _truthy(content.get("flagged")):
        return author, FeedId(target), BLOCKS
    return author, FeedId(target), FOLLOWS if content.get("following") is True else NEITHER


def _is_feed(text: str) -> bool:
    return (
        len(text) == 53
        and text[0] == "@"
        and text.endswith("=.ed25519")
        and all(c in _KEY_CHARACTERS for c in text[1:44])
    )


def _truthy(value: object) -> bool:
    """JavaScript's: an empty list or object is true there."""
    return value is not None and value != "" and value is not False and (value != 0 or isinstance(value, (list, dict)))
