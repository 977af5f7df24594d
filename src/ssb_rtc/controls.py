"""What the owner of a peer sees and orders: the body of `rtc.*` (see plugins.control)."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ssb_rtc.errors import MisuseError, NoPeerRuns
from ssb_rtc.plugins.base import Context
from ssb_rtc.storage.contacts import HubRecord
from ssb_rtc.types import HubUrl, JsonObject, PeerId
from ssb_rtc.wire.address import normalise_hub

if TYPE_CHECKING:
    from ssb_rtc.runtime.network import Network


class PeerControls:
    """The state and the network of one peer. `network` is set while it is online."""

    def __init__(self, folder: Path, context: Callable[[], Context]) -> None:
        self._folder = folder
        self._context_of = context
        self.network: Network | None = None

    @property
    def _context(self) -> Context:
        return self._context_of()

    # --- what is seen ---

    def status(self) -> JsonObject:
        """What `ssb-rtc status --json` prints."""
        context, network = self._context, self.network
        frozen = context.author.frozen
        return {
            "id": context.keys.id,
            "running": network is not None,
            "addresses": network.addresses() if network else [],
            "messages": context.log.count(),
            "feeds": {feed: head.sequence for feed, head in sorted(context.log.heads().items())},
            "following": sorted(context.log.graph.follows(context.keys.id)),
            "hubs": [{"url": hub["url"], "state": hub["state"]} for hub in self.hubs()],
            "peers": network.status_of_peers() if network else [],
            "warnings": [*context.warnings.values(), *([frozen] if frozen else [])],
        }

    def peers(self, *, everyone: bool) -> list[JsonObject]:
        """What `ssb-rtc peers --json` prints."""
        return self.running().peers(everyone=everyone)

    def hubs(self) -> list[JsonObject]:
        """What `ssb-rtc hubs --json` prints: [{url, state, source, attempts, error}]."""
        if self.network is not None:
            return self.network.hubs()
        return [
            {"url": hub.url, "state": "DISCONNECTED", "source": hub.source, "attempts": 0, "error": None}
            for hub in self._context.contacts.hubs()
        ]

    def trace(self) -> AsyncIterator[JsonObject]:
        """Actions and effects from now on."""
        return self.running().follow_trace()

    # --- what is ordered ---

    def add_hub(self, url: str, *, allow_http: tuple[str, ...] = ()) -> None:
        """Keeps a hub, and meets there if the peer runs. Raises ConfigFault."""
        context = self._context
        hub = normalise_hub(url, allow_http=(*context.settings.allow_http, *allow_http))
        if self.network is not None:
            self.network.add_hub(hub)
        else:
            context.contacts.save_hub(HubRecord(hub, "user", context.now_ms()))

    def remove_hub(self, url: str) -> None:
        """Forgets a hub. Raises MisuseError when it is not there."""
        known = [HubUrl(str(hub["url"])) for hub in self.hubs()]
        wanted = next((hub for hub in known if hub == url.rstrip("/")), None) or normalise_hub(
            url, allow_http=[url.partition("://")[2].partition(":")[0].partition("/")[0]]
        )
        if wanted not in known:
            raise MisuseError(f"{wanted} is not among the hubs; `ssb-rtc hubs` lists them")
        if self.network is not None:
            self.network.remove_hub(wanted)
        else:
            self._context.contacts.remove_hub(wanted)

    async def connect(self, address: str) -> JsonObject:
        """Connects to a multiserver address and waits for the link: {id, state, transport}. Raises ConnectFailed."""
        return await self.running().connect(address)

    def disconnect(self, peer: PeerId) -> None:
        """Ends the link to a peer, and holds it off for a while."""
        self.running().disconnect(peer)

    def running(self) -> Network:
        """The network. Raises NoPeerRuns where the peer is not online."""
        if self.network is None:
            path = shlex.quote(str(self._folder))
            raise NoPeerRuns(f"no peer runs in {self._folder}: start it with `ssb-rtc start --path {path}`")
        return self.network
