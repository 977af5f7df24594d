"""The slice of hub gossip: linked peers tell which hubs they know.

What others tell proves nothing: a hub that we don't know is tried only when `hub_witnesses` peers that we follow
directly have named it over their own links. Then it enters the table with the source `gossip`, and `hubs.fill` decides
when it gets its turn. While we are on no hub at all, one such peer is enough: a mesh that has lost every hub could not
heal otherwise.
"""

from __future__ import annotations

from collections import Counter

from ssb_rtc.manager import actions as a
from ssb_rtc.manager.hub_table import URL_CHARACTERS_MAX, changed
from ssb_rtc.manager.hubs import hurry
from ssb_rtc.manager.state import Hub
from ssb_rtc.manager.turn import Turn
from ssb_rtc.types import HubUrl, PeerId

LIST_MAX = 64
"""Hubs of one list that are looked at."""


def list_received(turn: Turn, action: a.HubListReceived) -> None:
    """A linked peer tells which hubs it knows: each one that enough friends have named enters the table."""
    row = turn.peers.get(action.peer)
    if row is None or row.link is None:
        return turn.ignore(action, "the peer is not linked")
    if turn.hops.get(action.peer) != 1:
        return turn.ignore(action, "we don't follow the peer ourselves")
    news = [hub for hub in dict.fromkeys(action.hubs[:LIST_MAX]) if hub not in turn.hubs and _fits(hub)]
    if not news:
        return turn.ignore(action, "nothing in the list is new")
    hubs_before = len(turn.hubs)
    for hub in news:
        if _is_enough(turn, hub, action.peer):
            _enter(turn, hub)
    if len(turn.hubs) > hubs_before:
        changed(turn, "hubs that peers told us of were added")
    return None


def in_need(turn: Turn) -> None:
    """After some time on no hub at all: try what at least one peer that we follow has named."""
    if any(hub.connected_s is not None for hub in turn.hubs.values()):
        turn.online_s = turn.mono_s
    if turn.mono_s - turn.online_s < turn.settings.hub_probe_urgent_s:
        return
    hurry(turn)
    room = turn.settings.gossiped_hubs_max - sum(hub.source == "gossip" for hub in turn.hubs.values())
    room = min(room, turn.settings.hubs_max - len(turn.hubs))
    named = [hub for hub in turn.rumours if any(turn.hops.get(peer) == 1 for peer in turn.rumours[hub])]
    # By chance, or whoever names many hubs with early letters would be the only one who is heard.
    drawn = {hub: turn.uniform(0.0, 1.0) for hub in sorted(named)}
    added = sorted(named, key=lambda hub: (-len(turn.rumours[hub]), drawn[hub]))[: max(0, room)]
    for hub in added:
        _enter(turn, hub)
    if added:
        changed(turn, "we are on no hub, and a peer that we follow has named these")


def _enter(turn: Turn, hub: HubUrl) -> None:
    turn.rumours = turn.rumours.delete(hub)
    turn.put_hub(Hub(hub, "gossip"))


def _fits(hub: HubUrl) -> bool:
    return 0 < len(hub) <= URL_CHARACTERS_MAX


def _least_credible(turn: Turn) -> HubUrl:
    """Whoever names many hubs must not push out what others name: one of that peer's goes."""
    named_by = Counter(peer for witnesses in turn.rumours.values() for peer in witnesses)
    talker = max(sorted(named_by), key=named_by.__getitem__)
    his = [hub for hub, witnesses in turn.rumours.items() if talker in witnesses]
    return max(his, key=lambda hub: (-len(turn.rumours[hub]), hub))


def _is_enough(turn: Turn, hub: HubUrl, peer: PeerId) -> bool:
    """Note that this peer names the hub; whether enough friends do so now, and the table has room."""
    witnesses = tuple(other for other in turn.rumours.get(hub, ()) if turn.hops.get(other) == 1 and other != peer)
    if hub not in turn.rumours and len(turn.rumours) >= turn.settings.rumours_max:
        turn.rumours = turn.rumours.delete(_least_credible(turn))
    turn.rumours = turn.rumours.set(hub, (*witnesses, peer)[-turn.settings.hub_witnesses :])
    enough = len(witnesses) + 1 >= turn.settings.hub_witnesses
    return enough and len(turn.hubs) < turn.settings.hubs_max
