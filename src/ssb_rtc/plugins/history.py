"""createHistoryStream: one feed, from a sequence on, perhaps live. Served to whoever asks, and used where EBT is not.

Options as npm ssb-db 19 takes them (ssb-db2 6.3 knows no `live` and no `old`): `{id, sequence | seq, limit, live, old,
keys, values}`. The sequence is the first that is wanted; `old: false` means live, from now on; a negative limit means
none. `reverse`, which both leave to their other streams, gives the newest first, and is never live.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from typing import Any, ClassVar, Final
from weakref import WeakKeyDictionary

from ssb_rtc.errors import LinkClosed, MessageInvalid, RemoteCallError, SsbRtcError
from ssb_rtc.feeds.refs import is_feed_id
from ssb_rtc.plugins.base import Context, PermissionLists, Progress
from ssb_rtc.storage.log import Stored
from ssb_rtc.transport.link import Handler, Incoming, Link
from ssb_rtc.types import FeedId, Json, JsonObject, feed_of
from ssb_rtc.wire.rpc import RawJson

logger = logging.getLogger(__name__)

PAGE_MESSAGES: Final = 200
READING_MAX: Final = 4
"""Streams of one link that hold a page at once; the others wait for their turn with empty hands."""
STREAMS_MAX: Final = 4_096
"""Feeds that are asked of one peer without EBT at once and live, the nearest first; the others are asked in turns."""
TURN_S: Final = 60.0
"""How long the turns pause after each round."""
NEW_MAX: Final = 2**40
"""Stands for any sequence that no feed has."""
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
    reverse: bool


@dataclass(slots=True)
class _Fetching:
    """A link that is asked feed by feed: `live` those that are asked for good, `turns` what asks the rest in turns."""

    link: Link
    live: dict[FeedId, asyncio.Task[None]] = field(default_factory=dict)
    rest: dict[FeedId, None] = field(default_factory=dict)
    turns: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """Ends everything."""
        for task in (*self.live.values(), self.turns):
            if task is not None:
                task.cancel()


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
            if chosen.feed == self._context.keys.id and chosen.live:
                self._context.author.remote_clock(link.remote, chosen.after)  # who asks for more holds what is before
        turn = self._turns.setdefault(link, asyncio.Semaphore(READING_MAX))
        if chosen.reverse:
            return self._read_newest_first(link, chosen, turn)
        return self._read(link, chosen, turn)

    async def _read(self, link: Link, chosen: _Options, turn: asyncio.Semaphore) -> AsyncIterator[Json]:
        """Messages of a feed; to others only up to where it is on the disk. Holds none of them while it waits."""
        feed, left = chosen.feed, chosen.limit
        after = chosen.after if chosen.old else max(chosen.after, self._end(link, feed))
        event = asyncio.Event()
        if chosen.live:
            self._waiting.setdefault(feed, set()).add(event)
        try:
            while left is None or left > 0:
                event.clear()
                page_max = PAGE_MESSAGES if left is None else min(left, PAGE_MESSAGES)
                async with turn:
                    page = self._context.log.read_feed(feed, after, min(page_max, self._end(link, feed) - after))
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

    async def _read_newest_first(self, link: Link, chosen: _Options, turn: asyncio.Semaphore) -> AsyncIterator[Json]:
        end = self._end(link, chosen.feed)
        first = chosen.after if chosen.limit is None else max(chosen.after, end - chosen.limit)
        while end > first:
            async with turn:
                start = max(first, end - PAGE_MESSAGES)
                page = self._context.log.read_feed(chosen.feed, start, end - start)
                end = start
                while page:
                    yield _encode(page.pop(), chosen)

    def _end(self, link: Link, feed: FeedId) -> int:
        """Up to where a feed is served on this link now."""
        if not link.local:
            return 0 if self._context.is_blocked(feed, link.remote) else self._context.servable(feed)
        head = self._context.log.head(feed)
        return head.sequence if head else 0

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
            fetching = self._active[id(link)] = _Fetching(link)
            self._progress(link).replicating = True
            self._context.mark(link.remote, "replicating", "createHistoryStream is asked for")
            # Not every link that calls is taken by the manager, which tells only of those.
            link.closed.add_done_callback(lambda _: self._closed(link))
            own = self._context.keys.id
            near = {own, feed_of(link.remote), *self._context.log.graph.follows(own)}
            self._fetch_all(fetching, sorted(self._context.wanted.feeds, key=lambda feed: feed not in near))

    def _wanted_changed(self, added: frozenset[FeedId], removed: frozenset[FeedId]) -> None:
        for fetching in self._active.values():
            for feed in removed:
                fetching.rest.pop(feed, None)
                task = fetching.live.get(feed)
                if task is not None:
                    task.cancel()
            self._fetch_all(fetching, added)

    def _heard_old_way(self, link: Link) -> None:
        """Who asks by createHistoryStream and does not open EBT soon has none: we ask it the same way."""
        if id(link) not in self._graces:

            def ask() -> None:
                progress = self._context.progress.get(link.remote)
                if progress is None or not progress.replicating:
                    self.replicate(link)

            self._graces[id(link)] = asyncio.get_running_loop().call_later(GRACE_S, ask)
            link.closed.add_done_callback(lambda _: self._closed(link))

    def _fetch_all(self, fetching: _Fetching, feeds: Iterable[FeedId]) -> None:
        for feed in feeds:
            if feed in fetching.live or feed in self._context.forks:
                continue
            if len(fetching.live) >= STREAMS_MAX:
                fetching.rest[feed] = None
                continue
            task = fetching.live[feed] = self._spawn(self._fetch(fetching.link, feed, live=True), f"history {feed}")
            task.add_done_callback(partial(_forget, fetching.live, feed))
        if fetching.rest and fetching.turns is None:
            logger.info("%s has no EBT: %d feeds are asked of it in turns", fetching.link.remote, len(fetching.rest))
            fetching.turns = self._spawn(self._take_turns(fetching), f"histories of {fetching.link.remote}")

    async def _take_turns(self, fetching: _Fetching) -> None:
        while fetching.rest:
            for feed in tuple(fetching.rest):
                if feed in fetching.rest and feed not in self._context.forks:
                    await self._fetch(fetching.link, feed, live=False)
            await asyncio.sleep(TURN_S)
        fetching.turns = None

    async def _fetch(self, link: Link, feed: FeedId, *, live: bool) -> None:
        """One feed from our head on: as far as the remote has it, or with `live` until the link ends."""
        context, progress = self._context, self._progress(link)
        head = context.log.head(feed)
        intake = context.ingest.intake(
            f"history of {link.remote}", lambda author: author == feed, on_fault=lambda fault: _drop(link, fault)
        )
        incoming: Incoming | None = None
        try:
            options = {"id": feed, "seq": (head.sequence if head else 0) + 1, "live": live, "keys": False}
            incoming = link.source("createHistoryStream", options)
            while batch := await incoming.read_batch():
                if feed not in context.wanted or feed in context.forks:
                    return
                await intake.offer([item.body for item in batch])
                if not progress.received:
                    context.mark(link.remote, "first message", "of those that we did not have, by createHistoryStream")
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
        finally:
            if incoming is not None:
                await incoming.aclose()

    def _progress(self, link: Link) -> Progress:
        return self._context.progress.setdefault(link.remote, Progress())

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(_tell_failure)
        return task

    def _closed(self, link: Link) -> None:
        grace = self._graces.pop(id(link), None)
        if grace is not None:
            grace.cancel()
        fetching = self._active.pop(id(link), None)
        if fetching is not None:
            fetching.cancel()
            self._context.forget_progress(link.remote)


def _forget(tasks: dict[FeedId, asyncio.Task[None]], feed: FeedId, ended: asyncio.Task[None]) -> None:
    if tasks.get(feed) is ended:
        del tasks[feed]


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("%s failed", task.get_name(), exc_info=task.exception())


def _drop(link: Link, fault: SsbRtcError) -> None:
    if isinstance(fault, MessageInvalid):
        logger.warning("%s: %s", link.remote, fault)
        link.fail(fault)


def _read_options(options: Json) -> _Options:
    if not isinstance(options, dict) or not is_feed_id(options.get("id")):
        raise RemoteCallError("createHistoryStream takes {id: <feed>}")
    limit, old = _number(options, "limit"), options.get("old") is not False
    live = (options.get("live") is True or not old) and options.get("reverse") is not True
    return _Options(
        feed=FeedId(options["id"]),
        after=max(0, ceil(_number(options, "sequence") or _number(options, "seq") or 0) - 1),
        limit=None if limit is None or limit < 0 else ceil(limit),
        live=live,
        old=old,
        keys=options.get("keys") is not False,
        values=options.get("values") is not False,
        reverse=options.get("reverse") is True,
    )


def _number(options: JsonObject, name: str) -> float | None:
    """An option that is a number or absent; how large it is beyond what any feed reaches makes no difference."""
    number = options.get(name)
    if number is None:
        return None
    if type(number) not in (int, float):
        raise RemoteCallError(f"createHistoryStream takes a number for {name}")
    return float(min(max(number, -1), NEW_MAX))


def _encode(stored: Stored, chosen: _Options) -> Json:
    if chosen.keys and not chosen.values:
        return stored.key
    if chosen.values and not chosen.keys:
        return RawJson(stored.raw)
    return RawJson(b'{"key":"%s","value":%s,"timestamp":%d}' % (stored.key.encode(), stored.raw, stored.timestamp_ms))
