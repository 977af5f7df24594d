"""The slice of the table of hubs: stored after each change, then told to linked peers.

A table is told only after it was saved, to each linked peer once a revision.
"""

from __future__ import annotations

import math

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
    """Order the table as it is now to be stored, without hubs that we know from others alone and never saw at work."""
    rows = [turn.hubs[url] for url in sorted(turn.hubs)]
    rows = [row for row in rows if row.source != "gossip" or row.last_success_wall_s is not None]
    known = tuple(KnownHub(row.url, row.source, row.private, row.last_success_wall_s) for row in rows)
    turn.emit(e.ScheduleSaveHubs(turn.revision, known, reason))


def broadcast_soon(turn: Turn, reason: str, delay_s: float | None = None) -> None:
    """Tell of hubs to those who are linked, a moment later (`broadcast_delay_s`), so that changes go out together."""
    at_s = turn.mono_s + (turn.settings.broadcast_delay_s if delay_s is None else delay_s)
    if turn.linked and turn.timers.get(BROADCAST, math.inf) > at_s:
        turn.arm(BROADCAST, at_s, reason)


def broadcast(turn: Turn) -> None:
    """Tell of hubs to each linked peer that has not heard this revision. A table that is not saved yet waits."""
    if turn.saved_revision < turn.revision:
        return
    revision = turn.revision + turn.entries_revision
    rows = [turn.hubs[url] for url in sorted(turn.hubs)]
    hubs = tuple(_told(turn, row) for row in rows if _may_be_told(row))
    told = []
    for peer in turn.linked:
        row = turn.peers[peer]
        if row.link is not None and row.link.told_revision < revision:
            turn.put_peer(replace(row, link=replace(row.link, told_revision=revision)))
            told.append(peer)
    if told and (hubs or turn.entries_revision):
        turn.emit(e.ScheduleBroadcastKnownHubs(turn.revision, hubs, tuple(told), "they have not heard of these hubs"))


def _told(turn: Turn, hub: Hub) -> KnownHub:
    """A hub that works, with when it last did so."""
    success_s = turn.wall_s if hub.connected_s is not None else hub.last_success_wall_s
    return KnownHub(hub.url, hub.source, False, success_s)


def _may_be_told(hub: Hub) -> bool:
    """Not what is private, nor what we have not seen at work: others' words, or an address that was mistyped."""
    credentials = "@" in hub.url.partition("//")[2].partition("/")[0]
    works = hub.last_success_wall_s is not None or (hub.source != "gossip" and hub.connected_s is not None)
    return works and not (hub.private or credentials)
