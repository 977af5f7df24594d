"""Buckets and the memory of what was heard: never more than they promise, never larger than they promise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.signalhub.admission import BucketTable, SeenCache, SeenLetters, TokenBucket


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(2.0, 3.0, 100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(100.4)
    assert bucket.take(100.6)
    assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]


@given(st.lists(st.floats(0, 3), max_size=100))
def test_a_bucket_never_gives_more(pauses_s: list[float]) -> None:
    bucket, now_s, given_count = TokenBucket(2.0, 3.0, 0.0), 0.0, 0
    for pause_s in pauses_s:
        now_s += pause_s
        given_count += bucket.take(now_s)
        assert given_count <= 3.0 + 2.0 * now_s + 1e-6


def test_a_clock_that_jumps_back_gives_nothing() -> None:
    bucket = TokenBucket(1.0, 1.0, 100.0)
    assert bucket.take(100.0)
    assert not bucket.take(0.0)
    assert not bucket.take(0.5)


def test_a_table_is_bounded_and_forgets_the_longest_silent() -> None:
    table = BucketTable(1.0, 1.0, 3)
    for key in ("a", "b", "c"):
        assert table.take(key, 0.0)
    assert not table.take("a", 0.0)
    assert table.take("d", 0.0)
    assert len(table) == 3
    assert not table.take("a", 0.0)
    assert table.take("b", 0.0)


def test_what_was_seen_is_not_first_until_the_window_is_over() -> None:
    seen = SeenCache(60.0, 10)
    assert seen.first("a", 0.0)
    assert not seen.first("a", 59.9)
    assert seen.first("a", 60.0)
    assert not seen.first("a", 61.0)


def test_the_memory_is_bounded_and_keeps_the_newest() -> None:
    seen = SeenCache(60.0, 10)
    for number in range(1000):
        assert seen.first(number, 0.0)
    assert len(seen) == 10
    assert not seen.first(990, 0.0)
    assert seen.first(0, 0.0)


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 5)), max_size=80))
def test_the_memory_is_like_a_plain_one(heard: list[tuple[float, int]]) -> None:
    seen, last, now_s = SeenCache(60.0, 1000), dict[int, float](), 0.0
    for pause_s, key in heard:
        now_s += pause_s
        expected = key not in last or now_s - last[key] >= 60.0
        assert seen.first(key, now_s) == expected
        if expected:
            last[key] = now_s


def test_letters_are_first_once_and_never_pushed_out() -> None:
    seen = SeenLetters(60.0, 4, 3)
    assert [seen.first("ann", n, 0.0) for n in (1, 1, 2, 3, 4)] == [True, False, True, True, False]
    assert [seen.first("ben", n, 1.0) for n in (1, 2)] == [True, False]
    assert not seen.first("ann", 1, 59.9)
    assert seen.holds("ann", 1)
    assert seen.first("ann", 1, 60.0)
    assert seen.first("ben", 2, 60.0)
    assert len(seen) == 3


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from("abc"), st.integers(0, 3)), max_size=80))
def test_no_letter_counts_twice_within_the_window(heard: list[tuple[float, str, int]]) -> None:
    seen, last, now_s = SeenLetters(60.0, 6, 3), dict[tuple[str, int], float](), 0.0
    for pause_s, sender, name in heard:
        now_s += pause_s
        live = [key for key, since_s in last.items() if now_s - since_s < 60.0]
        room = len(live) < 6 and sum(key[0] == sender for key in live) < 3
        expected = (sender, name) not in live and room
        assert seen.first(sender, name, now_s) == expected
        if expected:
            last[sender, name] = now_s
        assert len(seen) <= 6
