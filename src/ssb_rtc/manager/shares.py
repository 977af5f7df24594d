"""How hubs share what is scarce here: rows of the table of peers, own attempts, answers to offers.

Whoever runs a hub can announce thousands of peers that don't exist, and offers that lead nowhere. So while two hubs or
more are connected, a single one gets all but one of the attempts, and a full table makes room for a peer of another
hub. A local network counts as a hub while peers are heard there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from itertools import islice

from ssb_rtc.manager.state import LAN, Peer, State
from ssb_rtc.manager.turn import NOWHERE, Turn
from ssb_rtc.types import HubUrl, PeerId

LOOKED_AT_MAX = 64


def answers_left(tables: State | Turn, hub: HubUrl) -> bool:
    """Whether one more offer that came over this hub may be answered."""
    return _attempts(tables, dialled=False)[hub] < _share(tables, tables.settings.inbound_attempts_max)


def crowded_hubs(tables: State | Turn) -> frozenset[str]:
    """The hubs over which we dial as many peers at once as over a single hub we may."""
    most = _share(tables, tables.settings.attempts_max)
    return frozenset(hub for hub, attempts in _attempts(tables, dialled=True).items() if attempts >= most)


def only_over(row: Peer, hubs: Collection[str | None]) -> bool:
    """Whether each route to this peer is over one of these hubs."""
    for known in row.routes:
        where = known.route.where if known.route.via == "hub" else known.route.source
        if where not in hubs:
            return False
    return True


def replaceable(turn: Turn, hub: HubUrl | None, *, proven: bool) -> PeerId | None:
    """Who leaves a full table: for a proven peer anybody who is idle, for another one (heard on `hub`) somebody from
    the hub that fills the table, if that is another hub. Looks at those who have to wait longest, and at no more of
    them than `LOOKED_AT_MAX`: anybody can make up names, as fast as a hub passes them on.
    """
    fullest = max(sorted(turn.heard), key=turn.heard.__getitem__, default=NOWHERE)
    if not proven and turn.heard.get(fullest, 0) <= turn.heard.get(hub or NOWHERE, 0) + 1:
        return None
    queues = (turn.aside, turn.due, turn.friends)
    last = [turn.peers[peer] for queue in queues for _, peer in islice(reversed(queue), LOOKED_AT_MAX)]
    idle = [row for row in last if not row.asked]
    among = idle if proven else [row for row in idle if only_over(row, (fullest,))]
    worst = max(
        among,
        key=lambda row: (
            row.id not in turn.hops,
            row.not_before_s <= turn.mono_s,
            not row.routes,
            row.parked,
            row.ready_s,
            row.id,
        ),
        default=None,
    )
    return worst.id if worst is not None else None


def _share(tables: State | Turn, most: int) -> int:
    connected = sum(hub.connected_s is not None for hub in tables.hubs.values()) + (LAN in tables.heard)
    return most - 1 if connected > 1 and most > 1 else most


def _attempts(tables: State | Turn, *, dialled: bool) -> Counter[str]:
    attempts = [tables.peers[peer].attempt for peer in tables.trying]
    sources = [each.route.source for each in attempts if each is not None and each.dialled == dialled]
    return Counter(source for source in sources if source is not None)
