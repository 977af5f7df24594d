"""Signed feeds for tests, made once and kept: signing is the slow part."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from ssb_rtc.feeds import canonical, validate
from ssb_rtc.feeds.keys import Keys, keys_from_seed
from ssb_rtc.feeds.message import create
from ssb_rtc.feeds.refs import blob_id
from ssb_rtc.feeds.validate import Checked
from ssb_rtc.storage.author import Author
from ssb_rtc.storage.database import open_database
from ssb_rtc.storage.forks import Forks
from ssb_rtc.storage.ingest import Ingest
from ssb_rtc.storage.log import Log


class Clock:
    """A wall clock that moves one millisecond a look."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        self.now_ms += 1
        return self.now_ms


@cache
def keys_of(number: int) -> Keys:
    """The keys of test person `number`."""
    return keys_from_seed(number.to_bytes(32, "big"))


@cache
def feed_of(number: int, length: int = 40, branch: str = "", branches_at: int = 0) -> tuple[Checked, ...]:
    """The feed of test person `number`; after message `branches_at` its contents carry `branch`."""
    keys, made = keys_of(number), list[Checked]()
    head = None
    for at in range(length):
        content = {"type": "post", "text": f"{at} of {number}{branch if at >= branches_at else ''}"}
        value = create(
            keys,
            content,
            previous=head.id if head else None,
            sequence=at + 1,
            timestamp_ms=1_600_000_000_000 + at,
        )
        checked = validate.check(head, value)
        head = checked.head
        made.append(checked)
    return tuple(made)


@cache
def linking_feed(number: int, length: int = 60) -> tuple[Checked, ...]:
    """The feed of test person `number`, of several types and with links to what came before and to other feeds."""
    made: list[Checked] = []
    for at in range(length):
        before, friend = made[-1].key if made else None, keys_of(at % 7 + 1).id
        kinds: list[dict[str, Any]] = [
            {"type": "post", "text": "x", "root": before, "branch": [before, made[at // 2].key] if made else []},
            {"type": "vote", "vote": {"link": before, "value": 1}},
            {"type": "contact", "contact": friend, "following": True},
            {"type": "about", "about": friend, "image": {"link": blob_id(bytes([at % 5]) * 32)}},
            {"type": "post", "text": "y", "mentions": [{"link": friend}, {"link": before}]},
        ]
        value = create(
            keys_of(number),
            kinds[at % 5],
            previous=made[-1].key if made else None,
            sequence=at + 1,
            timestamp_ms=1_600_000_000_000 + at,
        )
        made.append(validate.check(made[-1].head if made else None, value))
    return tuple(made)


def raws(messages: Any) -> list[bytes]:
    """What a link would bring."""
    return [message.raw for message in messages]


def break_signature(message: Checked) -> bytes:
    """The message with one bit of its signature turned, its shape intact."""
    text = message.value["signature"]
    changed = ("A" if text[0] != "A" else "B") + text[1:]
    return canonical.compact({**message.value, "signature": changed})


class Store:
    """A database with all that sits on it."""

    def __init__(self, path: Path, keys: Keys | None = None, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.database = open_database(path, create=True)
        self.log = Log(self.database)
        self.forks = Forks(self.database)
        self.ingest = Ingest(self.log, self.forks, now_ms=self.clock)
        try:
            self.author = Author(self.ingest, keys or keys_of(0))
        except BaseException:
            self.database.close()
            raise

    async def close(self) -> None:
        """Closes all of it, in order."""
        await self.author.close()
        await self.ingest.close()
        self.database.close()
