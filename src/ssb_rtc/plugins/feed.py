"""What a local caller does with feeds: who we are, publish, read the log, import.

`whoami`, `publish`, `get` and `createLogStream` are named as npm ssb-db has them; `import` is ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from ssb_rtc.errors import MessageInvalid, MisuseError, RemoteCallError
from ssb_rtc.feeds import canonical, refs
from ssb_rtc.feeds.message import message_id
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.storage.ingest import Intake
from ssb_rtc.storage.log import Stored
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.transport.streams import Duplex
from ssb_rtc.types import FeedId, Json, JsonObject, MsgId
from ssb_rtc.wire.rpc import RawJson

PAGE_MESSAGES: Final = 500
LINE_BYTES_MAX: Final = 1 << 20
REFUSED_SHOWN_MAX: Final = 20
REPORT_LINES: Final = 1_000
LINES_HELD_MAX: Final = 20_000


def encode_stored(stored: Stored) -> RawJson:
    """{key, value, timestamp} without parsing the value again."""
    return RawJson(b'{"key":"%s","value":%s,"timestamp":%d}' % (stored.key.encode(), stored.raw, stored.timestamp_ms))


class Feed:
    """Our own feed and the log, for callers on this machine."""

    name = "feed"
    version = "1.0.0"
    manifest: ClassVar[Mapping[str, str]] = {
        "whoami": "sync",
        "publish": "async",
        "get": "async",
        "createLogStream": "source",
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
            "createLogStream": self._create_log_stream,
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

    async def _get(self, _link: Link, key: Json = None) -> Json:
        stored = self._context.log.get(MsgId(key)) if refs.is_msg_id(key) else None
        if stored is None:
            raise RemoteCallError(f"no message {key!r} is held here", name="NotFoundError")
        return RawJson(stored.raw)

    async def _create_log_stream(self, _link: Link, options: Json = None) -> AsyncIterator[Json]:
        chosen: JsonObject = options if isinstance(options, dict) else {}
        author = chosen.get("author")
        limit = chosen.get("limit")
        left = limit if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0 else None
        reading = self._read(FeedId(author) if isinstance(author, str) else None, live=bool(chosen.get("live")))
        async for stored in reading:
            if left is not None and left <= 0:
                break
            left = None if left is None else left - 1
            yield encode_stored(stored)
            if left == 0:
                break

    async def _read(self, author: FeedId | None, *, live: bool) -> AsyncIterator[Stored]:
        arrived = asyncio.Event()
        stop = self._context.ingest.subscribe(lambda _stored: arrived.set()) if live else lambda: None
        rowid = 0
        try:
            while True:
                arrived.clear()
                page = self._context.log.read_log(rowid, PAGE_MESSAGES, author=author)
                for stored in page:
                    yield stored
                if page:
                    rowid = page[-1].rowid
                    await asyncio.sleep(0)
                elif live:
                    await arrived.wait()
                else:
                    return
        finally:
            stop()

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


@dataclass(slots=True)
class _Source:
    """What an import offers of one feed; `lines` are those not known to be taken yet, by sequence."""

    intake: Intake
    lines: dict[int, int] = field(default_factory=dict)


class Importer:
    """Takes the bytes of a file of JSON lines in pieces: message values, or {key, value} pairs, of any authors.

    A line that is refused does not stop the others; what follows it in its own feed can't be taken and is refused too.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._rest = b""
        self._too_long = False
        self._line = 0
        self._reported = 0
        self.taken_bytes = 0
        self._imported = 0
        self._known = 0
        self._refused: list[JsonObject] = []
        self._refused_count = 0
        self._sources: dict[FeedId, _Source] = {}

    async def feed(self, chunk: bytes) -> bool:
        """Takes the next bytes; True when it is time for a report on progress."""
        self.taken_bytes += len(chunk)
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            await self._take(line)
        if len(self._rest) > LINE_BYTES_MAX:
            self._rest, self._too_long = b"", True
        if self._line - self._reported >= REPORT_LINES:
            self._reported = self._line
            return True
        return False

    async def finish(self) -> None:
        """The file has ended: takes the last line, and waits until everything is committed."""
        await self._take(self._rest)
        self._rest = b""
        for author in list(self._sources):
            await self._settle(author)

    def summary(self) -> JsonObject:
        """What became of it all."""
        return {
            "imported": self._imported,
            "known": self._known,
            "refused": sorted(self._refused, key=lambda refused: int(refused["line"])),
            "refused_count": self._refused_count,
        }

    async def _take(self, line: bytes) -> None:
        self._line += 1
        if self._too_long:
            self._too_long = False
            self._refuse(self._line, f"the line is longer than {LINE_BYTES_MAX} bytes")
            return
        if not line.strip():
            return
        try:
            await self._offer(*self._read(line))
        except MessageInvalid as fault:
            self._refuse(self._line, fault.reason)

    def _read(self, line: bytes) -> tuple[FeedId, int, bytes]:
        parsed = canonical.parse(line.strip())
        key = None
        if isinstance(parsed, dict) and "author" not in parsed and "value" in parsed:
            key, parsed = parsed.get("key"), parsed["value"]
        if not isinstance(parsed, dict) or not refs.is_feed_id(parsed.get("author")):
            raise MessageInvalid('the line holds neither a message nor a {"key", "value"} pair')
        sequence = parsed.get("sequence")
        if not isinstance(sequence, int):
            raise MessageInvalid("the message has no sequence")
        if key is not None and key != message_id(parsed):
            raise MessageInvalid(f"the key is not the message's id, which is {message_id(parsed)}")
        return FeedId(parsed["author"]), sequence, canonical.compact(parsed)

    async def _offer(self, author: FeedId, sequence: int, raw: bytes) -> None:
        source = self._sources.get(author)
        if source is None:
            source = self._sources[author] = _Source(self._context.ingest.intake(f"import of {author}"))
        gaps, duplicates = source.intake.gaps, source.intake.duplicates
        try:
            await source.intake.offer([raw])
        except MessageInvalid:
            # The intake stays at fault, for this message or for one before; a fresh one takes what comes next.
            if await self._settle(author):
                raise self._gap(author, sequence) from None
            raise
        if source.intake.gaps > gaps:
            raise self._gap(author, sequence)
        if source.intake.duplicates == duplicates:
            source.lines[sequence] = self._line
            if len(source.lines) > LINES_HELD_MAX:
                head = self._context.log.head(author)
                source.lines = {n: line for n, line in source.lines.items() if head is None or n > head.sequence}

    def _gap(self, author: FeedId, sequence: int) -> MessageInvalid:
        head = self._context.log.head(author)
        held = self._context.ingest.pending(author) + (head.sequence if head else 0)
        return MessageInvalid(f"message {sequence} of {author} does not follow message {held}, the last one held")

    async def _settle(self, author: FeedId) -> int:
        """Waits for the commit of what was offered; refuses the lines that were not taken, and says how many."""
        source = self._sources.pop(author)
        reason = "the feed is forked"
        try:
            await source.intake.flush()
        except MessageInvalid as fault:
            reason = fault.reason
        head = self._context.log.head(author)
        lost = [(n, line) for n, line in sorted(source.lines.items()) if n > (head.sequence if head else 0)]
        for place, (sequence, line) in enumerate(lost):
            self._refuse(line, reason if place == 0 else self._gap(author, sequence).reason)
        self._imported += source.intake.accepted
        self._known += source.intake.duplicates
        return len(lost)

    def _refuse(self, line: int, error: str) -> None:
        self._refused_count += 1
        if len(self._refused) < REFUSED_SHOWN_MAX:
            self._refused.append({"line": line, "error": error})


async def import_file(context: Context, chunks: AsyncIterator[bytes]) -> JsonObject:
    """Imports the bytes of a file without a link; gives `Importer.summary`."""
    importer = Importer(context)
    async for chunk in chunks:
        await importer.feed(chunk)
    await importer.finish()
    return importer.summary()
