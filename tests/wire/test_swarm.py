"""The swarm dialect: what stock npm modules send, what we send, and what nobody should."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import MisuseError, SignalInvalid
from ssb_rtc.types import PeerId
from ssb_rtc.wire.sse import Parser
from ssb_rtc.wire.swarm import (
    ALL,
    BODY_LIMIT_BYTES,
    CANDIDATE_LIMIT_BYTES,
    SDP_LIMIT_BYTES,
    Connect,
    Signal,
    SignalFrom,
    app_name,
    format_connect,
    format_signal,
    inbox,
    is_peer_id,
    parse_message,
    parse_signal,
    signal_to_json,
)

ALICE = PeerId("@/RckOFqgx1tk+3jNYC+h2ZH96/drE8WO1wLqyDXp9hg=.ed25519")
BOB = PeerId("@6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=.ed25519")

short_text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=50)
signals = st.one_of(
    st.builds(Signal, st.just("offer"), sdp=short_text),
    st.builds(Signal, st.just("answer"), sdp=short_text),
    st.builds(
        Signal,
        st.just("candidate"),
        candidate=short_text,
        sdp_mid=st.none() | st.text(st.characters(codec="utf-8"), max_size=8),
        sdp_m_line_index=st.none() | st.integers(0, 99),
    ),
)
jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def body(**fields: Any) -> str:
    return json.dumps({"from": ALICE, **fields})


def test_the_capture_of_webrtc_swarm_and_simple_peer_6(wire_captures: Path) -> None:
    names = {"peerA": ALICE, "peerB": BOB}
    seen: list[str] = []
    for event in Parser().feed((wire_captures / "signalling.sse.log").read_bytes()):
        with pytest.raises(SignalInvalid, match="which peer"):
            parse_message(event)  # the capture's ids are no feed ids
        value = json.loads(event)
        value["from"] = names[value["from"]]
        message = parse_message(json.dumps(value))
        assert message is not None
        assert message.sender in names.values()
        if isinstance(message, SignalFrom):
            assert message.session is None
            assert bool(message.signal.sdp) != bool(message.signal.candidate)
            seen.append(message.signal.kind)
            if message.signal.kind == "candidate":
                assert (message.signal.sdp_mid, message.signal.sdp_m_line_index) == ("0", 0)
        else:
            assert isinstance(message, Connect)
            seen.append("connect")
    assert seen == ["connect"] * 2 + ["offer"] + ["candidate"] * 4 + ["answer"] + ["candidate"] * 4 + ["connect"] * 2


def test_the_signals_of_simple_peer_9(wire_captures: Path) -> None:
    kinds: list[str] = []
    for line in (wire_captures / "simple-peer-9.11.1.signals.jsonl").read_text().splitlines():
        if not line.startswith("{"):
            continue  # what the two ends printed once they were connected
        value = json.loads(line)["signal"]
        signal = parse_signal(value)
        assert signal is not None
        assert signal_to_json(signal) == value
        kinds.append(signal.kind)
    assert kinds.count("offer") == kinds.count("answer") == 1
    assert kinds.count("candidate") == len(kinds) - 2 > 0


def test_what_is_said_on_all() -> None:
    assert ALL == "all"
    assert format_connect(ALICE) == f'{{"type":"connect","from":"{ALICE}"}}'
    assert parse_message(format_connect(ALICE)) == Connect(ALICE)
    assert parse_message(body(type="connect", more=[1])) == Connect(ALICE)
    assert parse_message(body(type="leave")) is None


@given(signals, st.none() | st.text("abc0", min_size=1, max_size=64))
def test_our_own_signals_read_back_the_same(signal: Signal, session: str | None) -> None:
    assert parse_message(format_signal(BOB, session, signal)) == SignalFrom(BOB, session, signal)
    assert ("session" in json.loads(format_signal(BOB, session, signal))) == (session is not None)


def test_both_shapes_of_candidates() -> None:
    candidate = {"candidate": "candidate:1 1 udp 1 192.0.2.2 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
    expected = Signal("candidate", candidate=candidate["candidate"], sdp_mid="0", sdp_m_line_index=0)  # type: ignore[arg-type]
    assert parse_signal({"candidate": candidate}) == expected
    assert parse_signal({"type": "candidate", "candidate": candidate}) == expected
    assert parse_signal({"candidate": {"candidate": "candidate:1"}}) == Signal("candidate", candidate="candidate:1")


@pytest.mark.parametrize(
    "signal",
    [
        {"type": "renegotiate", "renegotiate": True},
        {"renegotiate": True},
        {"type": "transceiverRequest", "transceiverRequest": {"kind": "video"}},
        {"transceiverRequest": {"kind": "video"}},
        {"type": "pranswer", "sdp": "v=0"},
        {"type": "rollback"},
        {"candidate": {"candidate": "", "sdpMid": "0", "sdpMLineIndex": 0}},
    ],
)
def test_signals_that_are_not_for_us_are_ignored(signal: Any) -> None:
    assert parse_signal(signal) is None
    assert parse_message(body(signal=signal)) is None


@pytest.mark.parametrize(
    "signal",
    [
        None,
        "offer",
        [],
        {},
        {"type": 7},
        {"type": "offer"},
        {"type": "offer", "sdp": ""},
        {"type": "answer", "sdp": 7},
        {"type": "offer", "sdp": "x" * (SDP_LIMIT_BYTES + 1)},
        {"type": "offer", "sdp": "\u00e9" * (SDP_LIMIT_BYTES // 2 + 1)},
        {"type": "candidate"},
        {"candidate": None},
        {"candidate": "candidate:1"},
        {"candidate": {"candidate": 7}},
        {"candidate": {"candidate": "x" * (CANDIDATE_LIMIT_BYTES + 1)}},
        {"candidate": {"candidate": "x", "sdpMid": 0}},
        {"candidate": {"candidate": "x", "sdpMid": "m" * 65}},
        {"candidate": {"candidate": "x", "sdpMLineIndex": "0"}},
        {"candidate": {"candidate": "x", "sdpMLineIndex": True}},
        {"candidate": {"candidate": "x", "sdpMLineIndex": -1}},
        {"candidate": {"candidate": "x", "sdpMLineIndex": 1.5}},
    ],
)
def test_malformed_signals_are_refused(signal: Any) -> None:
    with pytest.raises(SignalInvalid):
        parse_signal(signal)
    with pytest.raises(SignalInvalid):
        parse_message(body(signal=signal))


def test_limits_are_inclusive() -> None:
    assert parse_signal({"type": "offer", "sdp": "x" * SDP_LIMIT_BYTES}) is not None
    assert parse_signal({"candidate": {"candidate": "x" * CANDIDATE_LIMIT_BYTES}}) is not None
    padded = body(type="connect", pad="")
    padded = body(type="connect", pad="x" * (BODY_LIMIT_BYTES - len(padded)))
    assert len(padded) == BODY_LIMIT_BYTES
    assert parse_message(padded) == Connect(ALICE)
    with pytest.raises(SignalInvalid, match="65536 bytes"):
        parse_message(padded.replace("pad", "padd"))


@pytest.mark.parametrize("text", ["", "x", "7", "null", "[]", "{", "NaN", '"connect"', "[" * 5000])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(SignalInvalid):
        parse_message(text)


@pytest.mark.parametrize(
    "sender", [None, 7, "", "peerA", ALICE[1:], ALICE[:-1], ALICE + "\n", ALICE.replace("hg=", "hh="), "@" + "=" * 44]
)
def test_senders_that_are_no_feed_id_are_refused(sender: Any) -> None:
    assert not is_peer_id(sender)
    with pytest.raises(SignalInvalid, match="which peer"):
        parse_message(json.dumps({"type": "connect", "from": sender}))


def test_unknown_types_are_ignored() -> None:
    assert parse_message(body()) is None
    assert parse_message(body(type="hello")) is None
    assert parse_message(body(type=7)) is None


@pytest.mark.parametrize("session", [7, "", "s" * 65, None, {}])
def test_a_malformed_session_is_none(session: Any) -> None:
    message = parse_message(body(signal={"type": "offer", "sdp": "v=0"}, session=session))
    assert message == SignalFrom(ALICE, None, Signal("offer", sdp="v=0"))


@given(st.one_of(st.binary(max_size=80), st.text(max_size=80), jsons.map(json.dumps)))
def test_outside_bytes_only_ever_raise_signal_invalid(text: str | bytes) -> None:
    with suppress(SignalInvalid):
        parse_message(text)


@given(st.dictionaries(st.sampled_from(["type", "sdp", "candidate", "renegotiate"]), jsons), jsons)
def test_outside_signals_only_ever_raise_signal_invalid(signal: dict[str, Any], session: Any) -> None:
    try:
        message = parse_message(body(signal=signal, session=session))
    except SignalInvalid:
        return
    assert message is None or isinstance(message, SignalFrom)


def test_our_own_mistakes() -> None:
    with pytest.raises(MisuseError, match="session"):
        format_signal(ALICE, "", Signal("offer", sdp="v=0"))
    with pytest.raises(MisuseError, match="breaks the rules"):
        format_signal(ALICE, None, Signal("offer"))
    with pytest.raises(MisuseError, match="breaks the rules"):
        format_signal(ALICE, None, Signal("candidate", candidate="x" * 2000))


def test_channels_and_apps() -> None:
    assert inbox(ALICE) == ALICE  # raw: `/` and `+` are not re-encoded
    main_network = bytes.fromhex("d4a1cb88a66f02f8db635ce26441cc5dac1b08420ceaac230839b755845a9ffb")
    assert app_name(main_network) == "ssb-rtc-1-50369ff9"
    assert app_name(bytes(32)) != app_name(main_network)
