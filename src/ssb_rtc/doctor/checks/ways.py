"""The checks of the ways that packets take: STUN servers, the NAT that they show, TURN relays, and IPv6."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from typing import Final

from ssb_rtc.doctor import nat
from ssb_rtc.doctor.findings import Finding, State, sentence
from ssb_rtc.doctor.nat import Relays
from ssb_rtc.doctor.probes.relay import Relay, RelayRefused, try_relay
from ssb_rtc.doctor.probes.stun import Answer, Survey, survey
from ssb_rtc.errors import ConnectFailed
from ssb_rtc.runtime.ways_out import ways_out
from ssb_rtc.transport.ice import IceConfig, TurnServer
from ssb_rtc.transport.net import join_host_port

_UDP: Final = "See that its address is right and it runs, and that no firewall here keeps UDP from going out"
_NO_STUN: Final = (
    "Set --stun HOST:PORT to a STUN server, best to two: then peers in other networks can be told where we are."
)


def stun_servers(ice: IceConfig) -> list[str]:
    """All that answer STUN questions, each once: a TURN server does, too."""
    return list(dict.fromkeys((*ice.stun, *(join_host_port(turn.host, turn.port) for turn in ice.turn))))


async def ask_stun(servers: Sequence[str]) -> Survey | None:
    """What the servers see over IPv4; None where there are none, or none has an IPv4 address."""
    return await survey(servers) if servers else None


def judge_stun(ice: IceConfig, found: Survey | None) -> list[Finding]:
    """A finding for each STUN server of the settings. One that is silent is a warning while another one answers."""
    if not ice.stun:
        if ice.turn:
            return []
        return [Finding("stun", State.SKIPPED, "No STUN server is set.")]
    at_worst = State.WARNING if found is not None and found.seen else State.BROKEN
    rows = []
    for server in ice.stun:
        said = found.answers.get(server) if found is not None else "its name is not known, or this machine is offline"
        if isinstance(said, Answer):
            took_ms = round(said.took_s * 1000)
            facts = {"took_ms": took_ms, "mapped": list(said.mapped)}
            seen = f"Answers in {took_ms} ms, and sees us at {join_host_port(*said.mapped)}."
            rows.append(Finding("stun", State.OK, seen, subject=server, facts=facts))
        else:
            remedy = f"{_UDP}, or set --stun to another server."
            rows.append(Finding("stun", at_worst, sentence(f"No use: {said}"), remedy, subject=server))
    return rows


def judge_nat(ice: IceConfig, found: Survey | None, relays: Relays) -> Finding:
    """What stands between us and the internet."""
    if found is not None and found.mapped is not None:
        mapping = nat.mapping_of(found.local, found.seen)
        return nat.verdict(mapping, found.filtering, found.mapped, relays)
    if ice.stun or ice.turn:
        seen = "No server answered, so the kind of NAT is not known, and other networks can't be told where we are."
        return Finding("nat", State.SKIPPED, seen, "Mend what is wrong with the servers first.")
    if public := _public_ways():
        return Finding("nat", State.OK, f"This machine has a public address of its own, {public[0]}.")
    seen = "There is probably a NAT, for our address is none of the internet; no server is set that could tell."
    if not ways_out():
        seen = "This machine is in no network."
        return Finding("nat", State.SKIPPED, seen, "Connect it to a network; in this machine alone peers still meet.")
    return Finding("nat", State.WARNING, seen, _NO_STUN)


async def relay(server: TurnServer) -> tuple[Finding, bool]:
    """A relay asked for and tried; and whether we have one."""
    where = join_host_port(server.host, server.port)
    try:
        return _judge_relay(where, await try_relay(server)), True
    except RelayRefused as fault:
        return _judge_refusal(where, fault), False
    except ConnectFailed as fault:
        remedy = f"{_UDP} to it."
        return Finding("turn", State.BROKEN, sentence(f"No relay: {fault}"), remedy, subject=where), False


def no_relay_set() -> Finding:
    """The finding where no TURN server is set."""
    return Finding("turn", State.SKIPPED, "No TURN server is set; only symmetric NATs and strict firewalls need one.")


def _judge_relay(where: str, found: Relay) -> Finding:
    took_ms = round(found.took_s * 1000)
    facts = {"took_ms": took_ms, "relayed": list(found.relayed), "carries": found.carries}
    seen = f"Gave us a relay at {join_host_port(*found.relayed)} in {took_ms} ms"
    if found.carries:
        return Finding("turn", State.OK, f"{seen}, and a packet came through it.", subject=where, facts=facts)
    if found.carries is None:
        seen += "; it lets nothing through from our own address, so it was not tried."
        return Finding("turn", State.OK, seen, subject=where, facts=facts)
    remedy = "Whoever runs it must open the UDP ports of its relays in its firewall, often 49152 to 65535."
    return Finding("turn", State.WARNING, f"{seen}, and no packet came through it.", remedy, subject=where, facts=facts)


def _judge_refusal(where: str, fault: RelayRefused) -> Finding:
    match fault.code:
        case 401:
            seen, remedy = "It refuses our user and password.", "Set them right in --turn turn:USER:PASS@HOST:PORT."
        case 486 | 508:
            seen, remedy = "It has no relay left for us.", "Try again later, or set --turn to another server."
        case 403:
            seen, remedy = "It forbids us to have a relay.", "Ask whoever runs it, or set --turn to another server."
        case _:
            seen = f"It gives us no relay (error {fault.code})."
            remedy = "See that it is a TURN server and runs over UDP, or set --turn to another one."
    return Finding("turn", State.BROKEN, seen, remedy, subject=where, facts={"error": fault.code})


async def ipv6(servers: Sequence[str]) -> Finding:
    """Whether IPv6 leads anywhere."""
    own = [address for address in ways_out() if ":" in address]
    if not own:
        remedy = "Nothing needs it. Where the provider has it, switch it on in the router: it often crosses no NAT."
        return Finding("ipv6", State.SKIPPED, "There is no IPv6 here, so peers are met over IPv4 alone.", remedy)
    facts = {"address": own[0]}
    if not ipaddress.ip_address(own[0]).is_global:
        seen = f"IPv6 is there within our own network only ({own[0]})."
        return Finding("ipv6", State.SKIPPED, seen, facts=facts)
    found = await survey(servers, socket.AF_INET6) if servers else None
    if found is None:
        seen = f"We have the IPv6 address {own[0]}; it was not tried, as no STUN server is set that has one."
        return Finding("ipv6", State.OK, seen, facts=facts)
    if found.mapped is not None:
        return Finding("ipv6", State.OK, f"Works; we are seen at {found.mapped[0]}.", facts=facts)
    seen = f"We have the IPv6 address {own[0]}, and get no answer over it."
    remedy = "Mend it in the router or switch it off: each attempt at an address that leads nowhere takes time."
    return Finding("ipv6", State.WARNING, seen, remedy, facts=facts)


def _public_ways() -> list[str]:
    return [address for address in ways_out() if ipaddress.ip_address(address).is_global and ":" not in address]
