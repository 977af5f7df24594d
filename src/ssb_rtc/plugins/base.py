"""What a plugin is: a name, methods with their kinds, who may call them, and what they find around them.

The shape is that of secret-stack (npm, 6.4): `{name, version, manifest, permissions, init(api)}`. A plugin's methods
are `name.method`, or top-level where its `prefix` is empty (`createHistoryStream`).

    class Whoami:
        name = "whoami"
        version = "1.0.0"
        manifest = {"whoami": "sync"}
        permissions = {"remote": ["whoami"], "local": ["whoami"]}

        def init(self, context):
            async def whoami(link):
                return {"id": context.keys.id}
            return {"whoami": whoami}
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypedDict, runtime_checkable

from ssb_rtc.config import Settings
from ssb_rtc.feeds.hops import BLOCKS, FOLLOWS
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.storage.author import Author
from ssb_rtc.storage.contacts import Contacts
from ssb_rtc.storage.forks import Forks
from ssb_rtc.storage.group_keys import GroupKeys
from ssb_rtc.storage.index_links import LinkIndex
from ssb_rtc.storage.index_private import PrivateIndex
from ssb_rtc.storage.indexes import Indexes
from ssb_rtc.storage.ingest import Ingest
from ssb_rtc.storage.log import Log
from ssb_rtc.storage.query import Queries
from ssb_rtc.storage.unboxer import Unboxer
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import FeedId, PeerId, feed_of

OnLink = Callable[[Link], None]


class PermissionLists(TypedDict, total=False):
    """Dotted names, of methods or whole groups. `local` absent: local callers may call everything."""

    remote: Sequence[str]
    local: Sequence[str]
    guest: Sequence[str]
    """What a caller may call who proved nothing but that it holds an invite."""


class Plugin(Protocol):
    """One feature of a peer."""

    @property
    def name(self) -> str:
        """Unique among the plugins of a peer."""
        ...

    @property
    def version(self) -> str:
        """Of the plugin, by semver."""
        ...

    @property
    def manifest(self) -> Mapping[str, str]:
        """Dotted method names and their kinds: async, sync, source, sink, duplex."""
        ...

    @property
    def permissions(self) -> PermissionLists:
        """Who may call what."""
        ...

    def init(self, context: Context) -> Mapping[str, Handler]:
        """Called once, before any link; gives a handler for each method of the manifest."""
        ...


@runtime_checkable
class Closing(Protocol):
    """A plugin that has something to end."""

    async def close(self) -> None:
        """Called once, after all links have ended."""


class Links:
    """The links of a peer that are in use, and who wants to hear of them. The peer calls `opened` and `closed`.

    There is one for each remote at a time. A link that is in use no longer may still be open, to be said goodbye on.
    """

    def __init__(self) -> None:
        self._live: dict[int, Link] = {}
        self._on_link: list[OnLink] = []
        self._on_link_closed: list[OnLink] = []

    def live(self) -> list[Link]:
        """All links in use now, oldest first."""
        return list(self._live.values())

    def on_link(self, listener: OnLink) -> None:
        """Calls `listener(link)` for each new link of a remote peer (not for local callers)."""
        self._on_link.append(listener)

    def on_link_closed(self, listener: OnLink) -> None:
        """Calls `listener(link)` once for each link that ended, or is about to: nothing begins on it any longer."""
        self._on_link_closed.append(listener)

    def opened(self, link: Link) -> None:
        """A link to a remote peer is ready for calls. Both sides' plugins hear it, in the order of their `init`."""
        self._live[id(link)] = link
        for listener in self._on_link:
            listener(link)

    def closed(self, link: Link) -> None:
        """A link ended, or is in use no longer; a second call does nothing."""
        if self._live.pop(id(link), None) is not None:
            for listener in self._on_link_closed:
                listener(link)


class Wanted:
    """Which feeds we replicate: our own and those within reach, as far as they are not blocked.

    The peer calls `replace` when follows or settings changed; whoever cares subscribes.
    """

    def __init__(self, feeds: Collection[FeedId] = ()) -> None:
        self._feeds = set(feeds)
        self._listeners: list[Callable[[frozenset[FeedId], frozenset[FeedId]], None]] = []

    @property
    def feeds(self) -> frozenset[FeedId]:
        """The feeds now; a copy."""
        return frozenset(self._feeds)

    def __contains__(self, feed: object) -> bool:
        return feed in self._feeds

    def replace(self, feeds: Collection[FeedId]) -> None:
        """Sets the feeds and tells what was added and removed, if anything."""
        new = frozenset(feeds)
        self.change(new, self._feeds - new)

    def change(self, added: Collection[FeedId], removed: Collection[FeedId]) -> None:
        """Adds and removes feeds, and tells of those for which that changed something."""
        really_added, really_removed = frozenset(added) - self._feeds, self._feeds.intersection(removed)
        self._feeds |= really_added
        self._feeds -= really_removed
        if really_added or really_removed:
            for listener in tuple(self._listeners):
                listener(really_added, frozenset(really_removed))

    def subscribe(self, listener: Callable[[frozenset[FeedId], frozenset[FeedId]], None]) -> None:
        """Calls `listener(added, removed)` at each change."""
        self._listeners.append(listener)


