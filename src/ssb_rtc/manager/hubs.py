"""The slice of hubs: connect to them, announce ourselves, keep the table.

    HUB_ADDRESS_ADDED -> SCHEDULE_CONNECT_TO_HUB
        -> HUB_CONNECTION_SUCCEEDED -> SCHEDULE_ANNOUNCE_TO_HUB, again and again
        -> HUB_CONNECTION_FAILED or HUB_CONNECTION_LOST -> back-off -> SCHEDULE_CONNECT_TO_HUB

A hub that a person put there is tried for ever; its pauses grow to `hub_backoff_max_s`. Of the hubs that others told us
of, the best are connected, the others are spare, and one that fails too often is forgotten. Every hub that is neither
connected nor spare has the timer `hub:<url>`: the time-out of its attempt, or its back-off.
"""

from __future__ import annotations

from msgspec.structs import replace

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager import hub_probe, knocks
from ssb_rtc.manager.chance import backoff_s
from ssb_rtc.manager.hub_table import URL_CHARACTERS_MAX, changed, save
from ssb_rtc.manager.peers import abort, unpark
from ssb_rtc.manager.score import hubs_by_score
from ssb_rtc.manager.slots import count
from ssb_rtc.manager.state import Hub, Route, State
from ssb_rtc.manager.turn import Turn, announce_timer, hub_timer, knock_timer, short
from ssb_rtc.types import HubUrl, behind


def address_added(turn: Turn, action: a.HubAddressAdded) -> None:
    """A hub joins the table and is connected to at once."""
    known = turn.hubs.get(action.hub)
    if known is not None:
        return _added_again(turn, known, action)
    if behind(action.hub) is not None:
        return turn.ignore(action, "that is no hub, but a peer that introduces others")
    if not 0 < len(action.hub) <= URL_CHARACTERS_MAX:
        return turn.ignore(action, f"a hub's address has 1 to {URL_CHARACTERS_MAX} characters")
    if len(turn.hubs) >= turn.settings.hubs_max and not _make_room(turn, action):
        return turn.ignore(action, f"the table is full with {turn.settings.hubs_max} hubs")
    success_s = action.last_success_wall_s
    hub = Hub(
        action.hub,
        action.source,
        action.private,
        last_success_wall_s=success_s,
        tried=action.stored,
        announces=action.announces,
    )
    if hub.source == "gossip":
        turn.put_hub(hub)  # whether it is connected depends on the others: see `fill`
    else:
        _connect(turn, hub, "the hub was added to the table")
    if not action.stored:
        changed(turn, "a hub was added")
    return None


def _make_room(turn: Turn, action: a.HubAddressAdded) -> bool:
    """Forget the worst hub that others told us of, for one that a person wants."""
    gossiped = [url for url in hubs_by_score(turn, turn.wall_s) if turn.hubs[url].source == "gossip"]
    if action.source == "gossip" or not gossiped:
        return False
    _remove(turn, turn.hubs[gossiped[-1]], "a hub that somebody here wants needs the place")
    return True


def _added_again(turn: Turn, hub: Hub, action: a.HubAddressAdded) -> None:
    if action.stored or action.source != "user":
        return turn.ignore(action, "the hub is in the table already")
    is_news = (hub.source, hub.private) != ("user", action.private)
    if not is_news and hub.connection is not None:
        return turn.ignore(action, "the hub is in the table already, and connected or about to be")
    hub = replace(hub, source="user", private=action.private)
    turn.put_hub(hub)
    if hub.connection is None:
        _connect(turn, hub, "somebody here wants the hub now")
    return changed(turn, "somebody here wants the hub for good") if is_news else None


def address_removed(turn: Turn, action: a.HubAddressRemoved) -> None:
    """A hub leaves the table: goodbye, and close. Its routes go at the next tick."""
    hub = turn.hubs.get(action.hub)
    if hub is None:
        return turn.ignore(action, "the hub is not in the table")
    _remove(turn, hub, "the hub was removed from the table")
    hub_probe.remember(turn, hub.url)  # others may still vouch for it
    return changed(turn, "a hub was removed")


