"""ssb: URIs."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds import uri
from ssb_rtc.feeds.uri import FORMATS, AddressUri, ExperimentalUri, IdUri

DATA = bytes(range(224, 256))
SAFE = base64.urlsafe_b64encode(DATA).decode()
PLAIN = base64.b64encode(DATA).decode()

ids = st.sampled_from([(name, form) for name, forms in FORMATS.items() for form in sorted(forms)]).flatmap(
    lambda named: st.builds(IdUri, st.just(named[0]), st.just(named[1]), st.binary(min_size=32, max_size=32))
)


def test_vectors_of_ssb_uri2(vectors: Path) -> None:
    for case in json.loads((vectors / "ssb-uri" / "uris.json").read_text(encoding="utf-8")):
        if "sigil" in case:
            assert uri.from_sigil(case["sigil"]) == case["uri"]
            assert uri.to_sigil(case["uri"]) == case["sigil"]
        else:
            assert uri.parse(case["uri"]) == AddressUri(case["ms"])
            assert uri.format_uri(AddressUri(case["ms"])) == case["uri"]


@pytest.mark.parametrize(
    "text",
    [
        f"ssb:feed/classic/{SAFE}",
        f"ssb://feed/classic/{SAFE}",
        f"ssb:feed:classic:{SAFE}",
        f"ssb:feed/ed25519/{SAFE}",
        f"ssb:feed/classic/{SAFE}?x=1",
    ],
)
def test_one_feed_has_many_spellings(text: str) -> None:
    assert uri.parse(text) == IdUri("feed", "classic", DATA)
    assert uri.to_sigil(text) == f"@{PLAIN}.ed25519"


@pytest.mark.parametrize(
    ("text", "sigil"),
    [
        (f"ssb:message/sha256/{SAFE}", f"%{PLAIN}.sha256"),
        (f"ssb:message/cloaked/{SAFE}", f"%{PLAIN}.cloaked"),
        (f"ssb:blob/sha256/{SAFE}", f"&{PLAIN}.sha256"),
    ],
)
def test_ids_of_messages_and_blobs(text: str, sigil: str) -> None:
    assert uri.to_sigil(text) == sigil
    assert uri.to_sigil(uri.from_sigil(sigil)) == sigil


def test_a_feed_with_a_parent() -> None:
    text = f"ssb:feed/buttwoo-v1/{SAFE}/{SAFE}"
    assert uri.parse(text) == IdUri("feed", "buttwoo-v1", DATA, DATA)
    assert uri.format_uri(IdUri("feed", "buttwoo-v1", DATA, DATA)) == text


def test_experimental() -> None:
    found = uri.parse("ssb:experimental?action=consume-alias&alias=a%20b&alias=c&roomId=%2B")
    assert found == ExperimentalUri("consume-alias", {"action": "consume-alias", "alias": "a b", "roomId": "+"})
    assert uri.parse("ssb://experimental?a=1") == ExperimentalUri(None, {"a": "1"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssb:",
        "https://example.org/",
        f"ssb:feed/nonsense/{SAFE}",
        f"ssb:nonsense/classic/{SAFE}",
        f"ssb:blob/ed25519/{SAFE}",
        f"ssb:feed/classic/{SAFE[:-1]}",
        f"ssb:feed/classic/{SAFE[:-2]}9=",
        f"ssb:feed/classic/{PLAIN}",
        f"ssb:feed/classic/{SAFE}/{SAFE}",
        f"ssb:feed/classic/{SAFE}\n",
        f"ssb:feed/classic:{SAFE}",
        "ssb:address/multiserver?other=1",
        "ssb:experimental?" + "&".join("a=1" for _ in range(65)),
        "ssb:experimental?" + "a" * uri.URI_MAX_CHARS,
        None,
        7,
    ],
)
def test_what_is_no_uri(text: Any) -> None:
    assert uri.parse(text) is None


@pytest.mark.parametrize(
    "text", ["ssb:", f"ssb:feed/bendybutt-v1/{SAFE}", "ssb:address/multiserver?multiserverAddress=x"]
)
def test_a_uri_that_names_nothing_of_ours(text: str) -> None:
    with pytest.raises(MisuseError, match="names no"):
        uri.to_sigil(text)


@pytest.mark.parametrize(
    "broken",
    [
        IdUri("feed", "nonsense", DATA),
        IdUri("feed", "ed25519", DATA),
        IdUri("feed", "classic", b"short"),
        IdUri("feed", "classic", DATA, DATA),
        AddressUri(""),
        AddressUri("\ud800"),
        ExperimentalUri("one", {"action": "other"}),
        ExperimentalUri(None, {"a": "\ud800"}),
    ],
)
def test_what_can_not_be_written(broken: uri.Uri) -> None:
    with pytest.raises(MisuseError):
        uri.format_uri(broken)


def test_no_id() -> None:
    for text in ("", "@", f"@{PLAIN}.sha256", f"{PLAIN}.ed25519", f"@{PLAIN}.ed25519\n"):
        with pytest.raises(MisuseError):
            uri.from_sigil(text)


@given(ids)
def test_ids_there_and_back(found: IdUri) -> None:
    text = uri.format_uri(found)
    assert uri.parse(text) == found
    sigil = uri.sigil_of(found)
    assert sigil is None or uri.from_sigil(sigil) == text


@given(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])))
def test_addresses_there_and_back(address: str) -> None:
    assert uri.parse(uri.format_uri(AddressUri(address))) == AddressUri(address)


@given(st.text(max_size=200) | st.text("ssb:/?&=%-_acdefilmorst0", max_size=80).map(lambda tail: f"ssb:{tail}"))
def test_no_text_raises(text: str) -> None:
    found = uri.parse(text)
    if found is not None:
        assert uri.parse(uri.format_uri(found)) == found
