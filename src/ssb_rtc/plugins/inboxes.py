"""`inboxes.tell(secret)`: friends tell each other over a link how to find their inbox on hubs. Ours; not in JavaScript.

Who follows each other exchanges secrets (32 bytes in base64). Whoever is no longer followed, or is blocked, knows the
old secret: so there is a new one then. The friends that are linked hear of it at once, the others when they meet us.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable, Mapping
from typing import ClassVar, Final

from ssb_rtc.errors import RemoteCallError, SsbRtcError
from ssb_rtc.feeds.hops import FOLLOWS
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.plugins.tasks import Tasks
from ssb_rtc.signalhub.admission import BucketTable
from ssb_rtc.storage.inboxes import SECRET_BYTES, Inboxes
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import FeedId, Json, PeerId, feed_of, peer_of

TELL_LIMIT_S: Final = 10.0
TELLS_PER_HOUR: Final = 30
TELLS_AT_ONCE: Final = 10
PEERS_MAX: Final = 1_000

OnInbox = Callable[[PeerId, bool], None]

logger = logging.getLogger(__name__)


class FriendInboxes:
    """Keeps and exchanges the secrets."""

    name = "inboxes"
    version = "1.0.0"
    manifest: ClassVar[Mapping[str, str]] = {"inboxes.tell": "async"}
    permissions: ClassVar[PermissionLists] = {"remote": ["inboxes.tell"], "local": []}

    def __init__(self, inboxes: Inboxes) -> None:
        self.inboxes = inboxes
        self._on_theirs: list[OnInbox] = []
        self._on_own: list[Callable[[], None]] = []
        self._tells = BucketTable(TELLS_PER_HOUR / 3600, TELLS_AT_ONCE, PEERS_MAX)
        self._tasks = Tasks()

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        self._context = context
        self._graph = context.log.graph
        self._graph.subscribe(self._edge_changed)
        context.links.on_link(self._introduce)
        gone = [peer for peer in self.inboxes.peers() if not context.follows(feed_of(peer))]
        for peer in gone:
            self.inboxes.forget(peer)
        if gone:  # an older version, or another program, unfollowed them: they know ours, too
            self.inboxes.renew()
        return {"inboxes.tell": self._tell}

    async def close(self) -> None:
        """See plugins.base.Closing."""
        await self._tasks.close()

    def subscribe(self, on_theirs: OnInbox, on_own: Callable[[], None]) -> None:
        """Calls `on_theirs(peer, known)` when a friend's inbox becomes known or is forgotten, `on_own()` when ours
        changes.
        """
        self._on_theirs.append(on_theirs)
        self._on_own.append(on_own)

    def _mutual(self, peer: PeerId) -> bool:
        own, feed = self._context.keys.id, feed_of(peer)
        return self._graph.kind(own, feed) == FOLLOWS == self._graph.kind(feed, own)

    def _edge_changed(self, source: FeedId, target: FeedId, old: int | None, new: int | None) -> None:
        own = self._context.keys.id
        if source == own and old == FOLLOWS != new:
            if self.inboxes.forget(peer_of(target)):
                for listener in self._on_theirs:
                    listener(peer_of(target), False)
            self._renew()
        elif own in (source, target) and new == FOLLOWS:
            self._introduce_all(peer_of(target if source == own else source))

    def _renew(self) -> None:
        self.inboxes.renew()
        for listener in self._on_own:
            listener()
        self._introduce_all()

    def _introduce_all(self, peer: PeerId | None = None) -> None:
        for link in self._context.links.live():
            if peer in (None, link.remote):
                self._introduce(link)

    def _introduce(self, link: Link) -> None:
        if self._mutual(link.remote):
            self._tasks.spawn(self._say(link), f"inbox to {link.remote}")

    async def _say(self, link: Link) -> None:
        secret = base64.b64encode(self.inboxes.own).decode()
        try:
            await link.call("inboxes.tell", secret, timeout_s=TELL_LIMIT_S)
        except SsbRtcError as fault:
            logger.debug("%s was not told of our inbox: %s", link.remote, fault)

    async def _tell(self, link: Link, said: Json = None) -> Json:
        """True where it was kept, False where it comes too often, or from somebody whom we don't follow."""
        peer = link.remote
        try:
            secret = base64.b64decode(said, validate=True) if isinstance(said, str) and len(said) <= 64 else b""
        except (binascii.Error, ValueError):
            secret = b""
        if len(secret) != SECRET_BYTES:
            raise RemoteCallError(f"inboxes.tell takes {SECRET_BYTES} bytes in base64")
        if not self._context.follows(feed_of(peer)) or not self._tells.take(peer, self._context.now_s()):
            return False
        if self.inboxes.keep(peer, secret, self._context.now_ms()):
            for listener in self._on_theirs:
                listener(peer, True)
        return True
