"""Ids as bytes: type, format, data (ssb-bfe-spec), as far as encrypted messages are bound to them.

Not here: the encodings of whole contents (strings, booleans, signatures), which only feed formats need that this
package does not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds import uri
from ssb_rtc.feeds.uri import IdUri

NIL: Final = b"\x06\x02"
DM_KEY: Final = b"\x03\x00"
"""Type and format of a Curve25519 key made from a feed's Ed25519 key."""
PO_BOX_KEY: Final = b"\x03\x01"
CLASSIC_MESSAGE: Final = b"\x01\x00"

TYPE_FORMATS: Final[Mapping[tuple[str, str], bytes]] = {
    ("feed", "classic"): b"\x00\x00",
    ("feed", "gabbygrove-v1"): b"\x00\x01",
    ("feed", "bendybutt-v1"): b"\x00\x03",
    ("feed", "buttwoo-v1"): b"\x00\x04",
    ("feed", "indexed-v1"): b"\x00\x05",
    ("message", "classic"): CLASSIC_MESSAGE,
    ("message", "gabbygrove-v1"): b"\x01\x01",
    ("message", "cloaked"): b"\x01\x02",
    ("message", "bendybutt-v1"): b"\x01\x04",
    ("message", "buttwoo-v1"): b"\x01\x05",
    ("message", "indexed-v1"): b"\x01\x06",
    ("blob", "classic"): b"\x02\x00",
    ("encryption-key", "box2-dm-dh"): DM_KEY,
    ("identity", "po-box"): b"\x07\x00",
    ("identity", "group"): b"\x07\x01",
}
"""Two bytes for each type and format that a URI can name; the data of each is 32 bytes. Left out: bamboo (64 bytes)."""

_NAMES: Final = {code: name for name, code in TYPE_FORMATS.items()}


def encode(identifier: str | None) -> bytes:
    """The 34 bytes of an id, given with its sigil or as a URI; None is `NIL`. Raises MisuseError for anything else."""
    if identifier is None:
        return NIL
    text = identifier if identifier.startswith("ssb:") else uri.from_sigil(identifier)
    found = uri.parse(text)
    if not isinstance(found, IdUri) or found.extra is not None or (found.type, found.format) not in TYPE_FORMATS:
        raise MisuseError(f"this id has no binary form: {identifier!r:.200}")
    return TYPE_FORMATS[found.type, found.format] + found.data


def decode(data: bytes) -> str | None:
    """The id of 34 bytes, with its sigil where it has one, else a URI; None for `NIL`. Raises MisuseError."""
    if data == NIL:
        return None
    name = _NAMES.get(data[:2])
    if name is None or len(data) != 2 + uri.DATA_BYTES:
        raise MisuseError(f"these are no bytes of an id: {data[:40].hex()}")
    found = IdUri(*name, data[2:])
    return uri.sigil_of(found) or uri.format_uri(found)
