"""The slice of attempts and links: what came of dialling, who is taken in, what a lost link means.

One link per peer replicates. Where a second one comes, see `handover`.
"""

from __future__ import annotations

from msgspec.structs import replace

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager import handover
from ssb_rtc.manager.chance import backoff_s
from ssb_rtc.manager.handover import DUPLICATE, worked
from ssb_rtc.manager.peers import admit, hold, keep, seen
from ssb_rtc.manager.rotation import make_room
from ssb_rtc.manager.slots import count, is_near
from ssb_rtc.manager.state import Attempt, Link, Peer, Route
from ssb_rtc.manager.turn import Turn, attempt_timer, short
from ssb_rtc.types import PeerId


def begin(
    turn: Turn, row: Peer, route: Route, *, session: str | None = None, randomly: bool = False, alone: bool = False
) -> int:
    """Write an attempt into the row, with its one time-out; its number. With a session it answers that offer."""
    attempt = Attempt(turn.new_id(), route, session is None, session or "", randomly, alone)
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
    if attempt.dialled:
        _slow_down(turn, near=is_near(turn, row))
    if hold_s is not None:
        # Whoever said "at once" each time would have us dial without a pause.
        hold_s = max(hold_s, turn.settings.peer_backoff_s)
        row = replace(row, refusals=row.refusals + 1)
        most_s = turn.settings.busy_friend_max_s if is_near(turn, row) else turn.settings.hold_max_s
        return hold(turn, row, max(hold_s, backoff_s(hold_s, most_s, row.refusals)))
    if not attempt.dialled:
        # Who offered is proven by nothing yet, so the peer that was named bears no blame.
        ready_s = turn.mono_s + turn.jittered(turn.settings.peer_backoff_s)
        return keep(turn, replace(row, ready_s=max(row.ready_s, ready_s)))
    return _failed(turn, row, attempt.route)


def _slow_down(turn: Turn, *, near: bool) -> None:
    """Dials in vain slow down those to strangers, which cost nothing to make up, far more than those to friends."""
    settings = turn.settings
    if near:
        turn.friends_in_vain += 1
    else:
        turn.dials_in_vain += 1
    beyond = (turn.friends_in_vain if near else turn.dials_in_vain) - settings.dials_in_vain
    if beyond <= 0:
        return
    max_s = settings.dial_pause_friends_max_s if near else settings.dial_pause_max_s
    after_s = turn.mono_s + turn.jittered(backoff_s(settings.dial_pause_s, max_s, beyond))
    if near:
        turn.friends_after_s = after_s
    else:
        turn.dial_after_s = after_s


def _failed(turn: Turn, row: Peer, route: Route) -> None:
    settings = turn.settings
    failures = row.failures + 1
    pause_s = turn.jittered(backoff_s(settings.peer_backoff_s, settings.peer_backoff_max_s, failures))
    routes = tuple(
        replace(known, failures=known.failures + 1) if known.route == route else known for known in row.routes
    )
    row = replace(row, failures=failures, ready_s=turn.mono_s + pause_s, routes=routes)
    if failures >= settings.peer_failures_max and row.id not in turn.pinned:
        row = replace(row, routes=(), asked=False)
    keep(turn, row)


def connection_succeeded(turn: Turn, action: a.RemotePeerConnectionSucceeded) -> None:
    """A proven link: take it, close it, or have it and the one that there is settled."""
    if turn.closing:
        return _close(turn, action, "shutdown")
    row = admit(turn, action.peer, proven=True)
    if isinstance(row, str):
        return _close(turn, action, row)
    if any(link is not None and link.id == action.link for link in (row.link, row.rival)):
        return turn.ignore(action, "that link was told before")
    attempt = row.attempt if row.attempt is not None and row.attempt.id == action.attempt else None
    if attempt is not None:
        turn.cancel(attempt_timer(row.id), "the attempt succeeded")
        row = replace(row, attempt=None)
        turn.put_peer(row)
    link = _link_of(turn, action, attempt)
    if row.link is not None:
        return handover.second_link(turn, row, row.link, link)
    refused, hold_s = _refuses(turn, row, attempt)
    if refused:
        return _close(turn, action, refused, hold_s)
    handover.use(turn, row, link)
    return make_room(turn, turn.peers[row.id])


