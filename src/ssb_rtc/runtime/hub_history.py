"""How each hub fared: the last changes of its state, by the wall clock."""

from __future__ import annotations

from collections import deque
from typing import Final

import immutables

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.state import ConnectionState, Hub, State
from ssb_rtc.types import HubUrl

CHANGES_MAX: Final = 50
"""Changes of one hub that are kept, the newest."""


class HubHistory:
    """An observer of the driver. Costs nothing in a step that leaves the table of hubs as it was."""

    def __init__(self) -> None:
        self._seen: immutables.Map[HubUrl, Hub] = immutables.Map()
        self._changes: dict[HubUrl, deque[tuple[float, ConnectionState]]] = {}

    def observe(self, state: State, _action: a.Action, _effects: tuple[e.Effect, ...]) -> None:
        """See runtime.driver.Observer."""
        if state.hubs is self._seen:
            return
        before, self._seen = self._seen, state.hubs
        for url, hub in state.hubs.items():
            if hub is before.get(url):
                continue
            changes = self._changes.setdefault(url, deque(maxlen=CHANGES_MAX))
            if not changes or changes[-1][1] != hub.connection_state:
                changes.append((state.now.wall_s, hub.connection_state))
        for url in [url for url in self._changes if url not in state.hubs]:
            del self._changes[url]

    def of(self, hub: HubUrl) -> list[tuple[float, ConnectionState]]:
        """The changes of a hub since it is in the table, the oldest first: (seconds since 1970, the new state)."""
        return list(self._changes.get(hub, ()))
