"""What a local caller does with feeds: who we are, publish, read, follow the log, import.

The methods and their options are those of ssb-db 19 (npm), which ssb-db2's `compat` plugins have too; `import`, and
`author` in createLogStream, are ours. Every stream is in the order in which messages came in, also `links`, which
ssb-db gives in the order of its index. Left out: createFeedStream, whose order by claimed times would need an index of
its own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import ClassVar, Final

from ssb_rtc.errors import MisuseError, RemoteCallError
from ssb_rtc.feeds import refs
from ssb_rtc.feeds.links import links_of
from ssb_rtc.feeds.private import opened_value
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.plugins.importing import Importer
from ssb_rtc.plugins.stream_options import StreamOptions, id_of, options_of, range_of
from ssb_rtc.storage.index_private import is_sealed
from ssb_rtc.storage.log import Stored
from ssb_rtc.storage.query import Query
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.transport.streams import Duplex
from ssb_rtc.types import FeedId, Json, JsonObject, MsgId
from ssb_rtc.wire.rpc import RawJson

Encode = Callable[[Stored], list[Json]]
"""What a stream gives for a message: nothing, one item, or several."""
_SIGILS: Final = {"feed": "@", "msg": "%", "blob": "&"}


def encode_stored(stored: Stored) -> RawJson:
    """{key, value, timestamp} without parsing the value again."""
    return RawJson(b'{"key":"%s","value":%s,"timestamp":%d}' % (stored.key.encode(), stored.raw, stored.timestamp_ms))


class Feed:
    """Our own feed and the log, for callers on this machine."""

    name = "feed"
    version = "1.1.0"
    manifest: ClassVar[Mapping[str, str]] = {
        "whoami": "sync",
        "publish": "async",
        "get": "async",
        "getLatest": "async",
        "latestSequence": "async",
        "getVectorClock": "async",
        "latest": "source",
        "createLogStream": "source",
        "createUserStream": "source",
        "messagesByType": "source",
        "links": "source",
        "import": "duplex",
    }
    permissions: ClassVar[PermissionLists] = {"remote": ["whoami"]}

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        self._context = context
        return {
            "whoami": self._whoami,
            "publish": self._publish,
            "get": self._get,
            "getLatest": self._get_latest,
            "latestSequence": self._latest_sequence,
            "getVectorClock": self._get_vector_clock,
            "latest": self._latest,
            "createLogStream": self._create_log_stream,
            "createUserStream": self._create_user_stream,
            "messagesByType": self._messages_by_type,
            "links": self._links,
            "import": self._import,
        }

    async def _whoami(self, _link: Link) -> Json:
        return {"id": self._context.keys.id}

    async def _publish(self, _link: Link, content: Json = None, options: Json = None) -> Json:
        chosen = options if isinstance(options, dict) else {}
        if chosen.get("force"):
            self._context.author.override()
        stored = await self._context.author.publish(content, durable=bool(chosen.get("durable")))
        return encode_stored(stored)

    # --- single messages and heads ---

    async def _get(self, _link: Link, wanted: Json = None) -> Json:
        options = wanted if isinstance(wanted, dict) else {"id": wanted}
        key = options.get("id")
        plain = key.partition("?")[0] if isinstance(key, str) else ""
        stored = self._context.log.get(MsgId(plain)) if refs.is_msg_id(plain) else None
        if stored is None:
            raise RemoteCallError(f"no message {key!r} is held here", name="NotFoundError")
        value = self._value(stored, opened=options.get("private") is True)
        return _pair(stored, value) if options.get("meta") is True else value

    async def _get_latest(self, _link: Link, feed: Json = None) -> Json:
        head = self._context.log.head(id_of(feed))
        stored = self._context.log.get(head.id) if head is not None else None
        if stored is None:
            raise RemoteCallError(f"not found: {feed}", name="NotFoundError")
        return encode_stored(stored)

    async def _latest_sequence(self, _link: Link, feed: Json = None) -> Json:
        head = self._context.log.head(id_of(feed))
        if head is None:
            raise RemoteCallError(f"not found: {feed}", name="NotFoundError")
        return head.sequence

    async def _get_vector_clock(self, _link: Link) -> Json:
        return {feed: head.sequence for feed, head in self._context.log.heads().items()}

    async def _latest(self, _link: Link) -> AsyncIterator[Json]:
        for feed, head in list(self._context.log.heads().items()):
            yield {"id": feed, "sequence": head.sequence, "ts": head.timestamp}

    # --- streams ---

    async def _create_log_stream(self, _link: Link, options: Json = None) -> AsyncIterator[Json]:
        chosen = options_of(options)
        since, until = range_of(options)
        author = id_of(options.get("author")) if isinstance(options, dict) and options.get("author") else None
        query = Query(author=author, since_ms=since, until_ms=until)
        async for item in self._stream(query, chosen):
            yield item

    async def _create_user_stream(self, _link: Link, options: Json = None) -> AsyncIterator[Json]:
        if not isinstance(options, dict):
            raise RemoteCallError("createUserStream takes {id: <feed>}")
        first, last = range_of(options)
        query = Query(author=id_of(options.get("id")), from_sequence=first, to_sequence=last)
        async for item in self._stream(query, options_of(options)):
            yield item

    async def _messages_by_type(self, _link: Link, options: Json = None) -> AsyncIterator[Json]:
        chosen: JsonObject = {"type": options} if isinstance(options, str) else options
        if not isinstance(chosen, dict) or not isinstance(chosen.get("type"), str):
            raise RemoteCallError("must provide {type: string} to messagesByType")
        since, until = range_of(chosen)
        query = Query(type=chosen["type"], since_ms=since, until_ms=until)
        async for item in self._stream(query, options_of(chosen)):
            yield item

    async def _links(self, _link: Link, options: Json = None) -> AsyncIterator[Json]:
        if not isinstance(options, dict):
            raise RemoteCallError("opts *must* be provided")
        wanted = _LinkOptions(options)
        chosen = replace(options_of(options), limit=None)
        left = options_of(options).limit
        async with aclosing(self._stream(wanted.query(), chosen, wanted.encode)) as items:
            async for item in items:
                if left == 0:
                    return
                yield item
                left = left if left is None or item == {"sync": True} else left - 1

    async def _stream(self, query: Query, options: StreamOptions, encode: Encode | None = None) -> AsyncGenerator[Json]:
        """Old messages, the note {sync: true} (in a live stream), and new ones, as the caller wants them."""
        encode = encode or (lambda stored: [self._encode(stored, options)])
        query = replace(query, newest_first=options.reverse, limit=options.limit)
        start, left = self._context.log.last_rowid, options.limit
        if options.old:
            async with aclosing(self._context.queries.old(query, start)) as found:
                async for stored in found:
                    left = None if left is None else left - 1
                    for item in encode(stored):
                        yield item
        if not options.live or left == 0:
            return
        if options.sync:
            yield {"sync": True}
        async with aclosing(self._context.queries.live(replace(query, limit=left), start)) as coming:
            async for stored in coming:
                for item in encode(stored):
                    yield item

    def _encode(self, stored: Stored, options: StreamOptions) -> Json:
        if options.keys and not options.values:
            return stored.key
        value = self._value(stored, opened=options.private)
        return value if options.values and not options.keys else _pair(stored, value)

    def _value(self, stored: Stored, *, opened: bool) -> Json:
        """A message's value; `opened`, a private one that is for us has its content in clear, marked as ssb-db does."""
        content = self._context.queries.unbox(stored) if opened and is_sealed(stored) else None
        if content is None:
            return RawJson(stored.raw)
        return opened_value(stored.value(), content)

    async def _import(self, _link: Link, duplex: Duplex) -> None:
        importer = Importer(self._context)
        async for chunk in duplex:
            if not isinstance(chunk, bytes):
                raise MisuseError("import takes the bytes of a file of JSON lines")
            if await importer.feed(chunk):
                await duplex.send({"bytes": importer.taken_bytes})
        await importer.finish()
        await duplex.send(importer.summary())
        await duplex.end()


