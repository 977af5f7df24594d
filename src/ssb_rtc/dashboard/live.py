"""What all open pages see: one view of the peer, kept up to date while anybody looks, told to each as it changes.

snapshot   everything, to each stream at first
peers, hubs, feeds, status, sync   once a second at most, what changed
message, missed   as messages come; `missed` counts those that came too fast to be told one by one
step   each step of the peers state manager, where a stream wants the trace
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, Final

from ssb_rtc.dashboard.answers import Refused
from ssb_rtc.dashboard.outbox import Outbox, event
from ssb_rtc.errors import SsbRtcError
from ssb_rtc.peer import Peer
from ssb_rtc.transport.link import Link
from ssb_rtc.types import JsonObject

logger = logging.getLogger(__name__)

STREAMS_MAX: Final = 8
SYNC_PAUSE_S: Final = 5.0
"""Between two questions how much is stored and whether a large sync waits for an answer."""


class LiveView:
    """The view and those who look at it. It follows the peer while there is a stream, and costs nothing else."""

    def __init__(self, peer: Peer, version: str) -> None:
        self._peer = peer
        self._version = version
        self._streams: set[Outbox] = set()
        self._following: asyncio.Task[None] | None = None
        self._tracing: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._forget()

    def _forget(self) -> None:
        self._ready.clear()
        self._peers: dict[str, JsonObject] = {}
        self._feeds: dict[str, JsonObject] = {}
        self._hubs: list[JsonObject] = []
        self._seen_s: dict[str, float] = {}
        """When each peer's row, and under an empty name the hubs', came."""
        self._status: JsonObject = {}
        self._sync: JsonObject = {}
        self._name: str | None = None

    # --- streams ---

    async def open(self, *, trace: bool) -> Outbox:
        """A stream that begins with a snapshot; give it back to `close`. Raises Refused when there are too many."""
        if len(self._streams) >= STREAMS_MAX:
            raise Refused(503, f"{STREAMS_MAX} pages show this dashboard already: close one of them")
        outbox = Outbox(trace=trace)
        self._streams.add(outbox)
        try:
            if self._following is None or self._following.done():
                self._forget()
                self._following = asyncio.create_task(self._follow(), name="dashboard")
            if trace and (self._tracing is None or self._tracing.done()):
                self._tracing = asyncio.create_task(self._along(self._trace), name="dashboard trace")
            await self._ready.wait()
        except BaseException:
            self.close(outbox)
            raise
        outbox.put_first(event("snapshot", self.snapshot()))
        return outbox

    def close(self, outbox: Outbox) -> None:
        """This stream is over; with the last one the view is forgotten."""
        self._streams.discard(outbox)
        outbox.end()
        if self._tracing is not None and not any(other.trace for other in self._streams):
            self._tracing.cancel()
            self._tracing = None
        if not self._streams and self._following is not None:
            self._following.cancel()
            self._following = None
            self._forget()

    async def shut(self) -> None:
        """Ends all streams."""
        tasks = [task for task in (self._following, self._tracing) if task is not None]
        for outbox in tuple(self._streams):
            self.close(outbox)
        await asyncio.gather(*tasks, return_exceptions=True)

    def snapshot(self) -> JsonObject:
        """Everything that is known now."""
        return {
            "me": {"id": self._peer.id, "name": self._name},
            "version": self._version,
            "folder": str(self._peer.folder),
            "status": self._status,
            "peers": [self._aged(row, "linked_s", row["id"]) for row in self._peers.values()],
            "hubs": [self._aged(row, "connected_s", "") for row in self._hubs],
            "feeds": list(self._feeds.values()),
            "sync": self._sync,
        }

    def _aged(self, row: JsonObject, field: str, seen: str) -> JsonObject:
        """A row with a time that has gone on since it came."""
        if row[field] is None:
            return row
        return {**row, field: round(row[field] + time.monotonic() - self._seen_s[seen], 1)}

    def _tell(self, name: str, data: Any, *, trace: bool = False) -> None:
        if not self._streams:
            return
        told = event(name, data)
        for outbox in self._streams:
            if outbox.trace or not trace:
                outbox.put(told)

    # --- following the peer ---

    async def _follow(self) -> None:
        await self._along(self._watch, self._arrivals, self._ask_sync)

    async def _along(self, *parts: Any) -> None:
        """Runs these over one link; where that fails, every stream ends, and pages come back when the peer does."""
        try:
            async with self._peer.local_link() as link, asyncio.TaskGroup() as tasks:
                for part in parts:
                    work: Coroutine[Any, Any, None] = part(link)
                    tasks.create_task(work)
        except* SsbRtcError as faults:
            logger.warning("the dashboard's view ended: %s", faults.exceptions[0])
        finally:
            if asyncio.current_task() is self._following:  # else those who look now are another view's
                self._ready.set()
                for outbox in self._streams:
                    outbox.end()

    async def _watch(self, link: Link) -> None:
        async for item in link.source("rtc.watch"):
            now_s = time.monotonic()
            for name, held in (("peers", self._peers), ("feeds", self._feeds)):
                change = item.get(name)
                if change is None:
                    continue
                held.update((row["id"], row) for row in change["changed"])
                for gone in change["removed"]:
                    held.pop(gone, None)
                if name == "peers":
                    self._seen_s.update((row["id"], now_s) for row in change["changed"])
                self._tell_later(name, change)
            if "hubs" in item:
                self._hubs, self._seen_s[""] = item["hubs"], now_s
                self._tell_later("hubs", self._hubs)
            if "status" in item:
                self._status = {**self._status, **item["status"]}
                self._tell_later("status", self._status)
            own = self._feeds.get(self._peer.id)
            self._name = own["name"] if own is not None else self._name
            if self._sync:
                self._ready.set()

    def _tell_later(self, name: str, data: Any) -> None:
        """Tells it, unless the first snapshot is still to come, which has it."""
        if self._ready.is_set():
            self._tell(name, data)

    async def _ask_sync(self, link: Link) -> None:
        while True:
            found: JsonObject = await link.call("sync.status")
            storage = {"storage_bytes": found["used"]}
            if found != self._sync:
                self._sync = found
                self._tell_later("sync", found)
            if self._status.get("storage_bytes") != found["used"]:
                self._status = {**self._status, **storage}
                self._tell_later("status", self._status)
            if self._hubs or "messages" in self._status:
                self._ready.set()
            await asyncio.sleep(SYNC_PAUSE_S)

    async def _arrivals(self, link: Link) -> None:
        async for item in link.source("rtc.arrivals"):
            for row in item["messages"]:
                self._tell("message", row)
            if item["missed"]:
                self._tell("missed", {"messages": item["missed"]})

    async def _trace(self, link: Link) -> None:
        async for step in link.source("rtc.trace"):
            self._tell("step", step, trace=True)
