"""The slice of attempts and links: what came of dialling, which of two links stays, what a lost link means.

One live link per peer. Of two links the newest from the same dialler stays; between two diallers the one that the
greater key dialled. Both sides know both keys, so they close the same one, with the reason `duplicate`.
"""

from __future__ import annotations

from msgspec.structs import replace

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager import hubs
from ssb_rtc.manager.chance import backoff_s
from ssb_rtc.manager.peers import abort, admit, keep, part, seen
from ssb_rtc.manager.slots import count, is_stranger
from ssb_rtc.manager.state import Attempt, KnownRoute, Link, Peer, Route
from ssb_rtc.manager.turn import Turn, attempt_timer, short
from ssb_rtc.types import PeerId

DUPLICATE = "duplicate"


def begin(turn: Turn, row: Peer, route: Route, *, session: str, dialled: bool) -> int:
    """Write an attempt into the row, with its one time-out; its number."""
    attempt = Attempt(turn.new_id(), route, dialled, session)
    turn.put_peer(replace(row, attempt=attempt))
    turn.arm(attempt_timer(row.id), turn.mono_s + turn.settings.attempt_timeout_s, "the time-out of this attempt")
    return attempt.id


def connection_failed(turn: Turn, action: a.RemotePeerConnectionFailed) -> None:
    """An attempt came to nothing."""
    row = turn.peers.get(action.peer)
    if row is None or row.attempt is None or row.attempt.id != action.attempt:
        return turn.ignore(action, "that attempt was superseded")
    turn.cancel(attempt_timer(row.id), "the attempt failed")
    return _attempt_failed(turn, row, row.attempt, action.reason, turn.believed_s(action.not_before_s))


def attempt_timer_expired(turn: Turn, peer: str) -> None:
    """The timer `peer:<id>`, which is armed only while there is an attempt: it took too long."""
    row = turn.peers[PeerId(peer)]
    assert row.attempt is not None
    reason = f"no link within {turn.settings.attempt_timeout_s:.0f} s"
    turn.emit(e.AbortAttempt(row.id, row.attempt.id, reason))
    _attempt_failed(turn, row, row.attempt, reason, None)


def _attempt_failed(turn: Turn, row: Peer, attempt: Attempt, reason: str, hold_s: float | None) -> None:
    row = replace(row, attempt=None, last_error=short(reason))
    if row.link is not None:
        return turn.put_peer(row)
    if hold_s is not None:
        return _hold(turn, row, hold_s)
    if not attempt.dialled:
        # Who offered is proven by nothing yet, so the peer that was named bears no blame.
        ready_s = turn.mono_s + turn.jittered(turn.settings.peer_backoff_s)
        return keep(turn, replace(row, ready_s=max(row.ready_s, ready_s)))
    return _failed(turn, row, attempt.route)


def _hold(turn: Turn, row: Peer, hold_s: float) -> None:
    # Only our dialling waits: a remote that comes sooner than it said has changed its mind.
    until_s = turn.mono_s + hold_s
    ready_s = until_s + turn.uniform(0.0, hold_s * turn.settings.jitter)
    keep(turn, replace(row, not_before_s=until_s, ready_s=ready_s))


def _failed(turn: Turn, row: Peer, route: Route) -> None:
    settings = turn.settings
    failures = row.failures + 1
    pause_s = turn.jittered(backoff_s(settings.peer_backoff_s, settings.peer_backoff_max_s, failures))
    routes = tuple(
        replace(known, failures=known.failures + 1) if known.route == route else known for known in row.routes
    )
    row = replace(row, failures=failures, ready_s=turn.mono_s + pause_s, routes=routes)
    if failures >= settings.peer_failures_max:
        row = replace(row, routes=(), asked=False)
    keep(turn, row)


def connection_succeeded(turn: Turn, action: a.RemotePeerConnectionSucceeded) -> None:
    """A proven link: take it, or close it, or close the one that it replaces."""
    if turn.closing:
        return _close(turn, action, "shutdown")
    row = admit(turn, action.peer, proven=True)
    if isinstance(row, str):
        return _close(turn, action, row)
    if row.link is not None and row.link.id == action.link:
        return turn.ignore(action, "that link was told before")
    ours = row.attempt is not None and row.attempt.id == action.attempt
    if ours:
        turn.cancel(attempt_timer(row.id), "the attempt succeeded")
        row = replace(row, attempt=None)
        turn.put_peer(row)
    if row.link is not None:
        return _second_link(turn, row, row.link, action)
    if not ours:
        held_s = row.refused_until_s - turn.mono_s
        if held_s > 0:
            return _close(turn, action, "too early", held_s)
    friend = row.id in turn.hops
    slots = count(turn)
    if ours or row.attempt is not None:
        full = slots.refuses_attempted(turn.settings, friend=friend)
    else:
        full = slots.refuses_link(turn.settings, asked=row.asked, friend=friend)
    if full:
        return _close(turn, action, full, turn.jittered(turn.settings.busy_s))
    _adopt(turn, row, action)
    if friend:
        _displace_stranger(turn)
    return None


