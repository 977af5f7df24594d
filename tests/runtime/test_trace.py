"""Traces: what was recorded, replayed, gives the same."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence
from pathlib import Path

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from ssb_rtc.errors import ConfigFault
from ssb_rtc.manager import actions as a
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import Route, initial
from ssb_rtc.manager.step import step
from ssb_rtc.runtime.trace import Trace, read_trace, replay, replay_file, replay_records
from tests.manager.names import AMY, BOB, ME, ONE, START, TWO, ZOE, at

STORY: Sequence[a.Action] = (
    a.HubAddressAdded(ONE),
    a.HubAddressAdded(TWO, "invite", private=True),
    a.HubConnectionSucceeded(ONE, 1),
    a.HubConnectionFailed(TWO, 2, "refused", float("nan")),
    a.RemotePeerDidAnnounce(ONE, AMY),
    a.RemotePeerDidAnnounce(ONE, ZOE),
    a.RemotePeerDidOffer(ONE, ZOE, "s1"),
    a.RemotePeerConnectionSucceeded(AMY, 1, Route("hub", ONE), True, 3),
    a.RemotePeerLinkEnded(AMY, 1, "reset", not_before_s=float("inf")),
    a.HubsSaved(2),
    a.NetworkDidReconnect(),
    a.ConnectToRemotePeer(BOB, Route("address", "net:10.0.0.1:8008")),
    a.HubDidLimit(ONE, float("inf")),
    a.ShutdownRequested(),
)


def record(trace: Trace, *, seed: int = 7, actions: Sequence[a.Action] = STORY) -> None:
    state = initial(ME, seed=seed, settings=Settings(peers_max=4), now=START)
    for number, action in enumerate(actions):
        before = state
        state, effects = step(before, action, at(number * 3.7))
        trace.record(before, at(number * 3.7), action, effects)
    trace.close()


@given(st.integers(0, 2**64 - 1))
def test_a_file_replays_to_the_same(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    file = tmp_path_factory.mktemp("trace") / "trace.jsonl"
    record(Trace(file), seed=seed)
    lines = file.read_bytes().splitlines()
    assert len(lines) == 1 + len(STORY)
    assert replay(lines) == []


def test_a_file_is_for_its_owner(tmp_path: Path) -> None:
    record(Trace(tmp_path / "trace.jsonl"))
    assert (tmp_path / "trace.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_file_that_others_could_read_is_for_its_owner_from_then_on(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    file.write_text("an old one, longer than what comes\n" * 10_000)
    file.chmod(0o644)
    record(Trace(file))
    assert file.stat().st_mode & 0o777 == 0o600
    assert replay(file.read_bytes().splitlines()) == []


def test_a_trace_may_go_where_there_is_no_file() -> None:
    record(Trace(Path("/dev/null")))


def test_a_replay_says_what_differs(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    record(Trace(file))
    lines = [line.replace(b"somebody here asked for it", b"nobody did") for line in file.read_bytes().splitlines()]
    (mismatch,) = replay(lines)
    assert mismatch.record == 11
    assert mismatch.recorded != mismatch.replayed


def test_the_ring_keeps_the_last_ones_and_replays_too() -> None:
    assert Trace().start is None
    trace = Trace(ring_records=4)
    record(trace)
    assert [entry.action for entry in trace.ring] == list(STORY[-4:])
    assert trace.start is not None
    assert replay_records(trace.start, trace.ring) == []
    assert replay_records(initial(ME, seed=0, now=START), trace.ring) != []


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "not a header"),
        ([b"{}"], "not a header"),
        ([b"\xff"], "not a header"),
    ],
)
def test_what_is_no_trace_is_refused(lines: list[bytes], message: str) -> None:
    with pytest.raises(ConfigFault, match=message):
        replay(lines)


def test_a_trace_of_another_version_or_with_a_broken_line_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    record(Trace(file))
    lines = file.read_bytes().splitlines()
    with pytest.raises(ConfigFault, match="version 99"):
        read_trace([lines[0].replace(b'"version":1', b'"version":99')])
    with pytest.raises(ConfigFault, match="tick_s"):
        read_trace([lines[0].replace(b'"tick_s":10.0', b'"tick_s":-1')])
    with pytest.raises(ConfigFault, match="line 3"):
        replay([*lines[:2], lines[2][:40]])


def test_a_file_that_was_cut_off_counts_as_far_as_it_goes(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    record(Trace(file))
    lines = file.read_bytes().splitlines(keepends=True)
    assert replay_file(lines) == (len(STORY), [], False)
    assert replay_file([*lines[:3], lines[3][:40]]) == (2, [], True)
    assert replay_file([lines[0], lines[1][:-1]]) == (0, [], True)
    with pytest.raises(ConfigFault, match="not a header"):
        replay_file([lines[0][:40]])
    with pytest.raises(ConfigFault, match="line 3"):
        replay_file([*lines[:2], b"what?\n", lines[3][:40]])


@given(st.lists(st.binary(max_size=50), max_size=3))
def test_any_bytes_are_a_trace_or_a_clear_error(lines: list[bytes]) -> None:
    with contextlib.suppress(ConfigFault):
        replay(lines)


def test_a_full_file_ends_and_the_ring_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "trace.jsonl"
    trace = Trace(file, file_max_bytes=3_000)
    with caplog.at_level(logging.WARNING):
        record(trace)
    assert file.stat().st_size <= 3_000
    assert len(trace.ring) == len(STORY)
    assert replay(file.read_bytes().splitlines()) == []
    assert caplog.text.count("the trace file is full") == 1


def test_a_file_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match="can't be written"):
        Trace(tmp_path / "missing" / "trace.jsonl")


def test_a_disk_that_fills_up_ends_the_file_only(caplog: pytest.LogCaptureFixture) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    trace = Trace(full)
    record(trace)
    assert len(trace.ring) == len(STORY)
    assert "the trace file ends here" in caplog.text


def test_a_step_that_can_t_be_written_ends_the_file_and_not_the_peer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trace = Trace(tmp_path / "trace.jsonl")
    record(trace, actions=[STORY[0], a.HubConnectionFailed(ONE, 1, "\udcff"), STORY[1]])
    assert len((tmp_path / "trace.jsonl").read_bytes().splitlines()) == 2
    assert len(trace.ring) == 3
    assert "the trace file ends here" in caplog.text


def test_a_line_that_is_taken_in_part_ends_the_file(caplog: pytest.LogCaptureFixture) -> None:
    class Short(io.BytesIO):
        def write(self, data: object) -> int:
            return 10

    trace, file = Trace(), Short()
    trace._file = file
    record(trace)
    assert file.closed
    assert "took 10 of" in caplog.text


def test_a_record_is_one_line_of_json(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    record(Trace(file))
    first = msgspec.json.decode(file.read_bytes().splitlines()[1])
    assert first["action"]["kind"] == "HUB_ADDRESS_ADDED"
    assert first["effects"][0]["kind"] == "SCHEDULE_CONNECT_TO_HUB"
    assert first["effects"][0]["reason"]
