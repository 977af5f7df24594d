"""The links in a message's content: which messages, feeds and blobs it names, and under which key.

A link is a text that is an id (with or without `?` and a query), at any depth. Its `rel` is the key under which it
stands; a `link` in an object has the key of that object, and lists count for nothing: `{"root": "%..."}` is root,
`{"vote": {"link": "%..."}}` is vote, `{"mentions": [{"link": "@..."}]}` is mentions. ssb-db 19 finds the same at the
top level of a content and in the objects there; we look deeper.
"""

from __future__ import annotations

from binascii import a2b_base64
from typing import Final, NamedTuple

from ssb_rtc.feeds.refs import is_link
from ssb_rtc.types import Json

LINKS_MAX: Final = 100
"""Different links of one message that count, the first ones: a message of 8 KiB could hold 150."""
DEPTH_MAX: Final = 16
_SHORTEST: Final = 52


class ContentLink(NamedTuple):
    """`target` is the id without a query."""

    rel: str
    target: str


def links_of(content: Json) -> list[ContentLink]:
    """The different links of a content, in the order in which they stand; none for a private message's text."""
    found: dict[ContentLink, None] = {}
    if isinstance(content, dict):
        _collect(content, "", found, 0)
    return list(found)


def target_number(target: str) -> int:
    """The first 8 bytes of an id's hash or key as a signed integer: what an index keeps of it."""
    return int.from_bytes(a2b_base64(target[1:45])[:8], "big", signed=True)


def _collect(value: Json, rel: str, found: dict[ContentLink, None], depth: int) -> None:
    if isinstance(value, str):
        if len(value) >= _SHORTEST and value[0] in "@%&" and is_link(value) and len(found) < LINKS_MAX:
            found[ContentLink(rel, value.partition("?")[0])] = None
    elif depth >= DEPTH_MAX or len(found) >= LINKS_MAX:
        return
    elif isinstance(value, dict):
        for key, item in value.items():
            _collect(item, rel if key == "link" and rel else key, found, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _collect(item, rel, found, depth + 1)
