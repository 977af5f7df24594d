"""Ids as a person gives them to a command."""

from __future__ import annotations

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds import refs, uri
from ssb_rtc.types import FeedId


def feed_id(text: str) -> FeedId:
    """A feed's id: with its sigil, or as an ssb: URI. Raises MisuseError."""
    found = uri.to_sigil(text)
    if not refs.is_feed_id(found):
        raise MisuseError(f"{text!r} is not a feed id; one looks like @<44 characters>.ed25519")
    return FeedId(found)
