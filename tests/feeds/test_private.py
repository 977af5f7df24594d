"""Private messages of the first kind."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds.keys import keys_from_seed, parse_secret
from ssb_rtc.feeds.private import BOXED_MAX_BYTES, RANDOM_BYTES, box, opened_value, recipients_of, sealed, unbox
from ssb_rtc.feeds.refs import feed_id
from ssb_rtc.feeds.uri import from_sigil
from ssb_rtc.types import FeedId

RECIPIENTS = [keys_from_seed(bytes([at]) * 32) for at in range(8)]
OTHER = keys_from_seed(b"\xff" * 32)
RANDOM = bytes(range(RANDOM_BYTES))


def test_vector_of_ssb_keys(vectors: Path) -> None:
    case = json.loads((vectors / "private-box" / "box1.json").read_text(encoding="utf-8"))
    for found in case["keys"]:
        assert unbox(case["boxed"], parse_secret(json.dumps(found))) == case["plain"]
    assert unbox(case["boxed"], OTHER) is None


def test_boxed_to_the_byte() -> None:
    """Made by ssb-keys 8.5.0 with RANDOM in the place of its randomness."""
    expected = (
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXoCCQlnR2NF3+gLfYcQVFQYI6YeFEHyFYS8hRSPX57w0QewXFpURasY9atlAn94AmhNwm"
        "/+0etMyCVdm7a78HL3s2X8G9cb9UmplWhmZD3D+Ql/dPLh+mZedcJpejLk2jC3RTZmJz0nQVPKgsnDUSJQrSxPi2tHgdw55a7RaA"
        "IW7aU+6N6whN4WrKAmaos5RJbOS6VRH9Odo0bCm2f4ASPjQ02G9Kp+whtdqfjr5ziALni3RZzaPTBe4B8R10uDInib1N5pAOHLba"
        "IHa9r4tzeZNss90GSHOWx3i9VCWf8WNlZO1WQqNK8v7GugITpV0=.box"
    )
    content = {"type": "post", "text": "é \ud800", "n": 1e21}
    assert box(content, [keys.id for keys in RECIPIENTS[:3]], random=RANDOM) == expected


@given(
    st.integers(1, 7),
    st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3),
    st.binary(min_size=88, max_size=88),
)
def test_there_and_back(count: int, content: Any, random: bytes) -> None:
    boxed = box(content, [keys.id for keys in RECIPIENTS[:count]], random=random)
    assert [unbox(boxed, keys) for keys in RECIPIENTS] == [content] * count + [None] * (8 - count)
    assert box(content, [keys.id for keys in RECIPIENTS[:count]], random=lambda size: random[:size]) == boxed


@pytest.mark.parametrize("content", [0, False, "", "text", [], {"n": 1e21, "1": "\ud800"}])
def test_any_json_is_content(content: Any) -> None:
    assert unbox(box(content, [OTHER.id], random=RANDOM), OTHER) == content


@pytest.mark.parametrize(
    ("recipients", "random"),
    [
        ([], RANDOM),
        ([keys.id for keys in RECIPIENTS], RANDOM),
        (["@nobody"], RANDOM),
        ([feed_id(bytes(32))], RANDOM),
        ([feed_id(b"\x02" * 32)], RANDOM),
        ([OTHER.id], RANDOM[:-1]),
        ([OTHER.id], lambda size: b""),
    ],
)
def test_boxing_that_is_refused(recipients: list[FeedId], random: Any) -> None:
    with pytest.raises(MisuseError):
        box({}, recipients, random=random)


def test_content_that_is_no_json() -> None:
    with pytest.raises(MisuseError):
        box({"x": b""}, [OTHER.id], random=RANDOM)


@pytest.mark.parametrize(
    "text", ["", ".box", "AAAA.box", "A.box", "é.box", "\ud800", "AAAA" * 60 + ".box", "A" * (BOXED_MAX_BYTES + 1)]
)
def test_texts_that_hold_nothing(text: str) -> None:
    assert unbox(text, OTHER) is None


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_bit_is_noticed(at: int, bits: int) -> None:
    boxed = bytearray(base64.b64decode(box({"a": 1}, [OTHER.id], random=RANDOM).partition(".")[0]))
    boxed[at % len(boxed)] ^= bits
    opened = unbox(base64.b64encode(boxed).decode() + ".box", OTHER)
    # The top bit of a Curve25519 key is ignored by its specification.
    assert opened is None or (at % len(boxed) == 55 and bits == 0x80)


@given(st.text(max_size=300))
def test_no_text_raises(text: str) -> None:
    unbox(text, OTHER)


@given(st.binary(max_size=300))
def test_no_bytes_raise(data: bytes) -> None:
    unbox(base64.b64encode(data).decode() + ".box", OTHER)


def test_recipients_are_ids_uris_or_mentions() -> None:
    one, two, three = (keys.id for keys in RECIPIENTS[:3])
    assert recipients_of([one, {"link": two, "name": "two"}, from_sigil(three), one]) == [one, two, three]
    assert recipients_of(one) == [one]


@pytest.mark.parametrize(
    "recps",
    [
        [],
        None,
        7,
        {},
        {"link": 7},
        [None],
        ["@nobody"],
        ["ssb:nonsense"],
        [f"%{'A' * 43}=.cloaked"],
        [keys.id for keys in RECIPIENTS],
        [RECIPIENTS[0].id, "name"],
    ],
)
def test_recipients_that_are_none(recps: Any) -> None:
    with pytest.raises(MisuseError):
        recipients_of(recps)
    if recps is not None:
        with pytest.raises(MisuseError):
            sealed({"type": "post", "recps": recps}, lambda size: RANDOM)


def test_content_with_recipients_is_sealed() -> None:
    public = {"type": "post", "text": "for all"}
    assert sealed(public, lambda size: RANDOM) is public
    content = {"type": "post", "text": "for one", "recps": [OTHER.id]}
    boxed = sealed(content, lambda size: RANDOM)
    assert unbox(boxed, OTHER) == content
    assert sealed(boxed, lambda size: RANDOM) == boxed


def test_an_opened_value_keeps_its_original() -> None:
    value = {"author": OTHER.id, "content": "abcd.box", "signature": "s"}
    opened = opened_value(value, {"type": "post"})
    assert opened == {
        "author": OTHER.id,
        "content": {"type": "post"},
        "signature": "s",
        "private": True,
        "meta": {"private": True, "original": {"content": "abcd.box"}},
    }
    assert value["content"] == "abcd.box"
