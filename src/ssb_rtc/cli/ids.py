"""Ids as a person gives them to a command."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds import refs, uri
from ssb_rtc.types import FeedId

if TYPE_CHECKING:
    from ssb_rtc.transport.link import Link

BEGINNING_MIN_CHARACTERS: Final = 4
"""Of the key: what is shorter may be a slip of the pen, and somebody would be followed for it."""
LISTED_MAX: Final = 10
_BEGINNING: Final = re.compile(rf"@[A-Za-z0-9+/]{{{BEGINNING_MIN_CHARACTERS},43}}=?(\.[a-z0-9]{{0,7}})?")


def feed_id(text: str) -> FeedId:
    """A feed's id: with its sigil, or as an ssb: URI. Raises MisuseError."""
    found = uri.to_sigil(text)
    if not refs.is_feed_id(found):
        raise MisuseError(f"{text!r} is not a feed id; one looks like @<44 characters>.ed25519")
    return FeedId(found)


def checked(text: str) -> str:
    """An id, or what may be the beginning of one, with its sigil. Raises MisuseError, before anything is opened."""
    if refs.is_feed_id(uri.to_sigil(text)):
        return feed_id(text)
    beginning = text if text.startswith("@") else f"@{text}"
    if not _BEGINNING.fullmatch(beginning):
        raise _is_none(text)
    return beginning


async def known_feed(link: Link, wanted: str) -> FeedId:
    """The feed that `checked` let pass: of a beginning, the one that the peer at the other end of this link knows.

    Raises MisuseError where there is none, and where there are several.
    """
    if refs.is_feed_id(wanted):
        return FeedId(wanted)
    status = await link.call("rtc.status")
    hops = await link.call("friends.hops")
    near = (peer["id"] for peer in status["peers"])
    return chosen(wanted, {*status["feeds"], *status["following"], *near, *hops} - {status["id"]})


def chosen(wanted: str, known: Iterable[str]) -> FeedId:
    """`wanted`, which `checked` let pass, where it is an id, else the one of these that begins so. MisuseError."""
    if refs.is_feed_id(wanted):
        return FeedId(wanted)
    found = sorted(each for each in known if each.startswith(wanted))
    if not found:
        raise _is_none(wanted)
    if len(found) > 1:
        more = [f"  and {len(found) - LISTED_MAX} more"] if len(found) > LISTED_MAX else []
        listed = "\n".join([*(f"  {each}" for each in found[:LISTED_MAX]), *more])
        raise MisuseError(f"{len(found)} known ids begin with {wanted!r}: give more of the one that you mean\n{listed}")
    return FeedId(found[0])


def _is_none(text: str) -> MisuseError:
    return MisuseError(
        f"{text!r} is not a feed id, nor how a known one begins; one looks like @<44 characters>.ed25519, and "
        f"{BEGINNING_MIN_CHARACTERS} of the characters do for one that is known here"
    )
