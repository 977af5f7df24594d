"""The table of timers agrees with a plain dict."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from ssb_rtc.runtime.timers import TimerTable

changes = st.one_of(
    st.tuples(st.just("arm"), st.sampled_from("abcde"), st.integers(0, 50)),
    st.tuples(st.just("cancel"), st.sampled_from("abcde"), st.just(0)),
    st.tuples(st.just("take"), st.just(""), st.integers(0, 50)),
)


@given(st.lists(changes, max_size=300))
def test_it_is_a_dict_with_an_order(script: list[tuple[str, str, int]]) -> None:
    table, should = TimerTable(), {}
    for verb, key, time_s in script:
        if verb == "arm":
            table.arm(key, time_s)
            should[key] = time_s
        elif verb == "cancel":
            table.cancel(key)
            should.pop(key, None)
        else:
            due = sorted((due_s, name) for name, due_s in should.items() if due_s <= time_s)
            assert table.take_due(time_s) == [(name, due_s) for due_s, name in due]
            should = {name: due_s for name, due_s in should.items() if due_s > time_s}
        assert table.next_due_s() == min(should.values(), default=None)
        assert len(table) == len(should)
        assert all(name in table for name in should)


def test_arming_the_same_key_for_ever_fills_no_memory() -> None:
    table = TimerTable()
    for due_s in range(10_000):
        table.arm("key", due_s)
    assert len(table) == 1
    assert table.next_due_s() == 9_999
    assert len(table._heap) < 100
