"""What the letters of the sealed dialect say: one maker and one parser a kind.

    knock      ephemeral 32 | reply 16 | flags 1            flags: bit 0 says that its sender has no link at all
    offer      ephemeral 32 | reply 16 | sealed to the knock's ephemeral key {SDP}
    answer     sealed to the offer's ephemeral key {SDP}
    candidate  sealed to the other side's ephemeral key {JSON of candidate, sdpMid, sdpMLineIndex}
    busy       seconds 4
    clock      wall clock in ms 8
    announce   free slots 1
    leave      nothing

`ephemeral` is an X25519 key made for this session and forgotten after it; `reply` names the channel where its sender
hears the answer. Bytes after the fixed fields of a knock, busy, clock, announce and leave are for later versions and
ignored, as are unknown flags. Parsers raise SignalInvalid, makers MisuseError.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from nacl.bindings import crypto_scalarmult_base

from ssb_rtc.errors import MisuseError, SignalInvalid
from ssb_rtc.wire.channels import REPLY_BYTES
from ssb_rtc.wire.envelope import (
    KEY_BYTES,
    PAYLOAD_MAX_BYTES,
    SEAL_BYTES,
    is_curve_key,
    open_sealed,
    require_bytes,
    seal_to,
)
from ssb_rtc.wire.swarm import CANDIDATE_LIMIT_BYTES, Signal, parse_signal
from ssb_rtc.wire.values import encode_json, parse_json
from ssb_rtc.wire.welcome import PROOF_BYTES

BUSY_MAX_S: Final = 3600
FREE_MAX: Final = 64
"""No peer has room for more links than this."""
SDP_MAX_BYTES: Final = PAYLOAD_MAX_BYTES - KEY_BYTES - REPLY_BYTES - SEAL_BYTES
"""What fits beside an offer's keys in the largest block; an answer keeps to it as well."""
CANDIDATE_JSON_MAX_BYTES: Final = 2 * CANDIDATE_LIMIT_BYTES

_FLAG_ALONE: Final = 1
_FLAG_INVITED: Final = 2
_KNOCK_BYTES: Final = KEY_BYTES + REPLY_BYTES + 1
_OFFER_HEAD_BYTES: Final = KEY_BYTES + REPLY_BYTES


@dataclass(frozen=True, slots=True)
class Knock:
    """Somebody would like a link, and has sent no SDP yet."""

    ephemeral: bytes
    """The X25519 key to which SDP and candidates for it are sealed."""
    reply: bytes
    """16 bytes that name the channel where it listens."""
    alone: bool
    """It has no link at all."""
    proof: bytes = b""
    """16 bytes that show that it holds an invitation (wire.welcome), where it says so."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The answer to a knock."""

    ephemeral: bytes
    reply: bytes
    sdp: str


def public_of(secret: bytes) -> bytes:
    """The X25519 public key of a session's ephemeral secret, which is 32 random bytes."""
    require_bytes("secret", secret, KEY_BYTES)
    return crypto_scalarmult_base(secret)


def knock(ephemeral: bytes, reply: bytes, *, alone: bool = False, proof: bytes = b"") -> bytes:
    """A knock's payload: our session's public key, and the 16 bytes of the channel where we listen.

    proof: that we hold an invitation of the receiver's, 16 bytes.
    """
    if proof:
        require_bytes("a proof", proof, PROOF_BYTES)
    flags = (_FLAG_ALONE if alone else 0) | (_FLAG_INVITED if proof else 0)
    return _head(ephemeral, reply) + bytes([flags]) + proof


def parse_knock(payload: bytes) -> Knock:
    """Whose key is usable, if nothing is raised."""
    _require_length("knock", payload, _KNOCK_BYTES)
    ephemeral, reply = _parse_head("knock", payload)
    flags, proof = payload[_OFFER_HEAD_BYTES], payload[_KNOCK_BYTES : _KNOCK_BYTES + PROOF_BYTES]
    proves = bool(flags & _FLAG_INVITED) and len(proof) == PROOF_BYTES
    return Knock(ephemeral, reply, bool(flags & _FLAG_ALONE), proof if proves else b"")


def offer(ephemeral: bytes, reply: bytes, sdp: str, theirs: bytes, seed: bytes) -> bytes:
    """An offer's payload. `theirs` is the knock's ephemeral key, `seed` 32 fresh random bytes, used only here."""
    return _head(ephemeral, reply) + _seal_sdp(sdp, theirs, seed)


def parse_offer(payload: bytes, secret: bytes) -> Offer:
    """`secret` is that of our knock."""
    _require_length("offer", payload, _OFFER_HEAD_BYTES)
    ephemeral, reply = _parse_head("offer", payload)
    return Offer(ephemeral, reply, _open_sdp(payload[_OFFER_HEAD_BYTES:], secret))


def answer(sdp: str, theirs: bytes, seed: bytes) -> bytes:
    """An answer's payload. `theirs` is the offer's ephemeral key, `seed` 32 fresh random bytes, used only here."""
    return _seal_sdp(sdp, theirs, seed)


