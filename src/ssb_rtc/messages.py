"""A message as an application sees it: its content parsed and, where it was encrypted for us, opened."""

from __future__ import annotations

import msgspec

from ssb_rtc.storage.log import Stored
from ssb_rtc.types import FeedId, Json, JsonObject, MsgId


class Message(msgspec.Struct, frozen=True):
    """One message of one feed. Records are equal when they are the same message, read the same way."""

    key: MsgId
    author: FeedId
    sequence: int
    """Its place in the author's feed, from 1."""
    timestamp_ms: float
    """When the author claims to have written it, in milliseconds since 1970."""
    received_ms: int
    """When it came to this machine, in milliseconds since 1970."""
    content: Json
    """An object with a `type`; text (`....box`) where it is private and not for us."""
    is_private: bool = False
    """It was encrypted, and has been opened."""

    @property
    def type(self) -> str | None:
        """The content's type, or None where the content can't be read."""
        found = self.content.get("type") if isinstance(self.content, dict) else None
        return found if isinstance(found, str) else None


def message_of(stored: Stored, opened: Json | None = None) -> Message:
    """The message that lies in the log; `opened` is what its encrypted content turned out to be."""
    value: JsonObject = stored.value()
    return Message(
        key=stored.key,
        author=stored.author,
        sequence=stored.sequence,
        timestamp_ms=value["timestamp"],
        received_ms=stored.timestamp_ms,
        content=value["content"] if opened is None else opened,
        is_private=opened is not None,
    )
