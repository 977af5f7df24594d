"""Opens private messages of both kinds with all keys that we have, and keeps the group keys that they bring.

Bounded work for each message, whoever wrote it: box1 is one scalar multiplication and eight boxes (60 us), box2 one
try for each group key and sixteen for the key that we share with the author.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from nacl.exceptions import CryptoError

from ssb_rtc.errors import MessageInvalid, MisuseError
from ssb_rtc.feeds import bfe, box2, canonical, groups, private
from ssb_rtc.feeds.box2 import Place, TrialKey
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.storage.group_keys import GroupKeys
from ssb_rtc.storage.log import Stored
from ssb_rtc.types import FeedId, Json, JsonObject, MsgId

DIRECT_KEYS_CACHED: Final = 1_024
"""Keys that we share with an author; each takes 0.2 ms to make."""


class Unboxer:
    """What is private and for us becomes readable; everything else is None. Nothing is written but group keys."""

    def __init__(self, keys: Keys, group_keys: GroupKeys) -> None:
        self._keys = keys
        self.group_keys = group_keys
        self._direct_key = lru_cache(DIRECT_KEYS_CACHED)(self._make_direct_key)

    def unbox(self, text: str, author: FeedId, previous: MsgId | None) -> Json | None:
        """The content behind `....box` or `....box2` in a message of `author` after `previous`.

        None where it is not for us, is damaged, is of another kind or holds no JSON. No text makes it raise.
        """
        if text.endswith(".box"):
            return private.unbox(text, self._keys)
        if not text.endswith(".box2") or len(text) > private.BOXED_MAX_BYTES:
            return None
        try:
            place = Place(bfe.encode(author), bfe.encode(previous))
        except MisuseError:
            return None
        plain = self._open(private.decode_boxed(text), place, author)
        if plain is None:
            return None
        try:
            content = canonical.parse(plain)
        except MessageInvalid:
            return None
        self._learn(content, author)
        return content

    def unbox_value(self, value: JsonObject) -> Json | None:
        """The content of a message's value; None where it is public or can't be read."""
        content, author, previous = value.get("content"), value.get("author"), value.get("previous")
        if not isinstance(content, str) or not isinstance(author, str) or not isinstance(previous, str | None):
            return None
        return self.unbox(content, FeedId(author), MsgId(previous) if previous is not None else None)

    def unbox_stored(self, stored: Stored) -> Json | None:
        """The content of a message in the log; None where it is public (seen without parsing) or can't be read."""
        if b'.box"' not in stored.raw and b'.box2"' not in stored.raw:
            return None
        return self.unbox_value(stored.value())

    def _open(self, boxed: bytes, place: Place, author: FeedId) -> bytes | None:
        for group in self.group_keys.keys:
            opened = groups.open_as_group(group.key, place, boxed)
            if opened is not None:
                return box2.open_body(boxed, place, opened)
        direct = self._direct_key(author)
        return box2.unbox(boxed, place, [direct]) if direct is not None else None

    def _make_direct_key(self, author: FeedId) -> TrialKey | None:
        if author == self._keys.id:
            return None  # JavaScript peers use a key of their own then, which never leaves their machine
        try:
            return groups.direct_key(self._keys, author)
        except (MisuseError, CryptoError):
            return None

    def _learn(self, content: Json, author: FeedId) -> None:
        told = groups.read_add_member(content, author, self._keys.id)
        if told is not None:
            self.group_keys.add(told)
