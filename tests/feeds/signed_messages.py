"""Signed messages for the tests of validation: one that is odd in a field of choice, and whole feeds."""

from __future__ import annotations

import base64
from typing import Any

from ssb_rtc.feeds.canonical import encode
from ssb_rtc.feeds.keys import Keys, keys_from_seed, sign
from ssb_rtc.feeds.message import create, message_id, signed_bytes
from ssb_rtc.feeds.validate import (
    Head,
)
from ssb_rtc.types import JsonObject, MsgId

KEYS = keys_from_seed(b"\x01" * 32)
OTHER = keys_from_seed(b"\x02" * 32)
HEAD = Head(MsgId("%" + "A" * 43 + "=.sha256"), 1, 1514517067000)


def signed(value: dict[str, Any], keys: Keys = KEYS, hmac_key: bytes | None = None) -> JsonObject:
    value = {key: item for key, item in value.items() if key != "signature"}
    text = base64.b64encode(sign(keys, signed_bytes(encode(value), hmac_key))).decode()
    return {**value, "signature": f"{text}.sig.ed25519"}


def message(**others: Any) -> JsonObject:
    value = {
        "previous": HEAD.id,
        "sequence": 2,
        "author": KEYS.id,
        "timestamp": 1514517067001,
        "hash": "sha256",
        "content": {"type": "post", "text": "hello"},
    }
    return signed(value | others)


def feed(count: int, keys: Keys = KEYS) -> list[JsonObject]:
    values: list[JsonObject] = []
    previous = None
    for sequence in range(1, count + 1):
        value = create(
            keys, {"type": "test", "at": sequence}, previous=previous, sequence=sequence, timestamp_ms=sequence
        )
        previous = message_id(value)
        values.append(value)
    return values
