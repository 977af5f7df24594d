"""How two peers find a way to each other: the ICE settings, which remote candidates are tried, and why none worked.

Pure: no I/O. Candidates and session descriptions come from strangers through untrusted hubs and are hostile input
(RFC 8839 gives their grammar): each candidate would make this machine send packets to an address of their choice.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TypeVar

from ssb_rtc.config import Settings, place_of
from ssb_rtc.errors import ConfigFault, SignalInvalid

T = TypeVar("T")

REMOTE_CANDIDATES_MAX = 20
"""Candidates that one session takes from the other side, those inside the description included."""
CANDIDATE_MAX_CHARACTERS = 512
SDP_MAX_CHARACTERS = 32 * 1024
DEFAULT_STUN_PORT = 3478
GATHER_WAIT_S = 0.05
"""How long a description waits for candidates to carry along; what is found later is sent one by one."""

_ALWAYS_REFUSED = tuple(
    ipaddress.ip_network(text)
    for text in ("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/128", "fe80::/10", "ff00::/8")
)
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10")
)


@dataclass(frozen=True, slots=True)
class TurnServer:
    """A relay for when no direct way exists."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """As RFC 7065 writes it."""
        return f"turn:{_bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class IceConfig:
    """How to look for ways to other peers."""

    stun: tuple[str, ...] = ()
    """STUN servers as `host:port`, which tell us our address behind a NAT."""
    turn: tuple[TurnServer, ...] = ()
    relay_only: bool = False
    """Use TURN only, so that no peer learns our address."""
    allow_loopback: bool = False
    """Gather and take loopback addresses too: for tests, and machines that have nothing else."""
    gather_wait_s: float = GATHER_WAIT_S

    def __post_init__(self) -> None:
        if self.relay_only and not self.turn:
            raise ConfigFault("--relay-only needs a TURN server: set --turn turn:USER:PASS@HOST:PORT")


def ice_of(settings: Settings) -> IceConfig:
    """How these settings look for ways to other peers. Raises ConfigFault, which names the setting at fault."""
    ice = IceConfig(
        stun=_parsed(settings, "stun", parse_stun),
        turn=_parsed(settings, "turn", parse_turn),
        relay_only=settings.relay_only,
    )
    if settings.relay_strangers and not ice.turn:
        raise ConfigFault("--relay-strangers needs a TURN server: set --turn turn:USER:PASS@HOST:PORT")
    return ice


def _parsed(settings: Settings, name: str, parse: Callable[[str], T]) -> tuple[T, ...]:
    try:
        return tuple(parse(text) for text in getattr(settings, name))
    except ConfigFault as fault:
        raise ConfigFault(f"{place_of(settings, name)} {fault}") from None


def parse_stun(text: str) -> str:
    """`HOST:PORT` (or `HOST`, port 3478; an optional `stun:` before it), normalised. Raises ConfigFault."""
    host, port = _host_port(text.removeprefix("stun:"), f"takes HOST:PORT, like stun.example.org:3478, not {text!r}")
    return f"{_bracketed(host)}:{port}"


def parse_turn(text: str) -> TurnServer:
    """`turn:USER:PASS@HOST:PORT`; the port may be left out (3478). Raises ConfigFault without the password."""
    takes = "takes turn:USER:PASS@HOST:PORT"
    scheme, _, rest = text.partition(":")
    credentials, at, place = rest.rpartition("@")
    user, colon, password = credentials.partition(":")
    if scheme != "turn" or not at or not colon or not user or not password:
        raise ConfigFault(takes)
    if any(c.isspace() or not c.isprintable() for c in credentials):
        raise ConfigFault(f"{takes}; user and password have no blanks")
    host, port = _host_port(place, f"{takes}, and {place!r} is no HOST:PORT")
    return TurnServer(host, port, user, password)


@dataclass(frozen=True, slots=True)
class Candidate:
    """The parts of a candidate line that matter to the policy."""

    protocol: str
    address: str
    port: int
    kind: str
    """'host', 'srflx', 'prflx' or 'relay'."""


def parse_candidate(line: str) -> Candidate:
    """Reads `candidate:<foundation> <component> <protocol> <priority> <address> <port> typ <kind> ...`.

    A leading `a=` is allowed. Raises SignalInvalid.
    """
    if len(line) > CANDIDATE_MAX_CHARACTERS:
        raise SignalInvalid(f"a candidate of {len(line)} characters, {CANDIDATE_MAX_CHARACTERS} are allowed")
    if not line.isascii() or not line.isprintable():
        raise SignalInvalid("a candidate with characters that no candidate has")
    parts = line.removeprefix("a=").removeprefix("candidate:").split(" ")
    if len(parts) < 8 or parts[6] != "typ" or not _is_port(parts[5]):
        raise SignalInvalid(f"this is no candidate: {line[:80]!r}")
    kind = parts[7]
    if kind not in {"host", "srflx", "prflx", "relay"}:
        raise SignalInvalid(f"a candidate of an unknown kind: {kind[:20]!r}")
    return Candidate(parts[2].lower(), parts[4], int(parts[5]), kind)


def is_local(host: str) -> bool:
    """Whether a host is this machine, or by its address in a private range: all who meet there are in our network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or any(address in network for network in _PRIVATE)


