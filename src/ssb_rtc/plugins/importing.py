"""Taking in the messages of a file: what `import` does with the bytes that a local caller sends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from ssb_rtc.errors import MessageInvalid
from ssb_rtc.feeds import canonical, refs
from ssb_rtc.feeds.message import message_id
from ssb_rtc.plugins.base import Context
from ssb_rtc.storage.ingest import Intake
from ssb_rtc.types import FeedId, JsonObject

LINE_BYTES_MAX: Final = 1 << 20
REFUSED_SHOWN_MAX: Final = 20
REPORT_LINES: Final = 1_000
LINES_HELD_MAX: Final = 20_000


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
