"""The composition root: one peer, from its folder to its links. The only room that wires everything together.

async with Peer.opened(folder, settings) as peer:       # the files only: read, publish, import
    await peer.start()                                  # the network too: hubs, listeners, links
    ...
"""

from __future__ import annotations

import shlex
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ssb_rtc.config import Settings
from ssb_rtc.errors import DatabaseLocked, MisuseError, NoPeerRuns, RemoteCallError
from ssb_rtc.plugins.base import Blocked, Context, Links, Wanted
from ssb_rtc.plugins.blobs import Blobs
from ssb_rtc.plugins.control import Control
from ssb_rtc.plugins.feed import Feed
from ssb_rtc.plugins.friends import Friends
from ssb_rtc.plugins.gossip import Gossip
from ssb_rtc.plugins.history import History
from ssb_rtc.plugins.registry import Registry
from ssb_rtc.storage import folder as files
from ssb_rtc.storage.author import Author, mark_imported
from ssb_rtc.storage.contacts import Contacts, HubRecord
from ssb_rtc.storage.database import Database, open_database
from ssb_rtc.storage.forks import Forks
from ssb_rtc.storage.identity import Identity
from ssb_rtc.storage.ingest import Ingest
from ssb_rtc.storage.log import Log, Stored
from ssb_rtc.transport.base import Stream
from ssb_rtc.transport.link import Handler, Link, open_plain_link
from ssb_rtc.transport.memory import stream_pair
from ssb_rtc.transport.unix import UnixTransport
from ssb_rtc.types import FeedId, HubUrl, Json, JsonObject, MsgId, PeerId
from ssb_rtc.wire.address import normalise_hub
from ssb_rtc.wire.rpc import Kind

if TYPE_CHECKING:
    from ssb_rtc.hub.server import HubServer
    from ssb_rtc.runtime.network import Network


