"""Links in a content: where they are found, how they are named, and that a hostile content stays bounded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.feeds.links import LINKS_MAX, links_of, target_number
from ssb_rtc.feeds.refs import blob_id, feed_id, is_link, msg_id

FEED, MSG, OTHER, BLOB = feed_id(b"f" * 32), msg_id(b"m" * 32), msg_id(b"n" * 32), blob_id(b"b" * 32)


@pytest.mark.parametrize(
    ("content", "links"),
    [
        ({"type": "contact", "contact": FEED}, [("contact", FEED)]),
        ({"type": "vote", "vote": {"link": MSG, "value": 1}}, [("vote", MSG)]),
        ({"root": MSG, "branch": [MSG, OTHER]}, [("root", MSG), ("branch", MSG), ("branch", OTHER)]),
        ({"mentions": [{"link": FEED, "name": "x"}, FEED, {"link": BLOB}]}, [("mentions", FEED), ("mentions", BLOB)]),
        ({"image": f"{BLOB}?unbox=abc"}, [("image", BLOB)]),
        ({"link": MSG}, [("link", MSG)]),
        ({"a": {"b": {"link": MSG}, "link": {"link": FEED}}}, [("b", MSG), ("a", FEED)]),
        ({"text": f"see {MSG}", "n": 1, "none": None, "odd": [True, 1.5, ""]}, []),
        ({"deep": [[[[[[MSG]]]]]]}, [("deep", MSG)]),
        (f"{MSG}.box", []),
        (None, []),
        ([MSG], []),
    ],
)  # fmt: skip
def test_links_and_their_rels(content: Any, links: list[tuple[str, str]]) -> None:
    assert links_of(content) == links


def test_bounded() -> None:
    many = {"all": [msg_id(number.to_bytes(32, "big")) for number in range(300)]}
    assert len(links_of(many)) == LINKS_MAX
    deep: Any = MSG
    for _ in range(2_000):
        deep = [deep]
    assert links_of({"x": deep}) == []


IDS = st.sampled_from([FEED, MSG, BLOB, "@", "%", f"{BLOB}?x"])
KEYS = st.text(max_size=4) | st.just("link")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | IDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=30,
)


@given(JSON)
def test_any_content_has_only_links(content: Any) -> None:
    found = links_of(content)
    assert len(set(found)) == len(found) <= LINKS_MAX
    for _rel, target in found:
        assert is_link(target)
        assert "?" not in target
        assert -(2**63) <= target_number(target) < 2**63


def test_numbers_differ_where_the_first_bytes_do() -> None:
    assert target_number(msg_id(bytes(32))) == 0
    assert target_number(msg_id(b"\xff" * 32)) == -1
    assert target_number(FEED) != target_number(MSG)
