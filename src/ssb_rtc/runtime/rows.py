"""One row for each peer and hub, as the command line prints it as JSON and the dashboard shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from ssb_rtc.manager.explain import explain_peer
from ssb_rtc.manager.score import hubs_in_use, link_terms, peer_terms, total
from ssb_rtc.manager.slots import count
from ssb_rtc.manager.state import Peer, State
from ssb_rtc.manager.view import HubView, PeerView, hubs_view, peer_view
from ssb_rtc.runtime.downloads import Progress
from ssb_rtc.runtime.hub_history import HubHistory
from ssb_rtc.transport.link import Link
from ssb_rtc.types import JsonObject, PeerId

SCORE_DIGITS: Final = 1


class OpenLinks(Protocol):
    """The links behind the numbers that the manager has for them: runtime.links.LinkTable."""

    def get(self, number: int) -> Link | None: ...


class PeerRows:
    """Rows of peers as they stand in one state; what all of them need of it is counted once."""

    def __init__(self, state: State, links: OpenLinks, progress: Mapping[PeerId, Progress]) -> None:
        self._state = state
        self._links = links
        self._progress = progress
        self._slots = count(state)
        self._in_use = hubs_in_use(state)

    def row(self, peer: PeerId) -> JsonObject:
        """A peer, in the table or not.

        {id, state, transport, hubs, hops, pinned, blocked, failures, reason, score, rtt_ms, linked_s, activity,
        received, missing, bytes_in, bytes_out}. score: for the choice whom to dial, or whose link to keep. linked_s:
        None without a link. activity: "busy", "idle", "stuck", or "" without a link. received, missing: messages over
        this link, and those that it has and we fetch. bytes_in, bytes_out: of this link, as they travel.
        """
        view = peer_view(self._state, peer, self._slots)
        row = self._state.peers.get(peer)
        if view is None or row is None:
            return self._of_unknown(peer)
        link = self._links.get(view.link) if view.link is not None else None
        progress = self._progress.get(peer) if link is not None else None
        return {
            "id": peer,
            "state": view.state,
            "transport": link.transport if link is not None else None,
            "hubs": list(view.connected_hubs),
            "hops": view.hops,
            "pinned": view.pinned,
            "blocked": peer in self._state.blocked,
            "failures": view.failures,
            "reason": _reason(view),
            "score": round(self._score(row), SCORE_DIGITS),
            "rtt_ms": None if view.rtt_s is None else round(view.rtt_s * 1000, 1),
            "linked_s": None if view.connected_for_s is None else round(view.connected_for_s, 1),
            "activity": view.activity,
            "received": progress.received if progress is not None else 0,
            "missing": progress.missing if progress is not None else view.missing,
            "bytes_in": link.bytes_in if link is not None else 0,
            "bytes_out": link.bytes_out if link is not None else 0,
        }

    def _score(self, row: Peer) -> float:
        now_s = self._state.now.mono_s
        if row.link is not None:
            return total(link_terms(self._state, row, row.link, now_s))
        return total(peer_terms(self._state, row, now_s, self._in_use))

    def _of_unknown(self, peer: PeerId) -> JsonObject:
        return {
            "id": peer,
            "state": "DISCONNECTED",
            "transport": None,
            "hubs": [],
            "hops": self._state.hops.get(peer),
            "pinned": peer in self._state.pinned,
            "blocked": peer in self._state.blocked,
            "failures": 0,
            "reason": explain_peer(self._state, peer).because[0],
            "score": 0.0,
            "rtt_ms": None,
            "linked_s": None,
            "activity": "",
            "received": 0,
            "missing": 0,
            "bytes_in": 0,
            "bytes_out": 0,
        }


def hub_rows(state: State, history: HubHistory) -> list[JsonObject]:
    """Every hub of the table, the best first; see `hub_row`."""
    return [hub_row(view, state.heard.get(view.url, 0), history) for view in hubs_view(state)]


def hub_row(view: HubView, heard: int, history: HubHistory) -> JsonObject:
    """{url, state, source, private, attempts, error, reason, score, retry_in_s, connected_s, peers, history}.

    peers: how many are heard there. history: the last changes, [seconds since 1970, state], the oldest first.
    """
    return {
        "url": view.url,
        "state": view.state,
        "source": view.source,
        "private": view.private,
        "attempts": view.connection_attempts,
        "error": view.last_error or None,
        "reason": view.reason or None,
        "score": round(view.score, SCORE_DIGITS),
        "retry_in_s": None if view.retry_in_s is None else round(view.retry_in_s, 1),
        "connected_s": None if view.connected_for_s is None else round(view.connected_for_s, 1),
        "peers": heard,
        "history": [list(change) for change in history.of(view.url)],
    }


def _reason(peer: PeerView) -> str:
    if peer.connected_for_s is not None:
        return f"linked for {peer.connected_for_s:.0f} s"
    return f"{peer.reason}; the last time: {peer.last_error}" if peer.last_error else peer.reason
