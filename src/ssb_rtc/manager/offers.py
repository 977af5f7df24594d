"""The slice of offers: a peer wants to connect over a hub. Answered, refused, or outranked by our own offer.

Offers are forged easily (who sent one is proven by the handshake, later), so an offer never ends a live link: a link
gives way only to a newer one that is proven.
"""

from __future__ import annotations

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.links import begin
from ssb_rtc.manager.peers import abort, admit, check_link, passes_on, seen
from ssb_rtc.manager.shares import answers_left
from ssb_rtc.manager.slots import count, is_near
from ssb_rtc.manager.state import Attempt, Link, Peer, Route
from ssb_rtc.manager.turn import Turn

SESSION_CHARACTERS_MAX = 128


def did_offer(turn: Turn, action: a.RemotePeerDidOffer) -> None:
    """Somebody who says that it is `peer` offers a connection."""
    if len(action.session) > SESSION_CHARACTERS_MAX:
        return _refuse(turn, action, f"a session has at most {SESSION_CHARACTERS_MAX} characters")
    if turn.closing:
        return _refuse(turn, action, "shutdown")
    if action.hub not in turn.hubs and not passes_on(turn, action.hub):
        return _refuse(turn, action, "the hub is not in the table")
    row = admit(turn, action.peer, action.hub)
    if isinstance(row, str):
        return _refuse(turn, action, row)
    near, held_s = is_near(turn, row), row.refused_until_s - turn.mono_s
    # Where the dialect hides who is there, whoever would not be taken now hears nothing, unless it is a friend.
    hidden = action.settled and not near
    early = "too early" if held_s > 0 else ""
    if hidden and turn.settings.strangers_max == 0 and row.attempt is None and row.link is None:
        early = "no strangers are wanted"  # and not even dialled later, while we are alone: it would show who is here
    if early:
        return _refuse(turn, action, early, None if hidden else held_s)
    if row.attempt is not None:
        return _beside_attempt(turn, row, row.attempt, action)
    if row.link is not None:
        return _beside_link(turn, row, row.link, action)
    slots = count(turn)
    full = slots.refuses_link(turn.settings, near=near, alone=action.alone)
    if full or _answers_enough(turn, action):
        turn.put_peer(seen(turn, row, Route("hub", action.hub)))
        turn.note_refusal(near=False)  # who sent the offer is not proven
        wait_s = turn.jittered(turn.settings.busy_s if full else turn.settings.busy_answering_s)
        return _refuse(turn, action, full or "enough offers are being answered", None if hidden else wait_s)
    if not near and slots.free(turn.settings) == 0:
        return _accept(turn, row, action, "it has no link at all: it may take a stranger's place")
    return _accept(
        turn, row, action, "slots are free" if slots.free(turn.settings) else "a friend goes before strangers"
    )


def _beside_attempt(turn: Turn, row: Peer, attempt: Attempt, action: a.RemotePeerDidOffer) -> None:
    if not attempt.dialled:
        if attempt.session == action.session:
            return turn.ignore(action, "that offer is being answered already")
        return _accept(turn, abort(turn, row, "superseded by a newer offer"), action, "a newer offer came")
    if action.settled:
        return _accept(turn, abort(turn, row, "the peer knocks"), action, "knocks crossed, and ours gives way")
    if not turn.outranks(row.id):
        row = abort(turn, row, "superseded by the peer's offer")
        return _accept(turn, row, action, "two offers crossed and the greater key's stands")
    if attempt.route.via == "hub":
        reason = "two offers crossed and ours stands"
        return turn.emit(e.ResendOffer(action.hub, row.id, action.session, attempt.id, reason))
    return _refuse(turn, action, "we are dialling the peer elsewhere", turn.settings.attempt_timeout_s)


def _beside_link(turn: Turn, row: Peer, link: Link, action: a.RemotePeerDidOffer) -> None:
    if link.dialled and turn.outranks(row.id):
        # Ours would stay. But perhaps the peer offers because it has lost it.
        check_link(turn, row, link, "the peer offers a new one")
        return _refuse(turn, action, "our link to the peer stays", turn.jittered(turn.settings.duplicate_hold_s))
    if count(turn).handovers >= turn.settings.handovers_max or _answers_enough(turn, action):
        return _refuse(turn, action, "too many handovers", turn.jittered(turn.settings.busy_answering_s))
    return _accept(turn, row, action, "a link of the peer's dialling replaces this one")


def _answers_enough(turn: Turn, action: a.RemotePeerDidOffer) -> bool:
    # One answer is left for friends: offers in made-up names cost nothing.
    row = turn.peers.get(action.peer)
    near = action.peer in turn.hops or (row is not None and is_near(turn, row))
    most = turn.settings.inbound_attempts_max - (bool(turn.hops) and not near)
    return count(turn).answering >= most or not answers_left(turn, action.hub)


def _accept(turn: Turn, row: Peer, action: a.RemotePeerDidOffer, reason: str) -> None:
    route = Route("hub", action.hub)
    attempt = begin(turn, seen(turn, row, route), route, session=action.session, alone=action.alone)
    turn.emit(e.AcceptOffer(action.hub, row.id, action.session, attempt, reason))


def _refuse(turn: Turn, action: a.RemotePeerDidOffer, reason: str, not_before_s: float | None = None) -> None:
    turn.emit(e.RefuseOffer(action.hub, action.peer, action.session, reason, not_before_s))
