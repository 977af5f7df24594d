"""What the owner of a running peer sees of its network: peers, hubs, why they are as they are, and each step live."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Final

import msgspec

from ssb_rtc.errors import MisuseError
from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.explain import Explanation, explain_hub, explain_peer
from ssb_rtc.manager.identity import public_key
from ssb_rtc.manager.state import Now, State
from ssb_rtc.manager.view import hubs_view
from ssb_rtc.runtime.downloads import Progress
from ssb_rtc.runtime.driver import Driver
from ssb_rtc.runtime.hub_history import HubHistory
from ssb_rtc.runtime.links import LinkTable
from ssb_rtc.runtime.peer_watch import PeerWatch
from ssb_rtc.runtime.rows import PeerRows, hub_rows
from ssb_rtc.runtime.timelines import Milestone, Timelines
from ssb_rtc.types import HubUrl, JsonObject, PeerId

TRACE_QUEUE_MAX: Final = 1_000


class Reports:
    """The read side of one network."""

    def __init__(
        self, driver: Driver, links: LinkTable, progress: Mapping[PeerId, Progress], timelines: Timelines
    ) -> None:
        self._driver = driver
        self._timelines = timelines
        self._links = links
        self._progress = progress
        self._hub_history = HubHistory()
        driver.observe(self._hub_history.observe)

    def _state_now(self) -> State:
        """The state, with the present time in place of that of the last step."""
        return msgspec.structs.replace(self._driver.state, now=Now(time.monotonic(), time.time()))

    def hubs(self) -> list[JsonObject]:
        """Every hub, the best first; see runtime.rows.hub_row."""
        return hub_rows(self._state_now(), self._hub_history)

    def peers(self, *, everyone: bool) -> list[JsonObject]:
        """Peers with a link or an attempt, or all; see runtime.rows.PeerRows.row."""
        state = self._state_now()
        rows = PeerRows(state, self._links, self._progress)
        known = sorted(state.peers.values(), key=lambda row: row.id)
        return [rows.row(row.id) for row in known if everyone or row.connection_state != "DISCONNECTED"]

    def watch_peers(self) -> PeerWatch:
        """What changes among the peers, from one look to the next."""
        return PeerWatch(self._state_now, self._links, self._progress)

    def status_of_peers(self) -> list[JsonObject]:
        """Every known peer: {id, state, transport}."""
        return [self.short(peer) for peer in sorted(self._driver.state.peers)]

    def short(self, peer: PeerId) -> JsonObject:
        """One peer, known or not: {id, state, transport}."""
        row = self._driver.state.peers.get(peer)
        link = self._links.get(row.link.id) if row is not None and row.link is not None else None
        return {
            "id": peer,
            "state": row.connection_state if row is not None else "DISCONNECTED",
            "transport": link.transport if link is not None else None,
        }

    def why_peer(self, text: str) -> JsonObject:
        """Why a peer is connected or not: {subject, state, because, terms, next, timeline}.

        `timeline` is what `timeline` gives. `text` is the peer's id, or the beginning of a known one's. Raises
        MisuseError where it is neither.
        """
        return {**_told(explain_peer(self._state_now(), self._peer_named(text))), "timeline": self.timeline(text)}

    def _peer_named(self, text: str) -> PeerId:
        if public_key(PeerId(text)) is not None:
            return PeerId(text)
        state = self._driver.state
        known = {*state.peers, *state.pinned, *state.hops, *state.blocked}
        beginning = text if text.startswith("@") else f"@{text}"
        found = sorted(peer for peer in known if peer.startswith(beginning))
        if not found:
            raise MisuseError(f"{text!r} is no peer's id, nor how a known one begins: `ssb-rtc peers --all` lists them")
        if len(found) > 1:
            raise MisuseError(f"{len(found)} known peers begin with {text!r}: give more of it, like {found[0][:12]}")
        return found[0]

    def timeline(self, text: str) -> list[JsonObject]:
        """What happened on the way to a peer, the last time: [{peer, at_s, wall_s, what, detail, times}].

        `text` and errors as in `why_peer`.
        """
        peer = self._peer_named(text)
        return [_line(peer, line) for line in self._timelines.of(peer)]

    async def follow_timeline(self, text: str) -> AsyncGenerator[JsonObject]:
        """The same, and then each new line; one that begins anew has `at_s` 0. Raises as `why_peer`, once read."""
        peer = self._peer_named(text)
        queue: asyncio.Queue[Milestone] = asyncio.Queue(TRACE_QUEUE_MAX)

        def take(whose: PeerId, line: Milestone) -> None:
            if whose == peer and not queue.full():
                queue.put_nowait(line)

        stop = self._timelines.subscribe(take)
        try:
            for line in self._timelines.of(peer):
                yield _line(peer, line)
            while True:
                yield _line(peer, await queue.get())
        finally:
            stop()

    def why_hub(self, hub: HubUrl) -> JsonObject:
        """Why a hub is connected or not: {subject, state, because, terms, next}."""
        return _told(explain_hub(self._state_now(), hub))

    def hub_states(self) -> dict[HubUrl, str]:
        """Each hub of the table, and whether it is CONNECTED, CONNECTING or DISCONNECTED."""
        return {hub.url: hub.state for hub in hubs_view(self._driver.state)}

    def hub_error(self, hub: HubUrl) -> str:
        """What last went wrong with a hub, or nothing."""
        row = self._driver.state.hubs.get(hub)
        return row.last_error if row is not None else ""

    def peer_error(self, peer: PeerId) -> str:
        """What last went wrong with a peer, or nothing."""
        row = self._driver.state.peers.get(peer)
        return row.last_error if row is not None else ""

    async def follow_trace(self) -> AsyncGenerator[JsonObject]:
        """Each step from now on: {wall_s, mono_s, action, effects}.

        A reader that is too slow is told in `missed` how many steps it did not get.
        """
        queue: asyncio.Queue[JsonObject] = asyncio.Queue(TRACE_QUEUE_MAX)
        missed = 0

        def take(state: State, action: a.Action, effects: tuple[e.Effect, ...]) -> None:
            nonlocal missed
            if queue.full():
                missed += 1
                return
            told: JsonObject = {
                "wall_s": state.now.wall_s,
                "mono_s": state.now.mono_s,
                "action": _plain(action),
                "effects": list(map(_plain, effects)),
            }
            if missed:
                told["missed"], missed = missed, 0
            queue.put_nowait(told)

        stop = self._driver.observe(take)
        try:
            while True:
                yield await queue.get()
        finally:
            stop()


def _told(explanation: Explanation) -> JsonObject:
    return {
        "subject": explanation.subject,
        "state": explanation.state,
        "because": list(explanation.because),
        "terms": {term.name: term.value for term in explanation.terms},
        "next": list(explanation.next),
    }


def _line(peer: PeerId, line: Milestone) -> JsonObject:
    return {"peer": peer, **line._asdict(), "at_s": round(line.at_s, 4)}


def _plain(record: a.Action | e.Effect) -> JsonObject:
    plain = msgspec.to_builtins(record)
    assert isinstance(plain, dict)
    return plain
