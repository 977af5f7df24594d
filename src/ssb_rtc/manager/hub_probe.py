"""The slice of probes: a hub that we know from others alone is asked whether it is one, before it is connected to.

    its time has come (hubs.fill) -> SCHEDULE_PROBE_HUB
        -> HUB_PROBE_SUCCEEDED -> it is spare, and connected to when there is room
        -> HUB_PROBE_FAILED -> it leaves the table; while others vouch for it, it may come back after a day

A host is asked once in `hub_probe_pause_s`, whatever hubs are said to be there and however often we are started: who
gets others to name an address must not make all of us knock there. As a domain has names without end, no more than
`hub_probes_max` are asked in that time. While one is asked, `hub:<url>` is the time-out.
"""

from __future__ import annotations

import math

from msgspec.structs import replace

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.hub_table import URL_CHARACTERS_MAX
from ssb_rtc.manager.state import Hub
from ssb_rtc.manager.turn import Turn, hub_timer, short
from ssb_rtc.manager.vouching import asked_s_ago, host_of, is_enough, questions_left
from ssb_rtc.types import HubUrl

PROBES_MAX = 1_024
"""Hosts of which we remember when they were asked."""


def begin(turn: Turn, hub: Hub) -> None:
    """Ask, unless its host was asked lately, or too few vouch for it by now: then it leaves the table."""
    if asked_s_ago(turn, hub.url) is not None:
        return _drop(turn, hub, "its host was asked within a day")
    if not is_enough(turn, hub.url):
        return _drop(turn, hub, "too few vouch for it by now")
    if questions_left(turn) <= 0:
        return _drop(turn, hub, "enough hosts were asked today")
    host, probe = host_of(hub.url), turn.new_id()
    remember(turn, hub.url)
    turn.put_hub(replace(hub, probe=probe))
    turn.emit(e.ScheduleProbeHub(hub.url, probe, host, "others vouch for it, and it may be none"))
    return turn.arm(hub_timer(hub.url), turn.mono_s + turn.settings.hub_timeout_s, "the time-out of this question")


def succeeded(turn: Turn, action: a.HubProbeSucceeded) -> None:
    """There is a hub: from now on it is one of those that may be connected to."""
    hub = turn.hubs.get(action.hub)
    if hub is None or hub.probe != action.probe:
        return turn.ignore(action, "that question to the hub was superseded")
    turn.put_hub(replace(hub, probe=None, probed=True, connection_attempts=0, last_error=""))
    turn.cancel(hub_timer(hub.url), "there is a hub")
    turn.refill_hubs = True
    return None


def failed(turn: Turn, action: a.HubProbeFailed) -> None:
    """There is none; or nobody was asked, and then it is tried again."""
    hub = turn.hubs.get(action.hub)
    if hub is None or hub.probe != action.probe:
        return turn.ignore(action, "that question to the hub was superseded")
    if action.asked:
        return _drop(turn, hub, f"there is no hub: {short(action.reason)}")
    turn.probes = turn.probes.delete(host_of(hub.url))
    attempts = hub.connection_attempts + 1
    if attempts >= turn.settings.hub_failures_max:
        return _drop(turn, hub, "it could not be asked too often")
    turn.put_hub(replace(hub, probe=None, connection_attempts=attempts, last_error=short(action.reason)))
    at_s = turn.mono_s + turn.jittered(turn.settings.hub_backoff_max_s)
    return turn.arm(hub_timer(hub.url), at_s, f"it could not be asked: {short(action.reason)}")


def was_probed(turn: Turn, action: a.HubWasProbed) -> None:
    """An earlier run of ours asked there."""
    fits = 0 < len(action.host) <= URL_CHARACTERS_MAX and math.isfinite(action.ago_s)
    if not fits or not 0 <= action.ago_s < turn.settings.hub_probe_pause_s:
        return turn.ignore(action, "that says nothing about when a host may be asked")
    return _remember(turn, action.host, turn.mono_s - action.ago_s)


def timed_out(turn: Turn, hub: Hub) -> None:
    """No answer came to a question."""
    _drop(turn, hub, f"there is no hub: no answer within {turn.settings.hub_timeout_s:.0f} s")


def remember(turn: Turn, hub: HubUrl) -> None:
    """Don't ask at the hub's host for a day from now on."""
    _remember(turn, host_of(hub), turn.mono_s)


def _drop(turn: Turn, hub: Hub, reason: str) -> None:
    turn.cancel(hub_timer(hub.url), reason)
    turn.drop_hub(hub.url)


def _remember(turn: Turn, host: str, at_s: float) -> None:
    since_s = turn.mono_s - turn.settings.hub_probe_pause_s
    if host not in turn.probes and len(turn.probes) >= PROBES_MAX:
        for other in sorted(other for other, asked_s in turn.probes.items() if asked_s <= since_s):
            turn.probes = turn.probes.delete(other)
        if len(turn.probes) >= PROBES_MAX:
            oldest = min(sorted(turn.probes), key=turn.probes.__getitem__)
            turn.probes = turn.probes.delete(oldest)
    turn.probes = turn.probes.set(host, max(at_s, turn.probes.get(host, at_s)))
