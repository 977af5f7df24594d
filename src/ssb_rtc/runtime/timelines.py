"""The way to each peer, from the first that was heard of it to its first message: a few lines a peer, kept for a while.

The trace has each step of the manager and nothing else. Here is what a person asks when a link does not come about:
also what the hubs carried, how ICE went, when replication began. Lines name kinds of addresses, never addresses.

A timeline begins with the first line after the last link or attempt ended. Peers with whom nothing was tried, whose
names anybody can make up, are kept apart, so that they push out nobody else.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.state import Route, State
from ssb_rtc.types import PeerId

PEERS_MAX: Final = 256
"""Timelines of peers with whom something was tried, and as many of others."""
LINES_MAX: Final = 60
DETAIL_MAX_CHARACTERS: Final = 300

WORDS: Final = {
    "announced": "it said on a hub, or in the local network, that it is there",
    "goodbye": "it said on a hub that it leaves",
    "knock sent": "we asked for a link at its inbox",
    "knock heard": "it asked for one",
    "offer heard": "its WebRTC offer came",
    "answer heard": "its WebRTC answer came",
    "candidate heard": "one more address of it came",
    "attempt": "we begin: over which way, and why now",
    "accepted": "we take its knock or offer",
    "refused": "we don't, and why",
    "offer sent": "ours is on its way to the hub, with so many addresses of each kind",
    "answer sent": "likewise",
    "candidate sent": "likewise",
    "not sent": "the hub did not take it",
    "ice": "ICE: checking, connected, completed, disconnected, failed, closed",
    "connection": "ICE and DTLS together: connecting, connected, disconnected, failed, closed",
    "open": "bytes can flow; the secret handshake begins",
    "proven": "the handshake is done: it is who it should be",
    "in use": "the manager has taken the link, and plugins know of it",
    "replicating": "ebt.replicate is open, or createHistoryStream is asked for",
    "download": "it has messages that we want",
    "first message": "the first one that we did not have is stored",
    "caught up": "we have all that we want of it",
    "hanging up": "we end the link, and why",
    "gave way": "an attempt ended while another one, or a link, goes on",
    "other link ended": "the same of a link",
    "failed": "the attempt came to nothing, and why",
    "ended": "the link is over, and why",
}
"""What a line may say, and what it means."""
BEGINNINGS: Final = frozenset(
    {"announced", "knock sent", "knock heard", "offer heard", "attempt", "accepted", "proven"}
)
"""After an end, these begin a new timeline; what else still comes belongs to the old one."""
ENDS: Final = frozenset({"failed", "ended"})
TRIES: Final = frozenset({"attempt", "accepted", "proven"})
LATEST_COUNTS: Final = frozenset({"announced", "knock sent"})
"""Of these the last time is told where nothing came between; of all others the first."""


class Milestone(NamedTuple):
    """One line."""

    at_s: float
    """Since the first line of its timeline."""
    wall_s: float
    what: str
    """One of WORDS."""
    detail: str = ""
    """For a person."""
    times: int = 1
    """So often in a row."""


Listener = Callable[[PeerId, Milestone], None]
_Lines = deque[tuple[float, Milestone]]


class Timelines:
    """Marks of all peers of one network."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._tried: OrderedDict[PeerId, _Lines] = OrderedDict()
        self._heard: OrderedDict[PeerId, _Lines] = OrderedDict()
        self._listeners: list[Listener] = []
        self.counts: Counter[str] = Counter()
        """How often each of WORDS was marked, over all peers."""

    def of(self, peer: PeerId) -> tuple[Milestone, ...]:
        """The lines of the last attempt with this peer, or of the one under way; none where there are none."""
        return tuple(line for _, line in self._tried.get(peer) or self._heard.get(peer) or ())

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener(peer, line)` for each new line; returns what ends that. A count that grows is no new line."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def mark(self, peer: PeerId, what: str, detail: str = "") -> None:
        """Something happened now."""
        self.counts[what] += 1
        now_s, detail = self._monotonic(), detail[:DETAIL_MAX_CHARACTERS]
        lines = self._lines_for(peer, what)
        last = lines[-1][1] if lines else None
        if last is not None and (last.what, last.detail) == (what, detail):
            self._again(lines, now_s, last)
            return
        if what in BEGINNINGS and last is not None and last.what in ENDS:
            lines.clear()
        at_s = now_s - _began_s(lines) if lines else 0.0
        line = Milestone(at_s, self._wall(), what, detail)
        lines.append((now_s, line))
        for listener in tuple(self._listeners):
            listener(peer, line)

    def _again(self, lines: _Lines, now_s: float, last: Milestone) -> None:
        then_s, _ = lines.pop()
        if last.what in LATEST_COUNTS:
            at_s = now_s - _began_s(lines) if lines else 0.0
            lines.append((now_s, last._replace(at_s=at_s, wall_s=self._wall(), times=last.times + 1)))
        else:
            lines.append((then_s, last._replace(times=last.times + 1)))

    def _lines_for(self, peer: PeerId, what: str) -> _Lines:
        if what in TRIES and peer not in self._tried:
            self._tried[peer] = self._heard.pop(peer, deque(maxlen=LINES_MAX))
        table = self._tried if peer in self._tried else self._heard
        lines = table.setdefault(peer, deque(maxlen=LINES_MAX))
        table.move_to_end(peer)
        if len(table) > PEERS_MAX:
            table.popitem(last=False)
        return lines

    def observe(self, state: State, action: a.Action, effects: tuple[e.Effect, ...]) -> None:
        """See runtime.driver.Observer."""
        for peer, what, detail in (*_of_action(state, action), *_of_effects(state, effects)):
            self.mark(peer, what, detail)


_Mark = tuple[PeerId, str, str]
"""Whom it concerns, what it is, and why."""


def _of_action(state: State, action: a.Action) -> Iterator[_Mark]:
    match action:
        case a.RemotePeerDidAnnounce():
            yield action.peer, "announced", f"on {action.hub}"
        case a.RemotePeerDidAppear():
            yield action.peer, "announced", "in the local network"
        case a.RemotePeerDidDisconnect():
            yield action.peer, "goodbye", f"on {action.hub}"
        case a.RemotePeerConnectionSucceeded():
            yield action.peer, "proven", f"the handshake is done, {_over(action.route)}"
        case a.RemotePeerConnectionFailed():
            yield action.peer, "failed" if _is_over(state, action.peer) else "gave way", action.reason
        case a.RemotePeerLinkEnded():
            yield action.peer, "ended" if _is_over(state, action.peer) else "other link ended", action.reason
        case a.DownloadStarted():
            yield action.peer, "download", "it has messages that we want"
        case a.DownloadEnded():
            yield action.peer, "caught up", ""


def _of_effects(state: State, effects: tuple[e.Effect, ...]) -> Iterator[_Mark]:
    for effect in effects:
        match effect:
            case e.ScheduleConnectToRemotePeer():
                yield effect.peer, "attempt", f"{_over(effect.route)}: {effect.reason}"
            case e.AcceptOffer():
                yield effect.peer, "accepted", effect.reason
            case e.RefuseOffer():
                yield effect.peer, "refused", effect.reason
            case e.AbortAttempt():
                yield effect.peer, "failed" if _is_over(state, effect.peer) else "gave way", effect.reason
            case e.UseLink():
                yield effect.peer, "in use", effect.reason
            case e.ScheduleDisconnectFromRemotePeer():
                yield effect.peer, "hanging up", effect.reason


def _is_over(state: State, peer: PeerId) -> bool:
    """Neither is there another link with this peer, nor another attempt."""
    row = state.peers.get(peer)
    return row is None or (row.link is None and row.attempt is None)


def _over(route: Route) -> str:
    return "it dialled us" if route.via == "inbound" else f"over {route.where}"


def _began_s(lines: _Lines) -> float:
    return lines[0][0] - lines[0][1].at_s
