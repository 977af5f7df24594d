"""The bodies of orders (POST), read into records: what is not one is refused with a sentence. Pure."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeVar

import msgspec

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds.refs import is_feed_id, is_msg_id
from ssb_rtc.types import JsonObject

BODY_MAX: Final = 64 * 1024
"""Bytes of a JSON body: a message has 8 KiB, which escapes may make six times longer."""
BRANCHES_MAX: Final = 16
MENTIONS_MAX: Final = 64

_Short = Annotated[str, msgspec.Meta(max_length=256)]
_Url = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]


class _Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order; what it does not know is refused, so that a misspelt wish is not lost without a word."""


class Exchange(_Order, frozen=True):
    """POST /api/session."""

    token: str


class Publish(_Order, frozen=True):
    """POST /api/publish."""

    text: Annotated[str, msgspec.Meta(min_length=1)]
    root: str | None = None
    branch: str | list[str] | None = None
    to: Annotated[list[str], msgspec.Meta(max_length=6)] = []
    mentions: Annotated[list[JsonObject], msgspec.Meta(max_length=MENTIONS_MAX)] = []

    @property
    def branches(self) -> list[str]:
        """The messages that it comes right after."""
        return [self.branch] if isinstance(self.branch, str) else self.branch or []

    @property
    def answers(self) -> list[str]:
        """The messages that it answers."""
        return list(dict.fromkeys([*([self.root] if self.root is not None else []), *self.branches]))

    def content(self) -> JsonObject:
        """The post. Raises MisuseError."""
        branches = self.branches
        if self.root is not None and not is_msg_id(self.root):
            raise MisuseError("root takes the id of a message, like %<44 characters>.sha256")
        if len(branches) > BRANCHES_MAX or not all(map(is_msg_id, branches)):
            raise MisuseError(f"branch takes up to {BRANCHES_MAX} ids of messages")
        content: JsonObject = {"type": "post", "text": self.text}
        if self.root is not None:
            content["root"] = self.root
        if branches:
            content["branch"] = branches[0] if len(branches) == 1 else branches
        if self.mentions:
            content["mentions"] = self.mentions
        return content


class Follow(_Order, frozen=True):
    """POST /api/follow."""

    id: str
    state: bool = True


class Block(_Order, frozen=True):
    """POST /api/block."""

    id: str
    state: bool = True
    reason: Annotated[str, msgspec.Meta(max_length=1000)] | None = None


class About(_Order, frozen=True):
    """POST /api/about."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Hubs(_Order, frozen=True):
    """POST /api/hubs."""

    action: Literal["add", "remove", "publish", "retire"]
    url: _Url
    private: bool = False


class Connect(_Order, frozen=True):
    """POST /api/connect."""

    address: _Url
    pin: bool = False


class OfPeer(_Order, frozen=True):
    """POST /api/disconnect."""

    id: str


class OfBlob(_Order, frozen=True):
    """POST /api/want."""

    id: _Short


class Sync(_Order, frozen=True):
    """POST /api/sync."""

    answer: Literal["accept", "decline"]


class Invite(_Order, frozen=True):
    """POST /api/invite."""

    uses: int | None = None
    days: int | None = None
    note: str | None = None


class OfInvite(_Order, frozen=True):
    """POST /api/revoke: the id of a code, as GET /api/invites tells it; never the code itself."""

    id: _Short


class Join(_Order, frozen=True):
    """POST /api/join."""

    code: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


T = TypeVar("T", bound=_Order)


def read(body: bytes, kind: type[T]) -> T:
    """The order in a body. Raises MisuseError, which never quotes the body: it may hold a secret."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as fault:
        raise MisuseError(f"this order makes no sense: {fault}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise MisuseError("the body is not JSON") from None


def feed(text: str) -> str:
    """The id of a feed. Raises MisuseError."""
    if not is_feed_id(text):
        raise MisuseError("this takes the id of a feed, like @<44 characters>.ed25519")
    return text
