"""The slice of hub gossip: who vouches for hubs that we don't know, and which of those enter the table.

What others say proves nothing: a hub that we don't know is asked whether it is one only when `hub_witnesses` signers
within our hops vouch for it, through as many different direct follows (feeds.witnesses has the exact meaning). Then it
enters the table with the source `gossip`, and `hubs.fill` decides when it gets its turn. While we are on no hub at all,
the word of one whom we follow directly is enough.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ssb_rtc.manager import actions as a
from ssb_rtc.manager.hub_table import URL_CHARACTERS_MAX, broadcast_soon
from ssb_rtc.manager.hubs import hurry
from ssb_rtc.manager.state import Hub, Witness
from ssb_rtc.manager.turn import Turn, hub_timer
from ssb_rtc.manager.vouching import asked_s_ago, count, host_of, is_alone, is_named_by_friend, questions_left
from ssb_rtc.types import HubUrl

BATCH_MAX = 64
"""Hubs of one batch that are looked at."""
WITNESSES_KEPT = 8
"""Witnesses of one hub."""


def vouchers_did_change(turn: Turn, action: a.HubVouchersDidChange) -> None:
    """Others vouch for hubs, or do so no longer: each hub for which enough do enters the table."""
    news = False
    for hub, witnesses in action.hubs[:BATCH_MAX]:
        if 0 < len(hub) <= URL_CHARACTERS_MAX:
            news |= _note(turn, hub, witnesses[:WITNESSES_KEPT])
    if not news:
        return turn.ignore(action, "nothing in it is new")
    return admit(turn)


def entries_received(turn: Turn, _action: a.HubEntriesReceived) -> None:
    """What others say of hubs is passed on, in bunches."""
    turn.entries_revision += 1
    broadcast_soon(turn, "others said something of hubs", turn.settings.pass_on_delay_s)


def admit(turn: Turn) -> None:
    """Each hub for which enough vouch enters the table, as far as it has room, those with most witnesses first."""
    enough = {
        hub: found
        for hub in sorted(turn.vouched)
        if hub not in turn.hubs and (found := count(turn, hub)) >= turn.settings.hub_witnesses
    }
    _enter(turn, enough, turn.settings.hubs_max - len(turn.hubs))


def in_need(turn: Turn) -> None:
    """After some time on no hub at all: try what at least one whom we follow directly vouches for."""
    if any(hub.connected_s is not None for hub in turn.hubs.values()):
        turn.online_s = turn.mono_s
    if not is_alone(turn):
        return
    hurry(turn)
    room = turn.settings.gossiped_hubs_max - sum(hub.source == "gossip" for hub in turn.hubs.values())
    room = min(room, turn.settings.hubs_max - len(turn.hubs))
    named = [hub for hub in sorted(turn.vouched) if hub not in turn.hubs and is_named_by_friend(turn, hub)]
    counted = {hub: count(turn, hub) for hub in named}
    _enter(turn, counted, room)


def _enter(turn: Turn, found: dict[HubUrl, int], room: int) -> None:
    # By chance, or whoever names many hubs with early letters would be the only one who is heard.
    drawn = {hub: turn.uniform(0.0, 1.0) for hub in found if asked_s_ago(turn, hub) is None}
    best = _one_of_each_host(turn, found, drawn)
    room = min(room, questions_left(turn) - sum(not hub.is_proven and hub.probe is None for hub in turn.hubs.values()))
    for hub in sorted(best, key=lambda hub: (-found[hub], drawn[hub]))[: max(0, room)]:
        turn.put_hub(Hub(hub, "gossip"))


def _one_of_each_host(turn: Turn, found: dict[HubUrl, int], candidates: Iterable[HubUrl]) -> list[HubUrl]:
    """A host is asked once a day. So whoever names other ports and paths there must not have them asked in place of the
    hub: the one with most witnesses goes first, then the shortest, which has no port and no path.
    """
    rows = [turn.hubs[url] for url in sorted(turn.hubs)]
    waiting = {host_of(row.url): row.url for row in rows if not row.is_proven and row.probe is None}
    best: dict[str, HubUrl] = {}
    for hub in sorted(candidates, key=lambda hub: (-found[hub], len(hub), hub)):
        best.setdefault(host_of(hub), hub)
    for host, hub in list(best.items()):
        other = waiting.get(host)
        if other is None:
            continue
        if (-found[hub], len(hub), hub) < (-count(turn, other), len(other), other):
            turn.cancel(hub_timer(other), "another hub at its host is asked first")
            turn.drop_hub(other)
        else:
            del best[host]
    return list(best.values())


def _note(turn: Turn, hub: HubUrl, witnesses: tuple[Witness, ...]) -> bool:
    """Write who vouches for a hub; whether that was anything new."""
    if witnesses == turn.vouched.get(hub, ()):
        return False
    if not witnesses:
        turn.vouched = turn.vouched.delete(hub)
        return True
    if hub not in turn.vouched and len(turn.vouched) >= turn.settings.vouched_max:
        turn.vouched = turn.vouched.delete(_least_credible(turn))
    turn.vouched = turn.vouched.set(hub, witnesses)
    return True


def _least_credible(turn: Turn) -> HubUrl:
    """Whoever names many hubs must not push out what others name: one of those that came that way goes."""
    by_way = Counter(through for witnesses in turn.vouched.values() for _, through in witnesses)
    busiest = max(sorted(by_way), key=by_way.__getitem__)
    named = [hub for hub, witnesses in turn.vouched.items() if any(through == busiest for _, through in witnesses)]
    return max(named, key=lambda hub: (-len(turn.vouched[hub]), hub))