@dataclass(frozen=True, slots=True)
class CandidatePolicy:
    """Which remote candidates are tried."""

    allow_loopback: bool = False
    allow_private: bool = True
    """Private ranges: for friends, and hubs in the same network."""

    def refusal(self, candidate: Candidate) -> str | None:
        """Why this candidate is not tried, or None when it may be."""
        if candidate.protocol != "udp":
            return "only UDP is tried, so that nobody makes us open TCP connections"
        if candidate.port == 0:
            return "port 0"
        try:
            address = ipaddress.ip_address(candidate.address)
        except ValueError:
            return "a name instead of an address"
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped if mapped is not None else address
        if address.is_loopback:
            return None if self.allow_loopback else "a loopback address"
        if any(address in network for network in _ALWAYS_REFUSED):
            return "a multicast, link-local or unusable address"
        if not self.allow_private and any(address in network for network in _PRIVATE):
            return "a private address"
        return None


class RemoteCandidates:
    """What one session takes from the other side: each candidate once, at most REMOTE_CANDIDATES_MAX, by the policy."""

    def __init__(self, policy: CandidatePolicy) -> None:
        self._policy = policy
        self._seen: set[tuple[str, int]] = set()
        self._taken = 0
        self.kinds: set[str] = set()
        """The kinds of those that were taken."""

    def admit(self, line: str) -> bool:
        """True when this candidate shall be tried. Never raises: what is no candidate is not tried."""
        try:
            candidate = parse_candidate(line)
        except SignalInvalid:
            return False
        key = (candidate.address, candidate.port)
        if key in self._seen or self._taken >= REMOTE_CANDIDATES_MAX or self._policy.refusal(candidate) is not None:
            return False
        self._seen.add(key)
        self._taken += 1
        self.kinds.add(candidate.kind)
        return True

    def filter_sdp(self, sdp: str) -> str:
        """The description with only those of its candidates that are admitted. Raises SignalInvalid.

        Takes nothing but one data channel section: audio and video would start codecs that nobody here wants.
        """
        if len(sdp) > SDP_MAX_CHARACTERS:
            raise SignalInvalid(f"a session description of {len(sdp)} characters, {SDP_MAX_CHARACTERS} are allowed")
        lines = sdp.replace("\r\n", "\n").split("\n")
        media = [line for line in lines if line.startswith("m=")]
        if len(media) != 1 or not media[0].startswith("m=application "):
            raise SignalInvalid("a session description that is not for exactly one data channel")
        kept = [line for line in lines if not line.startswith("a=candidate:") or self.admit(line)]
        return "\r\n".join(kept)


def candidate_lines(sdp: str) -> list[str]:
    """The candidates inside a description, each as `candidate:...`."""
    return [line.strip()[2:] for line in sdp.split("\n") if line.startswith("a=candidate:")]


def failure_reason(local: Collection[str], remote: Collection[str], ice: IceConfig) -> str:
    """Why no way was found, and the remedy, from the kinds of candidates that each side had."""
    if not remote:
        return (
            "no route: the other side sent no address that we may try (is it online, and does the hub carry messages?)"
        )
    if ice.relay_only and "relay" not in local:
        return "no route: the TURN server gave us no relay; check the address, user and password of --turn"
    if not local:
        return "no route: this machine has no network address; is it online?"
    if "relay" in local or "relay" in remote:
        return "no route: not even the TURN relay was reached; check that it runs and that its UDP ports are open"
    if ice.turn:
        return "no route: the TURN server gave us no relay; check the address, user and password of --turn"
    if "srflx" in local and "srflx" in remote:
        return "no route: both sides are behind NATs that STUN can't cross; set --turn on either side"
    if ice.stun and "srflx" not in local:
        return "no route: no STUN server told us our public address; check --stun, or set --turn"
    if "srflx" in local:
        return "no route: the other side knows only its local addresses; it needs --stun, or set --turn on either side"
    return "no route: only local addresses are known; peers in different networks need --stun or --turn"


def _host_port(text: str, complaint: str) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if rest else str(DEFAULT_STUN_PORT)
        good = bool(bracket) and (not rest or rest.startswith(":")) and _is_ipv6(host)
    else:
        host, colon, port = text.partition(":")
        port = port if colon else str(DEFAULT_STUN_PORT)
        good = bool(host) and all(c.isascii() and (c.isalnum() or c in "-._") for c in host)
    if not good or not _is_port(port) or int(port) == 0:
        raise ConfigFault(complaint)
    return host.lower(), int(port)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