def _pair(stored: Stored, value: Json) -> Json:
    if isinstance(value, RawJson):
        return encode_stored(stored)
    return {"key": stored.key, "value": value, "timestamp": stored.timestamp_ms}


class _LinkOptions:
    """The options of `links`: `source` and `dest` are ids, or `@`, `%`, `&` (feed, msg, blob) for all of a kind."""

    def __init__(self, options: JsonObject) -> None:
        for name in ("source", "dest", "rel"):
            if not isinstance(options.get(name), str | None):
                raise RemoteCallError(f"links takes a text for {name}")
        source, dest = options.get("source") or None, options.get("dest") or None
        self._source = _SIGILS.get(source or "", source)
        self._dest = _SIGILS.get(dest or "", dest)
        self._rel = options.get("rel") or None
        self._meta = options.get("meta") is not False
        self._keys = options.get("keys") is not False
        self._values = options.get("values") is True
        if not (self._meta or self._keys or self._values):
            raise RemoteCallError(
                "makes no sense to return stream without results; set at least one of {keys, values, meta} to true"
            )

    def query(self) -> Query:
        """Finds the messages that have such links, and maybe some others."""
        author = None if self._source in (None, "@") else FeedId(str(self._source))
        if author in ("%", "&"):
            return Query(author=FeedId(""))  # only feeds link to anything
        dest = self._dest if refs.is_link(self._dest) else None
        if dest is None and self._dest not in (None, *_SIGILS.values()):
            raise RemoteCallError(f"links takes an id, @, %, or & for dest, not {self._dest!r:.100}")
        return Query(author=author, links_to=dest, rel=self._rel)

    def encode(self, stored: Stored) -> list[Json]:
        """The links of a message that are wanted."""
        items: list[Json] = []
        for rel, target in links_of(stored.value()["content"]):
            if self._rel in (None, rel) and (self._dest is None or self._dest in (target, target[0])):
                items.append(self._item(stored, rel, target))
        return items

    def _item(self, stored: Stored, rel: str, target: str) -> Json:
        if not self._meta:
            if self._keys and self._values:
                return RawJson(b'{"key":"%s","value":%s}' % (stored.key.encode(), stored.raw))
            return stored.key if self._keys else RawJson(stored.raw)
        item: JsonObject = {"source": stored.author, "rel": rel, "dest": target}
        if self._keys:
            item["key"] = stored.key
        if self._values:
            item["value"] = stored.value()
        return item
