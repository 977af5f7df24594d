"""The indexes of a peer: how far they are, and making them anew."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

from ssb_rtc.errors import RemoteCallError
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import Json


class IndexKeeping:
    """Has the indexes go on while nothing arrives. `progress` is ssb-db's; the rest is ours."""

    name = "indexes"
    version = "1.0.0"
    manifest: ClassVar[Mapping[str, str]] = {
        "progress": "sync",
        "indexes.status": "async",
        "indexes.rebuild": "source",
    }
    permissions: ClassVar[PermissionLists] = {"remote": []}

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        self._indexes = context.indexes
        self._unsubscribe = context.ingest.subscribe(self._indexes.committed)
        self._indexes.committed()
        return {"progress": self._progress, "indexes.status": self._status, "indexes.rebuild": self._rebuild}

    async def _progress(self, _link: Link) -> Json:
        states = self._indexes.state()
        current, target = sum(state.done for state in states), sum(state.total for state in states)
        return {"indexes": {"start": 0, "current": current, "target": target}}

    async def _status(self, _link: Link) -> Json:
        """[{name, version, done, total}]: `done` of `total` places in the log."""
        return [
            {"name": state.name, "version": state.version, "done": state.done, "total": state.total}
            for state in self._indexes.state()
        ]

    async def _rebuild(self, _link: Link, names: Json = None) -> AsyncIterator[Json]:
        """Rebuilds the indexes of these names (default: all); gives {done, total} now and then, and at the end."""
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise RemoteCallError("indexes.rebuild takes a list of names, or nothing for all indexes")
        moved, place = asyncio.Event(), (0, 0)

        def progress(done: int, total: int) -> None:
            nonlocal place
            place = done, total
            moved.set()

        rebuilding = asyncio.create_task(self._indexes.rebuild(names, progress))
        rebuilding.add_done_callback(lambda _: moved.set())
        try:
            while not rebuilding.done():
                await moved.wait()
                moved.clear()
                yield {"done": place[0], "total": place[1]}
            await rebuilding
            yield {"done": place[1], "total": place[1]}
        finally:
            rebuilding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([rebuilding])

    async def close(self) -> None:
        """See Closing."""
        self._unsubscribe()
        self._indexes.close()
