"""A running peer as it changes, for whoever shows it live: peers, hubs, feeds and figures.

    rtc.watch()     -> an item a second at most, with what changed since the one before; the first has everything
    rtc.progress()  -> {feeds: [{id, have, missing}], total: {feeds, messages, missing}}, those that lack most first

An item of `rtc.watch` holds some of {peers: {changed: [row], removed: [id]}, hubs: [row], feeds: {changed: [row],
removed: [id]}, status: {...}}; its rows have names (plugins.names). It costs nothing while nobody watches.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, TypeAlias

from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.plugins.gossip import Gossip
from ssb_rtc.plugins.names import Names
from ssb_rtc.storage.log import Stored
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import FeedId, Json, JsonObject, peer_of

if TYPE_CHECKING:
    from ssb_rtc.runtime.peer_watch import PeerWatch

LOOK_S: Final = 1.0
FEEDS_MAX: Final = 2_000
"""Feeds whose progress is shown one by one; the totals count all."""
FEED_ROWS_MAX: Final = 500
"""Of them, so many in one item after the first; the others wait for the next one."""


Changes: TypeAlias = tuple[list[JsonObject], Sequence[str]]
"""Rows that are new or another than before, and the ids of those that are gone."""


class Shown(Protocol):
    """What of a peer is watched; see controls.PeerControls."""

    def hubs(self) -> list[JsonObject]: ...

    def figures(self) -> JsonObject: ...

    def watch_peers(self) -> PeerWatch: ...


class Watching:
    """Serves `rtc.watch` and `rtc.progress`."""

    name = "watching"
    version = "1.0.0"
    manifest: ClassVar[Mapping[str, str]] = {"rtc.watch": "source", "rtc.progress": "async"}
    permissions: ClassVar[PermissionLists] = {"remote": []}

    def __init__(self, shown: Shown, gossip: Gossip, names: Names) -> None:
        self._shown = shown
        self._gossip = gossip
        self._names = names
        self._watches: set[_FeedWatch] = set()

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        self._context = context
        context.wanted.subscribe(self._wanted_changed)
        return {"rtc.watch": self._watch, "rtc.progress": self._progress}

    def _wanted_changed(self, added: frozenset[FeedId], removed: frozenset[FeedId]) -> None:
        for watch in self._watches:
            watch.due.update(dict.fromkeys((*added, *removed)))

    async def _progress(self, _link: Link) -> Json:
        watch = _FeedWatch(self._context, self._gossip.missing_by_feed)
        rows, _ = watch.look()
        rows.sort(key=lambda row: (-row["missing"], row["id"]))
        return {"feeds": rows, "total": watch.total()}

    async def _watch(self, _link: Link) -> AsyncIterator[Json]:
        context, names = self._context, self._names
        peers, feeds = self._shown.watch_peers(), _FeedWatch(context, self._gossip.missing_by_feed)
        renamed: dict[FeedId, None] = {}
        told: JsonObject = {}

        def committed(stored: Sequence[Stored]) -> None:
            feeds.due.update(dict.fromkeys(message.author for message in stored))

        ends = [names.subscribe(lambda feed: renamed.update({feed: None})), context.ingest.subscribe(committed)]
        self._watches.add(feeds)
        try:
            while True:
                news, renamed_now = list(renamed), [peer_of(feed) for feed in renamed]
                renamed.clear()
                feeds.rename(news)
                changes = {"peers": peers.look(renamed_now), "feeds": feeds.look()}
                item = self._changes(changes, {**self._shown.figures(), **feeds.total()}, told)
                if item:
                    yield item
                await asyncio.sleep(LOOK_S)
        finally:
            self._watches.discard(feeds)
            for end in ends:
                end()

    def _changes(self, changes: Mapping[str, Changes], status: JsonObject, told: JsonObject) -> JsonObject:
        """One item; `told` holds what the last one said of hubs and figures."""
        item: JsonObject = {}
        for name, (rows, removed) in changes.items():
            for row in rows:
                row["name"] = self._names.known(FeedId(row["id"]))
            if rows or removed or not told:
                item[name] = {"changed": rows, "removed": list(removed)}
        hubs = self._shown.hubs()
        for name, value, lasting in (
            ("hubs", hubs, [{**hub, "connected_s": 0} for hub in hubs]),
            ("status", status, status),
        ):
            if told.get(name) != lasting:
                told[name], item[name] = lasting, value
        return item


class _FeedWatch:
    """What changes in how much we hold of each feed, and how much more linked peers say that there is."""

    def __init__(self, context: Context, missing: Callable[[], dict[FeedId, int]]) -> None:
        self._context = context
        self._missing_now = missing
        self._missing: dict[FeedId, int] = {}
        self._told: dict[FeedId, tuple[int, int]] = {}
        self.due: dict[FeedId, None] = dict.fromkeys((*context.wanted.feeds, *context.log.heads()))

    def rename(self, feeds: Sequence[FeedId]) -> None:
        """The rows of these are told anew."""
        for feed in feeds:
            if self._told.pop(feed, None) is not None:
                self.due[feed] = None

    def look(self) -> Changes:
        """The rows {id, have, missing} that changed since the last look (at first: all), and what feeds are gone."""
        first, before, missing = not self._told, self._missing, self._missing_now()
        changed = {feed for feed in missing.keys() | before.keys() if missing.get(feed) != before.get(feed)}
        self._missing = missing
        # What lacks something comes first: where there are more feeds than are shown, that is what one wants to see.
        self.due = {**dict.fromkeys(changed), **self.due}
        rows, gone = [], []
        for feed in list(islice(self.due, FEEDS_MAX if first else FEED_ROWS_MAX)):
            del self.due[feed]
            head = self._context.log.head(feed)
            if head is None and feed not in self._context.wanted:
                if self._told.pop(feed, None) is not None:
                    gone.append(feed)
                continue
            now = (head.sequence if head is not None else 0, missing.get(feed, 0))
            if self._told.get(feed) != now and (feed in self._told or len(self._told) < FEEDS_MAX):
                self._told[feed] = now
                rows.append({"id": feed, "have": now[0], "missing": now[1]})
        if first:
            self.due.clear()
        return rows, gone

    def total(self) -> JsonObject:
        """{feeds, messages, missing} over all feeds, also those that are not shown."""
        log = self._context.log
        return {"feeds": len(log.heads()), "messages": log.count(), "missing": sum(self._missing.values())}
