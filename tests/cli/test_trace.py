"""How steps are printed: a line each, with reasons, and nothing in it that could steer a terminal."""

from __future__ import annotations

import pytest

from ssb_rtc.cli.output import printable
from ssb_rtc.cli.trace import _line, _print_step

STEP = {
    "wall_s": 0.0,
    "mono_s": 9.3,
    "action": {
        "kind": "REMOTE_PEER_LINK_ENDED", "peer": "@a", "link": 3, "reason": "bye\x1b[2J\nFAKE", "clean": True,
        "not_before_s": None,
    },
    "effects": [
        {"kind": "ARM_TIMER", "key": "connect", "due_mono_s": 12.3456, "reason": "a peer may be dialled then"},
        {"kind": "SCHEDULE_CONNECT_TO_REMOTE_PEER", "route": {"via": "hub", "where": "https://h"},
         "terms": [["x", 1.0]]},
    ],
}  # fmt: skip


def test_a_step_is_an_action_and_what_follows_from_it(capsys: pytest.CaptureFixture[str]) -> None:
    _print_step(STEP)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0][8:] == " REMOTE_PEER_LINK_ENDED peer=@a link=3 clean=True  (bye [2J FAKE)"
    assert lines[1].strip() == "-> ARM_TIMER key=connect due_in_s=3  (a peer may be dialled then)"
    assert lines[2].strip() == "-> SCHEDULE_CONNECT_TO_REMOTE_PEER route=hub,https://h terms=[[x 1]]"


def test_steps_that_were_missed_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    _print_step({**STEP, "missed": 7})
    assert capsys.readouterr().out.startswith("(7 steps were missed")


def test_what_is_empty_is_left_out() -> None:
    assert _line({"kind": "TIMER_EXPIRED", "key": "", "peers": [], "none": None}) == "TIMER_EXPIRED "


def test_only_printable_characters_are_printed() -> None:
    assert printable("a\tb\u202ec\x07") == "a b c "
