"""Keys of feeds and groups for envelopes."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.exceptions import CryptoError

from ssb_rtc.feeds import bfe, box2, groups, uri
from ssb_rtc.feeds.box2 import Place
from ssb_rtc.feeds.keys import keys_from_seed
from ssb_rtc.feeds.refs import feed_id

OURS, THEIRS, OTHER = (keys_from_seed(bytes([at]) * 32) for at in (1, 2, 3))
KEY = b64encode(bytes(range(32))).decode()
ADD_MEMBER: dict[str, Any] = {
    "type": "group/add-member",
    "version": "v1",
    "groupKey": KEY,
    "root": f"%{KEY}.sha256",
    "recps": [f"%{KEY}.cloaked", OTHER.id, OURS.id],
    "tangles": {},
}


def vector(vectors: Path, name: str) -> tuple[Any, Any]:
    case = json.loads((vectors / "private-group-spec" / f"{name}.json").read_text(encoding="utf-8"))
    return case["input"], case["output"]


@pytest.mark.parametrize(
    ("name", "scheme", "party", "id_"),
    [
        ("direct-message-key1", groups.DIRECT, "your_dh_public", "your_feed_id"),
        ("po-box-key1", groups.PO_BOX, "po_box_dh_public", "po_box_id"),
    ],
)
def test_vectors_of_shared_keys(vectors: Path, name: str, scheme: str, party: str, id_: str) -> None:
    found, wanted = vector(vectors, name)
    data = {key: b64decode(text) for key, text in found.items()}
    made = groups.shared_key(
        scheme, data["my_dh_secret"][2:], (data["my_dh_public"], data["my_feed_id"]), (data[party], data[id_])
    )
    assert (made.key, made.scheme.encode()) == (b64decode(wanted["shared_key"]), b64decode(wanted["key_scheme"]))


def test_vector_of_group_id(vectors: Path) -> None:
    found, wanted = vector(vectors, "group-id1")
    init = found["group_init_msg"]
    place, boxed = init["value"], b64decode(init["value"]["content"].removesuffix(".box2"))
    made = groups.group_id(b64decode(found["group_key"]), init["key"], place["author"], place["previous"], boxed)
    assert made is not None
    assert bfe.encode(made)[2:] == bfe.encode(wanted["group_id"])[2:]
    assert groups.group_id(bytes(32), init["key"], place["author"], place["previous"], boxed) is None


@pytest.mark.parametrize("name", ["unbox1", "unbox1.classic", "unbox2", "unbox2.classic"])
def test_vectors_of_messages_to_a_group(vectors: Path, name: str) -> None:
    found, wanted = vector(vectors, name)
    for message, content in zip(found["msgs"], wanted["msgsContent"], strict=True):
        value = message["value"]
        place = Place(bfe.encode(value["author"]), bfe.encode(value["previous"]))
        boxed = b64decode(value["content"].removesuffix(".box2"))
        keys = [box2.TrialKey(b64decode(key["key"]), key["scheme"]) for key in found["trial_keys"]]
        plain = box2.unbox(boxed, place, keys)
        assert plain is not None
        opened = json.loads(plain)
        # One of each pair of vectors spells the group as a URI, which is not what was encrypted.
        recps = [[bfe.encode(one)[2:] for one in each.pop("recps")] for each in (opened, content)]
        assert recps[0] == recps[1]
        assert opened == content


def test_both_make_the_same_direct_key() -> None:
    assert groups.direct_key(OURS, THEIRS.id) == groups.direct_key(THEIRS, OURS.id)
    assert groups.direct_key(OURS, THEIRS.id) != groups.direct_key(OURS, OTHER.id)


def test_parties_are_sorted_as_javascript_sorts_buffers() -> None:
    """As text: a byte that is no UTF-8 stands for U+FFFD, after everything in the Basic Multilingual Plane."""
    buffers = [b"\x03\xff", b"\x03\xc3\xa9", b"\x03\x80", b"\x03\x7f", b"\x03\xf0\x9f\x98\x80"]
    ordered = sorted(buffers, key=groups._as_javascript_sorts)
    # node -e 'console.log(buffers.sort())'
    assert ordered == [b"\x03\x7f", b"\x03\xc3\xa9", b"\x03\xf0\x9f\x98\x80", b"\x03\xff", b"\x03\x80"]


def test_an_added_member_learns_the_key() -> None:
    told = groups.read_add_member(ADD_MEMBER, THEIRS.id, OURS.id)
    assert told is not None
    assert (told.key, told.group, told.root, told.added_by) == (
        bytes(range(32)),
        f"%{KEY}.cloaked",
        f"%{KEY}.sha256",
        THEIRS.id,
    )
    assert told.trial == box2.TrialKey(bytes(range(32)), groups.GROUP)
    assert "key=" not in repr(told)


@pytest.mark.parametrize(
    "change",
    [
        {"type": "group/exclude-member"},
        {"version": "v2"},
        {"groupKey": KEY[:-1]},
        {"groupKey": KEY[:-2] + "9="},
        {"groupKey": None},
        {"root": None},
        {"root": f"%{KEY}.cloaked"},
        {"recps": [OURS.id]},
        {"recps": [OURS.id, OURS.id]},
        {"recps": [f"%{KEY}.cloaked", OTHER.id]},
        {"recps": [f"%{KEY}.cloaked", *[OTHER.id] * 15, OURS.id]},
        {"recps": OURS.id},
    ],
)
def test_messages_that_add_nobody(change: dict[str, Any]) -> None:
    assert groups.read_add_member(ADD_MEMBER | change, THEIRS.id, OURS.id) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(
    json_values | st.dictionaries(st.sampled_from(sorted(ADD_MEMBER)), json_values).map(lambda odd: ADD_MEMBER | odd)
)
def test_no_content_raises(content: Any) -> None:
    told = groups.read_add_member(content, THEIRS.id, OURS.id)
    assert told is None or len(told.key) == 32


@given(st.binary(min_size=32, max_size=32))
def test_any_feed_has_a_key_or_none(public: bytes) -> None:
    """An id may be no point of the curve: what its 'author' wrote can't be opened, and nothing worse happens."""
    try:
        made = groups.direct_key(OURS, feed_id(public))
    except CryptoError:
        return
    assert len(made.key) == 32


def test_uris_and_sigils_name_the_same_place() -> None:
    assert bfe.encode(uri.from_sigil(OURS.id)) == bfe.encode(OURS.id)
