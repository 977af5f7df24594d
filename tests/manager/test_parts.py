"""The small parts: the queue, keys, randomness, settings."""

from __future__ import annotations

import base64
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from ssb_rtc.errors import ConfigFault, MisuseError
from ssb_rtc.manager.chance import backoff_s, draw
from ssb_rtc.manager.due import CHUNK_MAX, EMPTY_QUEUE
from ssb_rtc.manager.identity import public_key
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import Now, initial
from ssb_rtc.types import PeerId
from tests.manager.names import ME, START, ZOE, at

entries = st.tuples(st.floats(0, 100), st.text("abc", min_size=1).map(PeerId))


@given(st.lists(st.tuples(st.booleans(), entries), max_size=200))
def test_the_queue_is_a_sorted_set(changes: list[tuple[bool, tuple[float, PeerId]]]) -> None:
    queue, should = EMPTY_QUEUE, set()
    for add, entry in changes:
        before = list(queue)
        if add and entry not in should:
            changed = queue.added(entry)
            should.add(entry)
        elif entry in should:
            changed = queue.removed(entry)
            should.remove(entry)
        else:
            continue
        assert list(queue) == before, "the input changed"
        queue = changed
        assert list(queue) == sorted(should)
        assert queue.first == min(should, default=None)
        assert queue.last == max(should, default=None)


def test_a_long_queue_lies_in_short_chunks() -> None:
    queue = EMPTY_QUEUE
    for number in range(1_000):
        queue = queue.added((number * 7919 % 1_000 / 10, PeerId("p")))
    assert list(queue) == sorted(queue)
    assert max(len(chunk) for chunk in queue.chunks) <= CHUNK_MAX
    assert len(queue.chunks) < 1_000 / CHUNK_MAX * 3
    for entry in tuple(queue):
        queue = queue.removed(entry)
    assert queue == EMPTY_QUEUE


@given(st.binary(min_size=32, max_size=32))
def test_a_peers_id_gives_its_key(key: bytes) -> None:
    assert public_key(f"@{base64.b64encode(key).decode()}.ed25519") == key


@given(st.text(max_size=60) | st.text(alphabet="AB=/+\ud800é", min_size=44, max_size=44).map(lambda s: f"@{s}.ed25519"))
@example("@" + "A" * 44 + ".ed25519")
@example("@" + "A" * 42 + "B=.ed25519")  # not the canonical spelling of 32 zero bytes
@example("@" + "A" * 42 + "==.ed25519")
@example("%" + "A" * 43 + "=.ed25519")
@example("@" + "A" * 43 + "=.sha2560")
def test_what_is_no_id_has_no_key(text: str) -> None:
    key = public_key(text)
    assert key is None or f"@{base64.b64encode(key).decode()}.ed25519" == text


def test_the_state_of_nobody_is_refused() -> None:
    with pytest.raises(MisuseError, match="no peer id"):
        initial(PeerId("me"), seed=0, now=START)


@given(st.integers(0, 2**64 - 1), st.integers(0, 10_000), st.integers(0, 100))
def test_draws_lie_in_range_and_repeat(seed: int, step: int, number: int) -> None:
    assert 0 <= draw(seed, step, number) < 1
    assert draw(seed, step, number) == draw(seed, step, number)


def test_draws_are_spread_evenly() -> None:
    draws = [draw(7, step, number) for step in range(1_000) for number in range(10)]
    tenths = [sum(1 for value in draws if int(value * 10) == tenth) for tenth in range(10)]
    assert min(tenths) > 850
    assert max(tenths) < 1_150
    assert len(set(draws)) == len(draws)


def test_back_off_doubles_up_to_its_end() -> None:
    assert [backoff_s(5, 60, failures) for failures in (0, 1, 2, 3, 4, 5, 6, 10_000)] == [5, 5, 10, 20, 40, 60, 60, 60]


@pytest.mark.parametrize(
    "wrong",
    [{"peers_max": -1}, {"jitter": 1.0}, {"tick_s": 0}, {"hold_max_s": float("nan")}, {"busy_s": float("inf")}],
)
def test_a_setting_without_meaning_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigFault, match=next(iter(wrong))):
        Settings(**wrong)


@pytest.mark.parametrize(("peers_max", "outbound"), [(0, 0), (1, 1), (2, 1), (3, 1), (4, 2), (8, 6)])
def test_one_slot_at_least_is_for_dialling(peers_max: int, outbound: int) -> None:
    assert Settings(peers_max=peers_max).outbound_max == outbound


def test_names_are_in_the_order_of_their_keys() -> None:
    assert (public_key(ME) or b"") < (public_key(ZOE) or b"")
    assert at(1) == Now(START.mono_s + 1, START.wall_s + 1)
