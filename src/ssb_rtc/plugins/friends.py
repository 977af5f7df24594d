"""Whom we follow and block, and what follows from it: which feeds we replicate and with whom we hold no link.

The calls are those of ssb-friends 5.1.7 (npm), with its shapes: `graph` gives {source: {dest: value}}, 1 for a follow,
-1 for a block, -2 for neither any longer; `hops` gives {feed: value} as feeds.hops explains it. It differs in this:
- hops reach as far as the setting `hops` (2), not 3, unless `max` asks for more;
- `hopStream` tells of a feed that falls out of reach altogether (with the least value there is), where npm's is silent;
- a feed has no edge to itself;
- follows and blocks are public: `recps` is refused, so that nobody believes in a private block that nothing honours.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping
from typing import ClassVar, Final, Generic, TypeVar

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds.hops import BLOCKS, FOLLOWS, NEITHER, HopsFrom
from ssb_rtc.feeds.refs import is_feed_id
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.plugins.feed import encode_stored
from ssb_rtc.storage.log import Stored
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import FeedId, Json, JsonObject, peer_of

K = TypeVar("K")
OnHops = Callable[[Mapping[FeedId, int | None]], None]

HOPS_ASKED_MAX: Final = 64
_WEIGHTS: Final = {FOLLOWS: 1, BLOCKS: -1, NEITHER: -2}


class Friends:
    """Keeps `Context.wanted` and `Context.blocked` after the follow graph, and answers `friends.*`."""

    name = "friends"
    version = "1.0.0"
    manifest: ClassVar[Mapping[str, str]] = {
        "friends.follow": "async",
        "friends.isFollowing": "async",
        "friends.block": "async",
        "friends.isBlocking": "async",
        "friends.hops": "async",
        "friends.hopStream": "source",
        "friends.graph": "async",
        "friends.graphStream": "source",
        "friends.help": "sync",
    }
    permissions: ClassVar[PermissionLists] = {"remote": []}

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        self._context = context
        self._own = context.keys.id
        self._graph = context.log.graph
        self._hops = HopsFrom(self._graph, self._own, context.settings.hops)
        self._reach = context.settings.hops
        self._own_edges_changed = True
        self._on_hops: list[OnHops] = []
        self._graph.subscribe(self._edge_changed)
        context.ingest.subscribe(lambda _stored: self.settle())
        self.limit(self._reach)
        self.settle()
        return {
            "friends.follow": self._serve_follow,
            "friends.isFollowing": self._is_following,
            "friends.block": self._serve_block,
            "friends.isBlocking": self._is_blocking,
            "friends.hops": self._serve_hops,
            "friends.hopStream": self._hop_stream,
            "friends.graph": self._serve_graph,
            "friends.graphStream": self._graph_stream,
            "friends.help": _help,
        }

    # --- for the rest of the peer, and for applications ---

    async def follow(self, feed: FeedId) -> Stored:
        """Publishes that we follow this feed. Raises MisuseError where it is none or our own, and what publish does."""
        return await self._say(feed, {"following": True})

    async def unfollow(self, feed: FeedId) -> Stored:
        """Publishes that we no longer follow this feed; as `follow`."""
        return await self._say(feed, {"following": False})

    async def block(self, feed: FeedId, reason: str | None = None) -> Stored:
        """Publishes that we block this feed: no replication of it, no link with its peer; as `follow`."""
        return await self._say(feed, {"blocking": True, **({} if reason is None else {"reason": reason})})

    async def unblock(self, feed: FeedId) -> Stored:
        """Publishes that we no longer block this feed; as `follow`."""
        return await self._say(feed, {"blocking": False})

    def follows(self, feed: FeedId | None = None) -> list[FeedId]:
        """Whom a feed (by default ours) follows."""
        return self._graph.follows(feed or self._own)

    def blocks(self, feed: FeedId | None = None) -> list[FeedId]:
        """Whom a feed (by default ours) blocks."""
        return self._graph.blocks(feed or self._own)

    def hops(self) -> dict[FeedId, int]:
        """How far away each feed within reach is: 0 our own, 1 whom we follow ..."""
        return {feed: value for feed, value in self._hops.values.items() if value >= 0}

    def is_within_reach(self, feed: FeedId) -> bool:
        """Whether we replicate this feed, or would if nothing limited us."""
        return self._hops.values.get(feed, -1) >= 0

    def subscribe(self, listener: OnHops) -> None:
        """Calls `listener({feed: value or None})` with the values of hops that changed, after each commit."""
        self._on_hops.append(listener)

    def limit(self, hops_max: int) -> None:
        """Replicates only feeds up to this distance from now on, even if the setting `hops` says more."""
        self._reach = hops_max
        self._context.wanted.replace([feed for feed, value in self._hops.values.items() if self._is_wanted(value)])

    def settle(self) -> None:
        """Makes what is wanted and blocked follow the graph; called after each commit."""
        if self._own_edges_changed:
            self._own_edges_changed = False
            self._context.blocked.replace([peer_of(feed) for feed in self._graph.blocks(self._own)])
        changes = self._hops.take_changes()
        if changes:
            wanted = {feed for feed, value in changes.items() if self._is_wanted(value)}
            self._context.wanted.change(wanted, changes.keys() - wanted)
            for listener in tuple(self._on_hops):
                listener(changes)

    def _is_wanted(self, value: int | None) -> bool:
        return value is not None and 0 <= value <= self._reach

    def _edge_changed(self, source: FeedId, _target: FeedId, _old: int | None, _new: int | None) -> None:
        self._own_edges_changed = self._own_edges_changed or source == self._own

    async def _say(self, feed: FeedId, more: JsonObject) -> Stored:
        if feed == self._own:
            raise MisuseError(f"{feed} is our own feed: give the id of somebody else's")
        if not is_feed_id(feed):
            raise MisuseError(f"this takes the id of somebody's feed, like @<44 characters>.ed25519, not {feed!r}")
        return await self._context.author.publish({"type": "contact", "contact": feed, **more})

    # --- friends.* ---

    async def _serve_follow(self, _link: Link, feed: Json = None, options: Json = None) -> Json:
        chosen = _options_of(options)
        return encode_stored(await self._say(_feed(feed, "follow"), {"following": _state_of(chosen)}))

    async def _serve_block(self, _link: Link, feed: Json = None, options: Json = None) -> Json:
        chosen = _options_of(options)
        reason = chosen.get("reason")
        more: JsonObject = {"blocking": _state_of(chosen)}
        if isinstance(reason, str):
            more["reason"] = reason
        return encode_stored(await self._say(_feed(feed, "block"), more))

    async def _is_following(self, _link: Link, options: Json = None) -> Json:
        return self._says(options, FOLLOWS)

    async def _is_blocking(self, _link: Link, options: Json = None) -> Json:
        return self._says(options, BLOCKS)

    def _says(self, options: Json, kind: int) -> Json:
        chosen = options if isinstance(options, dict) else {}
        response = self._graph.kind(_feed(chosen.get("source"), "source"), _feed(chosen.get("dest"), "dest")) == kind
        return {"response": response, "private": False} if chosen.get("details") else response

    async def _serve_hops(self, _link: Link, options: Json = None) -> Json:
        chosen = options if isinstance(options, dict) else {}
        start = _feed(chosen.get("start") or self._own, "start")
        most = _hops_max(chosen.get("max"), self._hops.hops_max)
        if chosen.get("reverse") is True or start != self._own or most > self._hops.hops_max:
            return dict(self._graph.hops(start, most, reverse=chosen.get("reverse") is True))
        return {feed: value for feed, value in self._hops.values.items() if value <= most}

    async def _hop_stream(self, _link: Link, options: Json = None) -> AsyncIterator[Json]:
        live, old = _stream_options(options)
        news: _News[FeedId] = _News()
        if live:
            self._on_hops.append(news.put)
        try:
            if old or not live:
                yield dict(self._hops.values)
            out_of_reach = -self._hops.hops_max - 1
            while live:
                yield {feed: out_of_reach if value is None else value for feed, value in (await news.take()).items()}
        finally:
            if live:
                self._on_hops.remove(news.put)

    async def _serve_graph(self, _link: Link) -> Json:
        return self._whole_graph()

    def _whole_graph(self) -> JsonObject:
        return {
            source: {target: _WEIGHTS[kind] for target, kind in self._graph.edges(source).items()}
            for source in self._graph.sources()
        }

    async def _graph_stream(self, _link: Link, options: Json = None) -> AsyncIterator[Json]:
        live, old = _stream_options(options)
        news: _News[tuple[FeedId, FeedId]] = _News()

        def take(source: FeedId, target: FeedId, _old: int | None, new: int | None) -> None:
            news.put({(source, target): new})

        stop = self._graph.subscribe(take) if live else lambda: None
        try:
            if old or not live:
                yield self._whole_graph()
            while live:
                for (source, target), kind in (await news.take()).items():
                    yield {source: {target: _WEIGHTS[NEITHER if kind is None else kind]}}
        finally:
            stop()


class _News(Generic[K]):
    """What a live stream has not told yet. Newer words replace older ones, so a slow reader costs no more than that."""

    def __init__(self) -> None:
        self._untold: dict[K, int | None] = {}
        self._some = asyncio.Event()

    def put(self, changes: Mapping[K, int | None]) -> None:
        for key, value in changes.items():
            self._untold.pop(key, None)
            self._untold[key] = value
        self._some.set()

    async def take(self) -> dict[K, int | None]:
        await self._some.wait()
        self._some.clear()
        told, self._untold = self._untold, {}
        return told


def _feed(value: Json, what: str) -> FeedId:
    if not isinstance(value, str) or not is_feed_id(value):
        raise MisuseError(f"{what} requires a feedId, got {value!r}")
    return FeedId(value)


def _options_of(options: Json) -> JsonObject:
    chosen = options if isinstance(options, dict) else {}
    if chosen.get("recps"):
        raise MisuseError("a follow or block can't be private here, for nothing would honour it: leave out recps")
    return chosen


def _state_of(chosen: JsonObject) -> bool:
    state = chosen.get("state", True)
    if not isinstance(state, bool):
        raise MisuseError(f"state is true or false, not {state!r}")
    return state


def _hops_max(value: Json, default: int) -> int:
    if not value:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise MisuseError(f"max is a number of hops, not {value!r}")
    return min(math.ceil(value), HOPS_ASKED_MAX)


def _stream_options(options: Json) -> tuple[bool, bool]:
    chosen = options if isinstance(options, dict) else {}
    return bool(chosen.get("live", True)), bool(chosen.get("old", False))


async def _help(_link: Link) -> Json:
    return _HELP


_FEED: Final = {"type": "FeedId"}
_PAIR: Final = {
    "source": {**_FEED, "description": "whose contact message it is"},
    "dest": {**_FEED, "description": "whom that message is about"},
}
_STREAM: Final = {
    "live": {"type": "boolean", "description": "tell of changes from now on, true by default"},
    "old": {"type": "boolean", "description": "begin with what there is, false by default"},
}
_HELP: Final[JsonObject] = {
    "description": "whom feeds follow and block, and how far away they are",
    "commands": {
        "isFollowing": {"type": "async", "description": "whether one feed follows another", "args": _PAIR},
        "isBlocking": {"type": "async", "description": "whether one feed blocks another", "args": _PAIR},
        "hops": {
            "type": "async",
            "description": "every feed that is followed or blocked from start, with its distance",
            "args": {
                "start": {**_FEED, "description": "where to begin, our own feed by default"},
                "max": {"type": "number", "description": "up to how many hops"},
            },
        },
        "hopStream": {"type": "source", "description": "distances as they change", "args": _STREAM},
        "graph": {"type": "async", "description": "every follow (1), block (-1) and end of either (-2)", "args": {}},
        "graphStream": {"type": "source", "description": "edges of the graph as they change", "args": _STREAM},
    },
}
