"""Channel names: who can compute which, when they change, and how the announce channels split."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import MisuseError
from ssb_rtc.types import PeerId
from ssb_rtc.wire.channels import (
    DAY_S,
    DEPTH_MAX,
    OVERLAP_S,
    announce_channel,
    announce_path,
    day_of,
    days_heard,
    friend_inbox,
    public_inbox,
    reply_bytes,
    reply_channel,
)

ALICE = PeerId("@/RckOFqgx1tk+3jNYC+h2ZH96/drE8WO1wLqyDXp9hg=.ed25519")
BOB = PeerId("@6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=.ed25519")
NETWORK, OTHER = sha256(b"network").digest(), sha256(b"other").digest()
NOON = 20_717 * DAY_S + DAY_S / 2

days = st.integers(0, 2**32 - 1)
paths = st.integers(0, 2**32 - 1)
depths = st.integers(0, DEPTH_MAX)


def test_every_name_is_another() -> None:
    names = [
        name
        for key in (NETWORK, OTHER)
        for day in (0, 1, 20_717)
        for name in (
            public_inbox(key, ALICE, day),
            public_inbox(key, BOB, day),
            friend_inbox(key, day),
            announce_channel(key, day << 12, 32),
        )
    ]
    names += [announce_channel(NETWORK, 0, depth) for depth in range(1, DEPTH_MAX)]
    assert len(set(names)) == len(names)
    # Safe in a path, without a comma, which would make two channels of it.
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", name) for name in names)


@given(st.floats(0, 1e11))
def test_who_writes_is_heard(wall_s: float) -> None:
    """Whatever the two clocks say, as long as they are within the window."""
    heard = days_heard(wall_s)
    assert heard == tuple(sorted(set(heard)))
    assert len(heard) <= 2
    for ahead_s in (-OVERLAP_S, 0, OVERLAP_S):
        assert day_of(wall_s + ahead_s) in heard


def test_two_days_are_heard_around_midnight_only() -> None:
    midnight = 20_718 * DAY_S
    assert days_heard(NOON) == (20_717,)
    assert days_heard(midnight - OVERLAP_S - 1) == (20_717,)
    assert days_heard(midnight - OVERLAP_S) == (20_717, 20_718)
    assert days_heard(midnight) == (20_717, 20_718)
    assert days_heard(midnight + OVERLAP_S - 1) == (20_717, 20_718)
    assert days_heard(midnight + OVERLAP_S) == (20_718,)


def test_a_clock_that_is_far_off_has_days_all_the_same() -> None:
    assert days_heard(-1e9) == days_heard(0) == (0,)
    assert days_heard(1e30) == (2**32 - 1,)


@given(paths, depths)
def test_a_channel_of_the_tree_is_that_of_all_paths_below_it(path: int, depth: int) -> None:
    low = (1 << (DEPTH_MAX - depth)) - 1
    name = announce_channel(NETWORK, path, depth)
    assert name == announce_channel(NETWORK, path | low, depth) == announce_channel(NETWORK, path & ~low, depth)
    if depth:
        assert name != announce_channel(NETWORK, path ^ (low + 1), depth)


def test_depth_nought_is_everybody_s() -> None:
    assert announce_channel(NETWORK, 0, 0) == announce_channel(NETWORK, 2**32 - 1, 0)
    assert announce_channel(NETWORK, 0, 0) != announce_channel(OTHER, 0, 0)


@given(days)
def test_paths_have_32_bits_and_change_with_the_day(day: int) -> None:
    path = announce_path(NETWORK, ALICE, day)
    assert 0 <= path < 2**32
    assert path == announce_path(NETWORK, ALICE, day)
    assert path != announce_path(NETWORK, ALICE, (day + 1) % 2**32)


@given(st.binary(min_size=16, max_size=16))
def test_reply_channels(raw: bytes) -> None:
    assert reply_bytes(reply_channel(raw)) == raw


@pytest.mark.parametrize(
    "name", ["", "A" * 21, "A" * 23, "A" * 21 + "B", "A" * 21 + "=", "+" * 22, "\u00e9" * 22, "all"]
)
def test_what_is_no_reply_channel(name: str) -> None:
    with pytest.raises(MisuseError, match="22 characters"):
        reply_bytes(name)


def test_our_own_mistakes() -> None:
    mistakes: list[tuple[Callable[[], object], str]] = [
        (lambda: public_inbox(b"", ALICE, 0), "32 bytes"),
        (lambda: friend_inbox(bytes(16), 0), "32 bytes"),
        (lambda: public_inbox(NETWORK, PeerId("alice"), 0), "feed id"),
        (lambda: friend_inbox(NETWORK, -1), "32 bits"),
        (lambda: friend_inbox(NETWORK, 2**32), "32 bits"),
        (lambda: announce_channel(NETWORK, 0, 33), "depth"),
        (lambda: announce_channel(NETWORK, 0, -1), "depth"),
        (lambda: announce_channel(NETWORK, 2**32, 5), "32 bits"),
        (lambda: reply_channel(b""), "16 bytes"),
    ]
    for call, match in mistakes:
        with pytest.raises(MisuseError, match=match):
            call()
