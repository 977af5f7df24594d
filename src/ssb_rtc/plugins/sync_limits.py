"""What keeps replication within bounds: a storage quota, a question before a large first sync, and purging.

Both bounds narrow how far we replicate (`Friends.limit`); nothing that is held is thrown away by itself.
- The database reaches the setting `storage_max`: only our own feed and those that we follow directly go on, and from a
  tenth beyond it only our own. It ends by itself when there is room: after a purge, or with a greater setting.
- The clocks of peers say that more than `first_sync_max` messages are missing, and nobody has agreed to that yet: only
  whom we follow directly until the owner answers. The question is kept while nobody is linked, and goes away when those
  who are claim no more than that any longer; it comes back when somebody does. The answer is kept for good.

Pages that a purge leaves empty are used again for new messages. What it leaves of pages that others share is not, for
new messages go to the end of the table: `compact` gives that back, and makes the file smaller.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import msgspec

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds.refs import is_feed_id
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.plugins.friends import Friends
from ssb_rtc.plugins.gossip import Gossip
from ssb_rtc.storage.log import Stored
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import FeedId, Json, JsonObject

logger = logging.getLogger(__name__)

DIRECT_HOPS: Final = 1
MEASURE_MESSAGES: Final = 100
"""New messages after which the database is measured again."""
RESERVE: Final = 0.1
"""How far beyond the quota those go on whom we follow directly, as a part of it."""
ROOM_AGAIN: Final = 0.05
"""How far below a mark the database has to be before what it ended goes on, as a part of the quota."""
LOOK_DELAY_S: Final = 0.05
LOOK_PAUSE_S: Final = 2.0
"""Between two sums over all clocks."""
CLAIM_MAX: Final = 1_000_000
"""What one feed counts at most: a clock may claim anything."""
MESSAGE_BYTES: Final = 830
"""The usual size of a message on the disk, taken while we hold too few to know better."""
MESSAGES_TO_KNOW: Final = 1_000

_ANSWER: Final = "sync.answer"
_QUESTION: Final = "sync.question"


class Question(msgspec.Struct, frozen=True):
    """What a sync that nobody has agreed to would fetch."""

    messages: int
    bytes: int
    feeds: int

    def __str__(self) -> str:
        return (
            f"this will fetch about {self.messages:,} messages, {self.bytes / 1e6:,.0f} MB, from {self.feeds:,} feeds"
        )


class SyncLimits:
    """Measures, asks, narrows, purges; `sync.*` for callers on this machine."""

    name = "sync"
    version = "1.0.0"
    manifest: ClassVar[Mapping[str, str]] = {
        "sync.status": "async",
        "sync.accept": "async",
        "sync.decline": "async",
        "sync.purge": "async",
        "sync.compact": "async",
    }
    permissions: ClassVar[PermissionLists] = {"remote": []}

    def __init__(self, friends: Friends, gossip: Gossip) -> None:
        self._friends = friends
        self._gossip = gossip
        self._looking: asyncio.TimerHandle | None = None
        self._looked_s = float("-inf")
        self._unmeasured = 0
        self._used_bytes = 0
        self._storage_hops: int | None = None
        self._asked = asyncio.Event()

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init; the plugins given to this one come before it."""
        self._context = context
        self._database = context.log.database
        self._answer = self._database.meta(_ANSWER)
        question = self._database.meta(_QUESTION)
        self.question = msgspec.json.decode(question, type=Question) if question else None
        context.ingest.subscribe(self._committed)
        self._gossip.subscribe_clocks(self._look_soon)
        self._friends.subscribe(lambda _changes: self._look_soon())
        self._measure()
        self._apply()
        return {
            "sync.status": self._serve_status,
            "sync.accept": self._serve_accept,
            "sync.decline": self._serve_decline,
            "sync.purge": self._serve_purge,
            "sync.compact": self._serve_compact,
        }

    async def close(self) -> None:
        """See base.Closing."""
        if self._looking is not None:
            self._looking.cancel()

    @property
    def reach(self) -> int:
        """Up to how many hops we replicate now."""
        bounds = [self._context.settings.hops]
        if self.question is not None or self._answer == "decline":
            bounds.append(DIRECT_HOPS)
        if self._storage_hops is not None:
            bounds.append(self._storage_hops)
        return min(bounds)

    def _apply(self) -> None:
        warnings = self._context.warnings
        if self.question is None:
            warnings.pop("sync", None)
        else:
            self._asked.set()
            warnings["sync"] = (
                f"{self.question}: run `ssb-rtc sync --accept` (or --decline: only whom you follow directly)"
            )
        if self._storage_hops is None:
            warnings.pop("storage", None)
        else:
            warnings["storage"] = self._storage_warning(self._storage_hops)
        self._friends.limit(self.reach)

    # --- storage ---

    def _committed(self, stored: Sequence[Stored]) -> None:
        self._unmeasured += len(stored)
        if self._unmeasured >= MEASURE_MESSAGES:
            self._measure()

    def _measure(self) -> None:
        self._unmeasured = 0
        self._used_bytes = self._database.used_bytes()
        before, self._storage_hops = self._storage_hops, self._storage_bound()
        if before != self._storage_hops:
            if self._storage_hops is None:
                logger.warning("there is room in the storage again: feeds are fetched as before")
            else:
                logger.warning("%s", self._storage_warning(self._storage_hops))
            self._apply()

    def _storage_bound(self) -> int | None:
        most, bound = self._context.settings.storage_max, self._storage_hops
        if not most:
            return None
        for hops, mark in ((0, 1 + RESERVE), (DIRECT_HOPS, 1.0)):
            is_in_force = bound is not None and bound <= hops
            if self._used_bytes >= most * (mark - ROOM_AGAIN if is_in_force else mark):
                return hops
        return None

    def _storage_warning(self, hops: int) -> str:
        used, most = self._used_bytes / 1e6, self._context.settings.storage_max / 1e6
        whom = "whom you follow directly" if hops else "your own"
        return (
            f"the storage is full ({used:,.0f} of {most:,.0f} MB), so no feeds are fetched but {whom}: remove some with"
            " `ssb-rtc purge --all --compact`, or start with a greater --storage-max"
        )

    # --- the question ---

    def _look_soon(self) -> None:
        """Sums the clocks up in a moment: they come in pieces, and the sum goes through all feeds."""
        if self._answer is None and self._looking is None and self._context.settings.first_sync_max:
            since_s = self._context.now_s() - self._looked_s
            self._looking = asyncio.get_running_loop().call_later(max(LOOK_DELAY_S, LOOK_PAUSE_S - since_s), self._look)

    def _look(self) -> None:
        self._looking, self._looked_s = None, self._context.now_s()
        found = self._missing(self._context.settings.hops)
        if self._answer is None and found.messages > self._context.settings.first_sync_max:
            if self.question is None:
                logger.warning("%s; it waits for an answer (`ssb-rtc sync`)", found)
            self._ask(found)
        elif self._answer is None and self.question is not None and self._is_linked():
            logger.warning("no large sync is waiting any more: feeds are fetched as before")
            self._ask(None)

    def _ask(self, question: Question | None) -> None:
        self._set(_QUESTION, None if question is None else msgspec.json.encode(question).decode())
        self.question = question
        self._apply()

    def _is_linked(self) -> bool:
        """Whether there are clocks to judge by: a question outlives the links that it came from."""
        return any(not link.local for link in self._context.links.live())

    def _missing(self, reach: int) -> Question:
        """What linked peers say that they have, of feeds up to so many hops away, and we lack."""
        log = self._context.log
        messages = feeds = 0
        for feed, hops in self._friends.hops().items():
            if hops > reach:
                continue
            head = log.head(feed)
            missing = min(self._gossip.claimed(feed), CLAIM_MAX) - (head.sequence if head else 0)
            if missing > 0:
                messages += missing
                feeds += 1
        held = log.count()
        size_bytes = self._database.used_bytes() // held if held >= MESSAGES_TO_KNOW else MESSAGE_BYTES
        return Question(messages, messages * size_bytes, feeds)

    async def asked(self) -> Question:
        """Waits until there is a question to answer."""
        while self.question is None:
            self._asked.clear()
            await self._asked.wait()
        return self.question

    def answer(self, *, accept: bool) -> None:
        """The owner's word, which is kept: fetch all within the setting `hops`, or only whom we follow directly."""
        self._answer = "accept" if accept else "decline"
        self._set(_ANSWER, self._answer)
        self._ask(None)

    def _set(self, key: str, value: str | None) -> None:
        if self._database.meta(key) != value:
            self._database.set_meta(key, value)

    # --- purging ---

    async def purge(self, feed: FeedId) -> int:
        """Removes a feed from the disk, as if it had never been fetched; returns how many messages that were.

        Raises MisuseError for our own feed and for one that would be fetched again, StorageFault.
        """
        if feed == self._context.keys.id:
            raise MisuseError("our own feed is never purged: nobody could write to it again")
        if self._friends.is_within_reach(feed):
            raise MisuseError(f"{feed} is within reach, so it would be fetched again: unfollow or block it first")
        await self._context.ingest.settle(feed)
        removed = self._context.log.purge(feed)
        if feed in self._context.forks:
            self._context.forks.reset(feed)
        self._friends.settle()
        self._measure()
        return removed

    def purgeable(self) -> list[FeedId]:
        """Every feed that is held and is not within reach."""
        own = self._context.keys.id
        return [feed for feed in self._context.log.heads() if feed != own and not self._friends.is_within_reach(feed)]

    # --- sync.* ---

    async def _serve_status(self, _link: Link) -> Json:
        self._measure()
        purgeable = self.purgeable()
        heads = self._context.log.heads()
        return {
            "reach": self.reach,
            "used": self._used_bytes,
            "max": self._context.settings.storage_max,
            "question": None if self.question is None else msgspec.to_builtins(self.question),
            "answer": self._answer,
            "missing": msgspec.to_builtins(self._missing(self.reach)),
            "purgeable": {"feeds": len(purgeable), "messages": sum(heads[feed].sequence for feed in purgeable)},
        }

    async def _serve_accept(self, _link: Link) -> Json:
        self.answer(accept=True)
        return True

    async def _serve_decline(self, _link: Link) -> Json:
        self.answer(accept=False)
        return True

    async def _serve_purge(self, _link: Link, feed: Json = None) -> Json:
        """Takes a feed's id, or {all: true} for every feed that is not within reach."""
        if isinstance(feed, dict) and feed.get("all") is True:
            feeds = self.purgeable()
        elif isinstance(feed, str) and is_feed_id(feed):
            feeds = [FeedId(feed)]
        else:
            raise MisuseError("purge takes a feed's id, or {all: true}")
        messages = 0
        for one in feeds:
            messages += await self.purge(one)
            await asyncio.sleep(0)
        result: JsonObject = {"feeds": len(feeds), "messages": messages}
        return result

    async def _serve_compact(self, _link: Link) -> Json:
        """Gives back what purges left; this peer stands still meanwhile. Answers with the bytes that are used now."""
        self._database.compact()
        self._measure()
        return self._used_bytes
