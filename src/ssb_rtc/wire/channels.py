"""The names of the sealed dialect's channels on a hub: 22 characters of base64url each, and no two alike by accident.

    public inbox    keyed by the network key: everybody in the network can compute it, from a peer's key and the day
    friend inbox    keyed by a secret that only friends hold: nobody else can compute it, or link one day to the next
    announce        keyed by the network key and a prefix of a path; more channels when there are more peers
    reply           16 random bytes: named in a knock and an offer, known to nobody else

Names change every day (UTC). Around midnight two days are listened to, so that clocks need not agree. The layout is
that of docs/signalling.md.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from hashlib import blake2b
from typing import Final

from ssb_rtc.errors import MisuseError
from ssb_rtc.types import PeerId
from ssb_rtc.wire.envelope import raw_key, require_bytes

NAME_BYTES: Final = 16
REPLY_BYTES: Final = NAME_BYTES
SECRET_BYTES: Final = 32
DEPTH_MAX: Final = 32
"""A path has 32 bits: deep enough for four thousand million peers."""
DAY_S: Final = 86_400
OVERLAP_S: Final = 900
"""How far from midnight the neighbouring day's inboxes are listened to, too: the window of a letter's time."""

_DAY_MAX: Final = 2**32 - 1


def day_of(wall_s: float) -> int:
    """The day (since 1970, UTC) whose inboxes are written to at this time."""
    return max(0, min(math.floor(wall_s / DAY_S), _DAY_MAX))


def days_heard(wall_s: float) -> tuple[int, ...]:
    """The one or two days whose inboxes are listened to at this time, in order."""
    return tuple(sorted({day_of(wall_s - OVERLAP_S), day_of(wall_s), day_of(wall_s + OVERLAP_S)}))


def public_inbox(network_key: bytes, peer: PeerId, day: int) -> str:
    """The channel where anybody in the network can write to this peer, while it welcomes strangers."""
    return _name(network_key, b"ssb-rtc-1 public inbox\0" + raw_key(peer) + _u32("day", day))


def friend_inbox(secret: bytes, day: int) -> str:
    """The channel where the holders of this secret (32 bytes) write to the peer that gave it to them."""
    return _name(secret, b"ssb-rtc-1 friend inbox\0" + _u32("day", day))


def announce_path(network_key: bytes, peer: PeerId, day: int) -> int:
    """Where this peer stands in the tree of announce channels on this day: 32 bits, the most significant one first."""
    return int.from_bytes(_digest(network_key, b"ssb-rtc-1 path\0" + raw_key(peer) + _u32("day", day))[:4], "big")


def announce_channel(network_key: bytes, path: int, depth: int) -> str:
    """The announce channel at this depth (0 is everybody's) on the way to `path`."""
    if not 0 <= depth <= DEPTH_MAX:
        raise MisuseError(f"the depth of an announce channel is 0 to {DEPTH_MAX}, not {depth}")
    prefix = path >> (DEPTH_MAX - depth) << (DEPTH_MAX - depth)
    return _name(network_key, b"ssb-rtc-1 announce\0" + bytes([depth]) + _u32("path", prefix))


def reply_channel(raw: bytes) -> str:
    """The channel of these 16 random bytes."""
    require_bytes("raw", raw, REPLY_BYTES)
    return _text(raw)


def reply_bytes(channel: str) -> bytes:
    """The 16 bytes of a reply channel. Raises MisuseError for what is none."""
    try:
        raw = base64.b64decode(channel + "==", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != REPLY_BYTES or _text(raw) != channel:
        raise MisuseError("a reply channel has 22 characters of base64url")
    return raw


def _name(key: bytes, data: bytes) -> str:
    return _text(_digest(key, data))


def _digest(key: bytes, data: bytes) -> bytes:
    require_bytes("a network key or an inbox secret", key, SECRET_BYTES)
    return blake2b(data, key=key, digest_size=NAME_BYTES).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _u32(name: str, value: int) -> bytes:
    if not 0 <= value <= _DAY_MAX:
        raise MisuseError(f"the {name} of a channel has 32 bits, {value} has more")
    return struct.pack(">I", value)
