"""Busy, idle, stuck: what a link is doing, judged by the messages that come and never by what somebody claims alone.

    busy   we miss messages that the remote has, and they come: at least `download_floor` of them in each `stall_s`;
           or the remote says that it fetches from us
    stuck  we miss messages that the remote says it has, and they don't come
    idle   nothing is missing

A busy link is not cut, nor is a stuck one over which the remote fetches from us. Yet after `download_max_s` that
protects no longer while others wait, so nobody holds a slot for ever with a feed that trickles, or by saying so.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import Link, Peer, State
from ssb_rtc.manager.turn import Turn

Activity: TypeAlias = Literal["busy", "idle", "stuck"]


def mono_s(tables: State | Turn) -> float:
    """The monotonic time of the step under way, or of the last one."""
    return tables.mono_s if isinstance(tables, Turn) else tables.now.mono_s


def activity(link: Link, settings: Settings, now_s: float) -> Activity:
    """What this link is doing."""
    if link.download is not None:
        return "busy" if moves(link, settings, now_s) else "stuck"
    return "busy" if serves(link, settings, now_s) else "idle"


def moves(link: Link, settings: Settings, now_s: float) -> bool:
    """Whether what we fetch over this link comes at the floor rate."""
    return link.download is not None and now_s - link.download.moved_s <= settings.stall_s


def serves(link: Link, settings: Settings, now_s: float) -> bool:
    """Whether the remote says that it fetches from us, and has not said so for too long, all in all."""
    return link.served_s is not None and link.served_sum_s + now_s - link.served_s < settings.download_max_s


def stuck(link: Link, settings: Settings, now_s: float) -> bool:
    """Whether the remote says that it has what we miss, and sends nothing worth the name."""
    return link.download is not None and not moves(link, settings, now_s)


def protected(tables: State | Turn, row: Peer, link: Link, *, against_asked: bool = False) -> str:
    """Why this link may not be ended for somebody who waits; empty where it may.

    What a peer says of itself counts for a time only, and that it has no other link counts nothing against one whom
    somebody here asked for: else a few names could hold all slots for ever.
    """
    settings, now_s = tables.settings, mono_s(tables)
    if row.id in tables.pinned:
        return "it is pinned"
    down = link.download
    if down and moves(link, settings, now_s) and link.fetched_sum_s + now_s - down.since_s < settings.download_max_s:
        return "we are downloading over it"
    if serves(link, settings, now_s):
        return "the peer is downloading over it"
    known = row.asked or tables.hops.get(row.id) == 1
    if link.only_link and not against_asked and (known or now_s - link.first_s < 2 * settings.lifetime_s):
        return "the peer says that it has no other link"
    return ""
