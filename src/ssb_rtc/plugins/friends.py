"""Whom we follow and block, and what follows from it: which feeds we replicate and with whom we hold no link."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.transport.link import Handler
from ssb_rtc.types import peer_of


class Friends:
    """Keeps `Context.wanted` and `Context.blocked` after the follow graph."""

    name = "friends"
    version = "1.0.0"
    manifest: Mapping[str, str] = {}
    permissions: ClassVar[PermissionLists] = {"remote": []}

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        self._context = context
        self._graph_version = -1
        context.ingest.subscribe(lambda _stored: self._update())
        self._update()
        return {}

    def _update(self) -> None:
        context, graph = self._context, self._context.log.graph
        if graph.version != self._graph_version:
            self._graph_version = graph.version
            context.blocked.replace({peer_of(feed) for feed in graph.blocks(context.keys.id)})
            context.wanted.replace(graph.hops(context.keys.id, context.settings.hops).keys())
