"""Envelopes."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds import bfe, box2
from ssb_rtc.feeds.box2 import Place, TrialKey

KEYS = [TrialKey(bytes([at]) * 32, "scheme") for at in range(1, 18)]
PLACE = Place(b"\x00\x00" + bytes(32), b"\x01\x00" + bytes(range(32)))
FRESH = bytes(range(32))


def vector(vectors: Path, name: str) -> tuple[Any, Any, Place]:
    case = json.loads((vectors / "envelope-spec" / f"{name}.json").read_text(encoding="utf-8"))
    given_ = case["input"]
    return given_, case["output"], Place(b64decode(given_["feed_id"]), b64decode(given_["prev_msg_id"]))


def trial(key: Any) -> TrialKey:
    return TrialKey(b64decode(key["key"]), key.get("scheme", ""))


def test_vector_derive_secret(vectors: Path) -> None:
    found, wanted, place = vector(vectors, "derive_secret1")
    read_key = place.derive(b64decode(found["msg_key"]), b"read_key")
    assert read_key == b64decode(wanted["read_key"])
    assert place.derive(read_key, b"header_key") == b64decode(wanted["header_key"])
    assert place.derive(read_key, b"body_key") == b64decode(wanted["body_key"])


def test_vector_cloaked_id(vectors: Path) -> None:
    case = json.loads((vectors / "envelope-spec" / "cloaked_id1.json").read_text(encoding="utf-8"))
    found = box2.cloaked_id(b64decode(case["input"]["public_msg_id"]), b64decode(case["input"]["read_key"]))
    assert found == b64decode(case["output"]["cloaked_msg_id"])


def test_vectors_of_slots(vectors: Path) -> None:
    found, wanted, place = vector(vectors, "slot1")
    key = trial(found["recipient"])
    boxed = box2.box(b"x", place, b64decode(found["msg_key"]), [key])
    assert boxed[32:64] == b64decode(wanted["key_slot"])
    found, wanted, place = vector(vectors, "unslot1")
    made = box2.box(b"x", place, b64decode(wanted["msg_key"]), [trial(found["recipient"])])
    assert made[32:64] == b64decode(found["key_slot"])


def test_vectors_box_and_unbox(vectors: Path) -> None:
    found, wanted, place = vector(vectors, "box1")
    keys = [trial(key) for key in found["recp_keys"]]
    plain = b64decode(found["plain_text"])
    boxed = box2.box(plain, place, b64decode(found["msg_key"]), keys)
    assert boxed == b64decode(wanted["ciphertext"])
    assert [box2.unbox(boxed, place, [key]) for key in (*keys, KEYS[0])] == [plain, plain, None]

    found, wanted, place = vector(vectors, "unbox1")
    boxed = b64decode(found["ciphertext"])
    assert box2.unbox(boxed, place, [trial(found["recipient"])]) == b64decode(wanted["plain_text"])

    found, wanted, place = vector(vectors, "box2")
    assert wanted["ciphertext"] is None
    with pytest.raises(MisuseError):
        box2.box(b"", place, b64decode(found["msg_key"]), [trial(key) for key in found["recp_keys"]])


@pytest.mark.parametrize(
    ("plain", "fresh", "keys"),
    [
        (b"", FRESH, KEYS[:1]),
        (b"x", bytes(32), KEYS[:1]),
        (b"x", FRESH[:31], KEYS[:1]),
        (b"x", FRESH, []),
        (b"x", FRESH, KEYS),
    ],
)
def test_boxing_that_is_refused(plain: bytes, fresh: bytes, keys: list[TrialKey]) -> None:
    with pytest.raises(MisuseError):
        box2.box(plain, PLACE, fresh, keys)


@given(st.integers(1, 16), st.integers(0, 15), st.integers(1, 16), st.binary(min_size=1, max_size=100))
def test_slots_beyond_the_limit_are_not_tried(count: int, at: int, slots_max: int, plain: bytes) -> None:
    boxed = box2.box(plain, PLACE, FRESH, KEYS[:count])
    opened = box2.unbox(boxed, PLACE, [KEYS[16], KEYS[at]], slots_max=slots_max)
    assert opened == (plain if at < min(count, slots_max) else None)


def test_the_place_is_part_of_the_key() -> None:
    boxed = box2.box(b"plain", PLACE, FRESH, KEYS[:1])
    assert box2.unbox(boxed, PLACE, KEYS[:1]) == b"plain"
    assert box2.unbox(boxed, Place(b"\x00\x00" + bytes(32), bfe.NIL), KEYS[:1]) is None
    assert box2.unbox(boxed, PLACE, [TrialKey(KEYS[0].key, "other scheme")]) is None
    assert KEYS[0].key.hex() not in repr(KEYS[0])


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_bit_is_noticed(at: int, bits: int) -> None:
    boxed = bytearray(box2.box(b"plain text", PLACE, FRESH, KEYS[:1]))
    boxed[at % len(boxed)] ^= bits
    assert box2.unbox(bytes(boxed), PLACE, KEYS[:1]) is None


@given(st.binary(max_size=200))
def test_no_bytes_raise(boxed: bytes) -> None:
    assert box2.unbox(boxed, PLACE, KEYS[:1]) is None


@given(st.integers(0, 65_535), st.binary(max_size=60))
def test_a_header_may_lie_about_the_body(body_at: int, rest: bytes) -> None:
    """Whoever holds a key can write any header."""
    assert box2.open_body(rest, PLACE, box2.Opened(FRESH, body_at)) is None
