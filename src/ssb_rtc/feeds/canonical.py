"""JSON as V8 reads and writes it: JSON.parse, JSON.stringify(v, null, 2) and JSON.stringify(v), to the byte.

Ids and signatures of feed messages are made over what JSON.stringify(v, null, 2) prints, so every deviation breaks a
feed. orjson does the common case; where it would print something else than V8 does, an exact encoder takes over:
numbers that are not plain (whole floats, exponents, more than 53 bits), keys that are array indices (ECMAScript puts
them first, ascending), and lone surrogates (printed as escapes, since ES2019). `is_plain` decides.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from typing import NoReturn

import orjson

from ssb_rtc.errors import MessageInvalid, MisuseError
from ssb_rtc.types import Json

DEPTH_MAX = 128
"""Levels of nesting. A message of 8,192 UTF-16 units printed with indentation holds 64 at most."""

_SAFE_MAX = 2**53
_INDEX_MAX = 2**32 - 2
_INDEX = re.compile(r"(?:0|[1-9][0-9]{0,9})\Z")
_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN_FLOAT_MIN = 1e-3
_PLAIN_FLOAT_MAX = 1e15


def parse(data: bytes | str, *, strict: bool = False) -> Json:
    """Reads JSON as JSON.parse (ES2019) does, bytes as Node's Buffer.toString() decodes them.

    Numbers become what JavaScript has: whole ones within 2^53 are int, all others are float (1e999 is inf), array
    indices come first among an object's keys, the last of two equal keys wins at the place of the first.
    strict: refuses what the SSB specification refuses and JSON.parse takes: bytes that are not UTF-8, numbers that
    overflow, negative zero, lone surrogates, two equal keys (spec.scuttlebutt.nz/feed/datamodel.html).
    Raises MessageInvalid, for more than DEPTH_MAX levels of nesting too.
    """
    if strict:
        return _parse_strict(data)
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = _loads(data, errors="replace", parse_float=float, parse_int=_whole)
    return value if is_plain(value) else as_javascript(value)


def encode(value: Json) -> bytes:
    """JSON.stringify(value, null, 2) as UTF-8: what is hashed and signed.

    Raises MisuseError for what is no JSON, MessageInvalid for more than DEPTH_MAX levels.
    """
    if is_plain(value):
        try:
            return orjson.dumps(value, option=orjson.OPT_INDENT_2)
        except orjson.JSONEncodeError:
            pass
    return _exact(value, "\n", ": ")


def compact(value: Json) -> bytes:
    """JSON.stringify(value) as UTF-8: what is sent. Raises as `encode` does."""
    if is_plain(value):
        try:
            return orjson.dumps(value)
        except orjson.JSONEncodeError:
            pass
    return _exact(value, "", ":")


def utf16_length(encoded: bytes) -> int:
    """The length that JavaScript sees: UTF-16 units of UTF-8 text."""
    return len(encoded) if encoded.isascii() else len(low_bytes(encoded))


def low_bytes(encoded: bytes) -> bytes:
    """The low byte of each UTF-16 unit of UTF-8 text: Node's Buffer.from(text, 'binary'), which ids are made over."""
    return encoded if encoded.isascii() else encoded.decode().encode("utf-16-le")[::2]