def _remove(turn: Turn, hub: Hub, reason: str) -> None:
    for peer in turn.trying:
        row = turn.peers[peer]
        if row.attempt is not None and row.attempt.route == Route("hub", hub.url):
            turn.put_peer(abort(turn, row, reason))
    leave(turn, hub, reason)
    turn.drop_hub(hub.url)


def leave(turn: Turn, hub: Hub, reason: str) -> None:
    """Say goodbye on a hub, close its connection and cancel its timers."""
    if hub.connection is not None:
        if hub.connected_s is not None:
            turn.emit(e.ScheduleAnnounceLeaveToHub(hub.url, hub.connection, reason))
        turn.emit(e.ScheduleDisconnectFromHub(hub.url, hub.connection, reason))
    turn.cancel(hub_timer(hub.url), reason)
    turn.cancel(announce_timer(hub.url), reason)
    turn.cancel(knock_timer(hub.url), reason)


def connection_succeeded(turn: Turn, action: a.HubConnectionSucceeded) -> None:
    """The subscription stands: announce ourselves, unless we did a moment ago."""
    hub = turn.hubs.get(action.hub)
    if hub is None or hub.connection != action.connection or hub.connected_s is not None:
        return turn.ignore(action, "that connection to the hub was superseded")
    turn.cancel(hub_timer(hub.url), "the hub is connected")
    hub = replace(hub, connected_s=turn.mono_s, last_error="")
    unpark(turn, hub.url)
    turn.put_hub(hub)
    knocks.arrived(turn, hub)
    hub = turn.hubs[hub.url]
    since_s = None if hub.announced_s is None else turn.mono_s - hub.announced_s
    if since_s is None or since_s >= turn.settings.announce_reconnect_s:
        return _announce(turn, hub, "the hub is connected")
    reason = f"the hub is connected again, and heard us {since_s:.0f} s ago"
    return _announce_at(turn, hub, max(turn.mono_s, hub.announce_at_s), reason)


def connection_failed(turn: Turn, action: a.HubConnectionFailed) -> None:
    """The hub could not be reached: later again."""
    hub = turn.hubs.get(action.hub)
    if hub is None or hub.connection != action.connection:
        return turn.ignore(action, "that connection to the hub was superseded")
    return _down(turn, hub, action.reason, action.retry_after_s)


def connection_lost(turn: Turn, action: a.HubConnectionLost) -> None:
    """The subscription ended: connect again, soon where the hub was healthy."""
    hub = turn.hubs.get(action.hub)
    if hub is None or hub.connection != action.connection:
        return turn.ignore(action, "that connection to the hub was superseded")
    return _down(turn, hub, action.reason, None)


def timer_expired(turn: Turn, where: str) -> None:
    """The timer `hub:<url>`: an attempt took too long, or a back-off is over."""
    hub = turn.hubs[HubUrl(where)]
    if hub.probe is not None:
        return hub_probe.timed_out(turn, hub)
    if hub.connection is None and hub.source != "gossip":
        return _connect(turn, hub, "its back-off is over")
    if hub.connection is None:
        turn.refill_hubs = True
        return None
    reason = f"no answer within {turn.settings.hub_timeout_s:.0f} s"
    turn.emit(e.ScheduleDisconnectFromHub(hub.url, hub.connection, reason))
    return _down(turn, hub, reason, None)


def reconnect_now(turn: Turn, hub: Hub, reason: str) -> None:
    """What failed before may work now: no back-off, and announce ourselves as to a fresh hub."""
    if not hub.is_proven and (hub.probe is not None or not hub.connection_attempts):
        return  # it is being asked, or waits for the time at which it is asked first
    hub = replace(hub, connection_attempts=0, announcements=0)
    if hub.connected_s is not None:
        be_eager(turn, hub, reason)
    elif hub.connection is None and hub.source != "gossip":
        _connect(turn, hub, reason)
    else:
        if hub.connection is None:
            turn.cancel(hub_timer(hub.url), reason)
        turn.put_hub(hub)
        turn.refill_hubs = True