def _displace_stranger(turn: Turn) -> None:
    """End the oldest link with a stranger, who has had its time, where a friend's link has come beyond the slots."""
    settings, slots = turn.settings, count(turn)
    beyond_out = slots.links_out > settings.outbound_max and slots.strangers_linked > settings.strangers_max
    if len(turn.linked) > settings.peers_max or beyond_out:
        row = next(row for row in map(turn.peers.__getitem__, turn.linked) if is_stranger(turn, row))
        hold_s = turn.jittered(settings.busy_s)
        _hold(turn, part(turn, row, "a friend needs the slot", hold_s), hold_s)


def _second_link(turn: Turn, row: Peer, link: Link, action: a.RemotePeerConnectionSucceeded) -> None:
    if link.dialled != action.dialled and action.dialled != turn.outranks(row.id):
        return _close(turn, action, DUPLICATE)
    turn.emit(e.ScheduleDisconnectFromRemotePeer(row.id, link.id, DUPLICATE))
    return _adopt(turn, row, action)


def _adopt(turn: Turn, row: Peer, action: a.RemotePeerConnectionSucceeded) -> None:
    attempt = row.attempt
    room = count(turn).handovers < turn.settings.handovers_max
    if attempt is not None and not (attempt.dialled and not action.dialled and turn.outranks(row.id) and room):
        # Of the two, only a link that we dial with the greater key would replace this one.
        row = abort(turn, row, "a link is open")
    link = Link(action.link, action.route, action.dialled, turn.mono_s)
    row = seen(turn, row)
    routes = tuple(_worked(turn, known) if known.route == action.route else known for known in row.routes)
    turn.put_peer(replace(row, link=link, routes=routes, last_connected_wall_s=turn.wall_s, last_error=""))
    hubs.broadcast_soon(turn, "a link was opened")


def _worked(turn: Turn, known: KnownRoute) -> KnownRoute:
    return replace(known, failures=0, heard_s=turn.mono_s)


def _close(turn: Turn, action: a.RemotePeerConnectionSucceeded, reason: str, not_before_s: float | None = None) -> None:
    turn.emit(e.ScheduleDisconnectFromRemotePeer(action.peer, action.link, reason, not_before_s))


def link_ended(turn: Turn, action: a.RemotePeerLinkEnded) -> None:
    """A link is gone: meet the peer again, at a time that depends on how it went."""
    row = turn.peers.get(action.peer)
    if row is None or row.link is None or row.link.id != action.link:
        return turn.ignore(action, "that link was given up before")
    link = row.link
    settings = turn.settings
    healthy = turn.mono_s - link.since_s >= settings.healthy_s
    row = seen(turn, row)
    # It announced itself, was pinged, and the link was dead: it has started anew, and waits for us.
    is_back = any(known.route.via == "hub" and known.heard_s >= link.checked_s > link.since_s for known in row.routes)
    routes = tuple(_worked(turn, known) if known.route == link.route else known for known in row.routes)
    row = replace(
        row, link=None, routes=routes, failures=0 if healthy else row.failures, last_error=short(action.reason)
    )
    if len(turn.linked) == 1:
        _lonely(turn)
    hold_s = turn.believed_s(action.not_before_s)
    if hold_s is not None:
        return _hold(turn, row, hold_s)
    if not (action.clean or healthy or is_back or action.reason == DUPLICATE):
        return _failed(turn, row, link.route)
    if action.reason == DUPLICATE:
        pause_s = settings.duplicate_hold_s
    else:
        pause_s = settings.clean_close_hold_s if action.clean and not is_back else 0.0
    # A little spread even where we come back at once: both ends have seen it.
    ready_s = turn.mono_s + turn.jittered(pause_s) + turn.uniform(0.0, 1.0)
    return keep(turn, replace(row, ready_s=ready_s))


def _lonely(turn: Turn) -> None:
    for url in sorted(turn.hubs):
        hub = turn.hubs[url]
        if hub.connected_s is not None:
            hubs.be_eager(turn, hub, "we have no link any longer")
