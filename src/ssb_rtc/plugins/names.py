"""How people call themselves: the latest name that each feed gave itself (`about` messages), found once and kept.

`rtc.names([feed, ...])` gives {feed: name or null}. What others call somebody is not looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import ClassVar, Final

from ssb_rtc.errors import MisuseError, StorageFault
from ssb_rtc.feeds.refs import is_feed_id
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.storage.index_links import LinkIndex
from ssb_rtc.storage.log import Stored
from ssb_rtc.storage.query import Query
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import FeedId, Json

logger = logging.getLogger(__name__)

NAMES_MAX: Final = 5_000
"""Names that are kept; those asked for least recently go first."""
ASKED_MAX: Final = 1_000
"""Feeds in one call."""
NAME_CHARACTERS_MAX: Final = 64
ABOUTS_MAX: Final = 200
"""Of one feed's messages about itself, so many are looked at, the newest first."""
BEHIND_MAX: Final = 2_000
"""While the index of links lacks more messages than this, as in a first sync, no new names are looked for."""
BEHIND_PAUSE_S: Final = 2.0

OnName = Callable[[FeedId], None]


class Names:
    """Finds and keeps names."""

    name = "names"
    version = "1.0.0"
    manifest: ClassVar[Mapping[str, str]] = {"rtc.names": "async"}
    permissions: ClassVar[PermissionLists] = {"remote": []}

    def __init__(self) -> None:
        self._known: OrderedDict[FeedId, str | None] = OrderedDict()
        self._wanted: OrderedDict[FeedId, None] = OrderedDict()
        self._on_name: list[OnName] = []
        self._looking: asyncio.Task[None] | None = None

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        self._context = context
        context.ingest.subscribe(self._committed)
        return {"rtc.names": self._names}

    def known(self, feed: FeedId) -> str | None:
        """The name, where it is known already; else it is looked for, and who has subscribed hears of it."""
        if feed in self._known:
            self._known.move_to_end(feed)
            return self._known[feed]
        if self._context.log.head(feed) is not None and len(self._wanted) < NAMES_MAX:
            self._wanted[feed] = None
            if self._looking is None:
                self._looking = asyncio.get_running_loop().create_task(self._look())
        return None

    def subscribe(self, listener: OnName) -> Callable[[], None]:
        """Calls `listener(feed)` when a name became known, or may be another now; what this returns ends it."""
        self._on_name.append(listener)
        return lambda: self._on_name.remove(listener)

    async def find(self, feed: FeedId) -> str | None:
        """The name, found now if need be. Raises StorageFault."""
        if feed not in self._known:
            self._keep(feed, await self._find(feed))
        return self._known.get(feed)

    async def close(self) -> None:
        """See Closing."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _names(self, _link: Link, feeds: Json = None) -> Json:
        if not isinstance(feeds, list) or len(feeds) > ASKED_MAX or not all(map(is_feed_id, feeds)):
            raise MisuseError(f"this takes a list of up to {ASKED_MAX} feed ids")
        return {feed: await self.find(FeedId(feed)) for feed in feeds}

    def _committed(self, stored: Sequence[Stored]) -> None:
        for message in stored:
            if message.author in self._known and b'"about"' in message.raw:
                del self._known[message.author]
                self._tell(message.author)

    async def _look(self) -> None:
        try:
            while self._wanted:
                if self._is_behind():
                    await asyncio.sleep(BEHIND_PAUSE_S)
                    continue
                feed, _ = self._wanted.popitem(last=False)
                self._keep(feed, await self._find(feed))
                self._tell(feed)
                await asyncio.sleep(0)
        except StorageFault as fault:
            logger.warning("names are not looked for just now: %s", fault)
        finally:
            self._wanted.clear()
            self._looking = None

    def _is_behind(self) -> bool:
        context = self._context
        return context.log.last_rowid - context.indexes.cursor(LinkIndex.name) > BEHIND_MAX

    async def _find(self, feed: FeedId) -> str | None:
        if self._context.log.head(feed) is None:
            return None
        query = Query(author=feed, links_to=feed, rel="about", newest_first=True, limit=ABOUTS_MAX)
        async with aclosing(self._context.queries.old(query)) as abouts:
            async for stored in abouts:
                name = name_in(stored.value()["content"], feed)
                if name is not None:
                    return name
        return None

    def _keep(self, feed: FeedId, name: str | None) -> None:
        self._known[feed] = name
        if len(self._known) > NAMES_MAX:
            self._known.popitem(last=False)

    def _tell(self, feed: FeedId) -> None:
        for listener in tuple(self._on_name):
            listener(feed)


def name_in(content: Json, feed: FeedId) -> str | None:
    """The name that this content, written by `feed`, gives `feed`: one line of at most NAME_CHARACTERS_MAX, or None.

    What could steer a terminal or turn the direction of writing around is a blank in it.
    """
    if not isinstance(content, dict) or content.get("type") != "about" or content.get("about") != feed:
        return None
    name = content.get("name")
    return shown_name(name) if isinstance(name, str) else None


def shown_name(name: str) -> str | None:
    """A name as it is shown; see name_in."""
    shown = "".join(one if one.isprintable() else " " for one in name[: 4 * NAME_CHARACTERS_MAX])
    return " ".join(shown.split())[:NAME_CHARACTERS_MAX].strip() or None
