"""The swarm dialect of signalling: the JSON of npm webrtc-swarm 2.9, with simple-peer's signal objects.

Channel `all` carries `{"type":"connect","from":id}`; a peer's own id is its channel and carries
`{"from":id,"signal":{...}}`. Ours besides, which JavaScript ignores: `session`, the name of an attempt.

Ids are feed ids, spelled `@...=.ed25519`; a sender that is none can't be one of our peers. `from` proves nothing before
the secret handshake.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias

from ssb_rtc.errors import MisuseError, SignalInvalid
from ssb_rtc.types import Json, JsonObject, PeerId
from ssb_rtc.wire.values import encode_json, parse_json

PROTOCOL_VERSION: Final = 1
ALL: Final = "all"
"""The channel on which everybody hears who is there."""

BODY_LIMIT_BYTES: Final = 65_535
"""A signalhub cuts the connection at 65,536 bytes."""
SDP_LIMIT_BYTES: Final = 16 * 1024
CANDIDATE_LIMIT_BYTES: Final = 1024
MID_LIMIT_CHARS: Final = 64
SESSION_LIMIT_CHARS: Final = 64
LINE_INDEX_MAX: Final = 65_535

SignalKind: TypeAlias = Literal["knock", "offer", "answer", "candidate"]

# 32 bytes in base64: the last character before "=" has two bits of padding, which must be zero.
_PEER_ID: Final = re.compile(r"@[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=\.ed25519", re.ASCII)


@dataclass(frozen=True, slots=True)
class Signal:
    """One step of a WebRTC negotiation: an SDP offer or answer, or one ICE candidate (`candidate:...`). A knock, which
    only the sealed dialect has, asks for an offer.
    """

    kind: SignalKind
    sdp: str = ""
    candidate: str = ""
    sdp_mid: str | None = None
    sdp_m_line_index: int | None = None
    alone: bool = False
    """Beside a knock or an offer: its sender has no link at all."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Somebody says that it is there; in this dialect every hearer offers."""

    sender: PeerId


@dataclass(frozen=True, slots=True)
class SignalFrom:
    """A signal for the owner of the channel. `session` is None from JavaScript."""

    sender: PeerId
    session: str | None
    signal: Signal


SwarmMessage: TypeAlias = Connect | SignalFrom


def app_name(network_key: bytes) -> str:
    """The app under which our peers meet on a hub: it carries protocol version and network, so that neither mix."""
    return f"ssb-rtc-{PROTOCOL_VERSION}-{sha256(network_key).hexdigest()[:8]}"


def inbox(peer: PeerId) -> str:
    """The channel of this peer: its id, raw in the URL's path (npm signalhub decodes nothing)."""
    return str(peer)


def is_peer_id(value: object) -> bool:
    """True for a feed id in its only spelling."""
    return isinstance(value, str) and _PEER_ID.fullmatch(value) is not None


def parse_message(body: str | bytes) -> SwarmMessage | None:
    """What a hub's frame says. None for what is well-formed and not for us: unknown types and signals
    (simple-peer's `renegotiate` and `transceiverRequest`), the empty candidate that ends a list.

    Raises SignalInvalid for everything else: not JSON, too large, a sender that is no feed id.
    """
    data = body.encode("utf-8", "replace") if isinstance(body, str) else body
    if len(data) > BODY_LIMIT_BYTES:
        raise SignalInvalid(f"a signalling message of {len(data)} bytes: the limit is {BODY_LIMIT_BYTES}")
    try:
        value = parse_json(data)
    except ValueError:
        raise SignalInvalid("a signalling message is not JSON") from None
    if not isinstance(value, dict):
        raise SignalInvalid("a signalling message is not an object")
    sender = _sender(value.get("from"))
    if "signal" in value:
        signal = parse_signal(value["signal"])
        return None if signal is None else SignalFrom(sender, _session(value.get("session")), signal)
    if value.get("type") == "connect":
        return Connect(sender)
    return None


