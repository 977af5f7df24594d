"""Hub gossip: who vouches for which hub, by signed entries that peers pass on (`hubs.tell`) and by published messages.

`hubs.tell([{url, signer, time, lastSuccess, signature}, ...])` is ours; JavaScript peers don't have it. What is said is
kept in runtime.hub_book; here it is read and bounded, and made into what the manager decides by: the witnesses of each
hub (feeds.witnesses). `hubs.publish` and `hubs.retire` write our own messages (feeds.hub_message).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import ClassVar, Final, Protocol

from ssb_rtc.errors import FrameInvalid, MisuseError, RemoteCallError, StorageFault
from ssb_rtc.feeds.hub_entry import parse_entries
from ssb_rtc.feeds.hub_message import TYPE, hub_content, hub_of
from ssb_rtc.feeds.witnesses import first_steps, witnesses
from ssb_rtc.manager.state import Witness
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.plugins.feed import encode_stored
from ssb_rtc.plugins.friends import Friends
from ssb_rtc.runtime.hub_book import HubBook
from ssb_rtc.signalhub.admission import BucketTable, TokenBucket
from ssb_rtc.storage.log import Stored
from ssb_rtc.storage.query import Query
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import HubUrl, Json, peer_of
from ssb_rtc.wire.hub_url import hub_host, normalise_hub
from ssb_rtc.wire.told_hubs import is_fit

PAUSE_S: Final = 5.0
BURST: Final = 2
"""A list each PAUSE_S on one link in the long run; two at once, because what was sent in time may come in a bunch."""
LISTS_PER_HOUR: Final = 30
"""Of one peer, over any number of links."""
PEERS_MAX: Final = 1_000
SAID_S: Final = 0.5
"""So long after somebody said something the manager hears what it comes to."""
FOLLOWED_S: Final = 10.0
"""The same after follows changed: in a first sync they change all the time."""
SWEEP_S: Final = 6 * 3600.0
"""How often old entries are forgotten, and ours signed anew where they are old."""
HUBS_MAX: Final = 256
"""Hubs that the manager hears of, those with most witnesses first."""

logger = logging.getLogger(__name__)


class Network(Protocol):
    """Who is told of hubs: runtime.network.Network."""

    @property
    def meets_on_loopback(self) -> bool: ...

    def hear_vouchers(self, hubs: Mapping[HubUrl, tuple[Witness, ...]]) -> None: ...

    def tell_hubs(self) -> None: ...


class HubGossip:
    """Takes what others say of hubs, and tells the manager what it comes to while the peer is online."""

    name = "hubs"
    version = "1.0.0"
    manifest: ClassVar[Mapping[str, str]] = {"hubs.tell": "async", "hubs.publish": "async", "hubs.retire": "async"}
    permissions: ClassVar[PermissionLists] = {"remote": ["hubs.tell"], "local": ["hubs.publish", "hubs.retire"]}

    def __init__(self, friends: Friends, book: HubBook) -> None:
        self._friends = friends
        self._book = book
        self._network: Network | None = None
        self._links: dict[Link, TokenBucket] = {}
        self._peers = BucketTable(LISTS_PER_HOUR / 3600, LISTS_PER_HOUR, PEERS_MAX)
        self._vouched: dict[HubUrl, tuple[Witness, ...]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        self._context = context
        self._now_s = context.now_s
        self._book.reaches = self._friends.is_within_reach
        context.log.graph.subscribe(lambda *_: self._settle_in(FOLLOWED_S))
        return {"hubs.tell": self._tell, "hubs.publish": self._publish, "hubs.retire": self._retire}

    # --- life ---

    async def start(self, network: Network) -> None:
        """The peer is online, and its manager knows its hubs: it hears what others said, then what they say.

        Raises StorageFault.
        """
        self._network = network
        upto, query = self._context.log.last_rowid, Query(type=TYPE)
        async for stored in self._context.queries.old(query, upto):
            self._read(stored)
        self._settle()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._follow(query, upto)), loop.create_task(self._sweep())]

    async def _follow(self, query: Query, after_rowid: int) -> None:
        try:
            async for stored in self._context.queries.live(query, after_rowid):
                if self._read(stored):
                    self._settle_in(SAID_S)
        except StorageFault as fault:
            logger.warning("hub messages are read again after the next start: %s", fault)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._settle()
            if self._network is not None:
                self._network.tell_hubs()

    async def close(self) -> None:
        """See Closing."""
        self._network = None
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- what is said ---

    async def _tell(self, link: Link, said: Json = None) -> Json:
        """True where it was taken in, False where it comes too often."""
        network = self._network
        if network is None or not self._admits(link):
            return False
        try:
            entries = parse_entries(said)
        except FrameInvalid as fault:
            raise RemoteCallError(str(fault)) from fault
        try:
            news = self._book.hear(link, entries, allow_loopback=network.meets_on_loopback)
        except StorageFault as fault:
            logger.warning("what %s says of hubs was not stored: %s", link.remote, fault)
            return False
        if news:
            self._settle_in(SAID_S)
            network.tell_hubs()
        return True

    def _admits(self, link: Link) -> bool:
        now_s = self._now_s()
        bucket = self._links.get(link)
        if bucket is None:
            bucket = self._links[link] = TokenBucket(1 / PAUSE_S, BURST, now_s)
            link.closed.add_done_callback(lambda _: self._links.pop(link, None))
        return bucket.take(now_s) and self._peers.take(link.remote, now_s)

    def _read(self, stored: Stored) -> bool:
        value = stored.value()
        message = hub_of(value["content"], written_ms=value["timestamp"], received_ms=stored.timestamp_ms)
        return message is not None and self._book.read(stored.author, message)

    # --- what it comes to ---

    def _settle_in(self, delay_s: float) -> None:
        """Have the manager hear of it a little later, together with what else comes meanwhile."""
        if self._network is None:
            return
        loop = asyncio.get_running_loop()
        at_s = loop.time() + delay_s
        if self._timer is not None and self._timer.when() > at_s:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = loop.call_at(at_s, self._settle)

    def _settle(self) -> None:
        self._timer = None
        network = self._network
        if network is None:
            return
        with contextlib.suppress(StorageFault):  # what is too old does not count, on the disk or not
            self._book.sweep()
        found = self._witnesses(allow_loopback=network.meets_on_loopback)
        changes = {hub: seen for hub, seen in found.items() if self._vouched.get(hub) != seen}
        changes |= dict.fromkeys(self._vouched.keys() - found.keys(), ())
        self._vouched = found
        if changes:
            network.hear_vouchers(changes)

    def _witnesses(self, *, allow_loopback: bool) -> dict[HubUrl, tuple[Witness, ...]]:
        said = self._book.speakers(allow_loopback=allow_loopback)
        if not said:
            return {}
        signers = {signer for speakers in said.values() for signer in speakers}
        through = first_steps(self._context.log.graph, self._friends.hops(), signers)
        found = {
            hub: tuple(Witness(peer_of(signer), peer_of(step)) for signer, step in witnesses(through, speakers))
            for hub, speakers in said.items()
        }
        # Of those with as many witnesses the hash chooses: it is another one in each process, and nobody can aim at it.
        first = sorted((hub for hub in found if found[hub]), key=lambda hub: (-len(found[hub]), hash(hub)))
        return {hub: found[hub] for hub in first[:HUBS_MAX]}

    # --- what we say ---

    async def _publish(self, _link: Link, url: Json = None) -> Json:
        """Writes that we recommend this hub; gives the message. Raises MisuseError, ConfigFault."""
        hub = normalise_hub(_text(url), allow_http=[hub_host(HubUrl(_text(url)))])
        record = self._context.contacts.hub(hub)
        if record is not None and record.private:
            raise MisuseError(f"{hub} is private: add it anew without --private first, if everybody may know of it")
        if not is_fit(hub):
            raise MisuseError(
                f"{hub} is of no use to others: publish an https address that everybody can reach, without a password"
            )
        return encode_stored(await self._context.author.publish(hub_content(hub)))

    async def _retire(self, _link: Link, url: Json = None) -> Json:
        """Writes that we no longer recommend a hub; gives the message. Raises MisuseError, ConfigFault."""
        hub = normalise_hub(_text(url), allow_http=[hub_host(HubUrl(_text(url)))])
        latest = None
        async for stored in self._context.queries.old(Query(author=self._context.keys.id, type=TYPE)):
            value = stored.value()
            message = hub_of(value["content"], written_ms=value["timestamp"], received_ms=stored.timestamp_ms)
            latest = message if message is not None and message.url == hub else latest
        if latest is None or latest.retired:
            raise MisuseError(f"we have not published {hub}, so there is nothing to take back")
        return encode_stored(await self._context.author.publish(hub_content(hub, retired=True)))


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise MisuseError("this takes the hub's address, as text")
    return value
