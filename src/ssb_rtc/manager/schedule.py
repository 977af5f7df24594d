"""The slice of time: who is dialled next, what the tick does, waking up and shutting down.

Every step that changed something about it ends with `fill`: while there is room, whoever is due is dialled, those first
that somebody asked for, then friends, then strangers, in each queue the best score first, but a few picked at random;
else the timer `connect` is armed for the next one. So each disconnected peer that has a route is dialled, waits for
that timer, waits for a slot, or is parked until one of its hubs is connected; there is no fifth case.
"""

from __future__ import annotations

from msgspec.structs import replace

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager import hubs, introductions
from ssb_rtc.manager.downloads import syncing_until_s, tell
from ssb_rtc.manager.due import DueQueue
from ssb_rtc.manager.hub_gossip import admit, in_need
from ssb_rtc.manager.hub_table import save
from ssb_rtc.manager.links import begin
from ssb_rtc.manager.peers import heal, is_stale, part, refresh, usable_now
from ssb_rtc.manager.rotation import end_stuck, reduce, rotate
from ssb_rtc.manager.score import hubs_by_score, hubs_in_use, peer_terms, told, total
from ssb_rtc.manager.shares import crowded_hubs, only_over
from ssb_rtc.manager.slots import count
from ssb_rtc.manager.state import KnownRoute, Peer, Route, Term
from ssb_rtc.manager.turn import CONNECT, SAVE, TICK, Turn, short
from ssb_rtc.types import HubUrl, behind

QUEUES = ("asked", "friends", "due")
DIALS_LOOKED_AT_MAX = 32
"""Peers that one step dials, weighs or parks; the rest waits for the timer, which is due at once."""
FRIENDS_WEIGHED_MAX = 256
"""Friends that are weighed before one is dialled: who was met before has to be seen among names that were made up."""
DUE_LOOKED_AT_MAX = 1_000
"""Due peers that one step goes through for one whom it may dial: a hub may fill the queue with names."""
LOOK_AGAIN_S = 1.0


def settle(turn: Turn) -> None:
    """What follows from whatever the step has changed: hubs, dials, what linked peers hear."""
    if turn.state.linked and not turn.linked:
        _lonely(turn)
    if turn.refill_hubs:
        hubs.fill(turn)
    if turn.refill:
        fill(turn)
    if turn.tell:
        tell(turn)
    if turn.state.linked != turn.linked:
        introductions.links_changed(turn)
    arm_tick(turn)


def _lonely(turn: Turn) -> None:
    for url in sorted(turn.hubs):
        hub = turn.hubs[url]
        if hub.connected_s is not None:
            hubs.be_eager(turn, hub, "we have no link any longer")


def fill(turn: Turn) -> None:
    """Dial who is due, as long as there is room, and arm the timer for the next one."""
    turn.full = ()
    waits = [at_s for queue in QUEUES if (at_s := _fill_from(turn, queue)) is not None]
    if waits:
        turn.arm(CONNECT, min(waits), "the next peer is due then")
    else:
        turn.cancel(CONNECT, "nobody is due, or no slot is free")


def _fill_from(turn: Turn, queue: str) -> float | None:
    """Dial from one queue; when to look again, or None where that depends on a slot or a newcomer."""
    asked, looked_at = queue == "asked", 0
    slow_s = turn.dial_after_s if queue == "due" else turn.friends_after_s
    wait_s = turn.mono_s if asked else max(turn.mono_s, slow_s, syncing_until_s(turn) or 0.0)
    while looked_at < DIALS_LOOKED_AT_MAX:
        waiting: DueQueue = getattr(turn, queue)
        first = waiting.first
        if first is None:
            return None
        if count(turn).refuses_dial(turn.settings, near=queue != "due", asked=asked):
            turn.full = (*turn.full, queue)
            return None
        if max(wait_s, first[0]) > turn.mono_s:
            return max(wait_s, first[0])
        rows, again_s = _due_rows(turn, waiting, queue)
        if not rows:
            return again_s
        lost = _park(turn, rows)
        looked_at += lost or 1
        if not lost:
            _dial(turn, rows)
    return turn.mono_s


def _due_rows(turn: Turn, waiting: DueQueue, queue: str) -> tuple[list[Peer], float | None]:
    """Those of a queue who are due, without those of a hub over which we dial enough peers; and when to look again,
    or None where that depends on such a hub.
    """
    crowded = frozenset() if queue == "asked" else crowded_hubs(turn)
    most = FRIENDS_WEIGHED_MAX if queue == "friends" else DIALS_LOOKED_AT_MAX
    rows: list[Peer] = []
    for looked_at, entry in enumerate(waiting):
        if entry[0] > turn.mono_s or looked_at == DUE_LOOKED_AT_MAX:
            return rows, max(entry[0], turn.mono_s + LOOK_AGAIN_S)
        row = turn.peers[entry[1]]
        if not crowded or not only_over(row, crowded):
            rows.append(row)
            if len(rows) == most:
                break
    return rows, None


def _park(turn: Turn, rows: list[Peer]) -> int:
    """Have those who can't be dialled now wait for one of their hubs; how many they are."""
    lost = [row for row in rows if not any(usable_now(turn, known) for known in row.routes)]
    for row in lost:
        turn.put_peer(replace(row, parked=True))
    return len(lost)


