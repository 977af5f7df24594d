"""A peer: the front door of the library, and the only room that wires everything together.

async with Peer("notes-data", Settings(hub=("https://hub.example.org",))) as peer:
    await peer.publish({"type": "post", "text": "hello"})
    async for message in peer.messages(type="post", live=True):
        print(message.author, message.content["text"])
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ssb_rtc.config import Settings
from ssb_rtc.controls import PeerControls
from ssb_rtc.errors import ConnectFailed, DatabaseLocked, MisuseError
from ssb_rtc.feeds import refs
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.messages import Message, message_of
from ssb_rtc.plugins import installed
from ssb_rtc.plugins.base import Blocked, Context, Plugin, Wanted
from ssb_rtc.plugins.blob_api import BlobApi
from ssb_rtc.plugins.blobs import Blobs
from ssb_rtc.plugins.control import Control
from ssb_rtc.plugins.feed import Feed
from ssb_rtc.plugins.friends import Friends
from ssb_rtc.plugins.gossip import Gossip
from ssb_rtc.plugins.history import History
from ssb_rtc.plugins.hubs import HubGossip
from ssb_rtc.plugins.inboxes import FriendInboxes
from ssb_rtc.plugins.indexes import IndexKeeping
from ssb_rtc.plugins.introductions import Introductions
from ssb_rtc.plugins.invite import InvitePlugin
from ssb_rtc.plugins.names import Names
from ssb_rtc.plugins.peering import Peering
from ssb_rtc.plugins.private import Private
from ssb_rtc.plugins.reading import Reading
from ssb_rtc.plugins.registry import Registry
from ssb_rtc.plugins.stack import Stack
from ssb_rtc.plugins.sync_limits import SyncLimits
from ssb_rtc.plugins.watching import Watching
from ssb_rtc.plugins.welcome import WelcomePlugin
from ssb_rtc.runtime.hub_book import HubBook
from ssb_rtc.storage import folder as files
from ssb_rtc.storage.author import Author, mark_imported
from ssb_rtc.storage.contacts import Contacts
from ssb_rtc.storage.database import Database, open_database
from ssb_rtc.storage.forks import Forks
from ssb_rtc.storage.hub_entries import HubEntries
from ssb_rtc.storage.identity import Identity
from ssb_rtc.storage.inboxes import Inboxes
from ssb_rtc.storage.ingest import Ingest
from ssb_rtc.storage.log import Log, Stored
from ssb_rtc.storage.query import Query
from ssb_rtc.storage.welcomes import Welcomes
from ssb_rtc.transport.base import Stream, Transport
from ssb_rtc.transport.link import Link, ServesNothing, open_plain_link
from ssb_rtc.transport.memory import stream_pair
from ssb_rtc.transport.unix import UnixTransport
from ssb_rtc.types import BlobId, FeedId, JsonObject, MsgId, PeerId, feed_of
from ssb_rtc.wire.address import normalise_hub

if TYPE_CHECKING:
    from ssb_rtc.hub.server import HubServer
    from ssb_rtc.runtime.network import Network


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Peer:
    """One identity, its feeds and its network. Everything works inside `async with`, on one event loop.

    folder: holds the identity, the database and the blobs; made when it is absent (unless `create` is False).
    settings: what the flags of `ssb-rtc start` set.
    online: meet and replicate; else only the files are open, and `start` goes online later.
    restored: the folder comes from a backup, so nothing is published until a peer that holds our feed has answered. The
        same holds where a peer ran on the folder before, and its database is gone.
    plugins: objects of this program's own, beside those that `settings.plugin` names.
    now_ms: the wall clock, in milliseconds since 1970.
    transports: ways to others in place of those over sockets, for tests; then no command reaches this peer either.

    Entering raises IdentityMissing (with `create` False), DatabaseLocked (a peer runs on this folder), DatabaseCorrupt,
    DatabaseUnusable, ConfigFault and, online, ListenFailed.
    """

    def __init__(
        self,
        folder: Path | str,
        settings: Settings | None = None,
        *,
        create: bool = True,
        online: bool = True,
        restored: bool = False,
        plugins: Iterable[Plugin] = (),
        now_ms: Callable[[], int] = _now_ms,
        transports: Iterable[Transport] | None = None,
    ) -> None:
        self.folder = Path(folder).expanduser()
        self.settings = settings or Settings()
        self._create = create
        self._online = online
        self._restored = restored
        self._extra = tuple(plugins)
        self._now_ms = now_ms
        self._transports = tuple(transports) if transports is not None else None
        self._stack = AsyncExitStack()
        self.context: Context
        self.registry: Registry
        self.controls = PeerControls(self.folder, lambda: self.context, lambda: self._hub_book.store)
        self._hub_server: HubServer | None = None
        self._unix = UnixTransport()
        self._callers: set[Link] = set()

    def __getattr__(self, name: str) -> Any:
        # Only what is not there comes here, and what is not there is made by entering.
        if name in {"context", "registry", "friends", "limits", "_blobs", "_hub_gossip", "_inboxes"}:
            raise MisuseError("this peer is not open: use it inside `async with Peer(...) as peer:`")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # --- life ---

    async def __aenter__(self) -> Self:
        if "context" in self.__dict__:
            raise MisuseError("this peer was opened before: make another one")
        if self._create and not files.has_identity(self.folder):
            files.create(self.folder)
        try:
            self._open(files.load(self.folder))
            if self._online:
                await self.start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        self.controls.network = None

    def _open(self, own: Identity) -> None:
        """Opens the files and makes the plugins; what is opened here is closed by the stack, the last first."""
        lost = files.has_lost_database(self.folder)
        database = self._open_database()
        if self._restored or lost:
            mark_imported(database)
        log, forks = Log(database), Forks(database)
        ingest = Ingest(log, forks, now_ms=self._now_ms, hmac_key=self.settings.hmac_key)
        author = Author(ingest, own.keys)
        self._stack.push_async_callback(author.close)
        self._stack.push_async_callback(ingest.close)
        self.context = Context(
            folder=self.folder,
            settings=self.settings,
            keys=own.keys,
            log=log,
            forks=forks,
            ingest=ingest,
            author=author,
            contacts=Contacts(database),
            wanted=Wanted([own.keys.id]),
            blocked=Blocked(),
            now_s=time.monotonic,
            now_ms=self._now_ms,
        )
        if own.warning:
            self.context.warnings["identity"] = own.warning
        self._stack.callback(self.context.queries.close)
        self.registry = Registry(self.context)
        self._stack.push_async_callback(self.registry.close)
        history = History()
        gossip, self.friends = Gossip(history), Friends()
        entries, settings = HubEntries(database), self.settings
        self._hub_book = HubBook(entries, self.context.contacts, own.keys, settings.network_key, self._now_ms)
        self._hub_gossip = HubGossip(self.friends, self._hub_book)
        self._blobs = Blobs()
        self.limits = SyncLimits(self.friends, gossip)
        built_in: list[Plugin] = [self.friends, history, gossip, self.limits, self._blobs, Feed()]
        built_in += [IndexKeeping(), Private()]
        self._inboxes = FriendInboxes(Inboxes(database))
        names = Names()
        built_in += [names, Reading(names), Watching(self.controls, gossip, names)]
        built_in += [Control(self.controls), Peering(self._network), self._hub_gossip, self._inboxes]
        built_in.append(Introductions(self._network))
        built_in.append(Stack(self.registry.manifest_json, self.controls.addresses))
        built_in.append(InvitePlugin(self.controls))
        self._welcome = WelcomePlugin(Welcomes(database), self._inboxes)
        built_in.append(self._welcome)
        for plugin in built_in:
            self.registry.add(plugin)
        installed.load(self.settings.plugin, self.registry.add)
        for plugin in self._extra:
            self.registry.add(plugin)

    def _network(self) -> Network | None:
        return self.controls.network

    def _open_database(self) -> Database:
        try:
            database = open_database(files.database_path(self.folder), create=True)
        except DatabaseLocked as fault:
            raise DatabaseLocked(f"{fault} If it is just starting or ending, try again in a moment.") from None
        self._stack.callback(database.close)
        return database

    async def start(self) -> None:
        """Goes online: local socket, listeners, hubs. Raises ListenFailed, ConfigFault, StorageFault."""
        # The network brings aiohttp and a WebRTC library along, which commands that only read must not pay for.
        from ssb_rtc.runtime.network import Network, hubs_at_start

        context, settings = self.context, self.settings
        if self.controls.network is not None:
            raise MisuseError("this peer is online already")
        self._stack.push_async_callback(self._end_callers)
        self._stack.push_async_callback(self._unix.close)
        if self._transports is None:
            await self._unix.listen(str(files.socket_path(self.folder)), self._serve_local)
            files.write_manifest(self.folder, self.registry.manifest_json())
        for_this_run = [normalise_hub(url, allow_http=settings.allow_http) for url in settings.hub]
        if settings.with_hub is not None:
            from ssb_rtc.hub.server import serve as serve_hub

            server = await serve_hub(settings.host, settings.with_hub)
            self._stack.push_async_callback(server.close)
            # Who listens on every address of this machine is not reached at 0.0.0.0 itself.
            url = server.url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
            for_this_run.append(normalise_hub(url, allow_http=[settings.host]))
        network = Network(
            context.keys,
            settings,
            router=self.registry,
            hears=context.links,
            contacts=context.contacts,
            now_ms=context.now_ms,
            inboxes=self._inboxes.inboxes,
            guests=context.guests,
            progress=context.progress,
            transports=self._transports,
            book=self._hub_book,
        )
        self.controls.network = network
        context.mark = network.timelines.mark
        self._stack.push_async_callback(network.close)
        network.block(context.blocked.peers)
        context.blocked.subscribe(network.block)
        self.friends.subscribe(network.hops_changed)
        network.hops_changed(self.friends.hops())
        self._inboxes.subscribe(network.inbox_changed, network.own_inbox_changed)
        friends = set(context.log.graph.follows(context.keys.id))
        peers = context.contacts.peers()
        await network.start(
            hubs=hubs_at_start(context.contacts.hubs(), for_this_run),
            known=[(p.id, p.address) for p in peers if p.address and (p.pinned or feed_of(p.id) in friends)],
            pinned=[p.id for p in peers if p.pinned],
            initial_sync=all(feed == context.keys.id for feed in context.log.heads()),
        )
        await self._hub_gossip.start(network)
        await self._welcome.start(network)
        if settings.metrics is not None:
            await network.serve_metrics(settings.metrics, context.ingest)

    # --- who we are ---

    @property
    def keys(self) -> Keys:
        """Our identity; keep the secret half secret."""
        return self.context.keys

    @property
    def id(self) -> FeedId:
        """Our feed's id; our peer's id is spelled the same."""
        return self.context.keys.id

    @property
    def addresses(self) -> list[str]:
        """Multiserver addresses at which others can reach us now; none while we are offline."""
        network = self.controls.network
        return network.addresses() if network is not None else []

    # --- messages ---

    async def publish(self, content: JsonObject, *, to: Sequence[FeedId] = (), durable: bool = False) -> Message:
        """Writes a message to our feed; it is safe from the death of this process when this returns.

        content: an object with a `type`. to: who alone can read it, besides us: up to six feeds, which are written into
        the content as `recps`, for whoever answers. durable: also wait until it is safe from the death of the machine.
        Raises MisuseError for content that can't be one, AuthorFault while we may not write to our feed, StorageFault.
        """
        if to:
            content = {**content, "recps": list(dict.fromkeys((self.id, *to)))}
        return self._message(await self.context.author.publish(content, durable=durable))

    def get(self, key: MsgId) -> Message | None:
        """The message with this id, or None where we don't hold it."""
        stored = self.context.log.get(key)
        return self._message(stored) if stored is not None else None

    async def messages(  # noqa: PLR0913 - keywords only, each of its own
        self,
        *,
        author: FeedId | None = None,
        type: str | None = None,  # noqa: A002 - the field's own word
        links_to: MsgId | FeedId | BlobId | None = None,
        rel: str | None = None,
        private: bool | None = None,
        newest_first: bool = False,
        limit: int | None = None,
        old: bool = True,
        live: bool = False,
    ) -> AsyncGenerator[Message]:
        """Messages in the order in which they came to this machine; everything given must hold.

        links_to: an id that the content links to, `rel` the key under which the link stands there (`root`, `about`...).
        private: True for private messages that we can read, False for public ones, None for all.
        limit: at most so many. old: those that are here. live: then wait for more, until the loop is left or the peer
        closes.
        Raises MisuseError for a combination that makes no sense.
        """
        query = Query(
            author=author,
            type=type,
            links_to=links_to,
            rel=rel,
            private=private,
            newest_first=newest_first,
            limit=limit,
        )
        async with aclosing(self.context.queries.follow(query, old=old, live=live)) as found:
            async for stored in found:
                yield self._message(stored)

    def _message(self, stored: Stored) -> Message:
        return message_of(stored, self.context.unboxer.unbox_stored(stored))

    def ids_by_feed(self) -> dict[FeedId, list[MsgId]]:
        """The id of every message that we hold, in the order of its feed."""
        return {feed: [stored.key for stored in self._whole_feed(feed)] for feed in self.context.log.heads()}

    def _whole_feed(self, feed: FeedId) -> list[Stored]:
        messages: list[Stored] = []
        while page := self.context.log.read_feed(feed, messages[-1].sequence if messages else 0):
            messages.extend(page)
        return messages

    @property
    def blobs(self) -> BlobApi:
        """Files of up to 5 MiB that messages point at: add, want, get, push."""
        return self._blobs.api

    # --- others ---

    async def follow(self, feed: FeedId) -> Message:
        """Publishes that we follow this feed, so that it is fetched. Raises as `publish`."""
        return self._message(await self.friends.follow(feed))

    async def unfollow(self, feed: FeedId) -> Message:
        """Publishes that we no longer follow this feed. Raises as `publish`."""
        return self._message(await self.friends.unfollow(feed))

    async def block(self, feed: FeedId, reason: str | None = None) -> Message:
        """Publishes that we block this feed: no longer fetched, no link with its peer. Raises as `publish`."""
        return self._message(await self.friends.block(feed, reason))

    async def unblock(self, feed: FeedId) -> Message:
        """Publishes that we no longer block this feed. Raises as `publish`."""
        return self._message(await self.friends.unblock(feed))

    async def connect(self, address: str, *, pin: bool = False) -> Link:
        """A link to the peer at a multiserver address (`net:...~shs:...`). Raises ConnectFailed, ConfigFault.

        pin: a link with it is wanted for good, also after a restart and where this attempt fails, until `unpin`.
        """
        linked = await self.controls.connect(address, pin=pin)
        return self.rpc(PeerId(str(linked["id"])))

    def unpin(self, peer: str) -> None:
        """A link with this peer is wanted like any other from now on. Raises MisuseError, StorageFault."""
        if not refs.is_feed_id(peer):
            raise MisuseError(f"{peer!r} is not a peer's id; one looks like @<44 characters>.ed25519")
        self.controls.unpin(PeerId(peer))

    def rpc(self, peer: str) -> Link:
        """The live link to a peer, on which its methods can be called. Raises ConnectFailed where there is none."""
        for link in reversed(self.context.links.live()):
            if link.remote == peer and not link.closed.done():
                return link
        raise ConnectFailed(f"there is no link to {peer} now: connect to it first, or wait until it is met on a hub")

    # --- callers on this machine ---

    async def _serve_local(self, stream: Stream) -> None:
        link = await open_plain_link(stream, own=PeerId(self.keys.id), router=self.registry, dialled=False)
        self._callers.add(link)
        link.closed.add_done_callback(lambda _closed: self._callers.discard(link))

    async def _end_callers(self) -> None:
        """In an application that goes on without this peer, whoever calls it shall hear that it is gone."""
        for link in list(self._callers):
            await link.close()

    @asynccontextmanager
    async def local_link(self) -> AsyncIterator[Link]:
        """A link to this peer from within its own process, with all local rights."""
        ours, theirs = stream_pair()
        served = await open_plain_link(theirs, own=PeerId(self.keys.id), router=self.registry, dialled=False)
        link = await open_plain_link(ours, own=PeerId(self.keys.id), router=ServesNothing(), dialled=True)
        try:
            yield link
        finally:
            await link.close()
            await served.close()

    def status(self) -> JsonObject:
        """Who we are, what we hold and whom we are linked to: what `ssb-rtc status --json` prints."""
        return self.controls.status()


async def connect_local(folder: Path) -> Link:
    """A link to the peer that runs on `folder`, through its socket. Raises ConnectFailed when none does."""
    own = files.load(folder)
    stream = await UnixTransport().connect(str(files.socket_path(folder)))
    return await open_plain_link(stream, own=PeerId(own.keys.id), router=ServesNothing(), dialled=True)
