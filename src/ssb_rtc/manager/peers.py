"""The slice of known peers: who is there, how to reach them, who is held off, blocked, forgotten.

A peer enters the table with an announcement on a hub or in a local network, an offer, a link or a wish of somebody
here. It leaves with its goodbye, by silence, when it failed too often, or to make room. A row without a route waits in
the table, as long as an announcement lives, to remember failures and holds.
"""

from __future__ import annotations

from msgspec.structs import replace

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.identity import public_key
from ssb_rtc.manager.shares import replaceable
from ssb_rtc.manager.slots import is_near
from ssb_rtc.manager.state import LAN, KnownRoute, Link, Peer, Route, State, Term
from ssb_rtc.manager.turn import Turn, attempt_timer, handover_timer, short
from ssb_rtc.types import HubUrl, PeerId, behind

_NEVER = float("-inf")
DIALLED = ("address", "lan")
"""Routes that need nobody else's help."""


def admit(turn: Turn, peer: PeerId, hub: HubUrl | None = None, *, proven: bool = False) -> Peer | str:
    """The peer's row, or a fresh one that isn't written yet, or the reason why it gets none.

    A friend, or a proven peer (its handshake is done), may take the place of any that is idle, others only of one that
    fails, or, heard on `hub`, of one from another hub, which fills the table.
    """
    row = turn.peers.get(peer)
    if row is not None:
        return row
    if public_key(peer) is None:
        return "that is no peer id"
    if peer == turn.own:
        return "that is ourselves"
    if peer in turn.blocked:
        return "the peer is blocked"
    if len(turn.peers) >= turn.settings.known_peers_max:
        proven = proven or peer in turn.hops  # they are few, and nobody can make up more of them
        last = None if turn.due.last is None else turn.peers[turn.due.last[1]]
        # A row that holds somebody off is what keeps them off.
        yields = last is not None and last.not_before_s <= turn.mono_s and (proven or last.failures > 0)
        worst = last.id if last is not None and yields else replaceable(turn, hub, proven=proven)
        if worst is None:
            return f"the table is full with {turn.settings.known_peers_max} peers"
        turn.drop_peer(worst)
    return Peer(peer, turn.mono_s, turn.wall_s, ready_s=turn.mono_s, asked=peer in turn.pinned)


def seen(turn: Turn, row: Peer, route: Route | None = None) -> Peer:
    """The row after a sign of life, over this route where one is given."""
    if route is None:
        return replace(row, seen_s=turn.mono_s, last_seen_wall_s=turn.wall_s)
    routes = _with_route(turn, row, route)
    return replace(row, routes=routes, parked=False, seen_s=turn.mono_s, last_seen_wall_s=turn.wall_s)


def _with_route(turn: Turn, row: Peer, route: Route) -> tuple[KnownRoute, ...]:
    for at, known in enumerate(row.routes):
        if known.route == route:
            return (*row.routes[:at], replace(known, heard_s=turn.mono_s), *row.routes[at + 1 :])
    routes = row.routes
    near = [known for known in routes if known.route.via == "lan"]
    if route.via == "lan" and len(near) >= turn.settings.lan_routes_max:
        # Who listens there makes up for its failures, one that was made up does not.
        worst = min(near, key=lambda known: (-known.failures, known.heard_s))
        routes = tuple(known for known in routes if known is not worst)
    elif len(routes) >= turn.settings.routes_max:
        oldest = min(routes, key=lambda known: known.heard_s)
        routes = tuple(known for known in routes if known is not oldest)
    turn.newcomer(row)
    return (*routes, KnownRoute(route, turn.mono_s))


def keep(turn: Turn, row: Peer) -> None:
    """Write the row, or drop it where nothing in it is worth keeping."""
    held = row.failures > 0 or row.not_before_s > turn.mono_s or row.asked
    if row.routes or row.link is not None or row.attempt is not None or held:
        turn.put_peer(row)
    else:
        turn.drop_peer(row.id)


def abort(turn: Turn, row: Peer, reason: str) -> Peer:
    """The row without its attempt, which is stopped; no failure."""
    if row.attempt is None:
        return row
    turn.emit(e.AbortAttempt(row.id, row.attempt.id, reason))
    turn.cancel(attempt_timer(row.id), reason)
    return replace(row, attempt=None)


def part(turn: Turn, row: Peer, reason: str, not_before_s: float | None = None, terms: tuple[Term, ...] = ()) -> Peer:
    """The row without its attempt and its links, which are ended; no failure."""
    row = without_rival(turn, abort(turn, row, reason), reason)
    if row.link is None:
        return row
    turn.emit(e.ScheduleDisconnectFromRemotePeer(row.id, row.link.id, reason, not_before_s, terms))
    return replace(row, link=None)


def without_rival(turn: Turn, row: Peer, reason: str) -> Peer:
    """The row without its second link, which is ended."""
    if row.rival is None:
        return row
    turn.emit(e.ScheduleDisconnectFromRemotePeer(row.id, row.rival.id, reason))
    turn.cancel(handover_timer(row.id), reason)
    return replace(row, rival=None)