def parse_answer(payload: bytes, secret: bytes) -> str:
    """The SDP. `secret` is that of our offer."""
    return _open_sdp(payload, secret)


def candidate(signal: Signal, theirs: bytes, seed: bytes) -> bytes:
    """A candidate's payload. `theirs` is the other's ephemeral key, `seed` 32 fresh random bytes, used only here."""
    value = {
        "candidate": signal.candidate,
        "sdpMid": signal.sdp_mid,
        "sdpMLineIndex": signal.sdp_m_line_index,
    }
    plain = encode_json(value)
    try:
        _parse_candidate_json(plain)
    except SignalInvalid as error:
        raise MisuseError(f"our own candidate breaks the rules: {error}") from error
    return seal_to(theirs, plain, seed)


def parse_candidate(payload: bytes, secret: bytes) -> Signal:
    """A signal of the kind `candidate`. `secret` is that of our knock or offer."""
    return _parse_candidate_json(open_sealed(payload, secret))


def busy(not_before_s: float) -> bytes:
    """A refusal's payload: for how long to stay away, rounded up to seconds, at most an hour."""
    return struct.pack(">I", int(-(-max(0.0, min(not_before_s, float(BUSY_MAX_S))) // 1)))


def parse_busy(payload: bytes) -> float:
    """The seconds to stay away. Who names more than an hour is refused."""
    _require_length("busy", payload, 4)
    [seconds] = struct.unpack_from(">I", payload)
    if seconds > BUSY_MAX_S:
        raise SignalInvalid(f"a peer is busy for {seconds} s: the limit is {BUSY_MAX_S}")
    return float(seconds)


def clock(wall_ms: int) -> bytes:
    """A clock note's payload: our wall clock, milliseconds since 1970."""
    if not 0 <= wall_ms < 2**64:
        raise MisuseError("the time of a clock note has 64 bits")
    return struct.pack(">Q", wall_ms)


def parse_clock(payload: bytes) -> int:
    """The other side's wall clock, milliseconds since 1970."""
    _require_length("clock note", payload, 8)
    return int.from_bytes(payload[:8], "big")


def announce(free: int) -> bytes:
    """An announcement's payload: how many links we could take."""
    return bytes([max(0, min(free, FREE_MAX))])


def parse_announce(payload: bytes) -> int:
    """How many links its sender could take; who names more than 64 is refused."""
    _require_length("announcement", payload, 1)
    if payload[0] > FREE_MAX:
        raise SignalInvalid(f"an announcement of {payload[0]} free slots: the limit is {FREE_MAX}")
    return payload[0]


def leave() -> bytes:
    """A goodbye's payload."""
    return b""


def parse_leave(payload: bytes) -> None:
    """Takes every payload: there is nothing in it yet."""


def _head(ephemeral: bytes, reply: bytes) -> bytes:
    require_bytes("ephemeral", ephemeral, KEY_BYTES)
    require_bytes("reply", reply, REPLY_BYTES)
    return ephemeral + reply


def _parse_head(kind: str, payload: bytes) -> tuple[bytes, bytes]:
    ephemeral, reply = payload[:KEY_BYTES], payload[KEY_BYTES:_OFFER_HEAD_BYTES]
    if not is_curve_key(ephemeral):
        raise SignalInvalid(f"the ephemeral key of this {kind} has a low order")
    return ephemeral, reply


def _seal_sdp(sdp: str, theirs: bytes, seed: bytes) -> bytes:
    try:
        plain = sdp.encode()
    except UnicodeEncodeError:
        raise MisuseError("this SDP is no text") from None
    if not 0 < len(plain) <= SDP_MAX_BYTES:
        raise MisuseError(f"an SDP has 1 to {SDP_MAX_BYTES} bytes, this one {len(plain)}: leave candidates out of it")
    return seal_to(theirs, plain, seed)


def _open_sdp(box: bytes, secret: bytes) -> str:
    plain = open_sealed(box, secret)
    if not 0 < len(plain) <= SDP_MAX_BYTES:
        raise SignalInvalid(f"an SDP of {len(plain)} bytes: it has 1 to {SDP_MAX_BYTES}")
    try:
        return plain.decode()
    except UnicodeDecodeError:
        raise SignalInvalid("an SDP is not UTF-8") from None


def _parse_candidate_json(plain: bytes) -> Signal:
    if len(plain) > CANDIDATE_JSON_MAX_BYTES:
        raise SignalInvalid(f"a candidate of {len(plain)} bytes: the limit is {CANDIDATE_JSON_MAX_BYTES}")
    try:
        value = parse_json(plain)
    except ValueError:
        raise SignalInvalid("a candidate is not JSON") from None
    signal = parse_signal({"type": "candidate", "candidate": value})
    if signal is None:
        raise SignalInvalid("a candidate is empty")
    return signal


def _require_length(kind: str, payload: bytes, size: int) -> None:
    if len(payload) < size:
        raise SignalInvalid(f"a {kind} has at least {size} bytes, this one {len(payload)}")
