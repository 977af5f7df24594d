"""What letters say: each payload there and back, its limits, and anything else refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssb_rtc.errors import MisuseError, SignalInvalid
from ssb_rtc.feeds.keys import keys_from_seed
from ssb_rtc.types import peer_of
from ssb_rtc.wire import letters
from ssb_rtc.wire.envelope import PAYLOAD_MAX_BYTES, Kind, Letter, open_envelope, seal, seal_to
from ssb_rtc.wire.letters import FREE_MAX
from ssb_rtc.wire.swarm import Signal

OURS, THEIRS = sha256(b"ours").digest(), sha256(b"theirs").digest()
OUR_KEY, THEIR_KEY = letters.public_of(OURS), letters.public_of(THEIRS)
REPLY, SEED = bytes(range(16)), bytes(range(32))
HOST = "candidate:1467250027 1 udp 2122260223 192.0.2.7 46154 typ host"

secrets = st.binary(min_size=32, max_size=32)
replies = st.binary(min_size=16, max_size=16)
sdps = st.text(st.characters(codec="utf-8"), min_size=1, max_size=2_000)
PARSERS: list[Callable[[bytes], Any]] = [
    letters.parse_knock,
    letters.parse_busy,
    letters.parse_clock,
    letters.parse_announce,
    letters.parse_leave,
    lambda payload: letters.parse_offer(payload, OURS),
    lambda payload: letters.parse_answer(payload, OURS),
    lambda payload: letters.parse_candidate(payload, OURS),
]


@given(secrets, replies, st.booleans(), st.binary(max_size=9))
@settings(max_examples=30)
def test_knocks(secret: bytes, reply: bytes, alone: bool, later: bytes) -> None:
    key = letters.public_of(secret)
    payload = letters.knock(key, reply, alone=alone)
    assert len(payload) == 49
    assert letters.parse_knock(payload + later) == letters.Knock(key, reply, alone)


def test_a_knock_shows_a_proof_whole_or_none() -> None:
    proof = bytes(range(16))
    payload = letters.knock(OUR_KEY, REPLY, alone=True, proof=proof)
    assert letters.parse_knock(payload + b"later") == letters.Knock(OUR_KEY, REPLY, True, proof)
    assert letters.parse_knock(payload[:-1]).proof == b""
    assert letters.parse_knock(letters.knock(OUR_KEY, REPLY) + proof).proof == b""
    with pytest.raises(MisuseError, match="a proof must be 16 bytes"):
        letters.knock(OUR_KEY, REPLY, proof=b"short")


def test_flags_that_are_not_known_are_ignored() -> None:
    for flags in range(256):
        payload = letters.knock(OUR_KEY, REPLY)[:-1] + bytes([flags])
        assert letters.parse_knock(payload).alone is bool(flags & 1)


@given(sdps, secrets, replies)
@settings(max_examples=30)
def test_offers_and_answers(sdp: str, seed: bytes, reply: bytes) -> None:
    offer = letters.parse_offer(letters.offer(OUR_KEY, reply, sdp, THEIR_KEY, seed), THEIRS)
    assert offer == letters.Offer(OUR_KEY, reply, sdp)
    assert letters.parse_answer(letters.answer(sdp, OUR_KEY, seed), OURS) == sdp


def test_the_largest_sdp_fits_into_the_largest_block() -> None:
    largest = "a" * letters.SDP_MAX_BYTES
    payload = letters.offer(OUR_KEY, REPLY, largest, THEIR_KEY, SEED)
    assert len(payload) == PAYLOAD_MAX_BYTES
    alice, bob = keys_from_seed(OURS), keys_from_seed(THEIRS)
    letter = Letter(Kind.OFFER, peer_of(alice.id), REPLY, 0, 0, payload)
    assert open_envelope(seal(letter, alice, peer_of(bob.id), SEED, SEED), bob, SEED) == letter
    for sdp in (largest + "a", "\u00e9" * (letters.SDP_MAX_BYTES // 2 + 1), "", "\ud800"):
        with pytest.raises(MisuseError, match="SDP"):
            letters.offer(OUR_KEY, REPLY, sdp, THEIR_KEY, SEED)
        with pytest.raises(MisuseError, match="SDP"):
            letters.answer(sdp, THEIR_KEY, SEED)


@pytest.mark.parametrize(
    "plain", [b"", b"\xff", b"a" * (letters.SDP_MAX_BYTES + 1), "\ud800".encode(errors="surrogatepass")]
)
def test_an_sdp_that_is_none(plain: bytes) -> None:
    box = seal_to(OUR_KEY, plain, SEED)
    with pytest.raises(SignalInvalid, match="SDP"):
        letters.parse_answer(box, OURS)
    with pytest.raises(SignalInvalid, match="SDP"):
        letters.parse_offer(THEIR_KEY + REPLY + box, OURS)


def test_sdp_for_another_session_does_not_open() -> None:
    for payload, parse in (
        (letters.offer(OUR_KEY, REPLY, "v=0", THEIR_KEY, SEED), letters.parse_offer),
        (letters.answer("v=0", THEIR_KEY, SEED), letters.parse_answer),
        (letters.candidate(Signal("candidate", candidate=HOST), THEIR_KEY, SEED), letters.parse_candidate),
    ):
        assert parse(payload, THEIRS)
        with pytest.raises(SignalInvalid, match="session's key"):
            parse(payload, OURS)
        with pytest.raises(SignalInvalid):
            parse(payload + b"\0", THEIRS)
        with pytest.raises(MisuseError, match="must be 32"):
            parse(payload, b"")


@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=300),
    st.none() | st.text(st.characters(codec="utf-8"), max_size=16),
    st.none() | st.integers(0, 65_535),
)
@settings(max_examples=30)
def test_candidates(text: str, mid: str | None, index: int | None) -> None:
    signal = Signal("candidate", candidate=text, sdp_mid=mid, sdp_m_line_index=index)
    assert letters.parse_candidate(letters.candidate(signal, OUR_KEY, SEED), OURS) == signal


def test_a_usual_candidate_fits_into_the_smallest_block() -> None:
    text = HOST + " generation 0 ufrag k7Jr network-id 1 network-cost 10"
    payload = letters.candidate(Signal("candidate", candidate=text, sdp_mid="0", sdp_m_line_index=0), OUR_KEY, SEED)
    assert len(payload) <= 512 - 48 - 128


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b'"candidate"',
        b"{}",
        b"[" * 3_000,
        b"[" * 2_000,
        json.dumps({"candidate": ""}).encode(),
        json.dumps({"candidate": 5}).encode(),
        json.dumps({"candidate": "a" * 1_025}).encode(),
        json.dumps({"candidate": HOST, "sdpMid": "m" * 65}).encode(),
        json.dumps({"candidate": HOST, "sdpMLineIndex": -1}).encode(),
        json.dumps({"candidate": HOST, "later": "x" * 2_000}).encode(),
    ],
)
def test_a_candidate_that_is_none(plain: bytes) -> None:
    with pytest.raises(SignalInvalid):
        letters.parse_candidate(seal_to(OUR_KEY, plain, SEED), OURS)


def test_what_a_candidate_says_besides_is_ignored() -> None:
    plain = json.dumps({"candidate": HOST, "usernameFragment": "k7Jr", "later": [1]}).encode()
    assert letters.parse_candidate(seal_to(OUR_KEY, plain, SEED), OURS) == Signal("candidate", candidate=HOST)


def test_our_own_candidate_has_the_same_limits() -> None:
    for text in ("", "a" * 1_025):
        with pytest.raises(MisuseError, match="our own candidate"):
            letters.candidate(Signal("candidate", candidate=text), OUR_KEY, SEED)


@pytest.mark.parametrize(
    ("asked", "said"), [(0, 0), (0.2, 1), (1, 1), (299.5, 300), (3_600, 3_600), (1e9, 3_600), (-5, 0)]
)
def test_busy(asked: float, said: float) -> None:
    assert letters.parse_busy(letters.busy(asked)) == said
    assert letters.parse_busy(letters.busy(asked) + b"later") == said


def test_busy_for_longer_than_an_hour_is_refused() -> None:
    assert letters.parse_busy((3_600).to_bytes(4, "big")) == 3_600
    with pytest.raises(SignalInvalid, match="limit is 3600"):
        letters.parse_busy((3_601).to_bytes(4, "big"))


@given(st.integers(0, 2**64 - 1), st.binary(max_size=9))
@settings(max_examples=30)
def test_clock_notes(wall_ms: int, later: bytes) -> None:
    assert letters.parse_clock(letters.clock(wall_ms) + later) == wall_ms


def test_clocks_that_are_none() -> None:
    for wall_ms in (-1, 2**64):
        with pytest.raises(MisuseError, match="64 bits"):
            letters.clock(wall_ms)


def test_announcements_and_goodbyes() -> None:
    for free, said in ((0, 0), (3, 3), (FREE_MAX, FREE_MAX), (1_000, FREE_MAX), (-1, 0)):
        assert letters.parse_announce(letters.announce(free)) == said
        assert letters.parse_announce(letters.announce(free) + b"later") == said
    with pytest.raises(SignalInvalid, match="free slots"):
        letters.parse_announce(bytes([FREE_MAX + 1]))
    assert letters.leave() == b""
    for payload in (b"", b"later"):
        letters.parse_leave(payload)


@pytest.mark.parametrize(
    ("parse", "payload"),
    [
        (letters.parse_knock, letters.knock(OUR_KEY, REPLY)),
        (letters.parse_busy, letters.busy(5)),
        (letters.parse_clock, letters.clock(5)),
        (letters.parse_announce, letters.announce(5)),
    ],
)
def test_what_was_cut_short_is_refused(parse: Callable[[bytes], Any], payload: bytes) -> None:
    parse(payload)
    for size in range(len(payload)):
        with pytest.raises(SignalInvalid, match="at least"):
            parse(payload[:size])


def test_our_own_mistakes() -> None:
    with pytest.raises(MisuseError, match="ephemeral must be 32"):
        letters.knock(b"", REPLY)
    with pytest.raises(MisuseError, match="reply must be 16"):
        letters.offer(OUR_KEY, b"", "v=0", THEIR_KEY, SEED)
    with pytest.raises(MisuseError, match="secret must be 32"):
        letters.public_of(b"")
    with pytest.raises(MisuseError, match="curve_key must be 32"):
        letters.answer("v=0", b"", SEED)


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_no_payload_raises_anything_else(payload: bytes) -> None:
    for parse in PARSERS:
        try:
            parse(payload)
        except SignalInvalid:
            continue


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_nothing_that_was_sealed_raises_anything_else(plain: bytes) -> None:
    box = seal_to(OUR_KEY, plain, SEED)
    for payload in (box, THEIR_KEY + REPLY + box):
        for parse in PARSERS[-3:]:
            try:
                parse(payload)
            except SignalInvalid:
                continue