class Peer:
    """One identity, its feeds, and (after `start`) its network. Made by `opened` or `created`."""

    def __init__(self, folder: Path, settings: Settings, own: Identity, database: Database) -> None:
        self.folder = folder
        self.settings = settings
        self.keys = own.keys
        self._warnings = [own.warning] if own.warning else []
        self._database = database
        self.log = Log(database)
        self._forks = Forks(database)
        self._contacts = Contacts(database)
        self._ingest = Ingest(self.log, self._forks, now_ms=_now_ms, hmac_key=settings.hmac_key)
        self._author = Author(self._ingest, own.keys)
        self.context = Context(
            folder=folder,
            settings=settings,
            keys=own.keys,
            log=self.log,
            forks=self._forks,
            ingest=self._ingest,
            author=self._author,
            contacts=self._contacts,
            wanted=Wanted([own.keys.id]),
            blocked=Blocked(),
            now_s=time.monotonic,
            now_ms=_now_ms,
            links=Links(),
        )
        history = History()
        self.registry = Registry(self.context, [Friends(), history, Gossip(history), Blobs(), Feed(), Control(self)])
        self._network: Network | None = None
        self._hub_server: HubServer | None = None
        self._unix = UnixTransport()

    # --- life ---

    @classmethod
    @asynccontextmanager
    async def opened(cls, folder: Path, settings: Settings, *, restored: bool = False) -> AsyncIterator[Peer]:
        """Opens the files of a peer, without any network; closes everything in the end.

        restored: the folder comes from a backup, so nothing is published until a peer that holds our feed has answered.
        Raises IdentityMissing, DatabaseLocked (a peer runs on this folder), DatabaseCorrupt, DatabaseUnusable.
        """
        own = files.load(folder)
        try:
            database = open_database(files.database_path(folder), create=True)
        except DatabaseLocked as fault:
            raise DatabaseLocked(f"{fault} If it is just starting or ending, try again in a moment.") from None
        try:
            if restored:
                mark_imported(database)
            peer = cls(folder, settings, own, database)
            try:
                yield peer
            finally:
                await peer._close()
        finally:
            database.close()

    @classmethod
    @asynccontextmanager
    async def created(cls, folder: Path, settings: Settings) -> AsyncIterator[Peer]:
        """Makes a new identity in `folder`, then as `opened`. Raises IdentityExists."""
        files.create(folder)
        async with cls.opened(folder, settings) as peer:
            yield peer

    async def start(self) -> None:
        """Goes online: local socket, listeners, hubs. Raises ListenFailed, ConfigFault, StorageFault."""
        # The network brings aiohttp and a WebRTC library along, which commands that only read must not pay for.
        from ssb_rtc.hub.server import serve as serve_hub
        from ssb_rtc.runtime.network import Network

        if self._network is not None:
            raise MisuseError("this peer runs already")
        await self._unix.listen(str(files.socket_path(self.folder)), self._serve_local)
        hubs = [normalise_hub(url, allow_http=self.settings.allow_http) for url in self.settings.hub]
        if self.settings.with_hub is not None:
            self._hub_server = await serve_hub(self.settings.host, self.settings.with_hub)
            hubs.append(normalise_hub(self._hub_server.url, allow_http=[self.settings.host]))
        self._network = Network(
            self.keys,
            self.settings,
            router=self.registry,
            hears=self.context.links,
            contacts=self._contacts,
            now_ms=_now_ms,
        )
        self._network.block(self.context.blocked.peers)
        self.context.blocked.subscribe(self._network.block)
        await self._network.start(stored=[record.url for record in self._contacts.hubs()], for_this_run=hubs)

    async def _close(self) -> None:
        if self._network is not None:
            await self._network.close()
        await self._unix.close()
        await self.registry.close()
        if self._hub_server is not None:
            await self._hub_server.close()
        await self._ingest.close()
        await self._author.close()

    # --- feeds ---

    async def publish(self, content: Json, *, durable: bool = False) -> Stored:
        """Writes a message to our feed; see storage.author.Author.publish."""
        return await self._author.publish(content, durable=durable)

    def ids_by_feed(self) -> dict[FeedId, list[MsgId]]:
        """The id of every message that we hold, in the order of its feed."""
        return {feed: [stored.key for stored in self._whole_feed(feed)] for feed in self.log.heads()}

    def _whole_feed(self, feed: FeedId) -> list[Stored]:
        messages: list[Stored] = []
        while page := self.log.read_feed(feed, messages[-1].sequence if messages else 0):
            messages.extend(page)
        return messages

    # --- callers on this machine ---

    async def _serve_local(self, stream: Stream) -> None:
        await open_plain_link(stream, own=PeerId(self.keys.id), router=self.registry, dialled=False)

    @asynccontextmanager
    async def local_link(self) -> AsyncIterator[Link]:
        """A link to this peer from within its own process, with all local rights."""
        ours, theirs = stream_pair()
        served = await open_plain_link(theirs, own=PeerId(self.keys.id), router=self.registry, dialled=False)
        link = await open_plain_link(ours, own=PeerId(self.keys.id), router=_NoCalls(), dialled=True)
        try:
            yield link
        finally:
            await link.close()
            await served.close()

    # --- what plugins.control shows and does ---

    def status(self) -> JsonObject:
        """What `ssb-rtc status --json` prints."""
        network = self._network
        frozen = self._author.frozen
        return {
            "id": self.keys.id,
            "running": network is not None,
            "addresses": network.addresses() if network else [],
            "messages": self.log.count(),
            "feeds": {feed: head.sequence for feed, head in sorted(self.log.heads().items())},
            "following": sorted(self.log.graph.follows(self.keys.id)),
            "hubs": [{"url": hub["url"], "state": hub["state"]} for hub in self.hubs()],
            "peers": network.status_of_peers() if network else [],
            "warnings": [*self._warnings, *([frozen] if frozen else [])],
        }

    def peers(self, *, everyone: bool) -> list[JsonObject]:
        """What `ssb-rtc peers --json` prints."""
        return self._running().peers(everyone=everyone)

    def hubs(self) -> list[JsonObject]:
        """What `ssb-rtc hubs --json` prints: [{url, state, source, attempts, error}]."""
        if self._network is not None:
            return self._network.hubs()
        return [
            {"url": hub.url, "state": "DISCONNECTED", "source": hub.source, "attempts": 0, "error": None}
            for hub in self._contacts.hubs()
        ]

    def add_hub(self, url: str, *, allow_http: tuple[str, ...] = ()) -> None:
        """Keeps a hub, and meets there if the peer runs. Raises ConfigFault."""
        hub = normalise_hub(url, allow_http=(*self.settings.allow_http, *allow_http))
        if self._network is not None:
            self._network.add_hub(hub)
        else:
            self._contacts.save_hub(HubRecord(hub, "user", _now_ms()))

    def remove_hub(self, url: str) -> None:
        """Forgets a hub. Raises MisuseError when it is not there."""
        known = [HubUrl(str(hub["url"])) for hub in self.hubs()]
        wanted = next((hub for hub in known if hub == url.rstrip("/")), None) or normalise_hub(
            url, allow_http=[url.partition("://")[2].partition(":")[0].partition("/")[0]]
        )
        if wanted not in known:
            raise MisuseError(f"{wanted} is not among the hubs; `ssb-rtc hubs` lists them")
        if self._network is not None:
            self._network.remove_hub(wanted)
        else:
            self._contacts.remove_hub(wanted)

    async def connect(self, address: str) -> JsonObject:
        """Connects to a multiserver address and waits for the link: {id, state, transport}. Raises ConnectFailed."""
        return await self._running().connect(address)

    def disconnect(self, peer: PeerId) -> None:
        """Ends the link to a peer, and holds it off for a while."""
        self._running().disconnect(peer)

    def trace(self) -> AsyncIterator[JsonObject]:
        """Actions and effects from now on."""
        return self._running().follow_trace()

    def _running(self) -> Network:
        if self._network is None:
            path = shlex.quote(str(self.folder))
            raise NoPeerRuns(f"no peer runs in {self.folder}: start it with `ssb-rtc start --path {path}`")
        return self._network


class _NoCalls:
    """The router of a caller that serves nothing."""

    def find(self, name: tuple[str, ...], _kind: Kind, _link: Link) -> Handler:
        raise RemoteCallError(f"muxrpc: no such command: {'.'.join(name)}")


async def connect_local(folder: Path) -> Link:
    """A link to the peer that runs on `folder`, through its socket. Raises ConnectFailed when none does."""
    own = files.load(folder)
    stream = await UnixTransport().connect(str(files.socket_path(folder)))
    return await open_plain_link(stream, own=PeerId(own.keys.id), router=_NoCalls(), dialled=True)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