class Blocked:
    """Whom we block: no link with them in either direction.

    plugins.friends calls `replace`; whoever cares subscribes.
    """

    def __init__(self) -> None:
        self._peers: frozenset[PeerId] = frozenset()
        self._listeners: list[Callable[[frozenset[PeerId], frozenset[PeerId]], None]] = []

    @property
    def peers(self) -> frozenset[PeerId]:
        """The peers now."""
        return self._peers

    def __contains__(self, peer: object) -> bool:
        return peer in self._peers

    def replace(self, peers: Collection[PeerId]) -> None:
        """Sets the peers and tells who was added and removed, if anybody."""
        new = frozenset(peers)
        added, removed = new - self._peers, self._peers - new
        self._peers = new
        if added or removed:
            for listener in tuple(self._listeners):
                listener(added, removed)

    def subscribe(self, listener: Callable[[frozenset[PeerId], frozenset[PeerId]], None]) -> None:
        """Calls `listener(added, removed)` at each change."""
        self._listeners.append(listener)


@dataclass(slots=True)
class Progress:
    """How replication on one link goes, for the peers state manager. Times are seconds of `Context.now_s`."""

    missing: int = 0
    """Messages that the remote claims to have, that we want from it and do not hold yet."""
    received: int = 0
    """New messages that came from it and were kept."""
    last_received_s: float | None = None
    replicating: bool = False
    """A replication stream is open."""
    given_up: bool = False
    """It claims to have what is missing, and was so slow that others are asked for it."""


@dataclass(slots=True)
class Context:
    """What a plugin finds around it. The composition root builds one for all plugins."""

    folder: Path
    """The peer's folder; a plugin keeps what is no row of the database in a folder of its own name in it."""
    settings: Settings
    keys: Keys
    log: Log
    forks: Forks
    ingest: Ingest
    author: Author
    contacts: Contacts
    wanted: Wanted
    blocked: Blocked
    now_s: Callable[[], float]
    """A monotonic clock, in seconds."""
    now_ms: Callable[[], int]
    """The wall clock, in milliseconds since 1970."""
    links: Links = field(default_factory=Links)
    guests: set[str] = field(default_factory=set)
    """The keys of our invites; plugins.invite keeps it. Who proves one of them is a guest, and no peer."""
    progress: dict[PeerId, Progress] = field(default_factory=dict)
    """By remote peer, while linked; gossip and history keep it."""
    mark: Callable[[PeerId, str, str], None] = lambda _peer, _what, _detail: None
    """Tells of what happens on the way to a peer; see runtime.timelines. The peer sets it when it goes online."""
    tell: Callable[[str], None] = lambda _sentence: None
    """Tells whoever sits before the peer what just happened, in a sentence; `ssb-rtc start` sets it."""
    warnings: dict[str, str] = field(default_factory=dict)
    """Sentences for the owner, which `status` shows, by the name of the plugin that says them."""
    unboxer: Unboxer = field(init=False)
    """Opens private messages that are for us."""
    indexes: Indexes = field(init=False)
    """A plugin that needs one of its own registers it in its `init`."""
    queries: Queries = field(init=False)

    def __post_init__(self) -> None:
        group_keys = GroupKeys(self.log.database, lambda author: self.follows(author) or author == self.keys.id)
        self.unboxer = Unboxer(self.keys, group_keys)
        self.indexes = Indexes(self.log, [LinkIndex(), PrivateIndex(self.unboxer.unbox_stored)])
        self.queries = Queries(self.log, self.indexes, self.ingest.subscribe)

    def follows(self, feed: FeedId) -> bool:
        """Whether we follow this feed."""
        return self.log.graph.kind(self.keys.id, feed) == FOLLOWS

    def is_blocked(self, feed: FeedId, peer: PeerId) -> bool:
        """Whether the author of the feed blocks the peer: such feeds are not served to it."""
        return self.log.graph.kind(feed, feed_of(peer)) == BLOCKS

    def forget_progress(self, peer: PeerId) -> None:
        """A link with this peer ended: forgets how it went, unless another link with it is live."""
        if not any(link.remote == peer for link in self.links.live()):
            self.progress.pop(peer, None)

    def servable(self, feed: FeedId) -> int:
        """The last sequence of a feed that may be sent to others (see storage.author)."""
        if feed == self.keys.id:
            return self.author.servable
        head = self.log.head(feed)
        return head.sequence if head else 0
