"""What kind of NAT stands between us and the internet, judged from what STUN servers saw (RFC 5780, RFC 4787). No I/O.

Mapping: does a NAT give one socket of ours the same address towards everybody? Only then can others be told where we
are. Filtering: whose packets does it let in at that address?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Final, TypeAlias

from ssb_rtc.doctor.findings import Finding, State

Place: TypeAlias = tuple[str, int]
"""An IP address and a port."""


class Mapping(StrEnum):
    """How a NAT chooses the outer address of a socket; RFC 4787, 4.1."""

    NONE = "none"
    """There is no NAT: we are seen at our own address."""
    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    DEPENDENT = "dependent"
    """One of the two before; which one, only a server with two ports can tell."""
    UNKNOWN = "unknown"
    """A NAT, of which too few servers told."""


class Filtering(StrEnum):
    """Whose packets come in at the outer address; RFC 4787, 5."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    """Everybody's."""
    ADDRESS_DEPENDENT = "address-dependent"
    """Of those whom we have sent to, from any port."""
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    """Of those whom we have sent to, from that port."""
    UNKNOWN = "unknown"


SYMMETRIC: Final = frozenset({Mapping.ADDRESS_DEPENDENT, Mapping.ADDRESS_AND_PORT_DEPENDENT, Mapping.DEPENDENT})


@dataclass(frozen=True, slots=True)
class Seen:
    """A server was asked at `server`, and saw our socket at `mapped`."""

    server: Place
    mapped: Place


@dataclass(frozen=True, slots=True)
class Relays:
    """What --turn names, and whether one of them gave us a relay."""

    configured: bool
    working: bool


def mapping_of(local: Place, seen: Sequence[Seen]) -> Mapping:
    """The mapping, from what different places saw of one socket, which is bound to `local`."""
    if seen and all(each.mapped == local for each in seen):
        return Mapping.NONE
    pairs = list(combinations(seen, 2))
    same_host = [(one, two) for one, two in pairs if one.server[0] == two.server[0] and one.server != two.server]
    other_host = [(one, two) for one, two in pairs if one.server[0] != two.server[0]]
    if any(one.mapped != two.mapped for one, two in same_host):
        return Mapping.ADDRESS_AND_PORT_DEPENDENT
    if any(one.mapped != two.mapped for one, two in other_host):
        return Mapping.ADDRESS_DEPENDENT if same_host else Mapping.DEPENDENT
    return Mapping.ENDPOINT_INDEPENDENT if other_host else Mapping.UNKNOWN


def filtering_of(from_other_address: bool | None, from_other_port: bool | None) -> Filtering:
    """The filtering, from whether answers came in that were asked for from elsewhere.

    from_other_address: from another address and port than was asked; from_other_port: from the same address. None where
    no server offers it.
    """
    if from_other_address:
        return Filtering.ENDPOINT_INDEPENDENT
    if from_other_address is None or from_other_port is None:
        return Filtering.UNKNOWN
    return Filtering.ADDRESS_DEPENDENT if from_other_port else Filtering.ADDRESS_AND_PORT_DEPENDENT


def verdict(mapping: Mapping, filtering: Filtering, mapped: Place, relays: Relays) -> Finding:
    """The finding of a machine that a STUN server answered. `mapped` is where it is seen."""
    facts = {"mapping": str(mapping), "filtering": str(filtering), "public": mapped[0]}
    state, seen, remedy = State.OK, f"{_kind(mapping, filtering)}; we are seen at {mapped[0]}", ""
    if mapping in SYMMETRIC:
        seen += "; each peer is shown another port, so no direct way can be arranged with most peers behind routers"
        if relays.working:
            seen += ", and the relay of --turn carries those links"
        else:
            state = State.WARNING
            remedy = "Check the relay of --turn, see below" if relays.configured else "Set --turn to a relay"
            remedy += ": with it everybody is reached. Or let the router forward a port, and listen there with --net."
    elif mapping is Mapping.UNKNOWN:
        remedy = "Set --stun to a second server, too: two are needed to tell what kind of NAT it is."
    return Finding("nat", state, seen + ".", remedy, facts=facts)


def _kind(mapping: Mapping, filtering: Filtering) -> str:
    """What people call it."""
    match mapping, filtering:
        case Mapping.NONE, Filtering.ENDPOINT_INDEPENDENT:
            return "No NAT, and no firewall that keeps UDP out"
        case Mapping.NONE, Filtering.UNKNOWN:
            return "No NAT"
        case Mapping.NONE, _:
            return "No NAT, and a firewall that lets in only what was asked for"
        case Mapping.ENDPOINT_INDEPENDENT, Filtering.ENDPOINT_INDEPENDENT:
            return "A full-cone NAT, which any peer can cross"
        case Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT:
            return "An address-restricted cone NAT, which STUN crosses"
        case Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT:
            return "A port-restricted cone NAT, which STUN crosses unless the other side's is symmetric"
        case Mapping.ENDPOINT_INDEPENDENT, _:
            return "A cone NAT, which STUN crosses unless the other side's is symmetric"
        case Mapping.UNKNOWN, _:
            return "A NAT of a kind that one server can't tell"
        case _:
            return f"A symmetric NAT (its mapping is {mapping})"
