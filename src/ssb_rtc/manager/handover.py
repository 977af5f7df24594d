"""The slice of second links: one link per peer replicates, and a better one takes over without a gap.

Of two links the newest from the same dialler stays; between two diallers the one that the greater key dialled. Both
sides know both keys, so they keep the same one. But the one that should stay may be dead without a word, so it has to
answer a ping first: then the other closes, with the reason `duplicate` and a failure on neither side. If it dies, the
other one stays. Until then, for at most `handover_s`, both are open, and the first goes on replicating.
"""

from __future__ import annotations

from msgspec.structs import replace

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager import hub_table
from ssb_rtc.manager.peers import abort, check_link, seen, unpark, without_rival
from ssb_rtc.manager.slots import count, is_near
from ssb_rtc.manager.state import KnownRoute, Link, Peer
from ssb_rtc.manager.turn import Turn, handover_timer
from ssb_rtc.types import PeerId, go_between

DUPLICATE = "duplicate"


def use(turn: Turn, row: Peer, link: Link) -> None:
    """Write the link into the row as the one that replicates, and give up what it makes needless."""
    attempt = row.attempt
    room = count(turn).handovers < turn.settings.handovers_max
    if attempt is not None and not (attempt.dialled and not link.dialled and turn.outranks(row.id) and room):
        # Of the two, only a link that we dial with the greater key would replace this one.
        row = abort(turn, row, "a link is open")
    row = seen(turn, row)
    routes = tuple(worked(turn, known) if known.route == link.route else known for known in row.routes)
    row = replace(row, link=link, routes=routes, last_connected_wall_s=turn.wall_s, last_connected_s=turn.mono_s)
    turn.put_peer(replace(row, last_error="", refusals=0))
    unpark(turn, go_between(row.id))
    turn.dial_freely()
    turn.emit(e.UseLink(row.id, link.id, "a link is open"))
    hub_table.broadcast_soon(turn, "a link was opened")


def worked(turn: Turn, known: KnownRoute) -> KnownRoute:
    """The route after a link over it."""
    return replace(known, failures=0, heard_s=turn.mono_s)


def second_link(turn: Turn, row: Peer, link: Link, newer: Link) -> None:
    """A second link to a peer: to a friend both stay until the better one has answered a ping."""
    deadline_s = turn.timers.get(handover_timer(row.id), turn.mono_s + turn.settings.handover_s)
    row = without_rival(turn, row, DUPLICATE)
    turn.put_peer(row)
    better = newer if _wins(turn, row.id, newer, link) else link
    if _is_settled_at_once(turn, row):
        # One dialler that comes again and again would have replication begin anew each time.
        again = newer.dialled == link.dialled and turn.mono_s - link.since_s < turn.settings.check_link_s
        if better is newer and not again:
            return _take_over(turn, row, newer, DUPLICATE)
        turn.emit(e.ScheduleDisconnectFromRemotePeer(row.id, newer.id, DUPLICATE))
        return check_link(turn, row, link, "the peer comes with another one: perhaps this one is dead")
    link, newer = (replace(each, checked_s=turn.mono_s) if each is better else each for each in (link, newer))
    turn.put_peer(replace(row, link=link, rival=newer))
    turn.arm(handover_timer(row.id), deadline_s, "one of the two links goes by then")
    return turn.emit(e.CheckLink(row.id, better.id, "it takes over when it works, and the other link closes"))


def _is_settled_at_once(turn: Turn, row: Peer) -> bool:
    """Strangers don't get two links for a while, nor who brought one in vain: two names could take all handovers."""
    beyond = max(0, len(turn.linked) - turn.settings.peers_max) + len(turn.handovers)
    early = turn.mono_s < row.no_rival_before_s
    return early or not is_near(turn, row) or beyond >= turn.settings.handovers_max


def _wins(turn: Turn, peer: PeerId, newer: Link, link: Link) -> bool:
    return newer.dialled == link.dialled or newer.dialled == turn.outranks(peer)


def did_answer(turn: Turn, action: a.LinkDidAnswer) -> None:
    """A ping came back: note how long it took, and settle which of two links stays."""
    row = turn.peers.get(action.peer)
    link = None if row is None else next((x for x in (row.link, row.rival) if x and x.id == action.link), None)
    if row is None or link is None:
        return turn.ignore(action, "that link was given up before")
    rtt_s = turn.believed_s(action.rtt_s)
    row = replace(row, rtt_s=row.rtt_s if rtt_s is None else rtt_s)
    if row.rival is None or row.link is None or (link is row.rival) != _wins(turn, row.id, row.rival, row.link):
        return turn.put_peer(row)
    if link is row.rival:
        return _take_over(turn, row, link, DUPLICATE)
    return turn.put_peer(without_rival(turn, row, DUPLICATE))


def one_ended(turn: Turn, row: Peer, link: int, reason: str) -> None:
    """One of two links is gone: the other one stays."""
    rival = row.rival
    assert rival is not None
    turn.cancel(handover_timer(row.id), reason or "one of the two links ended")
    row = replace(row, rival=None)
    if rival.id == link:
        return turn.put_peer(row)
    heir = replace(_heir(row, rival), checked_s=turn.mono_s)
    use(turn, replace(row, link=None), heir)
    if reason != DUPLICATE:
        turn.emit(e.CheckLink(row.id, heir.id, "the other link to the peer has died: perhaps this one has, too"))
    return None


def timer_expired(turn: Turn, peer: str) -> None:
    """The timer `handover:<peer>`: nothing was heard of the better link, so the one that replicates stays."""
    row = replace(turn.peers[PeerId(peer)], no_rival_before_s=turn.mono_s + turn.settings.displace_s)
    turn.put_peer(without_rival(turn, row, DUPLICATE))


def _take_over(turn: Turn, row: Peer, rival: Link, reason: str) -> None:
    assert row.link is not None
    turn.cancel(handover_timer(row.id), "the better link works")
    turn.emit(e.ScheduleDisconnectFromRemotePeer(row.id, row.link.id, reason))
    use(turn, replace(row, rival=None), _heir(row, rival))


def _heir(row: Peer, rival: Link) -> Link:
    """The second link in the place of the first: as old as that one, for who has to go is the peer."""
    assert row.link is not None
    link = row.link
    return replace(
        rival,
        first_s=link.first_s,
        until_s=min(rival.until_s, link.until_s),
        picked_randomly=link.picked_randomly,
        fetched_sum_s=link.fetched_sum_s,
        served_sum_s=link.served_sum_s,
    )
