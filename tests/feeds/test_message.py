"""Ids and the making of messages."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds.canonical import encode, parse, utf16_length
from ssb_rtc.feeds.keys import keys_from_seed
from ssb_rtc.feeds.message import MESSAGE_MAX_UNITS, create, id_of_encoded, message_id
from ssb_rtc.feeds.validate import check
from ssb_rtc.types import JsonObject, MsgId

KEYS = keys_from_seed(bytes([7]) * 32)
PREVIOUS = MsgId("%" + "A" * 43 + "=.sha256")


def make(content: Any, **others: Any) -> JsonObject:
    arguments: dict[str, Any] = {"previous": None, "sequence": 1, "timestamp_ms": 1514517067954} | others
    return create(KEYS, content, **arguments)


def test_ids_of_javascript(vectors: Path) -> None:
    rows = json.loads((vectors / "messages-js" / "messages.json").read_text(encoding="utf-8"))
    assert len(rows) == 14
    for row in rows:
        value = parse(row["transport"])
        encoded = encode(value)
        assert encoded.hex() == row["canonical_utf8_hex"]
        assert utf16_length(encoded) == row["length"]
        assert message_id(value) == id_of_encoded(encoded) == row["id"]


def test_created_as_javascript_creates(vectors: Path) -> None:
    """Ed25519 signs deterministically, so the same content gives the same bytes."""
    made = 0
    for row in json.loads((vectors / "messages-js" / "messages.json").read_text(encoding="utf-8")):
        value = parse(row["transport"])
        hmac_key = parse_hmac(row["hmacKey"])
        try:
            again = create(
                keys_from_seed(parse_secret_seed(row["secret"])),
                value["content"],
                previous=value["previous"],
                sequence=value["sequence"],
                timestamp_ms=value["timestamp"],
                hmac_key=hmac_key,
            )
        except MisuseError:
            assert "\\ud" in row["transport"]
            continue
        made += 1
        assert encode(again).hex() == row["canonical_utf8_hex"]
    assert made == 12


def parse_hmac(text: str | None) -> bytes | None:
    return base64.b64decode(text) if text else None


def parse_secret_seed(text: str) -> bytes:
    return base64.b64decode(text.partition(".")[0])[:32]


@pytest.mark.parametrize(
    "content",
    [
        None, 5, "post", "", [], ["type"], {}, {"type": 5}, {"type": "ab"}, {"type": "t" * 53},
        {"type": "😀" * 26 + "a"}, {"type": "post", "n": math.nan}, {"type": "post", "n": math.inf},
        {"type": "post", "n": 2**53 + 1}, {"type": "post", "x": "\ud800"}, {"type": "post", "\udc00": 1},
        {"type": "post", "x": b""}, {"type": "post", "x": (1,)}, {"type": "post", 1: 2}, {"type": "post", "x": {1}},
        "AAAA.box\n", "AAAA.box and more", "AAA.box", "AB==.box", "AAAA",
    ],
)  # fmt: skip
def test_content_that_is_refused(content: Any) -> None:
    with pytest.raises(MisuseError):
        make(content)


def test_content_nested_too_deep() -> None:
    for depth in (200, 20_000):
        deep: Any = []
        for _ in range(depth):
            deep = [deep]
        with pytest.raises(MisuseError, match="nested"):
            make({"type": "post", "x": deep})
        while deep:
            deep = deep[0]


@pytest.mark.parametrize("content", [{"type": "abc"}, {"type": "t" * 52}, {"type": "😀" * 26}, "AAAA.box", "AA==.box2"])
def test_content_that_is_taken(content: Any) -> None:
    value = make(content)
    assert check(None, value).value == value


@pytest.mark.parametrize(
    "others",
    [
        {"sequence": 0}, {"sequence": 2}, {"sequence": True}, {"sequence": 1.0}, {"previous": PREVIOUS},
        {"sequence": 2**31, "previous": PREVIOUS}, {"sequence": 2, "previous": "%x"}, {"timestamp_ms": math.nan},
        {"timestamp_ms": math.inf}, {"timestamp_ms": "1"}, {"hmac_key": b"short"},
    ],
)  # fmt: skip
def test_places_that_are_refused(others: dict[str, Any]) -> None:
    with pytest.raises(MisuseError):
        make({"type": "post"}, **others)


def test_size_in_utf16_units_with_the_signature() -> None:
    room = MESSAGE_MAX_UNITS - utf16_length(encode(make({"type": "post", "text": ""})))
    assert utf16_length(encode(make({"type": "post", "text": "€" * room}))) == MESSAGE_MAX_UNITS
    assert utf16_length(encode(make({"type": "post", "text": "🦀" * (room // 2)}))) >= MESSAGE_MAX_UNITS - 1
    for text in ("€" * (room + 1), "🦀" * (room // 2 + 1)):
        with pytest.raises(MisuseError, match="8192"):
            make({"type": "post", "text": text})


def test_content_is_copied_and_as_in_javascript() -> None:
    content: dict[str, Any] = {"type": "post", "2": [1.0], "1": -0.0}
    value = make(content, timestamp_ms=5.0)
    content["2"].append("later")
    assert list(value["content"]) == ["1", "2", "type"]
    assert value["content"]["2"] == [1]
    assert type(value["timestamp"]) is int
    assert check(None, value).key == message_id(value)


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**53), 2**53),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=9),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=4)),
    max_leaves=12,
)  # fmt: skip


@given(JSON, st.floats(-1e300, 1e300), st.sampled_from([None, bytes(range(32))]))
def test_what_is_made_is_valid_by_both_rules(inner: Any, timestamp_ms: float, hmac_key: bytes | None) -> None:
    first = make({"type": "test", "inner": inner}, timestamp_ms=timestamp_ms, hmac_key=hmac_key)
    head = check(None, first, hmac_key=hmac_key, strict=True).head
    second = make({"type": "test", "inner": inner}, previous=head.id, sequence=2, hmac_key=hmac_key)
    checked = check(head, second, hmac_key=hmac_key)
    assert parse(checked.raw, strict=True) == second
    assert check(head, parse(checked.raw), hmac_key=hmac_key).key == checked.key
