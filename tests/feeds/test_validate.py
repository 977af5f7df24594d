"""Validation: what ssb-validate 4.1.4 takes and refuses, and the ways in which the specification is stricter.

The verdicts here were compared with ssb-validate; tests/interop does that again on thousands of messages.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import MessageInvalid
from ssb_rtc.feeds.canonical import compact, encode, parse
from ssb_rtc.feeds.message import message_id
from ssb_rtc.feeds.validate import (
    RAW_MAX_BYTES,
    Head,
    check,
    check_batch,
    is_signed_by_author,
    prepare,
    prepare_raw,
    proves_fork,
    verify_jobs,
)
from tests.feeds.signed_messages import HEAD, KEYS, OTHER, message, signed


def is_taken(head: Head | None, value: Any, *, strict: bool = False) -> bool:
    """The verdict, which must be the same by every way in."""
    verdicts: set[tuple[str, bytes] | None] = set()
    for one in (value, parse(compact(value))):
        try:
            checked = check(head, one, strict=strict)
            verdicts.add((checked.key, checked.raw))
        except MessageInvalid:
            verdicts.add(None)
    try:
        pending = prepare_raw(head, compact(value), strict=strict)
        verdicts.add((pending.checked.key, pending.checked.raw) if verify_jobs([pending.job]) == -1 else None)
    except MessageInvalid:
        verdicts.add(None)
    assert len(verdicts) == 1
    return verdicts != {None}


def test_messages_of_javascript(vectors: Path) -> None:
    heads: dict[str, Head] = {}
    for row in json.loads((vectors / "messages-js" / "messages.json").read_text(encoding="utf-8")):
        hmac_key = base64.b64decode(row["hmacKey"]) if row["hmacKey"] else None
        value = parse(row["transport"])
        if value["sequence"] == 1:
            heads.clear()
        checked = check(heads.get(value["author"]), value, hmac_key=hmac_key)
        assert checked.key == row["id"]
        assert checked.raw.decode() == row["transport"]
        assert is_signed_by_author(value, hmac_key)
        with pytest.raises(MessageInvalid):
            check(heads.get(value["author"]), value, hmac_key=bytes(32))
        heads[value["author"]] = checked.head


def test_a_real_feed(vectors: Path) -> None:
    lines = (vectors / "go-ssb-legacy" / "real-feed-235.jsonl").read_bytes().splitlines()
    rows = [parse(line) for line in lines]
    batch = check_batch(None, [row["value"] for row in rows])
    assert batch.error is None
    assert [one.key for one in batch.accepted] == [row["key"] for row in rows]
    assert batch.head is not None
    assert batch.head.sequence == 235
    assert [
        prepare(one.head, row["value"]).checked.key for one, row in zip(batch.accepted, rows[1:], strict=False)
    ] == [row["key"] for row in rows[1:]]


def test_fixtures(vectors: Path) -> None:
    heads: dict[str, Head] = {}
    for path in sorted((vectors / "ssb-fixtures").glob("*.json")):
        row = parse(path.read_bytes())
        checked = check(heads.get(row["value"]["author"]), row["value"])
        assert checked.key == row["key"]
        heads[checked.author] = checked.head


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"sequence": 2.0},
        {"previous": [HEAD.id]},
        {"previous": [[[HEAD.id]]]},
        {"timestamp": None},
        {"timestamp": "yesterday"},
        {"timestamp": {}},
        {"timestamp": 0.5},
        {"timestamp": 1e300},
        {"content": {"type": "abc"}},
        {"content": {"type": "t" * 52}},
        {"content": {"type": "a😀"}},
        {"content": {"type": "😀" * 26}},
        {"content": {"type": "\ud800\ud800\ud800"}},
        {"content": {"type": "post", "n": [1e21, 2**53 + 1, -0.0, 1.0], "2": 1, "1": 2}},
        {"content": {"type": "post", "__proto__": None}},
        {"content": ".box"},
        {"content": "AAAA.box"},
        {"content": "AAA=.box"},
        {"content": "AA==.boxfoo bar\x0b\U0001f600\ud800"},
    ],
)
def test_taken(others: dict[str, Any]) -> None:
    assert is_taken(HEAD, message(**others))


@pytest.mark.parametrize(
    "others",
    [
        {"sequence": "2"},
        {"sequence": 1},
        {"sequence": 3},
        {"sequence": 2.5},
        {"sequence": True},
        {"sequence": None},
        {"sequence": 2 + 2**32},
        {"sequence": [2]},
        {"sequence": float("inf")},
        {"previous": None},
        {"previous": []},
        {"previous": [HEAD.id, None]},
        {"previous": [None, HEAD.id]},
        {"previous": {"toString": 1}},
        {"previous": HEAD.id.replace("A", "B", 1)},
        {"hash": "sha512"},
        {"hash": ["sha256"]},
        {"author": OTHER.id},
        {"author": [KEYS.id]},
        {"author": None},
        {"author": KEYS.id.replace("ed25519", "sha256")},
        {"author": KEYS.id.replace(".", "!")},
        {"author": KEYS.id + "\n"},
        {"content": None},
        {"content": 5},
        {"content": True},
        {"content": []},
        {"content": [{"type": "post"}]},
        {"content": {}},
        {"content": {"type": "ab"}},
        {"content": {"type": "t" * 53}},
        {"content": {"type": "😀"}},
        {"content": {"type": "😀" * 26 + "a"}},
        {"content": {"type": ["abc"]}},
        {"content": {"type": 333}},
        {"content": {"__proto__": {"type": "post"}}},
        {"content": ""},
        {"content": "AAAA"},
        {"content": "AAA.box"},
        {"content": "AAB=.box"},
        {"content": "AB==.box"},
        {"content": "AA-_.box"},
        {"content": "AAAA.box\n"},
        {"content": "AAAA.box\u2028"},
        {"content": "AAAA.BOX"},
        {"extra": 1},
        {"0": 1},
        {"__proto__": 1},
    ],
)
def test_refused(others: dict[str, Any]) -> None:
    assert not is_taken(HEAD, message(**others))


@pytest.mark.parametrize("value", [None, True, 5, "text", [], {}, [message()], "AAAA.box"])
def test_no_message_at_all(value: Any) -> None:
    assert not is_taken(HEAD, value)
    assert not is_signed_by_author(value)


@pytest.mark.parametrize(
    ("others", "taken"),
    [
        ({}, True),
        ({"sequence": 1.0}, True),
        ({"previous": HEAD.id}, False),
        ({"previous": []}, False),
        ({"previous": ""}, False),
        ({"sequence": 2}, False),
        ({"sequence": 0}, False),
        ({"sequence": True}, False),
        ({"timestamp": "1"}, False),
        ({"timestamp": None}, False),
        ({"timestamp": True}, False),
    ],
)
def test_first_message(others: dict[str, Any], taken: bool) -> None:
    assert is_taken(None, message(**{"previous": None, "sequence": 1} | others)) == taken


def test_a_timestamp_out_of_range_is_a_number_that_prints_null() -> None:
    value = message(previous=None, sequence=1, timestamp=None)
    raw = compact(value).replace(b'"timestamp":null', b'"timestamp":1e999')
    pending = prepare_raw(None, raw)
    assert verify_jobs([pending.job]) == -1
    assert pending.checked.timestamp == float("inf")
    assert pending.checked.raw == compact(value)


def test_sequences_end_at_31_bits() -> None:
    for sequence, taken in ((2**31 - 1, True), (2**31, False), (2**32 + 2, False)):
        assert is_taken(Head(HEAD.id, sequence - 1, 0), message(sequence=sequence)) == taken


def test_order_of_keys() -> None:
    value = message()
    names = ["previous", "author", "sequence", "timestamp", "hash", "content"]
    assert is_taken(HEAD, signed({name: value[name] for name in names}))
    for at in range(6):
        swapped = [*names]
        swapped[at], swapped[at - 1] = swapped[at - 1], swapped[at]
        assert is_taken(HEAD, signed({name: value[name] for name in swapped})) == (at == 2)
        assert not is_taken(HEAD, signed({name: value[name] for name in names if name != names[at]}))
    assert not is_taken(HEAD, {"signature": value["signature"], **value})
    assert not is_taken(HEAD, {name: value[name] for name in value if name != "signature"})


def test_equal_keys_of_the_wire() -> None:
    raw = compact(message())
    for double in (
        raw[:-1] + raw[raw.index(b',"signature') :],
        raw.replace(b'"sequence":2', b'"sequence":7,"sequence":2'),
    ):
        assert prepare_raw(HEAD, double).checked.raw == raw
        with pytest.raises(MessageInvalid, match="equal keys"):
            prepare_raw(HEAD, double, strict=True)


@pytest.mark.parametrize(
    ("character", "units"), [("x", 1), ("é", 1), ("€", 1), ("😀", 2), ("\x01", 6), ('"', 2), ("\ud800", 6)]
)
def test_size_in_utf16_units(character: str, units: int) -> None:
    room = 8192 - len(encode(message(content={"type": "post", "text": ""})))
    for spare in (1, 0, -1):
        text = character * ((room - spare) // units) + "y" * ((room - spare) % units)
        assert is_taken(HEAD, message(content={"type": "post", "text": text})) == (spare >= 0)


@pytest.mark.parametrize(
    ("depth", "taken"), [(30, True), (60, True), (64, False), (127, False), (500, False), (5000, False)]
)
def test_depth(depth: int, taken: bool) -> None:
    raw = compact(message()).replace(b'"hello"', b"[" * depth + b"]" * depth)
    if not taken:
        with pytest.raises(MessageInvalid):
            prepare_raw(HEAD, raw)
    else:
        assert is_taken(HEAD, signed(json.loads(raw)))


def test_signatures() -> None:
    value = message()
    text = value["signature"]
    body, suffix = text[:88], text[88:]
    raw = base64.b64decode(body)
    bad: list[Any] = [
        body[:85] + chr(ord(body[85]) + 1) + body[86:] + suffix, body[:86] + suffix, text + "x", text + "\n", body,
        body + ".sig.sha256", body + "!sig.ed25519", " " + text[1:], "é" + text[1:],
        ("A" if text[0] != "A" else "B") + text[1:], [text], None, 5, {"length": 100}, "",
        base64.b64encode(bytes(64)).decode() + suffix, base64.b64encode(raw[:63]).decode() + suffix + "....",
        body[:84] + ".sig" + suffix,
    ]  # fmt: skip
    for one in bad:
        assert not is_taken(HEAD, {**value, "signature": one}), one
    # sodium-native looks at the first 64 bytes only, and 88 characters hold up to 66.
    for more in (b"\x00", b"\xff\xff"):
        longer = {**value, "signature": base64.b64encode(raw + more).decode() + suffix}
        assert is_taken(HEAD, longer)
        assert not is_taken(HEAD, longer, strict=True)
        assert not proves_fork(value, longer)
        spare = longer["signature"][86]
        if len(more) == 1:
            assert not is_taken(
                HEAD, {**longer, "signature": longer["signature"].replace(f"{spare}=.", f"{chr(ord(spare) + 1)}=.")}
            )


def test_signature_covers_utf8_and_the_id_low_bytes() -> None:
    value = message(content={"type": "post", "text": "ő"})
    other = message(content={"type": "post", "text": "Q"})
    assert encode({**value, "signature": ""}) != encode({**other, "signature": ""})
    assert message_id({**value, "signature": ""}) == message_id({**other, "signature": ""})
    assert is_taken(HEAD, value)
    assert not is_taken(HEAD, {**value, "signature": other["signature"]})


def test_raw_is_limited() -> None:
    raw = compact(message())
    assert prepare_raw(HEAD, raw + b" " * (RAW_MAX_BYTES - len(raw)))
    with pytest.raises(MessageInvalid, match="wire"):
        prepare_raw(HEAD, raw + b" " * (RAW_MAX_BYTES - len(raw) + 1))


def test_author_of_the_head() -> None:
    value = signed(message(author=OTHER.id), OTHER)
    assert check(HEAD, value).author == OTHER.id
    assert check(HEAD, value, author=OTHER.id).author == OTHER.id
    with pytest.raises(MessageInvalid, match="author"):
        check(HEAD, value, author=KEYS.id)


@pytest.mark.parametrize(
    "others",
    [
        {"previous": [HEAD.id]},
        {"timestamp": None},
        {"timestamp": "1"},
        {"content": "AAAA.box and more"},
        {"content": "AAAA.box\ud800"},
    ],
)
def test_only_the_specification_refuses(others: dict[str, Any]) -> None:
    assert is_taken(HEAD, message(**others))
    assert not is_taken(HEAD, message(**others), strict=True)


@given(st.data())
def test_a_flipped_character_is_refused(data: st.DataObject) -> None:
    raw = bytearray(compact(message()))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        pending = prepare_raw(HEAD, bytes(raw))
    except MessageInvalid:
        return
    if verify_jobs([pending.job]) == -1:
        # What is left: a white space, or the spare bits of the signature, neither of which the signature covers.
        assert parse(bytes(raw))["content"] == message()["content"]


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for strict in (False, True):
        with pytest.raises(MessageInvalid):
            prepare_raw(None, data, strict=strict)


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)


@given(st.sampled_from([*message()]), JUNK)
def test_no_value_raises_anything_else(name: str, junk: Any) -> None:
    value = {**message(), name: junk}
    try:
        check(HEAD, value)
    except MessageInvalid:
        return
    assert name in ("previous", "sequence", "author", "timestamp", "hash", "content", "signature")
