"""The part of blobs that every JavaScript peer calls on each link: `blobs.createWants`. We want none and have none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import Json


class Blobs:
    """Answers createWants with an empty want list that stays open; ssb-blobs 2.0.1 takes its end for a failure.

    The whole group is permitted, so that a call of another method hears `no such command`.
    """

    name = "blobs"
    version = "1.0.0"
    manifest: Mapping[str, str] = {"blobs.createWants": "source"}
    permissions: ClassVar[PermissionLists] = {"remote": ["blobs"]}

    def init(self, _context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        return {"blobs.createWants": self._create_wants}

    async def _create_wants(self, _link: Link, *_options: Json) -> AsyncIterator[Json]:
        yield {}
        await asyncio.get_running_loop().create_future()