def is_spare(tables: State | Turn, hub: Hub) -> bool:
    """Whether the hub waits for a place among those that others told us of."""
    return hub.connection is None and hub_timer(hub.url) not in tables.timers


def gossiped_max(tables: State | Turn) -> int:
    """How many of the hubs that others told us of may be connected: at most half of all, but one in any case."""
    ours = sum(hub.source != "gossip" for hub in tables.hubs.values())
    return min(tables.settings.gossiped_hubs_max, max(1, ours))


def fill(turn: Turn) -> None:
    """Connect to the best spare hubs, as far as there is room; an unknown one is asked first, at a random time."""
    gossiped = [hub for hub in map(turn.hubs.__getitem__, hubs_by_score(turn, turn.wall_s)) if hub.source == "gossip"]
    room = gossiped_max(turn) - sum(hub.connection is not None for hub in gossiped)
    for hub in gossiped:
        if not is_spare(turn, hub):
            continue
        if not hub.tried:
            _try_sometime(turn, hub)
        elif not hub.is_proven:
            hub_probe.begin(turn, hub)
        elif room > 0:
            room -= 1
            _connect(turn, hub, "it is the best of the hubs that others told us of")


def _try_sometime(turn: Turn, hub: Hub) -> None:
    turn.put_hub(replace(hub, tried=True))
    online = any(each.connected_s is not None for each in turn.hubs.values())
    spread_s = turn.settings.hub_probe_spread_s if online else turn.settings.hub_probe_urgent_s
    at_s = turn.mono_s + turn.uniform(0.0, spread_s)
    turn.arm(hub_timer(hub.url), at_s, "a hub that others told us of is asked at a random time")


def hurry(turn: Turn) -> None:
    """We are on no hub at all: what others told us of, and was never tried, is tried soon."""
    soon_s = turn.settings.hub_probe_urgent_s
    for url in sorted(turn.hubs):
        hub, at_s = turn.hubs[url], turn.timers.get(hub_timer(url), 0.0)
        if hub.source == "gossip" and not hub.connection_attempts and at_s > turn.mono_s + soon_s:
            turn.arm(hub_timer(url), turn.mono_s + turn.uniform(0.0, soon_s), "we are on no hub at all")


def note_health(turn: Turn) -> None:
    """A hub that has been connected for `healthy_s` has made up for earlier failures."""
    healed = proven = False
    for url in sorted(turn.hubs):
        hub = turn.hubs[url]
        since_s = hub.connected_s
        if since_s is not None and turn.mono_s - since_s >= turn.settings.healthy_s and hub.healthy_s != since_s:
            healed = True
            proven |= hub.last_success_wall_s is None
            turn.put_hub(replace(hub, healthy_s=since_s, connection_attempts=0, last_success_wall_s=turn.wall_s))
    if proven:
        changed(turn, "a hub has done well for the first time: it may be passed on")
    elif healed:
        save(turn, "hubs did well")


def be_eager(turn: Turn, hub: Hub, reason: str) -> None:
    """Announce ourselves on a connected hub, and knock there, as soon as the shortest pause allows."""
    knocks.hurry(turn, hub, reason)
    hub = turn.hubs[hub.url]
    at_s = min(hub.announce_at_s, (hub.announced_s or 0.0) + turn.settings.announce_s)
    _announce_at(turn, replace(hub, announcements=0), max(turn.mono_s, at_s), reason)


def announce_timer_expired(turn: Turn, where: str) -> None:
    """The timer `announce:<url>`, which is armed only while the hub is connected."""
    _announce(turn, turn.hubs[HubUrl(where)], "it is time to be heard again")


