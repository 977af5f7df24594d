"""Asks hosts whether a hub is there, and remembers that they were asked, also over restarts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ssb_rtc.signalhub import guarded
from ssb_rtc.signalhub.guarded import NotAsked
from ssb_rtc.storage.hub_entries import DAY_MS, HubEntries
from ssb_rtc.types import HubUrl


class HubProber:
    """The manager orders each question, at most one a host and day."""

    def __init__(self, store: HubEntries | None, allow_loopback: Callable[[], bool], now_ms: Callable[[], int]) -> None:
        self._store = store
        self._allow_loopback = allow_loopback
        self._now_ms = now_ms

    async def ask(self, hub: HubUrl, host: str) -> None:
        """Returns where there is a hub. Raises what signalhub.guarded.ask raises, and StorageFault before asking."""
        if self._store is not None:
            self._store.note_probe(host, self._now_ms())
        try:
            await guarded.ask(hub, allow_loopback=self._allow_loopback())
        except NotAsked:
            if self._store is not None:
                self._store.forget_probe(host)
            raise

    def asked_s_ago(self) -> Mapping[str, float]:
        """How long ago each host was asked within the last day, in seconds."""
        if self._store is None:
            return {}
        now_ms = self._now_ms()
        asked = self._store.probes(now_ms - DAY_MS)
        # A clock that was set back makes it a moment ago: then the pause is longer, never shorter.
        return {host: max(0, now_ms - asked_ms) / 1000 for host, asked_ms in asked.items()}
