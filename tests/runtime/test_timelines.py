"""What is kept of the way to each peer: where it begins and ends, and that nobody pushes out others."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.state import Now, Route, State, initial
from ssb_rtc.manager.step import step
from ssb_rtc.runtime import timelines
from ssb_rtc.runtime.timelines import BEGINNINGS, ENDS, LINES_MAX, PEERS_MAX, Milestone, Timelines
from ssb_rtc.types import PeerId
from tests.transport.linking import ALICE, BOB, peer_id

A, B = peer_id(ALICE), peer_id(BOB)


class Clock:
    """Seconds that a test sets."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def whats(lines: tuple[Milestone, ...]) -> list[str]:
    return [line.what for line in lines]


def test_times_count_from_the_first_line_and_an_end_begins_anew() -> None:
    clock = Clock()
    kept = Timelines(clock, lambda: 5.0)
    assert kept.of(A) == ()
    kept.mark(A, "attempt", "over it")
    clock.now_s += 1.5
    kept.mark(A, "failed", "nobody answered")
    kept.mark(A, "answer heard")
    assert [(line.what, line.at_s) for line in kept.of(A)] == [("attempt", 0.0), ("failed", 1.5), ("answer heard", 1.5)]
    assert kept.of(A)[0].wall_s == 5.0
    kept.mark(A, "failed", "once more")
    kept.mark(A, "announced", "on it")
    assert [(line.what, line.at_s) for line in kept.of(A)] == [("announced", 0.0)]
    assert not BEGINNINGS & ENDS
    assert timelines.WORDS.keys() >= BEGINNINGS | ENDS | timelines.TRIES | timelines.LATEST_COUNTS


def test_the_page_explains_each_word() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "observability.md").read_text(encoding="utf-8")
    for word, meaning in timelines.WORDS.items():
        assert f"| {word} | {meaning} |" in page


def test_what_comes_again_and_again_is_one_line() -> None:
    clock, heard = Clock(), list[Milestone]()
    kept = Timelines(clock, clock)
    kept.subscribe(lambda _peer, line: heard.append(line))
    for _ in range(5):
        clock.now_s += 60
        kept.mark(A, "announced", "on it")
    kept.mark(A, "attempt")
    assert [(line.what, line.at_s, line.times) for line in kept.of(A)] == [("announced", 0.0, 5), ("attempt", 0.0, 1)]
    for _ in range(3):
        clock.now_s += 1
        kept.mark(A, "candidate heard", "1 host")
    assert kept.of(A)[-1][0] == 1.0, "the first of them is what took so long"
    assert kept.of(A)[-1].times == 3
    assert whats(tuple(heard)) == ["announced", "attempt", "candidate heard"]
    for number in range(2 * LINES_MAX):
        clock.now_s += 1
        kept.mark(A, "candidate heard", "x" * 9_999 + str(number))
        kept.mark(A, "ice", str(number))
    assert len(kept.of(A)) == LINES_MAX
    assert kept.of(A)[-1].at_s == pytest.approx(3 + 2 * LINES_MAX)
    assert len(kept.of(A)[-2].detail) == timelines.DETAIL_MAX_CHARACTERS


def test_names_that_anybody_makes_up_push_out_nobody_with_whom_something_was_tried() -> None:
    kept = Timelines()
    kept.mark(A, "knock heard")
    kept.mark(A, "accepted")
    kept.mark(B, "knock heard")
    for number in range(2 * PEERS_MAX):
        kept.mark(PeerId(f"@{number}"), "announced")
    assert whats(kept.of(A)) == ["knock heard", "accepted"]
    assert kept.of(B) == ()
    assert len(kept._heard) == PEERS_MAX
    for number in range(2 * PEERS_MAX):
        kept.mark(PeerId(f"@{number}"), "attempt")
    assert len(kept._tried) == PEERS_MAX
    assert kept.of(A) == ()


def test_a_link_or_attempt_that_others_outlive_is_no_end() -> None:
    state: State = initial(A, seed=1, now=Now(0.0, 0.0))
    kept = Timelines()
    kept.observe(state, a.RemotePeerConnectionFailed(B, 1, "no route"), ())
    assert whats(kept.of(B)) == ["failed"]
    state, effects = step(state, a.ConnectToRemotePeer(B, Route("address", "net:127.0.0.1:1~shs:x")), Now(1.0, 1.0))
    assert [effect for effect in effects if isinstance(effect, e.ScheduleConnectToRemotePeer)]
    kept.observe(state, a.ConnectToRemotePeer(B), effects)
    kept.observe(state, a.RemotePeerConnectionFailed(B, 99, "gave way to theirs"), ())
    kept.observe(state, a.RemotePeerLinkEnded(B, 99, "bye"), ())
    assert whats(kept.of(B)) == ["attempt", "gave way", "other link ended"]
    assert "over net:127.0.0.1:1" in kept.of(B)[0].detail