def did_limit(turn: Turn, action: a.HubDidLimit) -> None:
    """The hub wants to hear less of us: the next announcement waits."""
    hub = turn.hubs.get(action.hub)
    if hub is None or hub.connected_s is None:
        return turn.ignore(action, "the hub is not connected")
    wait_s = turn.believed_s(action.retry_after_s)
    at_s = turn.mono_s + turn.jittered(turn.settings.announce_max_s if wait_s is None else wait_s)
    return _announce_at(turn, hub, max(hub.announce_at_s, at_s), "the hub asks us to send less")


def announce_failed(turn: Turn, action: a.AnnounceToHubFailed) -> None:
    """An announcement did not get out: the next one comes no sooner than after the shortest pause."""
    hub = turn.hubs.get(action.hub)
    if hub is None or hub.connection != action.connection or hub.connected_s is None:
        return turn.ignore(action, "that connection to the hub was superseded")
    hub = replace(hub, last_error=short(action.reason))
    at_s = turn.mono_s + turn.jittered(turn.settings.announce_s)
    return _announce_at(turn, hub, at_s, "the announcement did not get out")


def _connect(turn: Turn, hub: Hub, reason: str) -> None:
    connection = turn.new_id()
    attempts = hub.connection_attempts + 1
    turn.put_hub(replace(hub, connection=connection, connection_attempts=attempts, probe=None))
    turn.emit(e.ScheduleConnectToHub(hub.url, connection, reason))
    turn.arm(hub_timer(hub.url), turn.mono_s + turn.settings.hub_timeout_s, "the time-out of this attempt")


def _down(turn: Turn, hub: Hub, reason: str, retry_after_s: float | None) -> None:
    settings = turn.settings
    healthy = hub.connected_s is not None and turn.mono_s - hub.connected_s >= settings.healthy_s
    attempts = 0 if healthy else hub.connection_attempts
    others = any(each.connected_s is not None for each in turn.hubs.values() if each.url != hub.url)
    max_s = settings.hub_backoff_max_s if others else settings.hub_backoff_offline_max_s
    span_s = backoff_s(settings.hub_backoff_s, max_s, attempts)
    wait_s = turn.believed_s(retry_after_s) or 0.0
    delay_s = wait_s + max(settings.hub_backoff_min_s, turn.uniform(0.0, span_s))
    turn.cancel(announce_timer(hub.url), "the hub is not connected")
    turn.cancel(knock_timer(hub.url), "the hub is not connected")
    if hub.source == "gossip" and attempts >= settings.hub_failures_max:
        turn.cancel(hub_timer(hub.url), "it failed too often")
        turn.drop_hub(hub.url)
        return changed(turn, "a hub that others told us of failed too often")
    reason = short(reason)
    turn.put_hub(replace(hub, connection=None, connected_s=None, connection_attempts=attempts, last_error=reason))
    return turn.arm(hub_timer(hub.url), turn.mono_s + delay_s, f"{reason}; attempts so far: {attempts}")


def _announce(turn: Turn, hub: Hub, reason: str) -> None:
    settings, slots = turn.settings, count(turn)
    free = slots.free(settings)
    turn.emit(e.ScheduleAnnounceToHub(hub.url, hub.connection or 0, reason, free))
    announcements = hub.announcements + 1 if turn.linked else 0
    heard = turn.heard.get(hub.url, 0)
    pause_s = settings.announce_s * 2.0 ** min(announcements, 16)
    why = "slots are free"
    if not free:
        pause_s, why = settings.announce_max_s, "all slots are taken"
    elif turn.linked and heard * 60 / settings.announces_per_min > pause_s:
        pause_s, why = heard * 60 / settings.announces_per_min, f"slots are free, and {heard} peers are heard there"
    at_s = turn.mono_s + turn.jittered(min(pause_s, settings.announce_max_s))
    hub = replace(hub, announced_s=turn.mono_s, announcements=announcements)
    _announce_at(turn, hub, at_s, why)


def _announce_at(turn: Turn, hub: Hub, at_s: float, reason: str) -> None:
    turn.put_hub(replace(hub, announce_at_s=at_s))
    turn.arm(announce_timer(hub.url), at_s, reason)