def units(text: str) -> int:
    """The `length` that JavaScript gives to a string: its UTF-16 units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def is_plain(value: Json) -> bool:
    """Whether orjson prints `value` as V8 does (but for lone surrogates, which it refuses).

    Raises MessageInvalid for more than DEPTH_MAX levels.
    """
    try:
        return _are_plain((value,), 0)
    except (AttributeError, TypeError):
        # A key that is no string: the exact encoder names the mistake.
        return False


def _are_plain(items: Iterable[Json], depth: int) -> bool:
    """One level of `is_plain` in one loop: validation calls this for every message."""
    for item in items:
        kind = type(item)
        if kind is str or kind is bool or item is None:
            continue
        if kind is int:
            if -_SAFE_MAX <= item <= _SAFE_MAX:
                continue
            return False
        if kind is dict:
            for key in item:
                if key.isdigit() and is_index(key):
                    return False
            item = item.values()  # noqa: PLW2901
        elif kind is not list:
            if kind is float and _PLAIN_FLOAT_MIN <= abs(item) < _PLAIN_FLOAT_MAX and not item.is_integer():
                continue
            return False
        if depth >= DEPTH_MAX:
            _too_deep()
        if not _are_plain(item, depth + 1):
            return False
    return True


def is_index(key: str) -> bool:
    """Whether ECMAScript calls this key an array index, and so puts it before the others."""
    return _INDEX.match(key) is not None and int(key) <= _INDEX_MAX


def as_javascript(value: Json, depth: int = 0) -> Json:
    """The same value with numbers and the order of keys as JavaScript would have them."""
    kind = type(value)
    if kind is dict or kind is list:
        if depth >= DEPTH_MAX:
            _too_deep()
        if kind is dict:
            return {key: as_javascript(value[key], depth + 1) for key in _ordered(value)}
        return [as_javascript(item, depth + 1) for item in value]
    if kind is int and not -_SAFE_MAX <= value <= _SAFE_MAX:
        value = _as_double(value)
    if type(value) is float and value.is_integer() and -_SAFE_MAX <= value <= _SAFE_MAX:
        return int(value)
    return value


def number_text(number: float) -> str:
    """Number::toString of ECMAScript in base 10; `null` for what JSON has no word for, as JSON.stringify prints it."""
    if type(number) is int:
        if -_SAFE_MAX <= number <= _SAFE_MAX:
            return str(number)
        number = _as_double(number)
    if not math.isfinite(number):
        return "null"
    if number == 0:
        return "0"
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    point = len(whole) + int(exponent or 0)
    stripped = digits.lstrip("0")
    point -= len(digits) - len(stripped)
    return ("-" if number < 0 else "") + _decimal(stripped.rstrip("0"), point)


def _decimal(digits: str, point: int) -> str:
    """0.<digits> times ten to the power of `point`, written by the rules of Number::toString."""
    if len(digits) <= point <= 21:
        return digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    exponent = f"e{point - 1:+d}"
    return (digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}") + exponent


def _as_double(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _ordered(value: dict[str, Json]) -> list[str]:
    try:
        indices = sorted((key for key in value if key.isdigit() and is_index(key)), key=int)
    except AttributeError:
        raise MisuseError("a key of a JSON object must be a string") from None
    if not indices:
        return list(value)
    first = set(indices)
    return indices + [key for key in value if key not in first]


def string_text(text: str) -> str:
    """A string as JSON.stringify prints it, in quotes."""
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))
    return json.dumps(text, ensure_ascii=False)


def _exact(value: Json, newline: str, colon: str) -> bytes:
    out: list[str] = []
    _write(value, newline, colon, out.append, 0)
    return "".join(out).encode()


def _write(value: Json, newline: str, colon: str, put: Callable[[str], None], depth: int) -> None:
    kind = type(value)
    if kind is str:
        put(string_text(value))
    elif kind is int or kind is float:
        put(number_text(value))
    elif value is None or kind is bool:
        put("null" if value is None else "true" if value else "false")
    elif kind is dict or kind is list:
        if depth >= DEPTH_MAX:
            _too_deep()
        _write_many(value, newline, colon, put, depth)
    else:
        raise MisuseError(f"JSON has no {kind.__name__}")


def _write_many(
    value: dict[str, Json] | list[Json], newline: str, colon: str, put: Callable[[str], None], depth: int
) -> None:
    inner = newline and newline + "  "
    is_object = isinstance(value, dict)
    put("{" if is_object else "[")
    if isinstance(value, dict):
        for at, key in enumerate(_ordered(value)):
            put(("," if at else "") + inner + string_text(key) + colon)
            _write(value[key], inner, colon, put, depth + 1)
    else:
        for at, item in enumerate(value):
            put(("," if at else "") + inner)
            _write(item, inner, colon, put, depth + 1)
    put((newline if value else "") + ("}" if is_object else "]"))


def _whole(digits: str) -> float:
    return int(digits) if len(digits) <= 15 else float(digits)


def _loads(
    data: bytes | str,
    *,
    errors: str,
    parse_float: Callable[[str], float],
    parse_int: Callable[[str], float],
    pairs: Callable[[list[tuple[str, Json]]], dict[str, Json]] | None = None,
) -> Json:
    try:
        text = data if isinstance(data, str) else data.decode("utf-8", errors)
        return json.loads(
            text, parse_float=parse_float, parse_int=parse_int, parse_constant=_constant, object_pairs_hook=pairs
        )
    except RecursionError:
        _too_deep()
    except ValueError as error:
        raise MessageInvalid(f"not JSON: {error}") from None


def _parse_strict(data: bytes | str) -> Json:
    value = _loads(data, errors="strict", parse_float=_strict_float, parse_int=_strict_int, pairs=_strict_pairs)
    value = as_javascript(value)
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise MessageInvalid("not strict JSON: a lone surrogate") from None
    return value


def _strict_float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise MessageInvalid("not strict JSON: a number out of range")
    if number == 0 and digits.startswith("-"):
        raise MessageInvalid("not strict JSON: negative zero")
    return number


def _strict_int(digits: str) -> float:
    if digits == "-0":
        raise MessageInvalid("not strict JSON: negative zero")
    return int(digits) if len(digits) <= 15 else _strict_float(digits)


def _strict_pairs(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise MessageInvalid("not strict JSON: two equal keys in one object")
    return value


def _constant(name: str) -> NoReturn:
    raise MessageInvalid(f"not JSON: {name}")


def _too_deep() -> NoReturn:
    raise MessageInvalid(f"nested deeper than {DEPTH_MAX} levels")
