"""Envelopes, the second kind of private messages (box2): envelope-spec 1.0 as npm envelope-js does it.

    header box 32 | slot 32, one a recipient | body box

The header box holds where the body begins. Every key comes from the message key by HKDF, bound to the author and to
the message before; a slot is the message key, xored with what the recipient's key gives. Nothing tells which slot is
for whom, nor how many there are: each recipient tries slots until the header opens.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds import bfe

SLOTS_MAX: Final = 16
KEY_BYTES: Final = 32

_BOX_BYTES: Final = 32
_TAG_BYTES: Final = 16
_NONCE: Final = bytes(24)  # each key is used once


@dataclass(frozen=True, slots=True)
class TrialKey:
    """A key that may open a slot, and the name of how it is managed, which is part of the derivation."""

    key: bytes = field(repr=False)
    scheme: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A header that opened: the key to read with, and where the body begins."""

    read_key: bytes = field(repr=False)
    body_at: int


class Place:
    """Where an envelope stands: a classic feed's id and its previous message's, as bfe bytes (`NIL` for none).

    Derives the keys that hold only there.
    """

    def __init__(self, author: bytes, previous: bytes) -> None:
        if previous == bfe.NIL:
            previous = bfe.CLASSIC_MESSAGE + bytes(KEY_BYTES)
        self._place = slp(b"envelope", author, previous)
        self._infos: dict[tuple[bytes, ...], bytes] = {}

    def derive(self, key: bytes, *labels: bytes) -> bytes:
        """DeriveSecret: 32 bytes of HKDF-SHA256 (the expand step)."""
        info = self._infos.get(labels)
        if info is None:
            info = self._infos[labels] = self._place + slp(*labels)
        return hkdf_expand(key, info)


def unbox(boxed: bytes, place: Place, keys: Iterable[TrialKey], *, slots_max: int = SLOTS_MAX) -> bytes | None:
    """The plain text, with the first of `keys` that opens one of the first slots; None where none does."""
    opened = open_header(boxed, place, keys, slots_max=slots_max)
    return open_body(boxed, place, opened) if opened is not None else None


def open_header(boxed: bytes, place: Place, keys: Iterable[TrialKey], *, slots_max: int = SLOTS_MAX) -> Opened | None:
    """Tries each key on each of the first slots: three HMACs and a box of 16 bytes a try."""
    header_box = boxed[:_BOX_BYTES]
    # The last slot is followed by a body of one byte at least.
    slots = min(slots_max, SLOTS_MAX, (len(boxed) - _BOX_BYTES - _TAG_BYTES - 1) // KEY_BYTES)
    for trial in keys:
        pad = int.from_bytes(_slot_pad(place, trial))
        for at in range(slots):
            start = _BOX_BYTES + at * KEY_BYTES
            message_key = (pad ^ int.from_bytes(boxed[start : start + KEY_BYTES])).to_bytes(KEY_BYTES)
            read_key = place.derive(message_key, b"read_key")
            try:
                header = bindings.crypto_secretbox_open_easy(header_box, _NONCE, place.derive(read_key, b"header_key"))
            except CryptoError:
                continue
            return Opened(read_key, int.from_bytes(header[:2], "little"))
    return None


def open_body(boxed: bytes, place: Place, opened: Opened) -> bytes | None:
    """The plain text behind a header that opened; None where it is damaged."""
    try:
        body_key = place.derive(opened.read_key, b"body_key")
        return bytes(bindings.crypto_secretbox_open_easy(boxed[opened.body_at :], _NONCE, body_key))
    except (CryptoError, ValueError):
        return None


def box(plain: bytes, place: Place, message_key: bytes, keys: Sequence[TrialKey]) -> bytes:
    """Encrypts for 1 to 16 keys. `message_key`: 32 random bytes, never used before. Raises MisuseError."""
    if not plain:
        raise MisuseError("an empty text can't be encrypted")
    if not 1 <= len(keys) <= SLOTS_MAX:
        raise MisuseError(f"an envelope has 1 to {SLOTS_MAX} recipients, not {len(keys)}")
    if len(message_key) != KEY_BYTES or not any(message_key):
        raise MisuseError(f"an envelope takes a fresh key of {KEY_BYTES} bytes")
    read_key = place.derive(message_key, b"read_key")
    header = (_BOX_BYTES + KEY_BYTES * len(keys)).to_bytes(2, "little") + bytes(14)
    header_box = bindings.crypto_secretbox_easy(header, _NONCE, place.derive(read_key, b"header_key"))
    slots = [bytes(a ^ b for a, b in zip(message_key, _slot_pad(place, one), strict=True)) for one in keys]
    body_box = bindings.crypto_secretbox_easy(plain, _NONCE, place.derive(read_key, b"body_key"))
    return b"".join([header_box, *slots, body_box])


def cloaked_id(message: bytes, read_key: bytes) -> bytes:
    """The 32 bytes that name a message (given as bfe bytes) to those who can read it, and tell others nothing."""
    return hkdf_expand(read_key, slp(b"cloaked_msg_id", message))


def slp(*parts: bytes) -> bytes:
    """Shallow length-prefixed: each part after its length, two bytes, little-endian."""
    return b"".join(len(part).to_bytes(2, "little") + part for part in parts)


def hkdf_expand(key: bytes, info: bytes) -> bytes:
    """The expand step of HKDF-SHA256 (RFC 5869) for 32 bytes, which is one HMAC."""
    return hmac.digest(key, info + b"\x01", "sha256")


def _slot_pad(place: Place, trial: TrialKey) -> bytes:
    return place.derive(trial.key, b"slot_key", trial.scheme.encode())
