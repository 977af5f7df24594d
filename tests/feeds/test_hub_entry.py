"""Signed entries of hub gossip: the vector of docs/wire.md, what a signature covers, and what is read of a list."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.config import MAIN_NETWORK_KEY
from ssb_rtc.errors import FrameInvalid
from ssb_rtc.feeds.canonical import encode
from ssb_rtc.feeds.hub_entry import (
    AHEAD_MAX_MS,
    LIFE_MS,
    LIST_MAX,
    HubEntry,
    entry_key,
    format_entries,
    parse_entries,
    sign_entry,
    verify_entry,
)
from ssb_rtc.feeds.keys import keys_from_seed, sign
from ssb_rtc.feeds.message import signed_bytes
from ssb_rtc.types import FeedId, HubUrl

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "hub-entry.json").read_text())
AMY = keys_from_seed(sha256(b"ssb-rtc hub entry signer").digest())
BOB = keys_from_seed(sha256(b"another one").digest())
URL = HubUrl("https://hub.example.org")
KEY = entry_key(MAIN_NETWORK_KEY)
NOW_MS = 1_700_000_000_000
ENTRY = sign_entry(AMY, KEY, URL, time_ms=NOW_MS, last_success_ms=NOW_MS - 60_000)


def test_the_vector() -> None:
    assert KEY.hex() == VECTOR["hmacKey"]
    assert format_entries([ENTRY]) == [VECTOR["entry"]]
    unsigned = {name: value for name, value in VECTOR["entry"].items() if name != "signature"}
    assert encode(unsigned).decode() == VECTOR["encoded"]
    assert signed_bytes(encode(unsigned), KEY).hex() == VECTOR["signed"]
    (read,) = parse_entries([VECTOR["entry"]])
    assert read == ENTRY
    assert verify_entry(read, KEY)


def test_a_changed_entry_is_not_signed() -> None:
    for changed in (
        replace(ENTRY, url=HubUrl("https://hub.example.com")),
        replace(ENTRY, signer=BOB.id),
        replace(ENTRY, time_ms=NOW_MS + 1),
        replace(ENTRY, last_success_ms=NOW_MS - 60_001),
        replace(ENTRY, signature="A" * 86 + "==.sig.ed25519"),
        replace(ENTRY, signature="A" * 87 + "!.sig.ed25519"),
        replace(ENTRY, signature=ENTRY.signature.replace(".sig.ed25519", ".sig.ed25518")),
        replace(ENTRY, signer=FeedId("@nobody.ed25519")),
    ):
        assert not verify_entry(changed, KEY)


def test_a_signature_means_one_thing_in_one_network() -> None:
    assert not verify_entry(ENTRY, entry_key(bytes(32)))
    unsigned = {"url": URL, "signer": AMY.id, "time": NOW_MS, "lastSuccess": NOW_MS - 60_000}
    for covered in (encode(unsigned), signed_bytes(encode(unsigned), MAIN_NETWORK_KEY)):
        as_a_message = sign(AMY, covered)
        assert as_a_message != sign(AMY, signed_bytes(encode(unsigned), KEY))


def test_the_order_of_the_fields_on_the_wire_means_nothing() -> None:
    turned: dict[str, Any] = dict(reversed(VECTOR["entry"].items())) | {"more": [1, 2]}
    assert parse_entries([turned]) == [ENTRY]


def test_when_an_entry_counts() -> None:
    for at_ms in (NOW_MS, NOW_MS + LIFE_MS - 1, NOW_MS - AHEAD_MAX_MS):
        assert ENTRY.is_timely(at_ms)
    for at_ms in (NOW_MS + LIFE_MS, NOW_MS - AHEAD_MAX_MS - 1):
        assert not ENTRY.is_timely(at_ms)


@pytest.mark.parametrize(
    "change",
    [
        {"url": ""},
        {"url": 7},
        {"url": "https://bücher.example"},
        {"url": "https://" + "a" * 1_100},
        {"signer": "@x.ed25519"},
        {"signer": None},
        {"signature": "x.sig.ed25519"},
        {"signature": "é" * 100},
        {"time": 0},
        {"time": 1.5},
        {"time": True},
        {"time": 2**60},
        {"lastSuccess": NOW_MS + 1},
        {"lastSuccess": NOW_MS - LIFE_MS},
        {"lastSuccess": None},
    ],
)
def test_what_is_malformed_is_left_out(change: dict[str, Any]) -> None:
    assert parse_entries([{**VECTOR["entry"], **change}, VECTOR["entry"]]) == [ENTRY]


def test_only_so_many_are_read() -> None:
    assert len(parse_entries([VECTOR["entry"]] * LIST_MAX)) == LIST_MAX
    values: list[Any] = [[VECTOR["entry"]] * (LIST_MAX + 1), None, {}, "https://hub.example", 7, VECTOR["entry"]]
    for value in values:
        with pytest.raises(FrameInvalid, match="at most 64"):
            parse_entries(value)


names = st.sampled_from(["url", "signer", "time", "lastSuccess", "signature", "x"])
jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from([AMY.id, URL]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5),
    max_leaves=12,
)


@given(jsons)
def test_outside_values_only_ever_raise_frame_invalid(value: Any) -> None:
    with suppress(FrameInvalid):
        for entry in parse_entries(value):
            assert not verify_entry(entry, KEY)


@given(st.fixed_dictionaries({name: jsons | st.just(VECTOR["entry"][name]) for name in VECTOR["entry"]}))
def test_only_what_was_signed_is_taken_for_signed(value: Any) -> None:
    for entry in parse_entries([value]):
        assert isinstance(entry, HubEntry)
        assert verify_entry(entry, KEY) == (entry == ENTRY)