def hold(turn: Turn, row: Peer, hold_s: float) -> None:
    """Write the row, not to be dialled for so long: one side asked for it, or its turn is over.

    Only our dialling waits: a remote that comes sooner than it said has changed its mind.
    """
    until_s = turn.mono_s + hold_s
    ready_s = until_s + turn.uniform(0.0, hold_s * turn.settings.jitter)
    keep(turn, replace(row, not_before_s=until_s, ready_s=ready_s))


def check_link(turn: Turn, row: Peer, link: Link, reason: str) -> None:
    """Have the link pinged, unless that was asked for a moment ago: anybody can pretend to be its other end."""
    if turn.mono_s - link.checked_s >= turn.settings.check_link_s:
        turn.put_peer(replace(row, link=replace(link, checked_s=turn.mono_s)))
        turn.emit(e.CheckLink(row.id, link.id, reason))


def did_announce(turn: Turn, action: a.RemotePeerDidAnnounce) -> None:
    """A peer is there: note where it can be met."""
    if action.hub not in turn.hubs:
        return turn.ignore(action, "the hub is not in the table")
    row = admit(turn, action.peer, action.hub)
    if isinstance(row, str):
        return turn.ignore(action, row)
    is_news = not any(known.route.where == action.hub for known in row.routes)
    row = seen(turn, row, Route("hub", action.hub))
    if is_news and row.link is None:
        row = _taking_turns(turn, row, action)
        if is_near(turn, row):
            turn.friends_after_s = turn.mono_s  # it may have room, though many others had none
    turn.put_peer(row)
    if row.link is None:
        return None
    return check_link(turn, row, row.link, "the peer announces itself: perhaps it has started anew")


def _taking_turns(turn: Turn, row: Peer, action: a.RemotePeerDidAnnounce) -> Peer:
    """Not everybody who hears a stranger dials it at once: as many as it has slots, by chance, and not together."""
    heard, free = turn.heard.get(action.hub, 0), action.free_slots
    if free is None or heard <= free or is_near(turn, row):
        return row
    pause_s = turn.settings.turns_s if turn.uniform(0.0, heard) < free else turn.settings.announce_max_s
    return replace(row, ready_s=max(row.ready_s, turn.mono_s + turn.uniform(0.0, pause_s)))


def did_appear(turn: Turn, action: a.RemotePeerDidAppear) -> None:
    """A peer of a local network is there: note where it listens. All else is as for one that a hub told us of."""
    row = admit(turn, action.peer, LAN)
    if isinstance(row, str):
        return turn.ignore(action, row)
    route = Route("lan", action.address)
    is_news = not any(known.route == route for known in row.routes)
    row = seen(turn, row, route)
    if is_news and row.link is None and is_near(turn, row):
        turn.friends_after_s = turn.mono_s  # it may have room, though many others had none
    return turn.put_peer(row)


def did_disconnect(turn: Turn, action: a.RemotePeerDidDisconnect) -> None:
    """A peer said goodbye on a hub: it can't be met there any longer, and is forgotten where nothing else is left."""
    row = turn.peers.get(action.peer)
    route = Route("hub", action.hub)
    if row is None or not any(known.route == route for known in row.routes):
        return turn.ignore(action, "the peer was not known there")
    # An attempt over that hub goes on: if the goodbye is true it fails by itself, and anybody can forge one.
    routes = tuple(known for known in row.routes if known.route != route)
    return keep(turn, replace(row, routes=routes))


def disconnect(turn: Turn, action: a.DisconnectFromRemotePeer) -> None:
    """Somebody here wants no link to this peer for some time; that ends a pin, too."""
    row = turn.peers.get(action.peer)
    if row is None:
        return turn.ignore(action, "the peer is not known")
    hold_s = turn.believed_s(action.not_before_s)
    if hold_s is None:
        hold_s = turn.settings.disconnect_hold_s
    until_s = turn.mono_s + hold_s
    if row.id in turn.pinned:
        turn.pinned = turn.pinned.delete(row.id)
    row = part(turn, row, short(action.reason), hold_s)
    return keep(
        turn,
        replace(row, asked=False, not_before_s=until_s, refused_until_s=until_s, ready_s=max(row.ready_s, until_s)),
    )


def connect(turn: Turn, action: a.ConnectToRemotePeer) -> None:
    """Somebody here wants a link to this peer: no hold, no back-off, before all others."""
    row = admit(turn, action.peer, proven=True)
    if isinstance(row, str):
        return turn.ignore(action, row)
    route = action.route
    row = seen(turn, row, None if route is None or route.via == "inbound" else route)
    routes = tuple(replace(known, failures=0) for known in row.routes)
    row = replace(row, routes=routes, asked=True, parked=False, failures=0)
    return turn.put_peer(replace(row, not_before_s=_NEVER, refused_until_s=_NEVER, ready_s=turn.mono_s))


