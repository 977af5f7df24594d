"""The slice of hubs: connect to all of them, announce ourselves, keep and pass on the table.

    HUB_ADDRESS_ADDED -> SCHEDULE_CONNECT_TO_HUB
        -> HUB_CONNECTION_SUCCEEDED -> SCHEDULE_ANNOUNCE_TO_HUB, again and again
        -> HUB_CONNECTION_FAILED or HUB_CONNECTION_LOST -> back-off -> SCHEDULE_CONNECT_TO_HUB

A hub is tried for ever, because a person put it there; its pauses grow to `hub_backoff_max_s`. Every hub that is not
connected has the timer `hub:<url>`: the time-out of its attempt, or its back-off.
"""

from __future__ import annotations

from msgspec.structs import replace

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.chance import backoff_s
from ssb_rtc.manager.peers import abort, unpark
from ssb_rtc.manager.slots import count
from ssb_rtc.manager.state import Hub, KnownHub, Route
from ssb_rtc.manager.turn import BROADCAST, SAVE, Turn, announce_timer, hub_timer, short
from ssb_rtc.types import HubUrl

URL_CHARACTERS_MAX = 2_048


def address_added(turn: Turn, action: a.HubAddressAdded) -> None:
    """A hub joins the table and is connected to at once."""
    known = turn.hubs.get(action.hub)
    if known is not None:
        return _added_again(turn, known, action)
    if not 0 < len(action.hub) <= URL_CHARACTERS_MAX:
        return turn.ignore(action, f"a hub's address has 1 to {URL_CHARACTERS_MAX} characters")
    if len(turn.hubs) >= turn.settings.hubs_max:
        return turn.ignore(action, f"the table is full with {turn.settings.hubs_max} hubs")
    hub = Hub(action.hub, action.source, action.private)
    _connect(turn, hub, "the hub was added to the table")
    if not action.stored:
        _changed(turn, "a hub was added")
    return None


def _added_again(turn: Turn, hub: Hub, action: a.HubAddressAdded) -> None:
    if action.stored or action.source != "user" or (hub.source, hub.private) == ("user", action.private):
        return turn.ignore(action, "the hub is in the table already")
    turn.put_hub(replace(hub, source="user", private=action.private))
    return _changed(turn, "somebody here wants the hub for good")


def address_removed(turn: Turn, action: a.HubAddressRemoved) -> None:
    """A hub leaves the table: goodbye, and close. Its routes go at the next tick."""
    hub = turn.hubs.get(action.hub)
    if hub is None:
        return turn.ignore(action, "the hub is not in the table")
    reason = "the hub was removed from the table"
    for peer in turn.trying:
        row = turn.peers[peer]
        if row.attempt is not None and row.attempt.route == Route("hub", hub.url):
            turn.put_peer(abort(turn, row, reason))
    leave(turn, hub, reason)
    turn.drop_hub(hub.url)
    return _changed(turn, "a hub was removed")


def leave(turn: Turn, hub: Hub, reason: str) -> None:
    """Say goodbye on a hub, close its connection and cancel its timers."""
    if hub.connection is not None:
        if hub.connected_s is not None:
            turn.emit(e.ScheduleAnnounceLeaveToHub(hub.url, hub.connection, reason))
        turn.emit(e.ScheduleDisconnectFromHub(hub.url, hub.connection, reason))
    turn.cancel(hub_timer(hub.url), reason)
    turn.cancel(announce_timer(hub.url), reason)


def connection_succeeded(turn: Turn, action: a.HubConnectionSucceeded) -> None:
    """The subscription stands: announce ourselves, unless we did a moment ago."""
    hub = turn.hubs.get(action.hub)
    if hub is None or hub.connection != action.connection or hub.connected_s is not None:
        return turn.ignore(action, "that connection to the hub was superseded")
    turn.cancel(hub_timer(hub.url), "the hub is connected")
    hub = replace(hub, connected_s=turn.mono_s, last_error="")
    unpark(turn, hub.url)
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
    if hub.connection is None:
        return _connect(turn, hub, "its back-off is over")
    reason = f"no answer within {turn.settings.hub_timeout_s:.0f} s"
    turn.emit(e.ScheduleDisconnectFromHub(hub.url, hub.connection, reason))
    return _down(turn, hub, reason, None)


