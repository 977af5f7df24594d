"""What peers say on hubs, as the frames that a hub passes on."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from ssb_rtc.types import PeerId


class _Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    peer: PeerId
    """Who says it, as it says; nothing proves it."""


class Announced(_Message, frozen=True):
    """It is there."""

    free_slots: int | None = None


class Left(_Message, frozen=True):
    """It goes."""


class Knocked(_Message, frozen=True):
    """A friend is there and wants a link: whoever wants it too offers."""

    session: str
    alone: bool = False


class Offered(_Message, frozen=True):
    """It wants a connection."""

    session: str
    alone: bool = False


class Answered(_Message, frozen=True):
    """It takes the offer of this session."""

    session: str


class Busy(_Message, frozen=True):
    """It does not take the offer of this session now."""

    session: str
    not_before_s: float
    reason: str


Message: TypeAlias = Announced | Left | Knocked | Offered | Answered | Busy

ALL: Final = b"ssb/all"
"""The channel that everybody hears."""

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Message).decode


def inbox(peer: PeerId) -> bytes:
    """The channel that only this peer hears."""
    return b"ssb/" + peer.encode()
