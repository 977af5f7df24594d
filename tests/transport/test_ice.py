"""ICE settings, the policy for remote candidates, and the reasons for failures."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import ConfigFault, SignalInvalid
from ssb_rtc.transport.ice import (
    REMOTE_CANDIDATES_MAX,
    Candidate,
    CandidatePolicy,
    IceConfig,
    RemoteCandidates,
    TurnServer,
    candidate_lines,
    failure_reason,
    parse_candidate,
    parse_stun,
    parse_turn,
)


def line(address: str, port: int = 5000, kind: str = "host", protocol: str = "udp") -> str:
    return f"candidate:1 1 {protocol} 2122260223 {address} {port} typ {kind} generation 0"


def sdp(*candidates: str, media: str = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel") -> str:
    return "\r\n".join(["v=0", "s=-", media, *(f"a={candidate}" for candidate in candidates), "a=mid:0", ""])


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("stun.example.org:3479", "stun.example.org:3479"),
        ("stun.example.org", "stun.example.org:3478"),
        ("stun:Stun.Example.org:1", "stun.example.org:1"),
        ("192.0.2.1:5", "192.0.2.1:5"),
        ("[2001:db8::1]:5", "[2001:db8::1]:5"),
        ("[2001:db8::1]", "[2001:db8::1]:3478"),
    ],
)
def test_stun_servers(text: str, parsed: str) -> None:
    assert parse_stun(text) == parsed
    assert parse_stun(parsed) == parsed


@pytest.mark.parametrize(
    "text",
    ["", ":3478", "host:", "host:0", "host:65536", "host:x", "ho st:1", "a:b:1", "[::1:5", "[x]:5", "hö:1", "turn:h:1"],
)
def test_what_is_no_stun_server(text: str) -> None:
    with pytest.raises(ConfigFault, match="HOST:PORT"):
        parse_stun(text)


def test_a_turn_server_keeps_its_password_to_itself() -> None:
    turn = parse_turn("turn:me:s3:cr@t@turn.example.org:5349")
    assert turn == TurnServer("turn.example.org", 5349, "me", "s3:cr@t")
    assert turn.url == "turn:turn.example.org:5349"
    assert "s3" not in repr(turn)
    assert parse_turn("turn:u:p@[::1]").url == "turn:[::1]:3478"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "turn:",
        "turn:host:1",
        "turn:u@host:1",
        "turn::p@host:1",
        "turn:u:@host:1",
        "turn:u:p@",
        "u:p@host",
        "turn:u:p q@h:1",
        "turn:u:p@host:99999",
        "stun:u:secret@host:1",
        "turn:u:p\n@h:1",
    ],
)
def test_what_is_no_turn_server(text: str) -> None:
    with pytest.raises(ConfigFault, match="turn:USER:PASS@HOST:PORT") as caught:
        parse_turn(text)
    assert "secret" not in str(caught.value)


@given(st.text(max_size=60))
def test_settings_are_read_or_refused_and_nothing_else(text: str) -> None:
    for parse in (parse_stun, parse_turn):
        with contextlib.suppress(ConfigFault):
            parse(text)


def test_relay_only_needs_a_relay() -> None:
    with pytest.raises(ConfigFault, match="--turn"):
        IceConfig(relay_only=True)
    IceConfig(relay_only=True, turn=(TurnServer("h", 1, "u", "p"),))


def test_the_candidates_of_the_javascript_stack_are_read(wire_captures: Path) -> None:
    lines = (wire_captures / "simple-peer-9.11.1.signals.jsonl").read_text().splitlines()
    signals = [json.loads(text)["signal"] for text in lines if text.startswith("{")]
    trickled = [signal["candidate"]["candidate"] for signal in signals if signal["type"] == "candidate"]
    carried = [found for signal in signals if "sdp" in signal for found in candidate_lines(signal["sdp"])]
    assert len(trickled) > 3
    for text in trickled + carried:
        found = parse_candidate(text)
        assert (found.protocol, found.kind) == ("udp", "host")
    offer = next(signal["sdp"] for signal in signals if signal["type"] == "offer")
    taken = RemoteCandidates(CandidatePolicy(allow_loopback=True))
    assert taken.filter_sdp(offer) == offer
    strict = RemoteCandidates(CandidatePolicy())
    kept = candidate_lines(strict.filter_sdp(offer))
    assert [parse_candidate(text).address for text in kept] == ["fd00::2", "192.0.2.2"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "candidate:",
        "candidate:1 1 udp 1 10.0.0.1 x typ host",
        "candidate:1 1 udp 1 10.0.0.1 70000 typ host",
        "candidate:1 1 udp 1 10.0.0.1 5 kind host",
        "candidate:1 1 udp 1 10.0.0.1 5 typ odd",
        line("1.2.3.4") + "\r\na=x",
        line("ä.example"),
        line("1.2.3.4") + " x" * 300,
    ],
)
def test_what_is_no_candidate(text: str) -> None:
    with pytest.raises(SignalInvalid):
        parse_candidate(text)
    assert not RemoteCandidates(CandidatePolicy()).admit(text)


@given(st.text(max_size=200) | st.lists(st.sampled_from([*line("10.0.0.1").split(" "), "x"])).map(" ".join))
def test_candidates_are_read_or_refused_and_nothing_else(text: str) -> None:
    RemoteCandidates(CandidatePolicy()).admit(text)
    with contextlib.suppress(SignalInvalid):
        parse_candidate(text)


PUBLIC = ["203.0.113.5", "2001:db8::5", "8.8.8.8", "::ffff:8.8.8.8"]
PRIVATE = ["10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1"]
LOOPBACK = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]
NEVER = ["0.0.0.0", "::", "169.254.169.254", "fe80::1", "224.0.0.251", "255.255.255.255", "240.0.0.1", "ff02::fb"]
NEVER += [
    "::ffff:169.254.1.1",
    "::ffff:224.0.0.1",
    "example.com",
    "a1b2.local",
    "127.1",
    "2130706433",
    "",
    "10.0.0.1%eth0",
]
NEVER += ["fe80::1%lo"]


@pytest.mark.parametrize("loopback", [True, False])
@pytest.mark.parametrize("private", [True, False])
def test_which_addresses_are_tried(loopback: bool, private: bool) -> None:
    policy = CandidatePolicy(allow_loopback=loopback, allow_private=private)

    def tried(address: str) -> bool:
        return policy.refusal(Candidate("udp", address, 5000, "host")) is None

    assert all(tried(address) for address in PUBLIC)
    assert [tried(address) for address in PRIVATE] == [private] * len(PRIVATE)
    assert [tried(address) for address in LOOPBACK] == [loopback] * len(LOOPBACK)
    assert not any(tried(address) for address in NEVER)


def test_only_udp_and_real_ports_are_tried() -> None:
    policy = CandidatePolicy()
    assert policy.refusal(Candidate("tcp", "8.8.8.8", 9, "host")) is not None
    assert policy.refusal(Candidate("udp", "8.8.8.8", 0, "host")) is not None


def test_a_session_takes_each_candidate_once_and_twenty_in_all() -> None:
    remote = RemoteCandidates(CandidatePolicy())
    described = remote.filter_sdp(sdp(*(line("8.8.8.8", port) for port in range(1, 16)), line("8.8.8.8", 1)))
    assert len(candidate_lines(described)) == 15
    assert not remote.admit(line("8.8.8.8", 3)), "it stood in the description"
    assert [remote.admit(line("8.8.4.4", port, "srflx")) for port in range(1, 9)] == [True] * 5 + [False] * 3
    assert REMOTE_CANDIDATES_MAX == 20
    assert remote.kinds == {"host", "srflx"}


@pytest.mark.parametrize(
    "bad",
    [
        "",
        sdp(media="m=audio 9 UDP/TLS/RTP/SAVPF 111"),
        sdp() + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
        sdp() + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
        sdp() + "a=x\r\n" * 10_000,
    ],
)
def test_descriptions_of_anything_but_one_data_channel_are_refused(bad: str) -> None:
    with pytest.raises(SignalInvalid):
        RemoteCandidates(CandidatePolicy()).filter_sdp(bad)


@given(st.text(max_size=300), st.text(max_size=100))
def test_descriptions_are_filtered_or_refused_and_nothing_else(text: str, candidate: str) -> None:
    for whole in (text, sdp("candidate:" + candidate), sdp() + text):
        remote = RemoteCandidates(CandidatePolicy())
        try:
            kept = remote.filter_sdp(whole)
        except SignalInvalid:
            continue
        assert len(candidate_lines(kept)) <= REMOTE_CANDIDATES_MAX


PLAIN = IceConfig()
STUN = IceConfig(stun=("stun.example.org:3478",))
TURN = IceConfig(turn=(TurnServer("h", 1, "u", "p"),))
RELAY_ONLY = IceConfig(turn=TURN.turn, relay_only=True)


@pytest.mark.parametrize(
    ("local", "remote", "ice", "says"),
    [
        ({"host"}, set(), PLAIN, "the other side sent no address"),
        (set(), {"host"}, PLAIN, "is it online"),
        ({"host"}, {"host"}, PLAIN, "need --stun or --turn"),
        ({"host"}, {"host", "srflx"}, PLAIN, "need --stun or --turn"),
        ({"host"}, {"host", "srflx"}, STUN, "check --stun"),
        ({"host", "srflx"}, {"host"}, STUN, "other side knows only its local addresses"),
        ({"host", "srflx"}, {"host", "srflx"}, STUN, "NATs that STUN can't cross; set --turn"),
        ({"host"}, {"host"}, TURN, "gave us no relay"),
        ({"host", "relay"}, {"host"}, TURN, "not even the TURN relay"),
        ({"host"}, {"relay"}, PLAIN, "not even the TURN relay"),
        (set(), {"host"}, RELAY_ONLY, "gave us no relay"),
    ],
)
def test_a_failure_says_why_and_what_helps(local: set[str], remote: set[str], ice: IceConfig, says: str) -> None:
    reason = failure_reason(local, remote, ice)
    assert reason.startswith("no route: ")
    assert says in reason
