"""How deep one announces: as crowded as it is, a step at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.signalhub.crowd import DEEPER_ABOVE, DEPTH_MAX, HEARD_MAX, SHALLOWER_BELOW, WINDOW_S, Crowd
from ssb_rtc.types import PeerId


def many(crowd: Crowd, count: int, now_s: float, first: int = 0) -> None:
    for number in range(first, first + count):
        crowd.heard(PeerId(str(number)), now_s)


def test_a_crowd_goes_deeper_by_a_step_in_each_half_window() -> None:
    crowd, now_s = Crowd(), 0.0
    many(crowd, DEEPER_ABOVE, now_s)
    crowd.settle(now_s)
    assert crowd.depth == 0
    many(crowd, DEEPER_ABOVE + 1, now_s)
    crowd.settle(now_s)
    assert (crowd.depth, len(crowd)) == (1, 0)
    many(crowd, DEEPER_ABOVE + 1, now_s)
    crowd.settle(now_s + WINDOW_S / 2 - 1)
    assert crowd.depth == 1
    crowd.settle(now_s + WINDOW_S / 2)
    assert crowd.depth == 2


def test_a_quiet_place_comes_back_and_one_in_between_stays() -> None:
    crowd = Crowd()
    many(crowd, DEEPER_ABOVE + 1, 0.0)
    crowd.settle(0.0)
    many(crowd, SHALLOWER_BELOW, 1.0)
    crowd.settle(WINDOW_S)
    assert crowd.depth == 1
    crowd.settle(1.0 + WINDOW_S + 1)
    assert (crowd.depth, len(crowd)) == (0, 0)


def test_whoever_says_it_often_counts_once() -> None:
    crowd = Crowd()
    for _ in range(3):
        many(crowd, 5, 0.0)
    assert len(crowd) == 5


@given(st.lists(st.tuples(st.floats(0, 2 * WINDOW_S), st.integers(0, 6_000)), max_size=30))
def test_it_stays_bounded(said: list[tuple[float, int]]) -> None:
    crowd, now_s, before = Crowd(), 0.0, 0
    for pause_s, count in said:
        now_s += pause_s
        many(crowd, count, now_s)
        crowd.settle(now_s)
        assert len(crowd) <= HEARD_MAX
        assert 0 <= crowd.depth <= DEPTH_MAX
        assert abs(crowd.depth - before) <= 1
        before = crowd.depth
