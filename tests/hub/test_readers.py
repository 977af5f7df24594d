"""Whom a hub drops when readers are slow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.hub.limits import HubLimits
from ssb_rtc.hub.readers import too_slow

LIMITS = HubLimits(reader_buffer_bytes=100, reader_stall_s=10.0, buffers_bytes=150)


def test_the_furthest_go_until_all_fit() -> None:
    behind = [("a", 60, 0.0), ("b", 90, 0.0), ("c", 101, 0.0), ("d", 1, -11.0), ("e", 70, 0.0)]
    assert too_slow(behind, LIMITS, 0.0) == ["c", "d", "b"]
    assert too_slow(behind[:2], LIMITS, 0.0) == []


@given(st.lists(st.tuples(st.integers(0, 120), st.floats(0, 20)), max_size=20))
def test_afterwards_all_fit_and_no_more_were_dropped_than_needed(sizes: list[tuple[int, float]]) -> None:
    behind = [(number, size, since) for number, (size, since) in enumerate(sizes)]
    dropped = too_slow(behind, LIMITS, 20.0)
    kept = [entry for entry in behind if entry[0] not in dropped]
    assert len(set(dropped)) == len(dropped)
    assert all(size <= 100 and 20.0 - since <= 10.0 for _, size, since in kept)
    assert sum(size for _, size, _ in kept) <= 150
    within = [entry for entry in behind if entry[1] <= 100 and 20.0 - entry[2] <= 10.0]
    spared = [size for number, size, _ in within if number in dropped]
    if spared:
        assert sum(size for _, size, _ in kept) + min(spared) > 150
