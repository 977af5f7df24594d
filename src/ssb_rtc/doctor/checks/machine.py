"""The checks of what the operating system gives us."""

from __future__ import annotations

import resource

from ssb_rtc.config import Settings
from ssb_rtc.doctor.findings import Finding, State

BASE = 128
"""Files, libraries' own sockets, event streams."""
OF_A_PEER = 16
"""A link and an attempt at one: a socket for each address of this machine and each STUN and TURN server."""
OF_A_HUB = 8
LEARNT_AND_MORE = 8
"""Hubs that are met besides those that the owner named."""
ENOUGH = 1_024


def descriptors(settings: Settings, hubs: int) -> Finding:
    """Whether enough files and sockets may be open at once; `hubs` is how many hubs are known."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return judge_descriptors(soft, hard, needed(settings.peers_max, hubs))


def needed(peers_max: int, hubs: int) -> int:
    """How many a peer may have open at most, roughly."""
    return BASE + OF_A_PEER * peers_max + OF_A_HUB * (hubs + LEARNT_AND_MORE)


def judge_descriptors(soft: int, hard: int, wanted: int) -> Finding:
    """The finding for these limits; -1 (RLIM_INFINITY) is none."""
    facts = {"limit": soft, "needed": wanted}
    if soft == resource.RLIM_INFINITY:
        return Finding("descriptors", State.OK, "As many files may be open as we like.", facts=facts)
    seen = f"{soft} files and sockets may be open at once; a peer with these settings may need {wanted}."
    if soft >= wanted:
        return Finding("descriptors", State.OK, seen, facts=facts)
    to = max(ENOUGH, wanted)
    remedy = f"Run `ulimit -n {to}` before `ssb-rtc start`, or set LimitNOFILE={to} in its systemd unit"
    if hard != resource.RLIM_INFINITY and hard < to:
        remedy += " (this needs the administrator: the hard limit is lower)"
    state = State.BROKEN if soft < BASE else State.WARNING
    return Finding("descriptors", state, seen, remedy + ", or lower --peers-max.", facts=facts)