def _dial(turn: Turn, rows: list[Peer]) -> None:
    """Dial the best of these; for the last few slots one of them at random."""
    terms: tuple[Term, ...] = ()
    randomly = len(rows) > 1 and _is_random_slot(turn)
    if randomly:
        row = rows[int(turn.uniform(0, len(rows)))]
    else:
        in_use = hubs_in_use(turn)
        scores = {row.id: peer_terms(turn, row, turn.mono_s, in_use) for row in rows}
        row = min(rows, key=lambda row: (-total(scores[row.id]), row.ready_s, row.id))
        terms = scores[row.id]
    route = _best_route(turn, row)
    alone = not turn.linked
    attempt = begin(turn, row, route, randomly=randomly)
    why = "picked at random" if randomly else told(terms)
    reason = f"{_standing(turn, row)}; failures so far: {row.failures}; {why or 'nothing speaks for or against it'}"
    turn.emit(e.ScheduleConnectToRemotePeer(row.id, route, attempt, reason, terms, alone))


def _standing(turn: Turn, row: Peer) -> str:
    hops = turn.hops.get(row.id)
    if row.asked:
        return "somebody here asked for it"
    return "a slot is free" if hops is None else f"a friend at distance {hops}"


def _is_random_slot(turn: Turn) -> bool:
    slots, settings = count(turn), turn.settings
    rows = [turn.peers[peer] for peer in dict.fromkeys((*turn.linked, *turn.trying))]
    picked = sum(any(each is not None and each.picked_randomly for each in (row.link, row.attempt)) for row in rows)
    best = max(1, settings.outbound_max - settings.random_picks)
    return picked < settings.random_picks and slots.links_out + slots.attempts_out >= best


def _best_route(turn: Turn, row: Peer) -> Route:
    """An address or a hub that works, failed least, is not crowded, does well, was heard last; else a go-between."""
    crowded, best_hubs = crowded_hubs(turn), hubs_by_score(turn, turn.wall_s)

    def rank(known: KnownRoute) -> tuple[bool, int, int, float, str]:
        where = HubUrl(known.route.where)
        place = best_hubs.index(where) if where in turn.hubs else len(best_hubs) * (behind(where) is not None)
        return known.route.source in crowded, known.failures, place, -known.heard_s, known.route.where

    return min((known for known in row.routes if usable_now(turn, known)), key=rank).route


def tick(turn: Turn) -> None:
    """Go through the tables: stale announcements, healed failures, rows to forget, links that have had their time."""
    for peer in turn.linked:
        heal(turn, turn.peers[peer])
    if turn.mono_s - turn.swept_s >= turn.settings.sweep_s:
        turn.swept_s = turn.mono_s
        for peer in sorted(peer for peer, row in turn.peers.items() if is_stale(turn, row)):
            refresh(turn, turn.peers[peer])
        admit(turn)
    hubs.note_health(turn)
    in_need(turn)
    end_stuck(turn)
    reduce(turn)
    rotate(turn)
    introductions.introduce(turn)
    turn.tell = turn.refill = True


def arm_tick(turn: Turn) -> None:
    """See to it that there is a next tick."""
    if TICK not in turn.timers:
        turn.arm(TICK, turn.mono_s + turn.jittered(turn.settings.tick_s), "the table of peers is gone through then")


def connect_timer_expired(turn: Turn) -> None:
    """The timer `connect`: somebody is due, and the step's `fill` sees to it."""
    turn.refill = True


def network_did_reconnect(turn: Turn, _action: a.NetworkDidReconnect) -> None:
    """There is a network again, or another one."""
    _begin_afresh(turn, "the network is back")


def did_wake_up(turn: Turn, action: a.DidWakeUp) -> None:
    """The machine slept."""
    _begin_afresh(turn, f"the machine slept for {action.slept_s:.0f} s")


def _begin_afresh(turn: Turn, reason: str) -> None:
    turn.dial_freely()
    for url in hubs_by_score(turn, turn.wall_s):
        hubs.reconnect_now(turn, turn.hubs[url], reason)
    for peer in turn.linked:
        row = turn.peers[peer]
        assert row.link is not None
        turn.put_peer(replace(row, link=replace(row.link, checked_s=turn.mono_s)))
        for link in (row.link, row.rival):
            if link is not None:
                turn.emit(e.CheckLink(peer, link.id, reason))
    for _, peer in (*turn.asked, *turn.friends, *turn.due):
        row = turn.peers[peer]
        ready_s = min(row.ready_s, turn.mono_s + turn.uniform(0.0, 1.0))
        turn.put_peer(replace(row, failures=0, ready_s=max(ready_s, row.not_before_s)))


def settings_did_change(turn: Turn, action: a.SettingsDidChange) -> None:
    """Other numbers from now on: links beyond them end one a tick."""
    turn.settings = action.settings
    turn.refill = turn.refill_hubs = True


def shutdown(turn: Turn, action: a.ShutdownRequested) -> None:
    """Say goodbye to everybody; a table of hubs that could not be saved gets a last try."""
    reason = short(action.reason)
    turn.closing = True
    if SAVE in turn.timers:
        save(turn, reason)
    for peer in dict.fromkeys((*turn.trying, *turn.linked)):
        turn.put_peer(part(turn, turn.peers[peer], reason))
    for url in sorted(turn.hubs):
        hub = turn.hubs[url]
        hubs.leave(turn, hub, reason)
        turn.put_hub(replace(hub, connection=None, connected_s=None))
    for key in sorted(turn.timers):
        turn.cancel(key, reason)
