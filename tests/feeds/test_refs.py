"""References: the table made by ssb-ref 2.16.0, and what the table does not hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds import ref_addresses, refs

FEED = "@FCX/tsDLpubCPKKfIrw4gc+SQkHcaD17s7GI6i/ziWY=.ed25519"
KEY = "FCX/tsDLpubCPKKfIrw4gc+SQkHcaD17s7GI6i/ziWY="

PREDICATES: dict[str, Callable[[object], Any]] = {
    "isFeed": refs.is_feed_id,
    "isMsg": refs.is_msg_id,
    "isBlob": refs.is_blob_id,
    "isCloakedMsg": refs.is_cloaked_msg_id,
    "isFeedType": refs.is_feed_type,
    "isMsgType": refs.is_msg_type,
    "isBlobType": refs.is_blob_type,
    "isLink": refs.is_link,
    "isAddress": ref_addresses.is_address,
    "isInvite": ref_addresses.is_invite,
    "type": ref_addresses.ref_type,
    "parseLink": refs.parse_link,
    "parseInvite": ref_addresses.parse_invite,
    "getKeyFromAddress": ref_addresses.key_from_address,
    "extract": refs.extract,
    "normalizeChannel": refs.normalize_channel,
}


@pytest.mark.parametrize("name", PREDICATES)
def test_table_of_ssb_ref(vectors: Path, name: str) -> None:
    rows = json.loads((vectors / "ssb-ref" / "table.json").read_text())
    assert len(rows) == 20
    for row in rows:
        expected = row[name]
        if expected == "<undefined>" or (name == "type" and expected is False):
            expected = None
        assert PREDICATES[name](row["in"]) == expected, row["in"]


@pytest.mark.parametrize("name", PREDICATES)
@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], {}, "", "@", "\ud800", b"@"])
def test_anything_is_taken(name: str, value: object) -> None:
    assert not PREDICATES[name](value) or name == "normalizeChannel"


@given(st.text(alphabet=st.sampled_from("@%&.:~!;#?/+=A9z-_ \n%2ednt\ud800é"), max_size=60))
def test_no_text_raises(text: str) -> None:
    for predicate in PREDICATES.values():
        predicate(text)


@given(st.binary(min_size=32, max_size=32))
def test_ids_there_and_back(data: bytes) -> None:
    assert refs.public_key(refs.feed_id(data)) == data
    assert refs.is_feed_id(refs.feed_id(data))
    assert refs.is_msg_id(refs.msg_id(data))
    assert refs.is_blob_id(refs.blob_id(data))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_ids_have_32_bytes(size: int) -> None:
    with pytest.raises(MisuseError):
        refs.feed_id(bytes(size))


@pytest.mark.parametrize("feed", ["", FEED[:-1], FEED + "\n", FEED.replace("ed25519", "sha256"), f"@{KEY}!ed25519"])
def test_public_key_refuses(feed: str) -> None:
    with pytest.raises(MisuseError):
        refs.public_key(feed)


def test_quirks_of_ssb_ref() -> None:
    assert refs.is_feed_id(f"@{KEY}!ed25519")
    assert not refs.is_feed_id(f"@{KEY}\ned25519")
    assert refs.is_link(f"&{KEY}.sha256?")
    assert refs.parse_link(f"&{KEY}.sha256?") is None
    assert refs.parse_link(f"&{KEY}.sha256?a=1&a=2&b&&a=3") == {
        "link": f"&{KEY}.sha256",
        "query": {"a": ["1", "2", "3"], "b": ""},
    }
    assert refs.extract(f"https://host/%26{KEY.replace('/', '%2F').replace('+', '%2B')}.sha256") == f"&{KEY}.sha256"
    assert refs.extract(f"100% &amp;{KEY}.sha256") == f"&{KEY}.sha256"
    assert refs.normalize_channel("#Hello, World! (42)") == "helloworld42"
    assert refs.normalize_channel("#,") is None


def test_addresses() -> None:
    assert ref_addresses.is_address({"host": "localhost", "port": 8008, "key": FEED})
    assert not ref_addresses.is_address({"host": "localhost", "port": True, "key": FEED})
    assert not ref_addresses.is_address({"host": "no host", "port": 8008, "key": FEED})
    assert not ref_addresses.is_address(f"localhost:-:{FEED}")
    assert not ref_addresses.is_address(f"a--b.com:8008:{FEED}")
    assert ref_addresses.is_address(f"xn--b.com:8008:{FEED}")
    assert ref_addresses.parse_invite(f"onion:abc.onion:9~shs:{KEY}:{KEY}#r") == {
        "invite": f"onion:abc.onion:9~shs:{KEY}:{KEY}",
        "remote": f"onion:abc.onion:9~shs:{KEY}",
        "key": FEED,
        "redirect": "#r",
    }
    assert ref_addresses.key_from_address(f"net:a!:b:1~shs:{KEY}") == FEED
    assert ref_addresses.key_from_address("net:a:1~shs") is None
