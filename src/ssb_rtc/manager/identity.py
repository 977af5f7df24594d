"""The raw key in a peer's id: who wins when two peers dial each other is settled by comparing keys as bytes."""

from __future__ import annotations

import binascii

_ID_CHARACTERS = 53  # '@', 44 characters of base64, '.ed25519'


def public_key(peer: str) -> bytes | None:
    """The 32 bytes of the key in `@<base64>.ed25519`, or None where that is no peer id.

    Base64 that isn't the canonical spelling of its bytes is none, so that one key can't have two names.
    """
    if len(peer) != _ID_CHARACTERS or peer[0] != "@" or not peer.endswith(".ed25519"):
        return None
    text = peer[1:45]
    try:
        key = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    if len(key) != 32 or binascii.b2a_base64(key, newline=False).decode() != text:
        return None
    return key