def blocked(turn: Turn, action: a.PeerBlocked) -> None:
    """No more of this peer."""
    if action.peer in turn.blocked:
        return turn.ignore(action, "the peer is blocked already")
    if public_key(action.peer) is None or action.peer == turn.own:
        return turn.ignore(action, "that is no other peer's id")
    if len(turn.blocked) >= turn.settings.blocked_max:
        return turn.ignore(action, f"the table is full with {turn.settings.blocked_max} blocked peers")
    turn.blocked = turn.blocked.set(action.peer, True)
    if action.peer in turn.pinned:
        turn.pinned = turn.pinned.delete(action.peer)
    row = turn.peers.get(action.peer)
    if row is not None:
        part(turn, row, "blocked", turn.settings.hold_max_s)
        turn.drop_peer(row.id)
    return None


def unblocked(turn: Turn, action: a.PeerUnblocked) -> None:
    """This peer is as any other again, once it is heard of."""
    if action.peer not in turn.blocked:
        return turn.ignore(action, "the peer is not blocked")
    turn.blocked = turn.blocked.delete(action.peer)
    return None


def pinned(turn: Turn, action: a.PeerPinned) -> None:
    """A link with this peer is wanted for good."""
    if action.peer in turn.pinned:
        return turn.ignore(action, "the peer is pinned already")
    if len(turn.pinned) >= turn.settings.pinned_max:
        return turn.ignore(action, f"the table is full with {turn.settings.pinned_max} pinned peers")
    if public_key(action.peer) is None or action.peer == turn.own or action.peer in turn.blocked:
        return turn.ignore(action, "that is no other peer's id, or the peer is blocked")
    turn.pinned = turn.pinned.set(action.peer, True)
    row = turn.peers.get(action.peer)
    if row is not None:
        turn.put_peer(replace(row, asked=True, parked=False, ready_s=max(turn.mono_s, row.not_before_s)))
    return None


def unpinned(turn: Turn, action: a.PeerUnpinned) -> None:
    """This peer is as any other again."""
    if action.peer not in turn.pinned:
        return turn.ignore(action, "the peer is not pinned")
    turn.pinned = turn.pinned.delete(action.peer)
    row = turn.peers.get(action.peer)
    return None if row is None else turn.put_peer(replace(row, asked=False))


def hops_did_change(turn: Turn, action: a.HopsDidChange) -> None:
    """Some peers became friends, or strangers, or moved."""
    changed = False
    for peer, told in action.hops:
        hops = told if told is not None and told > 0 else None
        if hops == turn.hops.get(peer) or (
            hops and peer not in turn.hops and len(turn.hops) >= turn.settings.friends_known_max
        ):
            continue
        changed = True
        turn.put_hops(peer, hops)
    if not changed:
        turn.ignore(action, "that was known, or the table is full")


def heal(turn: Turn, row: Peer) -> None:
    """A link that has lasted `healthy_s` has made up for earlier failures."""
    if row.failures and row.link is not None and turn.mono_s - row.link.since_s >= turn.settings.healthy_s:
        turn.put_peer(replace(row, failures=0))


def is_stale(turn: Turn, row: Peer) -> bool:
    """Whether time alone changes this row now."""
    if row.link is not None or row.attempt is not None:
        return False
    for known in row.routes:
        if not _alive(turn, known):
            return True
    return not row.routes


def refresh(turn: Turn, row: Peer) -> None:
    """What time alone does to a row: routes go stale, and without any it is forgotten in the end."""
    oldest_s = turn.mono_s - turn.settings.announcement_ttl_s
    routes = tuple(known for known in row.routes if _alive(turn, known))
    if not routes and row.seen_s <= oldest_s and row.not_before_s <= turn.mono_s and row.id not in turn.pinned:
        return turn.drop_peer(row.id)
    return keep(turn, replace(row, routes=routes))


def usable_now(tables: State | Turn, known: KnownRoute) -> bool:
    """Whether the peer can be dialled over this route: an address always, a hub or go-between while connected."""
    hub = tables.hubs.get(HubUrl(known.route.where))
    if known.route.via in DIALLED or (hub is not None and hub.connected_s is not None):
        return True
    return passes_on(tables, known.route.where)


def passes_on(tables: State | Turn, where: str) -> bool:
    """Whether this is the pseudo address of a peer that is linked now, over which others can be met."""
    peer = behind(where)
    row = None if peer is None else tables.peers.get(peer)
    return row is not None and row.link is not None


def unpark(turn: Turn, hub: HubUrl) -> None:
    """A hub or a go-between is connected: who waited for it is due."""
    route = Route("hub", hub)
    for _, peer in turn.aside:
        row = turn.peers[peer]
        if row.parked and any(known.route == route for known in row.routes):
            turn.put_peer(replace(row, parked=False))


def _alive(turn: Turn, known: KnownRoute) -> bool:
    if known.route.via == "address":
        return True
    silent_s = turn.mono_s - known.heard_s
    if known.route.via == "lan":
        return silent_s < turn.settings.lan_ttl_s
    there = known.route.where in turn.hubs or behind(known.route.where) is not None
    return silent_s < turn.settings.announcement_ttl_s and there
