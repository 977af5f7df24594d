"""What the owner of a peer sees and orders: the body of `rtc.*` (see plugins.control)."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ssb_rtc import config
from ssb_rtc.errors import ConnectFailed, MisuseError, NoPeerRuns
from ssb_rtc.manager.vouching import host_of
from ssb_rtc.plugins import installed
from ssb_rtc.plugins.base import Context
from ssb_rtc.storage.contacts import HubRecord, PeerRecord
from ssb_rtc.types import HubUrl, Json, JsonObject, PeerId
from ssb_rtc.wire.address import normalise_hub

if TYPE_CHECKING:
    from ssb_rtc.feeds.keys import Keys
    from ssb_rtc.runtime.network import Network
    from ssb_rtc.runtime.peer_watch import PeerWatch
    from ssb_rtc.storage.hub_entries import HubEntries
    from ssb_rtc.transport.link import Link


class PeerControls:
    """The state and the network of one peer. `network` is set while it is online."""

    def __init__(self, folder: Path, context: Callable[[], Context], entries: Callable[[], HubEntries]) -> None:
        self._folder = folder
        self._context_of = context
        self._entries = entries
        self.network: Network | None = None

    @property
    def _context(self) -> Context:
        return self._context_of()

    # --- what is seen ---

    def status(self) -> JsonObject:
        """What `ssb-rtc status --json` prints."""
        context, network = self._context, self.network
        return {
            "id": context.keys.id,
            "running": network is not None,
            "feeds": {feed: head.sequence for feed, head in sorted(context.log.heads().items())},
            "following": sorted(context.log.graph.follows(context.keys.id)),
            "metrics": network.metrics.url if network and network.metrics else None,
            "hubs": [{"url": hub["url"], "state": hub["state"]} for hub in self.hubs()],
            "peers": network.reports.status_of_peers() if network else [],
            **self.figures(),
        }

    def figures(self) -> JsonObject:
        """The part of `status` that is short: {messages, addresses, warnings}."""
        context = self._context
        return {
            "messages": context.log.count(),
            "addresses": self.addresses(),
            "warnings": self._warnings(),
        }

    def _warnings(self) -> list[Json]:
        context, database = self._context, self._context.log.database
        full = (
            f"{database.path} can't be written: the disk is full or fails. Make room, and the peer goes on by itself."
        )
        frozen = context.author.frozen
        return [*context.warnings.values(), *([full] if database.is_full else []), *([frozen] if frozen else [])]

    def watch_peers(self) -> PeerWatch:
        """What changes among the peers; see runtime.peer_watch. Raises NoPeerRuns."""
        return self.running().reports.watch_peers()

    def peers(self, *, everyone: bool) -> list[JsonObject]:
        """What `ssb-rtc peers --json` prints."""
        return self.running().reports.peers(everyone=everyone)

    def hubs(self) -> list[JsonObject]:
        """What `ssb-rtc hubs --json` prints; see runtime.rows.hub_row."""
        if self.network is not None:
            return self.network.reports.hubs()
        return [_offline_hub_row(hub.url, hub.source, private=hub.private) for hub in self._context.contacts.hubs()]

    def why_peer(self, peer: str) -> JsonObject:
        """What `ssb-rtc peers --why` prints: {subject, state, because, terms, next, timeline}."""
        return self.running().reports.why_peer(peer)

    def why_hub(self, url: str) -> JsonObject:
        """What `ssb-rtc hubs --why` prints: {subject, state, because, terms, next}."""
        return self.running().reports.why_hub(self._hub_named(url))

    def addresses(self) -> list[str]:
        """Multiserver addresses at which we can be reached now."""
        return self.network.addresses() if self.network is not None else []

    def config(self) -> list[JsonObject]:
        """The settings in force, without secrets; see config.told."""
        return config.told(self._context.settings)

    def plugins(self) -> list[JsonObject]:
        """What `ssb-rtc plugins --json` prints: [{name, package, version, loaded}]."""
        return installed.described(self._context.settings.plugin)

    def trace(self) -> AsyncIterator[JsonObject]:
        """Actions and effects from now on."""
        return self.running().reports.follow_trace()

    def timeline(self, peer: str) -> AsyncIterator[JsonObject]:
        """What happened on the way to a peer, and what happens from now on."""
        return self.running().reports.follow_timeline(peer)

    # --- what is ordered ---

    def add_hub(self, url: str, *, allow_http: tuple[str, ...] = (), private: bool = False) -> None:
        """Keeps a hub, and meets there if the peer runs; a private one is never told to others.

        Raises ConfigFault, StorageFault.
        """
        context = self._context
        hub = normalise_hub(url, allow_http=(*context.settings.allow_http, *allow_http))
        record = context.contacts.hub(hub) or HubRecord(hub, "user", context.now_ms())
        # The manager saves its hubs too, but later: whoever asks shall hear of a full disk now.
        context.contacts.save_hub(replace(record, source="user", private=private))
        if self.network is not None:
            self.network.add_hub(hub, private=private)

    def remove_hub(self, url: str) -> None:
        """Forgets a hub, and for a day what others say of its host. Raises MisuseError when it is not there."""
        wanted = self._hub_named(url)
        if all(hub["url"] != wanted for hub in self.hubs()):
            raise MisuseError(f"{wanted} is not among the hubs; `ssb-rtc hubs` lists them")
        # Others may still vouch for it: it stays away for a while, after a restart too.
        self._entries().note_probe(host_of(wanted), self._context.now_ms())
        if self.network is not None:
            self.network.remove_hub(wanted)
        else:
            self._context.contacts.remove_hub(wanted)

    def _hub_named(self, url: str) -> HubUrl:
        """The hub that somebody here means, whether over http or https."""
        known = [HubUrl(str(hub["url"])) for hub in self.hubs()]
        wanted = url.strip().rstrip("/")
        return next((hub for hub in known if wanted in {hub, hub.partition("://")[2]}), None) or normalise_hub(
            url, allow_http=[url.partition("://")[2].partition(":")[0].partition("/")[0]]
        )

    async def connect(self, address: str, *, pin: bool = False) -> JsonObject:
        """Connects to a multiserver address and waits for the link: {id, state, transport}.

        pin: a link with that peer is wanted for good, whatever comes of this attempt.
        Raises ConnectFailed, ConfigFault.
        """
        network = self.running()
        if not pin:
            return await network.connect(address)
        peer = network.peer_at(address)
        self._keep_pin(peer, pinned=True, address=address)
        network.pin(peer)
        try:
            return await network.connect(address)
        except ConnectFailed as fault:
            kept = f"the pin is kept, and the peer is tried again; `ssb-rtc disconnect {peer}` undoes it"
            raise ConnectFailed(f"{fault} ({kept})") from fault

    def unpin(self, peer: PeerId) -> None:
        """A link with this peer is wanted like any other."""
        self._keep_pin(peer, pinned=False)
        if self.network is not None:
            self.network.unpin(peer)

    def _keep_pin(self, peer: PeerId, *, pinned: bool, address: str | None = None) -> None:
        contacts = self._context.contacts
        record = contacts.peer(peer)
        if pinned or (record is not None and record.pinned):
            record = record or PeerRecord(peer)
            contacts.save_peers([replace(record, pinned=pinned, address=address or record.address)])

    async def visit(self, address: str, host: PeerId, keys: Keys) -> Link:
        """A link to `host` as somebody else; see Network.visit."""
        return await self.running().visit(address, host, keys)

    async def listen(self, where: str) -> list[str]:
        """Listens for peers there too, for this run; gives its addresses. Raises MisuseError, ListenFailed."""
        return await self.running().listen(where)

    async def listen_on_lan(self) -> None:
        """Listens for peers of the local network, unless the settings name places to listen at, or say not to."""
        settings = self._context.settings
        if settings.lan and not settings.relay_only and settings.net is None and settings.ws is None:
            await self.running().listen_on_lan()

    async def unlisten(self, where: str) -> None:
        """Stops listening there. Raises MisuseError when nothing does."""
        await self.running().unlisten(where)

    def disconnect(self, peer: PeerId) -> None:
        """Ends the link to a peer, unpins it, and holds it off for a while."""
        network = self.running()
        self._keep_pin(peer, pinned=False)
        network.disconnect(peer)

    def running(self) -> Network:
        """The network. Raises NoPeerRuns where the peer is not online."""
        if self.network is None:
            path = shlex.quote(str(self._folder))
            raise NoPeerRuns(f"no peer runs in {self._folder}: start it with `ssb-rtc start --path {path}`")
        return self.network


def _offline_hub_row(url: HubUrl, source: str, *, private: bool) -> JsonObject:
    """As runtime.rows.hub_row, of a peer that is not online."""
    return {
        "url": url,
        "state": "DISCONNECTED",
        "source": source,
        "private": private,
        "attempts": 0,
        "error": None,
        "reason": "no peer runs here",
        "score": 0.0,
        "retry_in_s": None,
        "connected_s": None,
        "peers": 0,
        "history": [],
    }
