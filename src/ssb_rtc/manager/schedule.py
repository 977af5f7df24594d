"""The slice of time: who is dialled next, what the tick does, waking up and shutting down.

Every step that changed something about it ends with `fill`: while there is room, whoever is due is dialled, those first
that somebody asked for, then friends, the nearest first, then strangers, who is due longest first; else the timer
`connect` is armed for the next one. So each disconnected peer that has a route is dialled, waits for that timer, waits
for a slot, or is parked until one of its hubs is connected; there is no fifth case.
"""

from __future__ import annotations

from msgspec.structs import replace

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager import hubs
from ssb_rtc.manager.due import DueQueue, Entry
from ssb_rtc.manager.links import begin
from ssb_rtc.manager.peers import needs_refresh, part, refresh, usable_now
from ssb_rtc.manager.shares import crowded_hubs, only_over
from ssb_rtc.manager.slots import count
from ssb_rtc.manager.state import Peer
from ssb_rtc.manager.turn import CONNECT, SAVE, TICK, Turn, short

QUEUES = ("asked", "friends", "due")
DIALS_LOOKED_AT_MAX = 64
"""Due peers that one step looks at; the rest waits for the timer, which is due at once."""


def fill(turn: Turn) -> None:
    """Dial who is due, as long as there is room, and arm the timer for the next one."""
    waits = [at_s for queue in QUEUES if (at_s := _fill_from(turn, queue)) is not None]
    if waits:
        turn.arm(CONNECT, min(waits), "the next peer is due then")
    else:
        turn.cancel(CONNECT, "nobody is due, or no slot is free")


def _fill_from(turn: Turn, queue: str) -> float | None:
    """Dial from one queue; when to look again, or None where that depends on a slot or a newcomer."""
    asked, friend = queue == "asked", queue == "friends"
    for _ in range(DIALS_LOOKED_AT_MAX):
        first = turn.asked.first if asked else _first_due(turn, turn.friends if friend else turn.due)
        if first is None or count(turn).refuses_dial(turn.settings, asked=asked, friend=friend):
            return None
        if first[0] > turn.mono_s:
            return first[0]
        _dial(turn, turn.peers[first[1]])
    return turn.mono_s


def _first_due(turn: Turn, queue: DueQueue) -> Entry | None:
    """Of those that we need not meet on a hub over which we dial enough peers: the nearest that is due, or the next."""
    crowded = crowded_hubs(turn)
    due: list[Entry] = []
    for entry in queue:
        if entry[0] > turn.mono_s or len(due) == DIALS_LOOKED_AT_MAX:
            if not due:
                return entry
            break
        if not crowded or not only_over(turn.peers[entry[1]], crowded):
            due.append(entry)
    return min(due, key=lambda entry: (turn.hops.get(entry[1], 0), entry), default=None)


def _dial(turn: Turn, row: Peer) -> None:
    usable = [known for known in row.routes if usable_now(turn, known)]
    if not usable:
        return turn.put_peer(replace(row, parked=True))
    crowded = crowded_hubs(turn)
    best = min(
        usable,
        key=lambda known: (known.route.where in crowded, known.failures, -known.heard_s, known.route.where),
    )
    attempt = begin(turn, row, best.route, session="", dialled=True)
    hops = turn.hops.get(row.id)
    if row.asked:
        reason = "somebody here asked for it"
    elif hops is not None:
        reason = f"a friend at distance {hops}; failures so far: {row.failures}"
    else:
        reason = f"a slot is free; failures so far: {row.failures}"
    return turn.emit(e.ScheduleConnectToRemotePeer(row.id, best.route, attempt, reason))


def tick(turn: Turn) -> None:
    """Go through the table of peers: stale announcements, healed failures, rows to forget."""
    for peer in sorted(peer for peer, row in turn.peers.items() if needs_refresh(turn, row)):
        refresh(turn, turn.peers[peer])


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
    for url in sorted(turn.hubs):
        hubs.reconnect_now(turn, turn.hubs[url], reason)
    for peer in turn.linked:
        row = turn.peers[peer]
        assert row.link is not None
        turn.put_peer(replace(row, link=replace(row.link, checked_s=turn.mono_s)))
        turn.emit(e.CheckLink(peer, row.link.id, reason))
    for _, peer in (*turn.asked, *turn.friends, *turn.due):
        row = turn.peers[peer]
        ready_s = min(row.ready_s, turn.mono_s + turn.uniform(0.0, 1.0))
        turn.put_peer(replace(row, failures=0, ready_s=max(ready_s, row.not_before_s)))


def shutdown(turn: Turn, action: a.ShutdownRequested) -> None:
    """Say goodbye to everybody; a table of hubs that could not be saved gets a last try."""
    reason = short(action.reason)
    turn.closing = True
    if SAVE in turn.timers:
        hubs.save(turn, reason)
    for peer in dict.fromkeys((*turn.trying, *turn.linked)):
        turn.put_peer(part(turn, turn.peers[peer], reason))
    for url in sorted(turn.hubs):
        hub = turn.hubs[url]
        hubs.leave(turn, hub, reason)
        turn.put_hub(replace(hub, connection=None, connected_s=None))
    for key in sorted(turn.timers):
        turn.cancel(key, reason)
