"""Who vouches for a hub that we don't know, and whether that is enough: read by the slices, changed by `hub_gossip`."""

from __future__ import annotations

from ssb_rtc.manager.state import State
from ssb_rtc.manager.turn import Turn
from ssb_rtc.types import HubUrl


def count(tables: State | Turn, hub: HubUrl) -> int:
    """How many within our hops vouch for the hub, each through a direct follow of its own."""
    signers, steps = set(), set()
    for signer, through in tables.vouched.get(hub, ()):
        # Follows may have changed since the witnesses were counted, and blocks come before follows.
        known = signer in tables.hops and signer not in tables.blocked and through not in tables.blocked
        if known and tables.hops.get(through) == 1 and signer not in signers and through not in steps:
            signers.add(signer)
            steps.add(through)
    return len(steps)


def is_named_by_friend(tables: State | Turn, hub: HubUrl) -> bool:
    """Whether somebody whom we follow directly vouches for it."""
    return any(
        signer == through and tables.hops.get(signer) == 1 and signer not in tables.blocked
        for signer, through in tables.vouched.get(hub, ())
    )


def is_alone(tables: State | Turn) -> bool:
    """Whether we have been on no hub at all for a while."""
    if any(hub.connected_s is not None for hub in tables.hubs.values()):
        return False
    return tables.now.mono_s - tables.online_s >= tables.settings.hub_probe_urgent_s


def is_enough(turn: Turn, hub: HubUrl) -> bool:
    """Whether the hub may be asked. While we are on none, one friend's word is enough, or a mesh that has lost every
    hub could not heal."""
    if count(turn, hub) >= turn.settings.hub_witnesses:
        return True
    return is_alone(turn) and is_named_by_friend(turn, hub)


def host_of(hub: HubUrl) -> str:
    """The host in a hub's address, without port, brackets and credentials."""
    authority = hub.partition("//")[2].partition("/")[0].rpartition("@")[2]
    return authority[1:].partition("]")[0] if authority.startswith("[") else authority.partition(":")[0]


def questions_left(tables: State | Turn) -> int:
    """How many more hosts may be asked today: a name costs nothing, so two who name many would have us ask for ever.

    Who is on no hub at all may ask as many again, or what was spent on made-up names would keep it there.
    """
    since_s = tables.now.mono_s - tables.settings.hub_probe_pause_s
    asked = sum(at_s > since_s for at_s in tables.probes.values())
    return tables.settings.hub_probes_max * (2 if is_alone(tables) else 1) - asked


def asked_s_ago(tables: State | Turn, hub: HubUrl) -> float | None:
    """How long ago its host was asked whether a hub is there; None where that is over a day ago."""
    at_s = tables.probes.get(host_of(hub))
    if at_s is None or tables.now.mono_s - at_s >= tables.settings.hub_probe_pause_s:
        return None
    return tables.now.mono_s - at_s
