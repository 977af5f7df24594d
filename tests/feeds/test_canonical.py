"""Canonical JSON: what V8 prints and reads, and what strict parsing refuses."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import MessageInvalid, MisuseError
from ssb_rtc.feeds import canonical
from ssb_rtc.feeds.canonical import DEPTH_MAX, compact, encode, low_bytes, number_text, parse, utf16_length


@pytest.fixture(scope="module")
def testdata(vectors: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (vectors / "legacy-value-testdata" / "legacy-value-testdata.json").read_text(encoding="utf-8")
    )
    return found


def test_encodings_of_the_testdata(testdata: dict[str, Any]) -> None:
    assert len(testdata["yay"]) == 3316
    for case in testdata["yay"]:
        data = base64.b64decode(case["transport_b64"])
        for value in (parse(data), parse(data, strict=True)):
            encoded = encode(value)
            assert encoded == case["signing_utf8"].encode(), case["name"]
            assert utf16_length(encoded) == case["length"], case["name"]
            assert hashlib.sha256(low_bytes(encoded)).hexdigest() == case["sha256"], case["name"]
            assert parse(compact(value)) == value


@pytest.mark.parametrize(("name", "size"), [("syntax", 2005), ("number", 42), ("surrogate", 24), ("duplicate", 13)])
def test_must_reject(testdata: dict[str, Any], name: str, size: int) -> None:
    assert len(testdata[name]) == size
    for case, data in testdata[name].items():
        with pytest.raises(MessageInvalid):
            print(case, parse(base64.b64decode(data), strict=True))


def test_lenient_takes_what_json_parse_takes(testdata: dict[str, Any]) -> None:
    taken = {"number": 41, "surrogate": 3, "duplicate": 0}
    for name, expected in taken.items():
        count = 0
        for data in testdata[name].values():
            try:
                parse(base64.b64decode(data))
                count += 1
            except MessageInvalid:
                pass
        assert count == expected, name


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("1e21", "1e+21"), ("123456789012345678901234567890", "1.2345678901234568e+29"),
        ("100000000000000000000", "100000000000000000000"), ("1.0", "1"), ("-0", "0"), ("-0.0", "0"),
        ("1e-7", "1e-7"), ("0.000001", "0.000001"), ("1.5e-9", "1.5e-9"), ("9007199254740993", "9007199254740992"),
        ("18446744073709551617", "18446744073709552000"), ("5e-324", "5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"), ("1e999", "null"), ("-1e999", "null"), ("1e-999", "0"),
        ("1514517067954.5", "1514517067954.5"), ("12345678901234567.5", "12345678901234568"), ("-1.25", "-1.25"),
        ('"\\ud800"', '"\\ud800"'), ('"\\uDC00\\uD800"', '"\\udc00\\ud800"'), ('"\\ud83d\\ude00"', '"😀"'),
        (
            '"\\u2028\\u2029\\u007f\\u0000\\u001F\\b\\f\\n\\r\\t\\/\\"\\\\"',
            '"\u2028\u2029\x7f\\u0000\\u001f\\b\\f\\n\\r\\t/\\"\\\\"',
        ),
        ('{"b":1,"2":2,"a":3,"10":4,"1":5}', '{"1":5,"2":2,"10":4,"b":1,"a":3}'),
        (
            '{"4294967295":1,"4294967294":2,"01":3,"-1":4,"1.5":5,"0":6}',
            '{"0":6,"4294967294":2,"4294967295":1,"01":3,"-1":4,"1.5":5}',
        ),
        ('{"²":1,"١":2}', '{"²":1,"١":2}'),
        ('{"__proto__":{"type":"x"},"constructor":1}', '{"__proto__":{"type":"x"},"constructor":1}'),
        ('{"a":1,"b":2,"a":3}', '{"a":3,"b":2}'), ('{"\\ud800":"\\ud800"}', '{"\\ud800":"\\ud800"}'), ("[]", "[]"),
        ("{}", "{}"), (" [ true , false , null ] ", "[true,false,null]"),
    ],
)  # fmt: skip
def test_prints_as_v8(text: str, printed: str) -> None:
    assert compact(parse(text)).decode() == printed
    assert compact(parse(text.encode())).decode() == printed
    assert compact(json.loads(text)).decode() == printed


def test_indentation() -> None:
    value = {"b": [1, [], {}, {"2": None, "x": [1.0]}], "1": "\ud800"}
    expected = (
        '{\n  "1": "\\ud800",\n  "b": [\n    1,\n    [],\n    {},\n    {\n      "2": null,\n      "x": [\n        1\n'
        "      ]\n    }\n  ]\n}"
    )
    assert encode(value).decode() == expected


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'"\xff"', "\ufffd"),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
        (b'"\xf0\x9f\x98"', "\ufffd"),
        (b'"\xc0\xaf"', "\ufffd\ufffd"),
    ],
)
def test_bytes_that_are_not_utf8_become_what_node_makes_of_them(data: bytes, value: str) -> None:
    assert parse(data) == value
    with pytest.raises(MessageInvalid):
        parse(data, strict=True)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "NaN", "Infinity", "-Infinity", "-", "01", "1.", ".5", "+1", "'a'", '"\t"', '"\x00"', "[1,]", "{a:1}",
        '{"a":1,}', "\ufeff1", "1 2", "nul", '"\\x41"', '"\\u12"', '"\\u 123"', "\x0b1", "\u00a01", "/**/1",
        "[" * 100_000, '{"a":' * 100_000,
    ],
)  # fmt: skip
def test_neither_takes(text: str) -> None:
    for strict in (False, True):
        for data in (text, text.encode()):
            with pytest.raises(MessageInvalid):
                parse(data, strict=strict)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}', '{"a":1,"a":1}', '[{"x":{"b":1,"\\u0062":2}}]', '{"1":1,"1":2}', '{"":1,"":2}',
        '{"\\ud83d\\ude00":1,"😀":2}',
        "-0", "-0.0", "-0e5", "[-0]", "-1e-999", "1e999", "-1e999", "1" * 400,
        '"\\ud800"', '"\\udc00x"', '{"\\ud800":1}',
    ],
)  # fmt: skip
def test_only_lenient_takes(text: str) -> None:
    parse(text)
    with pytest.raises(MessageInvalid):
        parse(text, strict=True)


def test_numbers_are_as_in_javascript() -> None:
    assert [type(one) for one in parse("[1.0, 9007199254740992, 9007199254740993, 1e3, 0.5]")] == [
        int,
        int,
        int,
        int,
        float,
    ]
    assert parse("1e400") == math.inf
    assert parse("9" * 5000) == math.inf
    assert type(parse("1e300")) is float


def test_depth_is_limited() -> None:
    for depth, fits in ((DEPTH_MAX, True), (DEPTH_MAX + 1, False), (900, False), (5000, False)):
        for text in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
            if fits:
                assert parse(encode(parse(text))) == parse(text)
            else:
                for strict in (False, True):
                    with pytest.raises(MessageInvalid, match="nested"):
                        parse(text, strict=strict)


def test_depth_of_values_is_limited() -> None:
    deep: Any = 1.0
    for _ in range(100_000):
        deep = [deep]
    for write in (encode, compact):
        with pytest.raises(MessageInvalid, match="nested"):
            write(deep)
    while isinstance(deep, list):
        deep = deep[0]


@pytest.mark.parametrize("value", [b"", (1,), {1: 2}, {None: 1, "1": 2}, object(), {"a": {1}}, 1j])
def test_what_is_no_json_is_misuse(value: Any) -> None:
    for write in (encode, compact):
        with pytest.raises(MisuseError):
            write(value)


KEYS = st.one_of(
    st.text(max_size=5), st.integers(0, 2**33).map(str), st.sampled_from(["__proto__", "01", "-1", "toJSON"])
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.floats(-1e6, 1e6),
    st.text(max_size=8),
    st.text(alphabet=st.characters(categories=("Cs", "Ll", "So")), max_size=4),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=20,
)


@given(VALUES)
def test_the_fast_and_the_exact_way_agree(value: Any) -> None:
    assert encode(value) == canonical._exact(value, "\n", ": ")
    assert compact(value) == canonical._exact(value, "", ":")


@given(VALUES)
def test_encoding_is_a_fixed_point(value: Any) -> None:
    encoded = encode(value)
    assert encode(parse(encoded)) == encoded
    assert encode(parse(compact(value))) == encoded
    assert compact(parse(encoded)) == compact(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_read_back(number: float) -> None:
    assert float(number_text(number)) == number


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for strict in (False, True):
        with suppress(MessageInvalid):
            parse(data, strict=strict)


@given(VALUES)
def test_strict_takes_no_more_than_lenient(value: Any) -> None:
    encoded = encode(value)
    try:
        strict = parse(encoded, strict=True)
    except MessageInvalid:
        return
    assert encode(strict) == encode(parse(encoded))
