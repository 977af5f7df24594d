"""The rates: what passes at once, in the long run, and how long one is told to wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.hub.rates import Rate, RateTable

RATE = Rate(messages_s=2.0, messages_burst=3.0, bytes_s=100.0, bytes_burst=1000.0)


def passes(table: RateTable[str], key: str, size_bytes: int, now_s: float) -> bool:
    if table.wait_s(key, size_bytes, now_s):
        return False
    table.charge(key, size_bytes, now_s)
    return True


def test_a_burst_passes_and_then_the_rate() -> None:
    table = RateTable[str](RATE, 10)
    assert [passes(table, "a", 1, 0.0) for _ in range(4)] == [True, True, True, False]
    assert passes(table, "b", 1, 0.0)
    assert not passes(table, "a", 1, 0.4)
    assert passes(table, "a", 1, 0.5)


def test_bytes_count_too_and_the_wait_is_told_in_whole_seconds() -> None:
    table = RateTable[str](RATE, 10)
    assert passes(table, "a", 1000, 0.0)
    assert table.wait_s("a", 250, 0.0) == 3
    assert not passes(table, "a", 250, 2.4)
    assert passes(table, "a", 250, 2.5)


def test_a_message_above_the_burst_is_not_shut_out_for_ever() -> None:
    table = RateTable[str](RATE, 10)
    assert passes(table, "a", 5000, 0.0)
    assert not passes(table, "a", 1, 10.0)
    assert passes(table, "a", 1, 41.0)


def test_the_table_is_bounded() -> None:
    table = RateTable[str](RATE, 10)
    for number in range(1000):
        passes(table, str(number), 1, 0.0)
    assert len(table) == 10


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 2000)), max_size=60))
def test_never_more_than_burst_and_rate(posts: list[tuple[float, int]]) -> None:
    table = RateTable[str](RATE, 10)
    now_s, passed = 0.0, 0
    for pause_s, size_bytes in posts:
        now_s += pause_s
        passed += passes(table, "a", size_bytes, now_s)
        assert passed <= RATE.messages_burst + RATE.messages_s * now_s + 1e-6
