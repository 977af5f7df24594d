"""Who is how far away: hops through public follows, blocks honoured. Pure.

Edges are read from `contact` messages as ssb-friends 5.1.7 (npm) reads them: the newest message of source about target
decides alone. The values of hops are its values too (dynamic-dijkstra's `simple`, npm):

    0         the root itself
    1, 2 ...  within reach: whom it follows, whom those follow ...
    -1, -2 .. kept out: blocked by somebody who is one hop nearer than the number, or no longer followed by somebody
              who is two hops nearer

The nearest voice counts; of two as near, the one that follows. So the root's own block always wins, and a stranger's
follow or block means nothing. Only who is within reach, and nearer than `hops_max`, has a voice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from ssb_rtc.types import FeedId

FOLLOWS: Final = 1
BLOCKS: Final = -1
NEITHER: Final = 0
"""Said, and so a voice: source followed or blocked once, and does no longer."""

REPLICATED_HOPS: Final = 2
"""How far we replicate by default."""

OnEdge = Callable[[FeedId, FeedId, int | None, int | None], None]

_NO_EDGES: Final[Mapping[FeedId, int]] = MappingProxyType({})
_KEY_CHARACTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


class FollowGraph:
    """Directed edges between feeds. `version` counts changes, so that whoever derives from it knows when to redo it."""

    def __init__(self) -> None:
        self._edges: dict[FeedId, dict[FeedId, int]] = {}
        self._names: dict[FeedId, FeedId] = {}
        self._listeners: list[OnEdge] = []
        self.version = 0

    def set(self, source: FeedId, target: FeedId, kind: int) -> bool:
        """Sets one edge (FOLLOWS, BLOCKS, NEITHER); True when that changed something."""
        edges = self._edges.setdefault(source, {})
        old = edges.get(target)
        if old == kind:
            return False
        # One text a feed, however often it is named: a million edges name ten thousand feeds.
        edges[self._names.setdefault(target, target)] = kind
        self._changed(source, target, old, kind)
        return True

    def drop(self, source: FeedId) -> None:
        """Forgets all edges of one source."""
        for target, old in self._edges.pop(source, {}).items():
            self._changed(source, target, old, None)

    def _changed(self, source: FeedId, target: FeedId, old: int | None, new: int | None) -> None:
        self.version += 1
        for listener in self._listeners:
            listener(source, target, old, new)

    def subscribe(self, listener: OnEdge) -> Callable[[], None]:
        """Calls `listener(source, target, old, new)` after each change, None for no edge; returns what ends that."""
        self._listeners = [*self._listeners, listener]

        def stop() -> None:
            self._listeners = [other for other in self._listeners if other is not listener]

        return stop

    def kind(self, source: FeedId, target: FeedId) -> int:
        """What source says of target."""
        return self._edges.get(source, _NO_EDGES).get(target, NEITHER)

    def edges(self, source: FeedId) -> Mapping[FeedId, int]:
        """What source says of everybody, live and read-only."""
        return MappingProxyType(self._edges.get(source, {}))

    def sources(self) -> Iterator[FeedId]:
        """Everybody who says something of somebody."""
        return iter(tuple(self._edges))

    def follows(self, source: FeedId) -> list[FeedId]:
        """Whom source follows."""
        return [target for target, kind in self._edges.get(source, _NO_EDGES).items() if kind == FOLLOWS]

    def blocks(self, source: FeedId) -> list[FeedId]:
        """Whom source blocks."""
        return [target for target, kind in self._edges.get(source, _NO_EDGES).items() if kind == BLOCKS]

    def hops(self, root: FeedId, hops_max: int = REPLICATED_HOPS, *, reverse: bool = False) -> dict[FeedId, int]:
        """The value of every feed that has one (see above), in one pass over the edges.

        With `reverse`, along the edges backwards: how far each one is from following the root.
        """
        return _hops_over(self._reversed() if reverse else self._edges, root, hops_max)

    def _reversed(self) -> Mapping[FeedId, Mapping[FeedId, int]]:
        turned: dict[FeedId, dict[FeedId, int]] = {}
        for source, edges in self._edges.items():
            for target, kind in edges.items():
                turned.setdefault(target, {})[source] = kind
        return turned


def _hops_over(edges: Mapping[FeedId, Mapping[FeedId, int]], root: FeedId, hops_max: int) -> dict[FeedId, int]:
    values = {root: 0}
    ring = {root}
    let_go: set[FeedId] = set()  # by the ring before the last one
    for hop in range(1, hops_max + 1):
        said: dict[int, set[FeedId]] = {FOLLOWS: set(), BLOCKS: set(), NEITHER: set()}
        for source in ring:
            for target, kind in edges.get(source, _NO_EDGES).items():
                if target not in values:
                    said[kind].add(target)
        ring = said[FOLLOWS]
        values |= dict.fromkeys(ring, hop)
        for target in said[BLOCKS] | let_go:
            values.setdefault(target, -hop)
        let_go = said[NEITHER]
    for target in let_go:
        values.setdefault(target, -hops_max - 1)
    return values


class HopsFrom:
    """The values of `FollowGraph.hops` for one root, kept while edges change.

    For each feed it counts the voices about it, by how far away who speaks is. A change of one edge moves one count;
    only where that moves a value within reach, its own edges are counted anew. Feeds are gone through in the order of
    distance, so each one changes at most twice.
    """

    def __init__(self, graph: FollowGraph, root: FeedId, hops_max: int = REPLICATED_HOPS) -> None:
        self.root = root
        self.hops_max = hops_max
        self._graph = graph
        self._values = graph.hops(root, hops_max)
        # Three counts for each distance of a speaker: 3 * distance + kind % 3.
        self._voices: dict[FeedId, list[int]] = {}
        # Feeds whose value may have changed, by the nearest place that this concerns; the last is "out of reach".
        self._unsettled: list[set[FeedId]] = [set() for _ in range(hops_max + 2)]
        # Their values when changes were last taken.
        self._before: dict[FeedId, int | None] = {}
        for speaker, distance in self._values.items():
            if 0 <= distance < hops_max:
                for target, kind in graph.edges(speaker).items():
                    self._voices_about(target)[3 * distance + kind % 3] += 1
        graph.subscribe(self._edge_changed)

    @property
    def values(self) -> Mapping[FeedId, int]:
        """The value of every feed that has one, live and read-only."""
        self._settle()
        return MappingProxyType(self._values)

    def take_changes(self) -> dict[FeedId, int | None]:
        """The values that changed since the last call, None where there is none any longer."""
        self._settle()
        before, self._before = self._before, {}
        values = self._values
        return {feed: values.get(feed) for feed, old in before.items() if values.get(feed) != old}

    def _edge_changed(self, source: FeedId, target: FeedId, old: int | None, new: int | None) -> None:
        distance = self._values.get(source, -1)
        if 0 <= distance < self.hops_max:
            if old is not None:
                self._count(distance, target, old, -1)
            if new is not None:
                self._count(distance, target, new, 1)

    def _count(self, distance: int, target: FeedId, kind: int, by: int) -> None:
        self._voices_about(target)[3 * distance + kind % 3] += by
        self._look_at(target, self._values.get(target), self._value(target))

    def _voices_about(self, feed: FeedId) -> list[int]:
        voices = self._voices.get(feed)
        if voices is None:
            voices = self._voices[feed] = [0] * (3 * self.hops_max)
        return voices

    def _look_at(self, feed: FeedId, old: int | None, new: int | None) -> None:
        if old != new:
            self._unsettled[min(self._place(old), self._place(new))].add(feed)

    def _place(self, value: int | None) -> int:
        return value if value is not None and value >= 0 else self.hops_max + 1

    def _value(self, feed: FeedId) -> int | None:
        if feed == self.root:
            return 0
        voices = self._voices.get(feed)
        if voices is None:
            return None
        let_go = 0
        for distance in range(self.hops_max):
            neither, follow, block = voices[3 * distance : 3 * distance + 3]
            if follow:
                return distance + 1
            if block or let_go:
                return -distance - 1
            let_go = neither
        if let_go:
            return -self.hops_max - 1
        if not any(voices):
            del self._voices[feed]
        return None

    def _settle(self) -> None:
        for place, feeds in enumerate(self._unsettled):
            while feeds:
                feed = feeds.pop()
                old, new = self._values.get(feed), self._value(feed)
                if place < min(self._place(old), self._place(new)):
                    self._look_at(feed, old, new)
                elif self._place(old) < self._place(new):
                    # What seems to be its new place may hang on what comes behind it, so it goes there later.
                    self._set(feed, old, None)
                    self._look_at(feed, None, self._value(feed))
                elif old != new:
                    self._set(feed, old, new)

    def _set(self, feed: FeedId, old: int | None, new: int | None) -> None:
        self._before.setdefault(feed, old)
        if new is None:
            self._values.pop(feed, None)
        else:
            self._values[feed] = new
        for value, by in ((old, -1), (new, 1)):
            if value is not None and 0 <= value < self.hops_max:
                for target, kind in self._graph.edges(feed).items():
                    self._count(value, target, kind, by)


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
