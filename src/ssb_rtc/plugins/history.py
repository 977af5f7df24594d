"""createHistoryStream: one feed, from a sequence on, perhaps live. Served to whoever asks, and used where EBT is not.

Options as npm ssb-db 19 and ssb-db2 6.3 take them: `{id, sequence | seq, limit, live, old, keys, values}`; the sequence
is the first that is wanted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final
from weakref import WeakKeyDictionary

from ssb_rtc.errors import LinkClosed, MessageInvalid, RemoteCallError, SsbRtcError
from ssb_rtc.feeds.refs import is_feed_id
from ssb_rtc.plugins.base import Context, PermissionLists, Progress
from ssb_rtc.storage.log import Stored
from ssb_rtc.transport.link import Handler, Incoming, Link
from ssb_rtc.types import FeedId, Json, JsonObject
from ssb_rtc.wire.rpc import RawJson

logger = logging.getLogger(__name__)

PAGE_MESSAGES: Final = 200
READING_MAX: Final = 4
"""Streams of one link that hold a page at once; the others wait for their turn with empty hands."""
STREAMS_MAX: Final = 4_096
"""Feeds that are asked of one peer without EBT; the nearest are not known here, so it is the first in order."""
NUMBER_MAX: Final = 2**53
GRACE_S: Final = 3.0
"""How long after its first createHistoryStream a remote may still open EBT before we ask it in the old way too."""


@dataclass(frozen=True, slots=True)
class _Options:
    feed: FeedId
    after: int
    limit: int | None
    live: bool
    old: bool
    keys: bool
    values: bool


@dataclass(slots=True)
class _Fetching:
    """A link that is asked feed by feed."""

    link: Link
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def ended(self, task: asyncio.Task[None]) -> None:
        """Forgets a task, and says so when it did not end as it should."""
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("%s failed", task.get_name(), exc_info=task.exception())


class History:
    """Serves createHistoryStream, and replicates with it where a remote has no EBT (`replicate`)."""

    name = "history"
    version = "1.0.0"
    manifest: Mapping[str, str] = {"createHistoryStream": "source"}
    permissions: ClassVar[PermissionLists] = {"remote": ["createHistoryStream"]}

    def __init__(self) -> None:
        self._waiting: dict[FeedId, set[asyncio.Event]] = {}
        self._active: dict[int, _Fetching] = {}
        self._graces: dict[int, asyncio.TimerHandle] = {}
        self._turns: WeakKeyDictionary[Link, asyncio.Semaphore] = WeakKeyDictionary()

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        self._context = context
        context.ingest.subscribe(self._committed)
        context.author.subscribe_servable(lambda _sequence: self._wake(context.keys.id))
        context.wanted.subscribe(self._wanted_changed)
        context.links.on_link_closed(self._closed)
        return {"createHistoryStream": self._serve}

    # --- serving ---

    def _serve(self, link: Link, options: Json = None) -> AsyncIterator[Json]:
        chosen = _read_options(options)
        if not link.local:
            if self._context.is_blocked(chosen.feed, link.remote):
                raise RemoteCallError("this feed is not served to you")
            self._heard_old_way(link)
        turn = self._turns.setdefault(link, asyncio.Semaphore(READING_MAX))
        return self._read(chosen, turn, everything=link.local)

    async def _read(self, chosen: _Options, turn: asyncio.Semaphore, *, everything: bool) -> AsyncIterator[Json]:
        """Messages of a feed; to others only up to where it is on the disk. Holds none of them while it waits."""
        feed, left = chosen.feed, chosen.limit
        after = chosen.after if chosen.old else max(chosen.after, self._end(feed, everything))
        event = asyncio.Event()
        if chosen.live:
            self._waiting.setdefault(feed, set()).add(event)
        try:
            while left is None or left > 0:
                event.clear()
                page_max = PAGE_MESSAGES if left is None else min(left, PAGE_MESSAGES)
                async with turn:
                    page = self._context.log.read_feed(feed, after, min(page_max, self._end(feed, everything) - after))
                    sent = len(page)
                    after = page[-1].sequence if page else after
                    page.reverse()
                    while page:
                        yield _encode(page.pop(), chosen)
                if sent:
                    left = None if left is None else left - sent
                elif chosen.live:
                    await event.wait()
                else:
                    return
        finally:
            waiting = self._waiting.get(feed)
            if waiting is not None:
                waiting.discard(event)
                if not waiting:
                    del self._waiting[feed]

    def _end(self, feed: FeedId, everything: bool) -> int:
        head = self._context.log.head(feed)
        return (head.sequence if head else 0) if everything else self._context.servable(feed)

    def _committed(self, stored: Sequence[Stored]) -> None:
        if self._waiting:
            for feed in {one.author for one in stored}:
                self._wake(feed)

    def _wake(self, feed: FeedId) -> None:
        for event in self._waiting.get(feed, ()):
            event.set()

    # --- replicating without EBT ---

    def replicate(self, link: Link) -> None:
        """Asks this remote for every wanted feed, live, until the link ends. A second call does nothing."""
        if id(link) not in self._active and not link.closed.done():
            self._active[id(link)] = _Fetching(link)
            self._progress(link).replicating = True
            self._fetch_all(self._active[id(link)], self._context.wanted.feeds)

    def _wanted_changed(self, added: frozenset[FeedId], _removed: frozenset[FeedId]) -> None:
        for fetching in self._active.values():
            self._fetch_all(fetching, added)

    def _heard_old_way(self, link: Link) -> None:
        """Who asks by createHistoryStream and does not open EBT soon has none: we ask it the same way."""
        if id(link) not in self._graces:

            def ask() -> None:
                if not self._progress(link).replicating:
                    self.replicate(link)

            self._graces[id(link)] = asyncio.get_running_loop().call_later(GRACE_S, ask)
            # Not every link that calls is taken by the manager, which tells only of those.
            link.closed.add_done_callback(lambda _: self._closed(link))

    def _fetch_all(self, fetching: _Fetching, feeds: Iterable[FeedId]) -> None:
        link = fetching.link
        for feed in feeds:
            if feed in self._context.forks:
                continue
            if len(fetching.tasks) >= STREAMS_MAX:
                logger.warning("%s has no EBT, and more than %d feeds are not asked of it", link.remote, STREAMS_MAX)
                return
            task = asyncio.get_running_loop().create_task(self._fetch(link, feed), name=f"history {feed}")
            fetching.tasks.add(task)
            task.add_done_callback(fetching.ended)

    async def _fetch(self, link: Link, feed: FeedId) -> None:
        context, progress = self._context, self._progress(link)
        head = context.log.head(feed)
        intake = context.ingest.intake(
            f"history of {link.remote}", lambda author: author == feed, on_fault=lambda fault: _drop(link, fault)
        )
        try:
            options = {"id": feed, "seq": (head.sequence if head else 0) + 1, "live": True, "keys": False}
            incoming: Incoming = link.source("createHistoryStream", options)
            while batch := await incoming.read_batch():
                if feed not in context.wanted or feed in context.forks:
                    await incoming.aclose()
                    return
                await intake.offer([item.body for item in batch])
                progress.received += len(batch)
                progress.last_received_s = context.now_s()
        except MessageInvalid:
            pass  # the intake has dropped the link
        except RemoteCallError as error:
            logger.info("%s refuses its history of %s: %s", link.remote, feed, error)
        except LinkClosed:
            pass
        except SsbRtcError as error:
            logger.error("history of %s from %s: %s", feed, link.remote, error)

    def _progress(self, link: Link) -> Progress:
        return self._context.progress.setdefault(link.remote, Progress())

    def _closed(self, link: Link) -> None:
        grace = self._graces.pop(id(link), None)
        if grace is not None:
            grace.cancel()
        fetching = self._active.pop(id(link), None)
        for task in fetching.tasks if fetching is not None else ():
            task.cancel()


def _drop(link: Link, fault: SsbRtcError) -> None:
    if isinstance(fault, MessageInvalid):
        logger.warning("%s: %s", link.remote, fault)
        link.fail(fault)


def _read_options(options: Json) -> _Options:
    if not isinstance(options, dict) or not is_feed_id(options.get("id")):
        raise RemoteCallError("createHistoryStream takes {id: <feed>}")
    limit = _whole(options, "limit", -1)
    return _Options(
        feed=FeedId(options["id"]),
        after=max(0, _whole(options, "sequence", _whole(options, "seq", 1)) - 1),
        limit=None if limit < 0 else limit,
        live=options.get("live") is True,
        old=options.get("old") is not False,
        keys=options.get("keys") is not False,
        values=options.get("values") is not False,
    )


def _whole(options: JsonObject, name: str, default: int) -> int:
    number = options.get(name)
    if number is None:
        return default
    if type(number) not in (int, float) or not -NUMBER_MAX <= number <= NUMBER_MAX:
        raise RemoteCallError(f"createHistoryStream takes a number for {name}")
    return int(number)


def _encode(stored: Stored, chosen: _Options) -> Json:
    if not chosen.values:
        return stored.key
    if not chosen.keys:
        return RawJson(stored.raw)
    return RawJson(b'{"key":"%s","value":%s,"timestamp":%d}' % (stored.key.encode(), stored.raw, stored.timestamp_ms))
