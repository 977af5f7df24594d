"""Whether our clock is right, from what hubs say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.doctor.clock import DAY_S, FINE_S, told, verdict
from ssb_rtc.doctor.findings import State
from ssb_rtc.types import HubUrl
from ssb_rtc.wire.envelope import WINDOW_S

A, B, C = (HubUrl(f"https://{name}.example.org") for name in "abc")


@pytest.mark.parametrize(
    ("ahead_s", "state", "says"),
    [
        (0.0, State.OK, "Right"),
        (-59.0, State.OK, "Right"),
        (300.0, State.WARNING, "5 min ahead of"),
        (-300.0, State.WARNING, "5 min behind"),
        (2 * 3_600.0, State.BROKEN, "2 h ahead of"),
        (-DAY_S, State.BROKEN, "24 h behind"),
        (DAY_S, State.BROKEN, "meets nobody"),
        (-40 * DAY_S, State.BROKEN, "40 d behind"),
    ],
)
def test_a_wrong_clock_is_named(ahead_s: float, state: State, says: str) -> None:
    found = verdict({A: ahead_s})
    assert found.state is state
    assert says in found.seen
    assert ("set-ntp" in found.remedy) == (state is not State.OK)


def test_no_hub_told_the_time() -> None:
    found = verdict({})
    assert found.state is State.SKIPPED
    assert found.remedy


def test_one_hub_of_three_that_is_wrong_is_named_and_not_we() -> None:
    found = verdict({A: 0.5, B: -1.0, C: -DAY_S})
    assert found.state is State.WARNING
    assert f"{C} is 24 h ahead of us" in found.seen
    assert str(A) not in found.seen


def test_of_two_that_differ_nobody_knows_which_is_right() -> None:
    found = verdict({A: 0.5, B: DAY_S})
    assert found.state is State.BROKEN
    assert f"{B} is 24 h behind us" in found.seen


def test_two_right_hubs_and_a_wrong_clock() -> None:
    found = verdict({A: DAY_S, B: DAY_S + 2})
    assert found.state is State.BROKEN
    assert found.seen.startswith("Our clock is 24 h ahead of the hubs' (2 hubs asked).")


offsets = st.floats(-400 * DAY_S, 400 * DAY_S)


@given(st.dictionaries(st.sampled_from([A, B, C]), offsets, min_size=1))
def test_no_clock_beyond_the_window_of_all_hubs_is_fine(ahead_s: dict[HubUrl, float]) -> None:
    found = verdict(ahead_s)
    if all(abs(each) > WINDOW_S for each in ahead_s.values()):
        assert found.state is State.BROKEN
    if all(abs(each) <= FINE_S for each in ahead_s.values()):
        assert found.state is State.OK


@given(offsets)
def test_a_difference_is_told_in_a_unit_that_fits(ahead_s: float) -> None:
    number, unit, *_ = told(ahead_s).split()
    size_s = int(number) * {"s": 1, "min": 60, "h": 3_600, "d": 86_400}[unit]
    assert abs(size_s - abs(ahead_s)) <= max(0.5, abs(ahead_s) / 2)
