"""The slice of introductions: linked peers pass our knocks on, so that a mesh that met once outlives its hubs.

    a link opens or ends, and later again -> TICK -> SCHEDULE_KNOCK at `peer:<id>`, for one or two go-betweens

Only peers whose feeds we fetch because we follow them are asked for: a go-between learns whom we would like to meet,
and follows are public. What comes back, REMOTE_PEER_DID_OFFER, is decided in `offers` like what comes over hubs.
"""

from __future__ import annotations

from heapq import nsmallest

from msgspec.structs import replace

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.knocks import wanted
from ssb_rtc.manager.slots import count
from ssb_rtc.manager.turn import Turn
from ssb_rtc.types import PeerId, go_between


def links_changed(turn: Turn) -> None:
    """There is another go-between, or somebody less who could be reached without one: be eager."""
    at_s = max(turn.mono_s + turn.settings.introduce_delay_s, turn.introduced_s + turn.settings.introduce_s)
    waits = turn.introduce_at_s > turn.mono_s
    turn.introduce_at_s = min(turn.introduce_at_s, at_s) if waits else at_s
    turn.introductions = 0


def introduce(turn: Turn) -> None:
    """At a tick: where it is time and a slot is free, have some friends who are not linked knocked at."""
    slots, settings = count(turn), turn.settings
    if turn.mono_s < turn.introduce_at_s or not (slots.free(settings) or slots.yielding):
        return
    left = [peer for peer in turn.linked if _passes_on(turn, peer)]
    if not (left and settings.introducers_max):
        return
    friends = (peer for peer, hops in turn.hops.items() if hops == 1)
    last = turn.introduced_to
    peers = nsmallest(settings.introductions_max, wanted(turn, friends), key=lambda peer: (peer <= last, peer))
    pause_s = min(settings.introduce_max_s, settings.introduce_s * 2.0 ** min(turn.introductions, 16))
    turn.introduce_at_s, turn.introductions = turn.mono_s + pause_s, turn.introductions + 1
    if not peers:
        return
    turn.introduced_s, turn.introduced_to = turn.mono_s, peers[-1]
    turn.introduce_at_s = turn.mono_s + turn.jittered(pause_s)
    for _ in range(min(settings.introducers_max, len(left))):
        # At random: one who keeps all for itself is not asked each time.
        peer = left.pop(int(turn.uniform(0, len(left))))
        link = turn.peers[peer].link
        assert link is not None
        turn.emit(e.ScheduleKnock(go_between(peer), link.id, tuple(peers), "it may be linked with these friends"))


def refused(turn: Turn, action: a.RemotePeerWontIntroduce) -> None:
    """The linked peer does not know how: ask others, soon."""
    row = turn.peers.get(action.peer)
    if row is None or row.link is None or not row.link.passes_on:
        return turn.ignore(action, "that was known, or the peer is not linked")
    turn.put_peer(replace(row, link=replace(row.link, passes_on=False)))
    turn.introduce_at_s = min(turn.introduce_at_s, turn.mono_s + turn.settings.introduce_delay_s)
    return None


def _passes_on(turn: Turn, peer: PeerId) -> bool:
    link = turn.peers[peer].link
    return link is not None and link.passes_on
