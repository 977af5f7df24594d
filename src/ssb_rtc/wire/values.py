"""JSON values on the wire, read as JSON.parse reads them and written as JSON.stringify writes them, closely enough.

The fast path is orjson. The slow one serves what JavaScript takes and orjson does not: lone surrogates, numbers beyond
a double or 64 bits, bytes that are no UTF-8 (replaced, as Buffer.toString does).
"""

from __future__ import annotations

import json
from typing import Final, NoReturn

import orjson

from ssb_rtc.errors import MisuseError
from ssb_rtc.types import Json

LOOKED_AT_MAX: Final = 100_000
"""How far a value is looked through before json.dumps judges it: one that holds itself has no end."""


def parse_json(data: bytes) -> Json:
    """What JSON.parse(data.toString()) gives. Raises ValueError where JavaScript throws, and on nesting beyond ~1,000.

    Integers beyond 2^53 come back as Python has them, exact, where JavaScript would round.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data.decode("utf-8", "replace"), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def encode_json(value: Json) -> bytes:
    """`value` as JSON text in UTF-8; lone surrogates as escapes, NaN as null. Raises MisuseError for other types."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        pass
    _require_text_keys(value)
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise MisuseError(f"this value has no JSON: {error}") from error


def _require_text_keys(value: Json) -> None:
    """json.dumps would write `{1: 2}` as `{"1": 2}` without a word."""
    pending, looked_at = [value], 0
    while pending and looked_at < LOOKED_AT_MAX:
        looked_at += 1
        item = pending.pop()
        if isinstance(item, dict):
            if not all(isinstance(key, str) for key in item):
                raise MisuseError("this value has no JSON: the keys of an object must be text")
            pending.extend(item.values())
        elif isinstance(item, (list, tuple)):
            pending.extend(item)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
