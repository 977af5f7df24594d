"""`hubs.tell([{url}, ...])`: a linked peer says which hubs it knows. Ours; JavaScript peers don't have it.

Which of them are tried is the manager's business; here they are only read, and bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final, Protocol

from ssb_rtc.errors import FrameInvalid, RemoteCallError
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.signalhub.admission import BucketTable, TokenBucket
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import HubUrl, Json
from ssb_rtc.wire.told_hubs import parse_told

PAUSE_S: Final = 5.0
BURST: Final = 2
"""A list each PAUSE_S on one link in the long run; two at once, because what was sent in time may come in a bunch."""
LISTS_PER_HOUR: Final = 30
"""Of one peer, over any number of links."""
PEERS_MAX: Final = 1_000


class Listening(Protocol):
    """Who is told of hubs: runtime.network.Network."""

    @property
    def meets_on_loopback(self) -> bool: ...

    def hear_hubs(self, link: Link, hubs: tuple[HubUrl, ...]) -> None: ...


class ToldHubs:
    """Takes lists of hubs."""

    name = "hubs"
    version = "1.0.0"
    manifest: ClassVar[Mapping[str, str]] = {"hubs.tell": "async"}
    permissions: ClassVar[PermissionLists] = {"remote": ["hubs.tell"], "local": []}

    def __init__(self, listening: Callable[[], Listening | None]) -> None:
        self._listening = listening
        self._links: dict[Link, TokenBucket] = {}
        self._peers = BucketTable(LISTS_PER_HOUR / 3600, LISTS_PER_HOUR, PEERS_MAX)

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        self._now_s = context.now_s
        return {"hubs.tell": self._tell}

    async def _tell(self, link: Link, said: Json = None) -> Json:
        """True where it was taken in, False where it comes too often."""
        listening = self._listening()
        if listening is None or not self._admits(link):
            return False
        try:
            hubs = parse_told(said, allow_loopback=listening.meets_on_loopback)
        except FrameInvalid as fault:
            raise RemoteCallError(str(fault)) from fault
        if hubs:
            listening.hear_hubs(link, hubs)
        return True

    def _admits(self, link: Link) -> bool:
        now_s = self._now_s()
        bucket = self._links.get(link)
        if bucket is None:
            bucket = self._links[link] = TokenBucket(1 / PAUSE_S, BURST, now_s)
            link.closed.add_done_callback(lambda _: self._links.pop(link, None))
        return bucket.take(now_s) and self._peers.take(link.remote, now_s)