def reconnect_now(turn: Turn, hub: Hub, reason: str) -> None:
    """What failed before may work now: no back-off, and announce ourselves as to a fresh hub."""
    hub = replace(hub, connection_attempts=0, announcements=0)
    if hub.connected_s is not None:
        be_eager(turn, hub, reason)
    elif hub.connection is None:
        _connect(turn, hub, reason)
    else:
        turn.put_hub(hub)


def be_eager(turn: Turn, hub: Hub, reason: str) -> None:
    """Announce ourselves on a connected hub as soon as the shortest pause allows."""
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
    known = tuple(KnownHub(row.url, row.source, row.private) for row in rows)
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
    hubs = tuple(row.url for row in rows if not row.private and not _has_credentials(row.url))
    told = []
    for peer in turn.linked:
        row = turn.peers[peer]
        if row.link is not None and row.link.told_revision < turn.revision:
            turn.put_peer(replace(row, link=replace(row.link, told_revision=turn.revision)))
            told.append(peer)
    if told and hubs:
        turn.emit(e.ScheduleBroadcastKnownHubs(turn.revision, hubs, tuple(told), "they have not heard of these hubs"))


def _has_credentials(url: HubUrl) -> bool:
    return "@" in url.partition("//")[2].partition("/")[0]


def _changed(turn: Turn, reason: str) -> None:
    turn.revision += 1
    turn.cancel(SAVE, reason)
    save(turn, reason)


def _connect(turn: Turn, hub: Hub, reason: str) -> None:
    connection = turn.new_id()
    turn.put_hub(replace(hub, connection=connection, connection_attempts=hub.connection_attempts + 1))
    turn.emit(e.ScheduleConnectToHub(hub.url, connection, reason))
    turn.arm(hub_timer(hub.url), turn.mono_s + turn.settings.hub_timeout_s, "the time-out of this attempt")


def _down(turn: Turn, hub: Hub, reason: str, retry_after_s: float | None) -> None:
    settings = turn.settings
    healthy = hub.connected_s is not None and turn.mono_s - hub.connected_s >= settings.healthy_s
    attempts = 0 if healthy else hub.connection_attempts
    span_s = backoff_s(settings.hub_backoff_s, settings.hub_backoff_max_s, attempts)
    wait_s = turn.believed_s(retry_after_s) or 0.0
    delay_s = wait_s + max(settings.hub_backoff_min_s, turn.uniform(0.0, span_s))
    turn.cancel(announce_timer(hub.url), "the hub is not connected")
    reason = short(reason)
    turn.put_hub(replace(hub, connection=None, connected_s=None, connection_attempts=attempts, last_error=reason))
    turn.arm(hub_timer(hub.url), turn.mono_s + delay_s, f"{reason}; attempts so far: {attempts}")


def _announce(turn: Turn, hub: Hub, reason: str) -> None:
    settings = turn.settings
    turn.emit(e.ScheduleAnnounceToHub(hub.url, hub.connection or 0, reason))
    announcements = hub.announcements + 1 if turn.linked else 0
    full = count(turn).used >= settings.peers_max
    pause_s = settings.announce_max_s if full else settings.announce_s * 2.0 ** min(announcements, 16)
    at_s = turn.mono_s + turn.jittered(min(pause_s, settings.announce_max_s))
    hub = replace(hub, announced_s=turn.mono_s, announcements=announcements)
    _announce_at(turn, hub, at_s, "all slots are taken" if full else "slots are free")


def _announce_at(turn: Turn, hub: Hub, at_s: float, reason: str) -> None:
    turn.put_hub(replace(hub, announce_at_s=at_s))
    turn.arm(announce_timer(hub.url), at_s, reason)
