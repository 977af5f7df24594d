"""Keys and the `secret` file."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds.keys import Keys, format_secret, keys_from_seed, parse_secret, sign, verify

KEYS = keys_from_seed(bytes([7]) * 32)
PRIVATE = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwfqSmxj4pxSCr71UHsTLsX5lUd2rr6+e5JCHuppFEbSLA==.ed25519"

# Written by ssb-keys 8.5.0 (createSync) for the seed of 32 bytes 0x07.
FILE = """# WARNING: Never show this to anyone.
# WARNING: Never edit it or use it on multiple devices at once.
#
# This is your SECRET, it gives you magical powers. With your secret you can
# sign your messages so that your friends can verify that the messages came
# from you. If anyone learns your secret, they can use it to impersonate you.
#
# If you use this secret on more than one device you will create a fork and
# your friends will stop replicating your content.
#
{
  "curve": "ed25519",
  "public": "6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=.ed25519",
  "private": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwfqSmxj4pxSCr71UHsTLsX5lUd2rr6+e5JCHuppFEbSLA==.ed25519",
  "id": "@6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=.ed25519"
}
#
# The only part of this file that's safe to share is your public name:
#
#   @6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=.ed25519"""


def filled(text: str, private: str = PRIVATE) -> str:
    return text.replace("%s", private)


def test_file_of_ssb_keys() -> None:
    assert format_secret(KEYS) == FILE
    assert parse_secret(FILE) == KEYS


def test_keys_of_the_vectors(vectors: Path) -> None:
    for found in json.loads((vectors / "private-box" / "box1.json").read_text())["keys"]:
        keys = parse_secret(json.dumps(found))
        assert keys.id == found["id"]
        assert base64.b64encode(keys.secret).decode() + ".ed25519" == found["private"]


@pytest.mark.parametrize(
    "text",
    [
        FILE + "\n",
        FILE.replace("\n", "\r\n"),
        filled('{"private":"%s"}'),
        filled('{"private":"%s","id":"no sigil"}'),
        filled('\n  # one\n{"private": #two\n"%s"}#'),
    ],
)
def test_spellings_that_are_taken(text: str) -> None:
    assert parse_secret(text) == KEYS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment",
        PRIVATE,
        "[]",
        "null",
        "{}",
        '{"private":1}',
        '{"private":"AAAA.ed25519"}',
        filled('{"private":"%s"}', PRIVATE.replace("Bw", "CA", 1)),
        filled('{"private":"%s","curve":"k256"}'),
        filled('{"private":"%s","id":"@E5j2LG0aRXxRumpLXz29L2n8qTIWIY3ImX5Ba9F9k8o=.ed25519"}'),
        filled('{"private":"%s","public":"E5j2LG0aRXxRumpLXz29L2n8qTIWIY3ImX5Ba9F9k8o=.ed25519"}'),
        filled('{"private":"%s","public":null}'),
        "[" * 100_000,
        " " * 70_000,
    ],
)
def test_files_that_are_refused(text: str) -> None:
    with pytest.raises(MisuseError) as caught:
        parse_secret(text)
    assert PRIVATE[:20] not in str(caught.value)


@given(st.text(max_size=200))
def test_only_misuse_is_raised(text: str) -> None:
    with suppress(MisuseError):
        parse_secret(text)


@given(st.binary(min_size=32, max_size=32))
def test_any_seed_there_and_back(seed: bytes) -> None:
    assert parse_secret(format_secret(keys_from_seed(seed))).seed == seed


def test_repr_hides_the_seed() -> None:
    keys = Keys(public=b"p" * 32, seed=b"secret--" * 4)
    assert "secret" not in repr(keys)


def test_seed_of_another_length() -> None:
    with pytest.raises(MisuseError):
        keys_from_seed(bytes(31))


def test_signatures() -> None:
    signature = sign(KEYS, b"data")
    assert verify(KEYS.public, signature, b"data")
    assert not verify(KEYS.public, signature, b"datA")
    assert not verify(KEYS.public, signature[:-1], b"data")
    assert not verify(KEYS.public + b"x", signature, b"data")
    assert not verify(bytes(32), bytes(64), b"data")
