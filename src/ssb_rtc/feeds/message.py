"""Ids of feed messages, and the making of new ones: what we author is what the specification allows.

Sources: ssb-validate 4.1.4 (create, id), ssb-keys 8.5.0 (hash, signObj), spec.scuttlebutt.nz/feed/messages.html.
"""

from __future__ import annotations

import hmac
import math
import re
from binascii import b2a_base64
from hashlib import sha256

from ssb_rtc.errors import MessageInvalid, MisuseError
from ssb_rtc.feeds import keys as _keys
from ssb_rtc.feeds.canonical import DEPTH_MAX, as_javascript, encode, low_bytes, units, utf16_length
from ssb_rtc.feeds.refs import CANONICAL_BASE64, is_msg_id
from ssb_rtc.types import Json, JsonObject, MsgId

MESSAGE_MAX_UNITS = 8192
"""UTF-16 units of JSON.stringify(message, null, 2), signature included."""

TYPE_MIN_UNITS = 3
TYPE_MAX_UNITS = 52
SEQUENCE_MAX = 2**31 - 1
"""The greatest that ssb-validate takes: it tests with a 32-bit operator."""

HMAC_KEY_BYTES = 32
_SAFE_MAX = 2**53
_SIGNATURE_LINE = ',\n  "signature": ""'
"""What a signature adds to the encoding of a message, besides itself."""
_BOX = re.compile(rf"{CANONICAL_BASE64}\.box[0-9A-Za-z]*\Z")


def id_of_encoded(encoded: bytes) -> MsgId:
    """The id of a message from its canonical encoding: SHA-256 over the low byte of each UTF-16 unit."""
    digest = sha256(low_bytes(encoded)).digest()
    return MsgId(f"%{b2a_base64(digest, newline=False).decode()}.sha256")


def message_id(value: Json) -> MsgId:
    """The id of a message value. Raises MisuseError, MessageInvalid as `canonical.encode` does."""
    return id_of_encoded(encode(value))


def signed_bytes(encoded: bytes, hmac_key: bytes | None) -> bytes:
    """What the signature covers: the encoding without signature, or its HMAC-SHA512 cut to 32 bytes (crypto_auth).

    Raises MisuseError for a key of another length than 32 bytes.
    """
    if hmac_key is None:
        return encoded
    if len(hmac_key) != HMAC_KEY_BYTES:
        raise MisuseError(f"an hmac key has {HMAC_KEY_BYTES} bytes, not {len(hmac_key)}")
    return hmac.digest(hmac_key, encoded, "sha512")[:32]


def create(
    keys: _keys.Keys,
    content: Json,
    *,
    previous: MsgId | None,
    sequence: int,
    timestamp_ms: float,
    hmac_key: bytes | None = None,
) -> JsonObject:
    """Makes and signs a message value; `content` is copied, its numbers as JavaScript has them.

    content: an object with a `type` of 3 to 52 UTF-16 units, or a private message (`<base64>.box`).
    previous and sequence: the id of the feed's last message and one more than its sequence; None and 1 for the first.
    Raises MisuseError for what the specification forbids, and for content that JavaScript would read back otherwise.
    """
    _check_place(previous, sequence, timestamp_ms)
    try:
        _check_content(content)
        value: JsonObject = {
            "previous": previous,
            "sequence": sequence,
            "author": keys.id,
            "timestamp": as_javascript(timestamp_ms),
            "hash": "sha256",
            "content": as_javascript(content),
        }
        unsigned = encode(value)
        signature = _signature_text(_keys.sign(keys, signed_bytes(unsigned, hmac_key)))
        size = utf16_length(unsigned) + len(_SIGNATURE_LINE) + len(signature)
    except MessageInvalid as error:
        raise MisuseError(f"this content can't be published: {error.reason}") from None
    if size > MESSAGE_MAX_UNITS:
        raise MisuseError(
            f"this message has {size} UTF-16 units, and {MESSAGE_MAX_UNITS} is the most: shorten it,"
            " or add a part of it as a blob"
        )
    value["signature"] = signature
    return value


def _signature_text(signature: bytes) -> str:
    return f"{b2a_base64(signature, newline=False).decode()}.sig.ed25519"


def _check_place(previous: MsgId | None, sequence: int, timestamp_ms: float) -> None:
    if type(sequence) is not int or not 1 <= sequence <= SEQUENCE_MAX:
        raise MisuseError(f"a sequence is a whole number from 1 to {SEQUENCE_MAX}")
    if (previous is None) != (sequence == 1):
        raise MisuseError("the first message, and only it, has sequence 1 and no previous one")
    if previous is not None and not is_msg_id(previous):
        raise MisuseError("previous is the id of a message, %<base64>.sha256")
    if type(timestamp_ms) not in (int, float) or not math.isfinite(timestamp_ms):
        raise MisuseError("a timestamp is a finite number of milliseconds")


def _check_content(content: Json) -> None:
    if isinstance(content, str):
        if not _BOX.match(content):
            raise MisuseError("content is an object, or a private message in base64 that ends in .box")
        return
    if type(content) is not dict:
        raise MisuseError("content is an object, or a private message in base64 that ends in .box")
    kind = content.get("type")
    if type(kind) is not str or not TYPE_MIN_UNITS <= units(kind) <= TYPE_MAX_UNITS:
        raise MisuseError(
            f"content has a type, a text of {TYPE_MIN_UNITS} to {TYPE_MAX_UNITS} UTF-16 units, "
            'like {"type":"post","text":"hello"}'
        )
    _check_exact(content, 0)


def _check_exact(value: Json, depth: int) -> None:
    """Refuses what would not come back from JavaScript, or from strict parsers, as it went in."""
    if depth > DEPTH_MAX:
        raise MisuseError(f"content is nested deeper than {DEPTH_MAX} levels")
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            _check_text(key)
            _check_exact(item, depth + 1)
    elif kind is list:
        for item in value:
            _check_exact(item, depth + 1)
    elif kind is str:
        _check_text(value)
    elif kind is int and abs(value) > _SAFE_MAX:
        raise MisuseError(f"{value} is beyond 2^53: JavaScript can't hold it; write it as text")
    elif kind is float and not math.isfinite(value):
        raise MisuseError(f"JSON has no {value}")


def _check_text(text: Json) -> None:
    if type(text) is not str:
        raise MisuseError("a key of a JSON object must be a string")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise MisuseError("a text holds a lone surrogate, which is no character") from None
