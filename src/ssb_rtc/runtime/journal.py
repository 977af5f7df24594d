"""What a running peer logs of its network: hubs, links, what became of attempts; and each line on the way if asked for.

Everything goes through the logger `ssb_rtc.peer`; a line's facts are its record's `fields`. What strangers can cause as
often as they like is told at the level debug only.
"""

from __future__ import annotations

import logging

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.state import State
from ssb_rtc.runtime.timelines import Milestone
from ssb_rtc.types import PeerId

LOGGER = "ssb_rtc.peer"
TOLD = {"in use": "linked", "failed": "attempt failed", "ended": "link ended"}
"""Milestones that are told at the level info, and how."""

_log = logging.getLogger(LOGGER)


def tell_milestone(peer: PeerId, line: Milestone) -> None:
    """See Timelines.subscribe."""
    level = logging.INFO if line.what in TOLD else logging.DEBUG
    if _log.isEnabledFor(level):
        fields = {"peer": peer, "at_s": round(line.at_s, 3), **({"detail": line.detail} if line.detail else {})}
        _log.log(level, TOLD.get(line.what, line.what), extra={"fields": fields})


def tell_hubs(_state: State, action: a.Action, _effects: tuple[e.Effect, ...]) -> None:
    """See runtime.driver.Observer."""
    match action:
        case a.HubConnectionSucceeded():
            _log.info("hub connected", extra={"fields": {"hub": action.hub}})
        case a.HubConnectionFailed() | a.HubConnectionLost():
            what = "hub failed" if isinstance(action, a.HubConnectionFailed) else "hub lost"
            _log.info(what, extra={"fields": {"hub": action.hub, "reason": action.reason}})
