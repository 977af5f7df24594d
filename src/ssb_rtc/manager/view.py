"""The read side: what the command line, the dashboard and an app show of the state."""

from __future__ import annotations

from typing import Literal

import msgspec

from ssb_rtc.manager.activity import activity
from ssb_rtc.manager.explain import why_hub_waits, why_not_connected
from ssb_rtc.manager.score import hub_terms, hubs_by_score, total
from ssb_rtc.manager.slots import Slots, count
from ssb_rtc.manager.state import ConnectionState, HubSource, Peer, Route, State
from ssb_rtc.types import HubUrl, PeerId


class PeerView(msgspec.Struct, frozen=True):
    """A known peer, for people."""

    id: PeerId
    state: ConnectionState
    connected_hubs: tuple[HubUrl, ...]
    routes: tuple[Route, ...]
    link: int | None
    over: Route | None
    """The route of its link, or of the attempt under way."""
    dialled: bool | None
    """Who dialled that: True for us."""
    activity: Literal["", "busy", "idle", "stuck"]
    """What its link is doing; empty without one."""
    missing: int
    """Messages that it has and we fetch from it."""
    hops: int | None
    """How far away it is in the follow graph; None for a stranger."""
    pinned: bool
    failures: int
    rtt_s: float | None
    last_seen_wall_s: float
    last_connected_wall_s: float | None
    connected_for_s: float | None
    last_error: str
    reason: str
    """Why it is not connected, in plain words; empty where it is."""


class HubView(msgspec.Struct, frozen=True):
    """A hub of the table, for people."""

    url: HubUrl
    state: ConnectionState
    source: HubSource
    private: bool
    connection_attempts: int
    connected_for_s: float | None
    retry_in_s: float | None
    score: float
    last_error: str
    reason: str
    """Why it is not connected, in plain words; empty where it is."""


def peers_view(state: State) -> tuple[PeerView, ...]:
    """All known peers, in the order of their ids."""
    slots = count(state)
    return tuple(_peer_view(state, state.peers[peer], slots) for peer in sorted(state.peers))


def peer_view(state: State, peer: PeerId, slots: Slots | None = None) -> PeerView | None:
    """One peer, or None where it is not known. `slots`: of this state, where somebody has counted them."""
    row = state.peers.get(peer)
    return None if row is None else _peer_view(state, row, slots or count(state))


def _peer_view(state: State, row: Peer, slots: Slots) -> PeerView:
    over, link = row.link or row.attempt, row.link
    return PeerView(
        id=row.id,
        state=row.connection_state,
        connected_hubs=row.connected_hubs,
        routes=tuple(known.route for known in row.routes),
        link=None if link is None else link.id,
        over=None if over is None else over.route,
        dialled=None if over is None else over.dialled,
        activity="" if link is None else activity(link, state.settings, state.now.mono_s),
        missing=0 if link is None or link.download is None else link.download.missing,
        hops=state.hops.get(row.id),
        pinned=row.id in state.pinned,
        failures=row.failures,
        rtt_s=row.rtt_s,
        last_seen_wall_s=row.last_seen_wall_s,
        last_connected_wall_s=row.last_connected_wall_s,
        connected_for_s=None if link is None else state.now.mono_s - link.since_s,
        last_error=row.last_error,
        reason=why_not_connected(state, row, slots),
    )


def hubs_view(state: State) -> tuple[HubView, ...]:
    """All hubs of the table, the best first."""
    return tuple(_hub_view(state, url) for url in hubs_by_score(state, state.now.wall_s))


def _hub_view(state: State, url: HubUrl) -> HubView:
    hub = state.hubs[url]
    due_s = state.timers.get(f"hub:{url}") if hub.connection is None else None
    return HubView(
        url=url,
        state=hub.connection_state,
        source=hub.source,
        private=hub.private,
        connection_attempts=hub.connection_attempts,
        connected_for_s=None if hub.connected_s is None else state.now.mono_s - hub.connected_s,
        retry_in_s=None if due_s is None else max(0.0, due_s - state.now.mono_s),
        score=round(total(hub_terms(state, hub, state.now.wall_s)), 3),
        last_error=hub.last_error,
        reason=why_hub_waits(state, hub),
    )
