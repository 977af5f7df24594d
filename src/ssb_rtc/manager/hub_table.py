"""The slice of the table of hubs: stored after each change, then told to linked peers.

A table is told only after it was saved, to each linked peer once a revision.
"""

from __future__ import annotations

from msgspec.structs import replace

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.state import Hub, KnownHub
from ssb_rtc.manager.turn import BROADCAST, SAVE, Turn, short

URL_CHARACTERS_MAX = 2_048


def changed(turn: Turn, reason: str) -> None:
    """The table of hubs is another one: store it, then tell it."""
    turn.revision += 1
    turn.cancel(SAVE, reason)
    save(turn, reason)


def hubs_saved(turn: Turn, action: a.HubsSaved) -> None:
    """The table is on disk: from now on it may be told."""
    if not turn.saved_revision < action.revision <= turn.revision:
        return turn.ignore(action, "a newer table is saved already")
    turn.saved_revision = action.revision
    return broadcast_soon(turn, "the table of hubs was saved")


def save_failed(turn: Turn, action: a.SaveHubsFailed) -> None:
    """The disk did not take the table: later again."""
    if action.revision != turn.revision:
        return turn.ignore(action, "a newer table is being saved")
    return turn.arm(SAVE, turn.mono_s + turn.settings.save_retry_s, f"saving the hubs failed: {short(action.reason)}")


def save(turn: Turn, reason: str) -> None:
    """Order the table as it is now to be stored."""
    rows = [turn.hubs[url] for url in sorted(turn.hubs)]
    known = tuple(KnownHub(row.url, row.source, row.private, row.last_success_wall_s) for row in rows)
    turn.emit(e.ScheduleSaveHubs(turn.revision, known, reason))


def broadcast_soon(turn: Turn, reason: str) -> None:
    """Tell the hubs that we know to those who are linked, a moment later, so that changes go out together."""
    if turn.linked and BROADCAST not in turn.timers:
        turn.arm(BROADCAST, turn.mono_s + turn.settings.broadcast_delay_s, reason)


def broadcast(turn: Turn) -> None:
    """Tell the table to each linked peer that has not heard this revision. One that is not saved yet waits for that."""
    if turn.saved_revision < turn.revision:
        return
    rows = [turn.hubs[url] for url in sorted(turn.hubs)]
    hubs = tuple(row.url for row in rows if _may_be_told(row))
    told = []
    for peer in turn.linked:
        row = turn.peers[peer]
        if row.link is not None and row.link.told_revision < turn.revision:
            turn.put_peer(replace(row, link=replace(row.link, told_revision=turn.revision)))
            told.append(peer)
    if told and hubs:
        turn.emit(e.ScheduleBroadcastKnownHubs(turn.revision, hubs, tuple(told), "they have not heard of these hubs"))


def _may_be_told(hub: Hub) -> bool:
    """Not what is private, nor what we have not seen at work: others' words, or an address that was mistyped."""
    credentials = "@" in hub.url.partition("//")[2].partition("/")[0]
    works = hub.last_success_wall_s is not None or (hub.source != "gossip" and hub.connected_s is not None)
    return works and not (hub.private or credentials)
