"""What changes among the peers from one look to the next, cheaply where thousands are known.

A state shares with the one before it whatever did not change, so the rows of the table that are still the same object
are passed over. Some of what a row shows follows from the time or from the whole (how long it waits still, whether the
slots are full): those with a link or an attempt are looked at each time, all others in turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Final

import immutables

from ssb_rtc.manager.state import Peer, State
from ssb_rtc.runtime.downloads import Progress
from ssb_rtc.runtime.rows import OpenLinks, PeerRows
from ssb_rtc.types import JsonObject, PeerId

TURN_LOOKS: Final = 30
"""Every peer is looked at once in so many looks, whatever the table says."""
ROWS_MAX: Final = 250
"""Rows that one look after the first makes, about 10 ms; the others wait for the next one."""
UNMET_MAX: Final = 500
"""Pinned and blocked peers and direct friends that are shown although the table does not have them."""
_PASSING: Final = ("linked_s",)
"""What is another at each look, and no reason to tell a row anew."""


class PeerWatch:
    """One watcher's view. `state_now` gives the state with the present time."""

    def __init__(self, state_now: Callable[[], State], links: OpenLinks, progress: Mapping[PeerId, Progress]) -> None:
        self._state_now = state_now
        self._links = links
        self._progress = progress
        self._seen: immutables.Map[PeerId, Peer] = immutables.Map()
        self._around: tuple[object, ...] = (None, None, None)
        self._owners: list[PeerId] = []
        """With whom the owner has to do, in the table or not."""
        self._shown: set[PeerId] = set()
        self._due: dict[PeerId, None] = {}
        """Who is to be looked at, in this order."""
        self._told: dict[PeerId, JsonObject] = {}
        self._turn: list[PeerId] = []
        self._bytes: dict[PeerId, tuple[float, int, int]] = {}
        """When each link was looked at, and its bytes in and out then."""

    def look(self, renamed: Iterable[PeerId] = ()) -> tuple[list[JsonObject], list[PeerId]]:
        """The rows that changed since the last look (at first: all), and who is gone.

        A row is as PeerRows.row gives it, with `rate_in` and `rate_out` in bytes a second. renamed: whose rows are told
        anew, whether or not anything else changed.
        """
        state, first = self._state_now(), not self._told
        gone = self._note_changes(state)
        renamed = [peer for peer in renamed if peer in self._told]
        for peer in renamed:
            self._told[peer] = {}
            self._due[peer] = None
        now = dict.fromkeys((*state.linked, *state.trying))
        taken = [*now, *islice((peer for peer in self._due if peer not in now), None if first else ROWS_MAX)]
        rows, changed = PeerRows(state, self._links, self._progress), []
        for peer in taken:
            self._due.pop(peer, None)
            row = rows.row(peer)
            self._add_rates(row, state.now.mono_s)
            if _lasting(row) != self._told.get(peer):
                self._told[peer] = _lasting(row)
                changed.append(row)
        return changed, gone

    def _note_changes(self, state: State) -> list[PeerId]:
        """Puts those in the queue whose row may have changed; gives those who are gone."""
        around, seen = (state.hops, state.pinned, state.blocked), self._seen
        changed = any(one is not other for one, other in zip(around, self._around, strict=True))
        if changed:
            self._around, self._owners = around, _owners(state)
            self._due.update(dict.fromkeys((*self._owners, *state.peers)))
        if state.peers is not seen:
            self._due.update((peer, None) for peer, row in state.peers.items() if row is not seen.get(peer))
            self._due.update(dict.fromkeys(peer for peer in seen if peer not in state.peers))
            self._seen = state.peers
        gone: list[PeerId] = []
        if changed or state.peers is not seen:
            self._shown = {*state.peers, *self._owners}
            gone = [peer for peer in self._told if peer not in self._shown]
            for peer in gone:
                del self._told[peer]
                self._bytes.pop(peer, None)
            self._due = {peer: None for peer in self._due if peer in self._shown}
            self._due.update(dict.fromkeys(self._shown - self._told.keys()))
        if not self._turn:
            self._turn = list(self._shown)
        count = len(self._shown) // TURN_LOOKS + 1
        turn, self._turn = self._turn[:count], self._turn[count:]
        self._due.update(dict.fromkeys(peer for peer in turn if peer in self._shown))
        return gone

    def _add_rates(self, row: JsonObject, now_s: float) -> None:
        peer, bytes_in, bytes_out = row["id"], row["bytes_in"], row["bytes_out"]
        before = self._bytes.pop(peer, None)
        row["rate_in"] = row["rate_out"] = 0
        if row["linked_s"] is None:
            return
        self._bytes[peer] = (now_s, bytes_in, bytes_out)
        # Fewer bytes than before are those of another link.
        if before is not None and now_s > before[0] and bytes_in >= before[1] and bytes_out >= before[2]:
            row["rate_in"] = round((bytes_in - before[1]) / (now_s - before[0]))
            row["rate_out"] = round((bytes_out - before[2]) / (now_s - before[0]))


def _owners(state: State) -> list[PeerId]:
    friends = (peer for peer, hops in state.hops.items() if hops == 1)
    return list(islice(dict.fromkeys((*state.pinned, *state.blocked, *friends)), UNMET_MAX))


def _lasting(row: JsonObject) -> JsonObject:
    reason = row["reason"] if row["linked_s"] is None else ""
    return {**{name: value for name, value in row.items() if name not in _PASSING}, "reason": reason}
