"""The read side: what the command line, the dashboard and an app show of the state."""

from __future__ import annotations

import msgspec

from ssb_rtc.manager.shares import crowded_hubs, only_over
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
    hops: int | None
    """How far away it is in the follow graph; None for a stranger."""
    failures: int
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
    last_error: str


def peers_view(state: State) -> tuple[PeerView, ...]:
    """All known peers, in the order of their ids."""
    slots = count(state)
    return tuple(_peer_view(state, state.peers[peer], slots) for peer in sorted(state.peers))


def peer_view(state: State, peer: PeerId) -> PeerView | None:
    """One peer, or None where it is not known."""
    row = state.peers.get(peer)
    return None if row is None else _peer_view(state, row, count(state))


def _peer_view(state: State, row: Peer, slots: Slots) -> PeerView:
    over = row.link or row.attempt
    return PeerView(
        id=row.id,
        state=row.connection_state,
        connected_hubs=row.connected_hubs,
        routes=tuple(known.route for known in row.routes),
        link=None if row.link is None else row.link.id,
        over=None if over is None else over.route,
        dialled=None if over is None else over.dialled,
        hops=state.hops.get(row.id),
        failures=row.failures,
        last_seen_wall_s=row.last_seen_wall_s,
        last_connected_wall_s=row.last_connected_wall_s,
        connected_for_s=None if row.link is None else state.now.mono_s - row.link.since_s,
        last_error=row.last_error,
        reason=_why_not(state, row, slots),
    )


def _why_not(state: State, row: Peer, slots: Slots) -> str:
    """The stated reason of a peer that isn't connected; empty where it is."""
    if row.link is not None:
        return ""
    if row.attempt is not None:
        return "we are dialling it" if row.attempt.dialled else "we are answering its offer"
    if state.closing:
        return "this peer is shutting down"
    if not row.routes:
        return "no way to it is known: it waits until the peer announces itself"
    if row.parked:
        return "none of its hubs is connected"
    full = slots.refuses_dial(state.settings, asked=row.asked, friend=row.id in state.hops)
    if full:
        return full
    if not row.asked and only_over(row, crowded_hubs(state)):
        return "enough peers of its hub are being dialled"
    wait_s = row.ready_s - state.now.mono_s
    return f"it is dialled in {wait_s:.0f} s" if wait_s > 0 else "it is dialled next"


def hubs_view(state: State) -> tuple[HubView, ...]:
    """All hubs of the table, in the order of their addresses."""
    return tuple(_hub_view(state, url) for url in sorted(state.hubs))


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
        last_error=hub.last_error,
    )
