"""What speaks for a peer or a hub, and what against it: sums of a few named terms, so that every choice can be told.

Peers: near ones first, those that rarely failed, were not seen for long, answer fast, and came over other hubs than
our links. Links: near, fast, not idle for long, over other hubs. Hubs: ours before those that others told us of, those
that did well, and where somebody is heard.
"""

from __future__ import annotations

from collections.abc import Iterable

from ssb_rtc.manager.state import Hub, Link, Peer, State, Term
from ssb_rtc.manager.turn import Turn
from ssb_rtc.types import HubUrl, PeerId

HOP = 4.0
"""A hop more costs as much as four failures."""
HOPS_COUNTED = 3
FAILURES_COUNTED = 5
MET_BEFORE = 6.0
"""A name that was never proven may be made up."""
UNSEEN = 2.0
UNSEEN_S = 86_400.0
WAITING_PER_MIN = 0.5
WAITING_MIN = 6.0
RTT_COUNTED_S = 1.0
OTHER_HUB = 1.0
IDLE_PER_MIN = 0.1
IDLE_MIN = 30.0
OUR_HUB = 3.0
HEALTHY_HUB = 2.0
RECENT_S = 86_400.0
HUB_FAILURES_COUNTED = 8
HEARD_COUNTED = 10


def total(terms: Iterable[Term]) -> float:
    """The score."""
    return sum(term.value for term in terms)


def told(terms: Iterable[Term]) -> str:
    """The terms that count, for a person."""
    return ", ".join(f"{term.name} {term.value:+.1f}" for term in terms if abs(term.value) >= 0.05)


def hubs_in_use(tables: State | Turn, without: PeerId | None = None) -> frozenset[str]:
    """The hubs over which our links came, without that of one peer."""
    links = (tables.peers[peer].link for peer in tables.linked if peer != without)
    return frozenset(link.route.where for link in links if link is not None and link.route.via == "hub")


def peer_terms(tables: State | Turn, row: Peer, mono_s: float, in_use: frozenset[str]) -> tuple[Term, ...]:
    """Why to dial this peer rather than another. `in_use`: the hubs of the links that there are."""
    unseen_s = UNSEEN_S if row.last_connected_s is None else mono_s - row.last_connected_s
    waiting_min = max(0.0, mono_s - row.ready_s) / 60
    return (
        _nearness(tables, row),
        Term("failures", float(-min(row.failures, FAILURES_COUNTED))),
        Term("met before", MET_BEFORE * (row.last_connected_s is not None)),
        Term("unseen", UNSEEN * min(unseen_s / UNSEEN_S, 1.0)),
        Term("waiting", WAITING_PER_MIN * min(waiting_min, WAITING_MIN)),
        _latency(row),
        _diversity(row, in_use),
    )


def link_terms(tables: State | Turn, row: Peer, link: Link, mono_s: float) -> tuple[Term, ...]:
    """Why to keep this link rather than another."""
    idle_min = max(0.0, mono_s - link.active_s) / 60
    return (
        _nearness(tables, row),
        _latency(row),
        Term("idle", 0.0 - IDLE_PER_MIN * min(idle_min, IDLE_MIN)),
        _diversity(row, hubs_in_use(tables, row.id)),
    )


def hub_terms(tables: State | Turn, hub: Hub, wall_s: float) -> tuple[Term, ...]:
    """Why to meet on this hub rather than on another."""
    since_s = None if hub.last_success_wall_s is None else abs(wall_s - hub.last_success_wall_s)
    health = 0.0 if since_s is None else HEALTHY_HUB if since_s < RECENT_S else HEALTHY_HUB / 2
    return (
        Term("ours", OUR_HUB * (hub.source != "gossip")),
        Term("healthy", health),
        Term("failures", float(-min(max(hub.connection_attempts - 1, 0), HUB_FAILURES_COUNTED))),
        Term("peers heard", min(tables.heard.get(hub.url, 0), HEARD_COUNTED) / HEARD_COUNTED),
    )


def hubs_by_score(tables: State | Turn, wall_s: float) -> list[HubUrl]:
    """All hubs of the table, the best first."""
    return sorted(tables.hubs, key=lambda url: (-total(hub_terms(tables, tables.hubs[url], wall_s)), url))


def _nearness(tables: State | Turn, row: Peer) -> Term:
    hops = tables.hops.get(row.id)
    return Term("nearness", 0.0 if hops is None else HOP * max(1, 1 + HOPS_COUNTED - hops))


def _latency(row: Peer) -> Term:
    return Term("latency", 0.0 - min(row.rtt_s or 0.0, RTT_COUNTED_S))


def _diversity(row: Peer, in_use: frozenset[str]) -> Term:
    hubs = [known.route.where for known in row.routes if known.route.via == "hub"]
    return Term("other hub", OTHER_HUB if hubs and in_use.isdisjoint(hubs) else 0.0)
