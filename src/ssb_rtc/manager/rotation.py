"""The slice of who has to go: a house that is full gives everybody a turn, and nobody who is busy is cut.

    displaced   somebody better has come beyond the slots: the least valuable stranger whose link is not busy
    rotated     a link older than its lifetime, once a minute at most, while somebody waits who is at least as near;
                where nothing has changed for long, one at random
    stuck       a link that claims to download and moves nothing, as soon as there is another one
    too many    the settings allow fewer links now

The goodbye carries the reason and how long to stay away; both sides keep to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import IntEnum
from itertools import islice, takewhile

from msgspec.structs import replace

from ssb_rtc.manager.activity import mono_s, protected, serves, stuck
from ssb_rtc.manager.due import DueQueue
from ssb_rtc.manager.peers import hold, part, usable_now
from ssb_rtc.manager.score import link_terms, told, total
from ssb_rtc.manager.slots import count, is_near
from ssb_rtc.manager.state import Link, Peer, State
from ssb_rtc.manager.turn import Turn

LOOKED_AT_MAX = 64
"""Of those who are due, so many are looked at for one who can be dialled."""


class Standing(IntEnum):
    """How near a peer is to us, for who gives way to whom."""

    STRANGER = 0
    FRIEND = 1
    ASKED = 2


def standing(tables: State | Turn, row: Peer) -> Standing:
    """How near this peer is."""
    if row.asked or row.id in tables.pinned:
        return Standing.ASKED
    return Standing.FRIEND if row.id in tables.hops else Standing.STRANGER


def make_room(turn: Turn, newcomer: Peer) -> None:
    """A link has come beyond the slots: end that of the least valuable stranger who is not busy; stuck ones anyway."""
    end_stuck(turn)
    slots, settings = count(turn), turn.settings
    out = slots.links_out - slots.stuck
    beyond_out = out > settings.outbound_max and slots.strangers_linked > settings.strangers_max
    if len(turn.linked) - slots.stuck > settings.peers_max or (is_near(turn, newcomer) and beyond_out):
        yielding = [row for row in _linked(turn, Standing.STRANGER) if row.id != newcomer.id]
        near = is_near(turn, newcomer)
        turn.displaced_s = turn.displaced_s if near else turn.mono_s
        reason = "a friend needs the slot" if near else "a peer without any link needs the slot"
        _end_least(turn, yielding, reason, turn.settings.busy_s)


def end_stuck(turn: Turn) -> None:
    """End the links that move nothing, as long as another one stays. Never the last one: open a second one first."""
    for peer in turn.linked:
        row = turn.peers[peer]
        link, settings, now_s = _link(row), turn.settings, turn.mono_s
        # A stranger's word spares it only where it takes nobody's place.
        spared = serves(link, settings, now_s) and (is_near(turn, row) or len(turn.linked) <= settings.peers_max)
        if len(turn.linked) > 1 and stuck(link, settings, now_s) and not spared:
            hold_s = turn.jittered(turn.settings.stuck_hold_s)
            reason = "it says that it has messages for us, and sends none"
            hold(turn, replace(part(turn, row, reason, hold_s), last_error=reason), hold_s)


def reduce(turn: Turn) -> None:
    """End one link, where the settings allow fewer than there are."""
    slots = count(turn)
    if slots.links_out + slots.links_in - slots.stuck > turn.settings.peers_max:
        rows = list(_linked(turn, Standing.ASKED, spare_claims=True))
        _end_least(turn, rows, "fewer links are wanted", turn.settings.rotation_hold_s)


def rotate(turn: Turn) -> None:
    """End one link that has had its time, where somebody waits for the slot."""
    if turn.mono_s - turn.rotated_s < turn.settings.rotate_s:
        return
    rank, waiting = who_waits(turn)
    if rank is None:
        return
    full = count(turn).used >= turn.settings.peers_max
    rows = [row for row in _linked(turn, rank) if full or _link(row).dialled]
    over = [row for row in rows if ends_s(turn, _link(row), waiting) <= turn.mono_s]
    reason = "its time was over, and others wait"
    if not over and rank > Standing.STRANGER and _explores(turn):
        over = [row for row in rows if turn.mono_s - _link(row).since_s >= turn.settings.rotate_s]
        over = [over[int(turn.uniform(0, len(over)))]] if over else []
        reason = "others wait, and it was picked at random"
    if _end_least(turn, over, reason, turn.settings.rotation_hold_s):
        turn.rotated_s = turn.mono_s


def _explores(turn: Turn) -> bool:
    """Whether nothing has changed for so long that chance decides: cliques don't open by themselves. Links have to fill
    the house: offers in made-up names, which take slots too while they are answered, must not cost a friend its link.
    """
    if len(turn.linked) - count(turn).stuck < turn.settings.peers_max:
        return False
    explore_s, stood_s = turn.settings.explore_s, turn.mono_s - turn.started_s
    return explore_s > 0 and turn.mono_s - max(turn.rotated_s, turn.started_s) >= min(explore_s, stood_s / 2)


def ends_s(tables: State | Turn, link: Link, waiting: int) -> float:
    """When a link has had its time: the sooner, the more friends wait. As in ssb-conn, by the root of their number."""
    life_s = (link.until_s - link.since_s) / math.sqrt(max(1, waiting))
    return link.since_s + max(life_s, min(tables.settings.lifetime_min_s, link.until_s - link.since_s))


def who_waits(tables: State | Turn) -> tuple[Standing | None, int]:
    """The nearest of those who are due and find no slot, or were sent away a moment ago, and how many friends are among
    those who are looked at. None where nobody waits.
    """
    settings, slots, now_s = tables.settings, count(tables), mono_s(tables)
    full = slots.used >= settings.peers_max
    out_full = slots.links_out + slots.attempts_out - slots.stuck >= settings.outbound_max
    strangers_full = slots.friends_known and slots.strangers >= settings.strangers_max
    friends = _who_can_come(tables, tables.friends, now_s) if full or out_full else []
    # Anybody can announce a friend's name; only friends who were linked before make others go sooner.
    proven = sum(row.last_connected_s is not None for row in friends)
    if full and _who_can_come(tables, tables.asked, now_s):
        return Standing.ASKED, proven
    if friends or (full and now_s - tables.refused_friend_s < settings.busy_s):
        return Standing.FRIEND, proven
    if (full or out_full or strangers_full) and _who_can_come(tables, tables.due, now_s):
        return Standing.STRANGER, 0
    return (Standing.STRANGER if full and now_s - tables.refused_s < settings.busy_s else None), 0


def _who_can_come(tables: State | Turn, queue: DueQueue, now_s: float) -> list[Peer]:
    """Those of a queue who are due and could be dialled: no link is given up for one whose hubs are all dead."""
    due = takewhile(lambda entry: entry[0] <= now_s, islice(queue, LOOKED_AT_MAX))
    rows = (tables.peers[peer] for _, peer in due)
    return [row for row in rows if any(usable_now(tables, known) for known in row.routes)]


def _linked(turn: Turn, most: Standing, *, spare_claims: bool = False) -> Iterator[Peer]:
    """Peers with a link that may be ended for somebody of this standing."""
    for peer in turn.linked:
        row = turn.peers[peer]
        against_asked = most is Standing.ASKED and not spare_claims
        if standing(turn, row) <= most and not protected(turn, row, _link(row), against_asked=against_asked):
            yield row


def _end_least(turn: Turn, rows: list[Peer], reason: str, hold_s: float) -> bool:
    """End the least valuable link, and stay away for this time, but no longer than the two were together."""
    terms = {row.id: link_terms(turn, row, _link(row), turn.mono_s) for row in rows}
    row = min(rows, key=lambda row: (total(terms[row.id]), _link(row).since_s, row.id), default=None)
    if row is None:
        return False
    hold_s = turn.jittered(min(hold_s, max(turn.mono_s - _link(row).first_s, turn.settings.rotate_s)))
    why = f"{reason}; {told(terms[row.id])}" if told(terms[row.id]) else reason
    hold(turn, replace(part(turn, row, reason, hold_s, terms[row.id]), last_error=why), hold_s)
    return True


def _link(row: Peer) -> Link:
    assert row.link is not None
    return row.link