def parse_signal(value: Json) -> Signal | None:
    """A simple-peer signal: `{type, sdp}`, `{candidate: {...}}` (6.4.4) or `{type: "candidate", candidate}` (9.11.1).

    None for other types and for the empty candidate. Raises SignalInvalid for one that is malformed or too large.
    """
    if not isinstance(value, dict):
        raise SignalInvalid("a signal is not an object")
    kind = value.get("type")
    if kind in ("offer", "answer"):
        return Signal(kind, sdp=_text(value.get("sdp"), "sdp", SDP_LIMIT_BYTES))
    if kind == "candidate" or (kind is None and "candidate" in value):
        return _candidate(value.get("candidate"))
    if isinstance(kind, str) or "renegotiate" in value or "transceiverRequest" in value:
        return None
    raise SignalInvalid("a signal has no type")


def format_connect(sender: PeerId) -> str:
    """The body that says on `all` that somebody is there."""
    return _text_of({"type": "connect", "from": sender})


def format_signal(sender: PeerId, session: str | None, signal: Signal) -> str:
    """The body that carries a signal to another peer's channel; candidates in the newer shape.

    Raises MisuseError when it is larger than we would take ourselves.
    """
    message: dict[str, Any] = {"from": sender}
    if session is not None:
        message["session"] = _our_session(session)
    message["signal"] = signal_to_json(signal)
    try:
        parse_signal(message["signal"])
    except SignalInvalid as error:
        raise MisuseError(f"our own signal breaks the rules: {error}") from error
    return _text_of(message)


def signal_to_json(signal: Signal) -> JsonObject:
    """The signal as simple-peer 9.11.1 spells it."""
    if signal.kind == "candidate":
        return {
            "type": "candidate",
            "candidate": {
                "candidate": signal.candidate,
                "sdpMLineIndex": signal.sdp_m_line_index,
                "sdpMid": signal.sdp_mid,
            },
        }
    return {"type": signal.kind, "sdp": signal.sdp}


def _sender(value: Json) -> PeerId:
    if not isinstance(value, str) or not is_peer_id(value):
        raise SignalInvalid("a signalling message does not say in `from` which peer sent it")
    return PeerId(value)


def _candidate(value: Json) -> Signal | None:
    if not isinstance(value, dict):
        raise SignalInvalid("a candidate is not an object")
    if value.get("candidate") == "":
        return None
    text = _text(value.get("candidate"), "candidate", CANDIDATE_LIMIT_BYTES)
    mid = value.get("sdpMid")
    if mid is not None and not (isinstance(mid, str) and len(mid) <= MID_LIMIT_CHARS):
        raise SignalInvalid("a candidate's sdpMid is not a short text")
    index = value.get("sdpMLineIndex")
    if index is not None and not (type(index) is int and 0 <= index <= LINE_INDEX_MAX):
        raise SignalInvalid("a candidate's sdpMLineIndex is not a small number")
    return Signal("candidate", candidate=text, sdp_mid=mid, sdp_m_line_index=index)


def _text(value: Json, what: str, limit_bytes: int) -> str:
    if not isinstance(value, str) or not value:
        raise SignalInvalid(f"a signal's {what} is not a text")
    if len(value) > limit_bytes or len(value.encode("utf-8", "replace")) > limit_bytes:
        raise SignalInvalid(f"a signal's {what} has more than {limit_bytes} bytes")
    return value


def _session(value: Json) -> str | None:
    # JavaScript knows no session, so one that is malformed is none, not a fault.
    return value if isinstance(value, str) and 0 < len(value) <= SESSION_LIMIT_CHARS else None


def _our_session(session: str) -> str:
    if not 0 < len(session) <= SESSION_LIMIT_CHARS:
        raise MisuseError(f"a session has 1 to {SESSION_LIMIT_CHARS} characters")
    return session


def _text_of(message: JsonObject) -> str:
    return encode_json(message).decode()