def _link_of(turn: Turn, action: a.RemotePeerConnectionSucceeded, attempt: Attempt | None) -> Link:
    return Link(
        action.link,
        action.route,
        action.dialled,
        since_s=turn.mono_s,
        first_s=turn.mono_s,
        active_s=turn.mono_s,
        until_s=turn.mono_s + turn.jittered(turn.settings.lifetime_s),
        picked_randomly=attempt is not None and attempt.picked_randomly,
    )


def _refuses(turn: Turn, row: Peer, attempt: Attempt | None) -> tuple[str, float | None]:
    """Why a first link has no place, and how long to stay away; empty where it has."""
    held_s = row.refused_until_s - turn.mono_s
    if attempt is None and held_s > 0:
        return "too early", held_s
    near, slots, settings = is_near(turn, row), count(turn), turn.settings
    if attempt is not None or row.attempt is not None:
        alone = any(each is not None and each.alone for each in (attempt, row.attempt))
        full = slots.refuses_attempted(settings, instead=near or alone)
    else:
        full = slots.refuses_link(settings, near=near)
    if full:
        turn.note_refusal(near=near)
    return full, turn.jittered(settings.busy_s)


def _close(turn: Turn, action: a.RemotePeerConnectionSucceeded, reason: str, not_before_s: float | None = None) -> None:
    turn.emit(e.ScheduleDisconnectFromRemotePeer(action.peer, action.link, reason, not_before_s))


def link_ended(turn: Turn, action: a.RemotePeerLinkEnded) -> None:
    """A link is gone: meet the peer again, at a time that depends on how it went."""
    row = turn.peers.get(action.peer)
    if row is not None and row.rival is not None and action.link in (row.rival.id, row.link and row.link.id):
        return handover.one_ended(turn, row, action.link, action.reason)
    if row is None or row.link is None or row.link.id != action.link:
        return turn.ignore(action, "that link was given up before")
    link = row.link
    settings = turn.settings
    healthy = turn.mono_s - link.since_s >= settings.healthy_s
    row = seen(turn, row)
    # It announced itself, was pinged, and the link was dead: it has started anew, and waits for us.
    is_back = any(known.route.via == "hub" and known.heard_s >= link.checked_s > link.since_s for known in row.routes)
    is_back = is_back and (healthy or not action.clean)
    routes = tuple(worked(turn, known) if known.route == link.route else known for known in row.routes)
    row = replace(
        row,
        link=None,
        routes=routes,
        failures=0 if healthy else row.failures,
        last_connected_s=turn.mono_s,
        last_error=short(f"it said goodbye: {action.reason}" if action.clean else action.reason),
    )
    hold_s = turn.believed_s(action.not_before_s)
    if hold_s is not None:
        return hold(turn, row, max(hold_s, settings.peer_backoff_s if healthy else settings.clean_close_hold_s))
    if is_back and not (healthy or action.clean or row.failures):
        row = replace(row, failures=1)  # once; who is back again and again backs off like any other
    elif not (action.clean or healthy or action.reason == DUPLICATE):
        return _failed(turn, row, link.route)
    if action.reason == DUPLICATE:
        pause_s = settings.duplicate_hold_s
    else:
        pause_s = settings.clean_close_hold_s if action.clean and not is_back else 0.0
    # A little spread even where we come back at once: both ends have seen it.
    ready_s = turn.mono_s + turn.jittered(pause_s) + turn.uniform(0.0, 1.0)
    return keep(turn, replace(row, ready_s=ready_s))
