"""The slice of knocks: friends whose inbox we know hear, and they alone, that we are here.

    HUB_CONNECTION_SUCCEEDED -> SCHEDULE_KNOCK, again after `knock_s`, then ever more rarely

The one who comes second finds the first, so nothing periodic is needed; the later rounds are for what got lost. While
all slots are taken nobody is knocked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import nsmallest

from msgspec.structs import replace

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.slots import count
from ssb_rtc.manager.state import Hub
from ssb_rtc.manager.turn import Turn, knock_timer
from ssb_rtc.types import HubUrl, PeerId


def arrived(turn: Turn, hub: Hub) -> None:
    """A hub is connected: knock, unless we did so there a moment ago, or know of no inbox."""
    if not turn.inboxes:
        return None
    at_s = turn.mono_s if hub.knocked_s is None else hub.knocked_s + turn.settings.announce_reconnect_s
    if at_s > turn.mono_s:
        return turn.arm(knock_timer(hub.url), at_s, "the hub is connected again, friends heard us a moment ago")
    return _knock(turn, replace(hub, knocks=0), "the hub is connected")


def hurry(turn: Turn, hub: Hub, reason: str) -> None:
    """There is a reason to be eager: the next round comes as soon as the shortest pause allows."""
    at_s = max(turn.mono_s, (hub.knocked_s or 0.0) + turn.settings.announce_s)
    if at_s < turn.timers.get(knock_timer(hub.url), 0.0):
        turn.put_hub(replace(hub, knocks=0))
        turn.arm(knock_timer(hub.url), at_s, reason)


def timer_expired(turn: Turn, where: str) -> None:
    """The timer `knock:<url>`, which is armed only while the hub is connected."""
    if turn.inboxes:
        _knock(turn, turn.hubs[HubUrl(where)], "what was not heard before may be heard now")


def did_change(turn: Turn, action: a.InboxesDidChange) -> None:
    """Inboxes became known, or are no longer. Who is new and not linked is knocked at, at once."""
    fresh, changed = [], False
    for at, (peer, known) in enumerate(action.inboxes):
        if not known and peer in turn.inboxes:
            turn.inboxes, changed = turn.inboxes.delete(peer), True
        elif known and (peer in turn.inboxes or len(turn.inboxes) < turn.settings.inboxes_max):
            fresh += [peer] if peer not in turn.inboxes else []
            turn.inboxes, changed = turn.inboxes.set(peer, (-turn.steps, at)), True
    if not changed:
        return turn.ignore(action, "that was known, or the table is full")
    for hub in [turn.hubs[url] for url in sorted(turn.hubs)] if fresh else ():
        if hub.connected_s is not None:
            _order(turn, hub, wanted(turn, fresh), "their inboxes became known")
            if knock_timer(hub.url) not in turn.timers:
                at_s = turn.mono_s + turn.jittered(turn.settings.knock_s)
                turn.arm(knock_timer(hub.url), at_s, "friends are knocked at again then")
    return None


def _knock(turn: Turn, hub: Hub, reason: str) -> None:
    best = nsmallest(turn.settings.knocks_max, wanted(turn, turn.inboxes), key=turn.inboxes.__getitem__)
    hub = replace(hub, knocked_s=turn.mono_s, knocks=hub.knocks + 1)
    turn.put_hub(hub)
    _order(turn, hub, best, reason)
    settings = turn.settings
    first_s, most_s = settings.knock_s, settings.knock_max_s
    if not turn.linked:
        first_s, most_s = min(settings.announce_s, settings.knock_s), settings.knock_s
    pause_s = min(most_s, first_s * 2.0 ** min(hub.knocks - 1, 16))
    turn.arm(knock_timer(hub.url), turn.mono_s + turn.jittered(pause_s), "friends are knocked at again then")


def _order(turn: Turn, hub: Hub, peers: Iterable[PeerId], reason: str) -> None:
    slots, best = count(turn), tuple(peers)
    if best and (slots.free(turn.settings) or slots.yielding):
        turn.emit(e.ScheduleKnock(hub.url, hub.connection or 0, best, reason, not turn.linked))


def wanted(turn: Turn, peers: Iterable[PeerId]) -> Iterator[PeerId]:
    """Those of them with whom a link is wanted and could be."""
    for peer in peers:
        row = turn.peers.get(peer)
        held = row is not None and max(row.not_before_s, row.refused_until_s) > turn.mono_s
        busy = row is not None and (row.link is not None or row.attempt is not None)
        if not (held or busy or peer in turn.blocked or peer == turn.own):
            yield peer
