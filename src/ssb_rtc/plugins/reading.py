"""Messages as people read them, for a dashboard: pages, the newest first, and what arrives.

    rtc.messages({author, type, private, before, limit}) -> {messages: [row], next}
    rtc.arrivals()                                       -> {messages: [row], missed} now and then

A row is {key, author, name, sequence, timestamp_ms, received_ms, type, text, root, branch, private, recps, content}:
`content` is opened where it was sealed for us (`private` is true then), and null where it is sealed for others. Whoever
reads arrivals too slowly, or while a feed comes in bulk, is told in `missed` how many rows were left out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import ClassVar, Final

import msgspec

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds.refs import is_feed_id, is_link, is_msg_id
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.plugins.names import Names
from ssb_rtc.storage.log import Stored
from ssb_rtc.storage.query import Query
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import FeedId, Json, JsonObject, MsgId

PAGE_MAX: Final = 200
PAGE_DEFAULT: Final = 50
ARRIVALS_MAX: Final = 20
"""Rows that one item of `rtc.arrivals` holds, the newest."""
PAUSE_S: Final = 0.1
"""Between two items of `rtc.arrivals`."""
LINKS_MAX: Final = 16
"""Of the links in one field (recps, branch), so many are shown."""


class _Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    author: str | None = None
    type: str | None = None
    private: bool | None = None
    links_to: str | None = None
    before: int | None = None
    limit: int = PAGE_DEFAULT


class Reading:
    """Pages through the log and follows it."""

    name = "reading"
    version = "1.0.0"
    manifest: ClassVar[Mapping[str, str]] = {"rtc.messages": "async", "rtc.arrivals": "source", "rtc.message": "async"}
    permissions: ClassVar[PermissionLists] = {"remote": []}

    def __init__(self, names: Names) -> None:
        self._names = names

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        self._context = context
        return {"rtc.messages": self._messages, "rtc.arrivals": self._arrivals, "rtc.message": self._message}

    async def _messages(self, _link: Link, options: Json = None) -> Json:
        """`before`: the `next` of the page before this one. Raises MisuseError."""
        wanted = _wanted(options)
        query = Query(
            author=FeedId(wanted.author) if wanted.author is not None else None,
            type=wanted.type,
            private=wanted.private,
            links_to=wanted.links_to,
            newest_first=True,
        )
        page = await self._context.queries.read(query, wanted.before or 0, wanted.limit)
        more = len(page) == wanted.limit and page[-1].rowid > 1
        return {"messages": [await self._row(stored) for stored in page], "next": page[-1].rowid if more else None}

    async def _message(self, _link: Link, key: Json = None) -> Json:
        """One row by the message's id, or null where it is not here."""
        stored = self._context.log.get(MsgId(key)) if isinstance(key, str) and is_msg_id(key) else None
        return None if stored is None else await self._row(stored)

    async def _arrivals(self, _link: Link) -> AsyncIterator[Json]:
        arrived: deque[Stored] = deque(maxlen=ARRIVALS_MAX)
        count, some = 0, asyncio.Event()

        def take(stored: Sequence[Stored]) -> None:
            nonlocal count
            arrived.extend(stored)
            count += len(stored)
            some.set()

        stop = self._context.ingest.subscribe(take)
        try:
            while True:
                await some.wait()
                some.clear()
                batch, missed, count = list(arrived), count - len(arrived), 0
                arrived.clear()
                yield {"messages": [await self._row(stored) for stored in batch], "missed": missed}
                await asyncio.sleep(PAUSE_S)
        finally:
            stop()

    async def _row(self, stored: Stored) -> JsonObject:
        opened = self._context.unboxer.unbox_stored(stored)
        return row_of(stored, opened, self._names.known(stored.author))


def row_of(stored: Stored, opened: Json | None, name: str | None) -> JsonObject:
    """A message for people. `opened`: what its sealed content turned out to be; None where it was not, or is not ours.

    Texts are as their author wrote them, of any length that a message can have: whoever shows them, shows them as text.
    """
    value = stored.value()
    content = value["content"] if opened is None else opened
    if not isinstance(content, dict):
        content = None
    said: JsonObject = content or {}
    return {
        "key": stored.key,
        "author": stored.author,
        "name": name,
        "sequence": stored.sequence,
        "timestamp_ms": value["timestamp"],
        "received_ms": stored.timestamp_ms,
        "type": _text(said.get("type")),
        "text": _text(said.get("text")),
        "root": next(iter(_links(said.get("root"))), None),
        "branch": next(iter(_links(said.get("branch"))), None),
        "private": opened is not None,
        "recps": _links(said.get("recps")),
        "content": content,
    }


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _links(value: Json) -> list[str]:
    """The ids in a field: one, or a list of them, plain or as {link}."""
    found = value[:LINKS_MAX] if isinstance(value, list) else [value]
    plain = (one.get("link") if isinstance(one, dict) else one for one in found)
    return [str(one) for one in plain if is_link(one)]


def _wanted(options: Json) -> _Wanted:
    try:
        wanted = msgspec.convert({} if options is None else options, _Wanted)
    except msgspec.ValidationError as fault:
        raise MisuseError(f"rtc.messages takes {{author, type, private, links_to, before, limit}}: {fault}") from None
    if wanted.author is not None and not is_feed_id(wanted.author):
        raise MisuseError(f"{wanted.author!r:.100} is not a feed")
    if not 1 <= wanted.limit <= PAGE_MAX:
        raise MisuseError(f"limit is a number from 1 to {PAGE_MAX}")
    if wanted.before is not None and not 0 < wanted.before < 2**53:
        raise MisuseError("before is what `next` of the page before it says")
    return wanted
