"""The links of a peer: brought about by attempts and listeners, told to the manager, closed on its orders.

The manager knows a link by its number only. A link serves the remote's calls from the moment it is open; our own
plugins hear of it (`Links.opened`) once the manager uses it, and that it is over (`Links.closed`) as soon as the
manager gives it up, before the goodbye is under way: so of two links to one peer never two replicate.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Container, Coroutine, Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from ssb_rtc.errors import RemoteCallError, SsbRtcError, TransportFault
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.manager import actions as a
from ssb_rtc.manager.state import KnownHub, Route
from ssb_rtc.runtime.hub_book import HubBook
from ssb_rtc.runtime.remarks import Remarks
from ssb_rtc.transport.base import Stream
from ssb_rtc.transport.link import Caller, Link, Router, open_link
from ssb_rtc.types import PeerId, peer_of

INBOUND_HANDSHAKES_MAX: Final = 64
"""Inbound streams that may be in their handshake at once."""
GUESTS_MAX: Final = 16
"""Links of those who hold an invite that may be open at once."""
GUESTS_OF_A_CODE_MAX: Final = 2
"""Of these, those with one invite: whoever holds a single code must not keep out all who hold others."""
GUEST_LIMIT_S: Final = 60.0
"""The longest that such a link may last."""
PING_LIMIT_S: Final = 5.0
PARTING_LIMIT_S: Final = 5.0
"""A remote that said goodbye closes the link within this time, or we do."""

logger = logging.getLogger(__name__)


class Hears(Protocol):
    """Who is told of links that the manager uses: plugins.base.Links."""

    def opened(self, link: Link) -> None: ...

    def closed(self, link: Link) -> None: ...


class _Goodbye(NamedTuple):
    """What a remote said before it closed a link."""

    reason: str
    not_before_s: float | None


class LinkTable:
    """Every open link to a remote peer, by number."""

    def __init__(
        self,
        keys: Keys,
        network_key: bytes,
        router: Router,
        hears: Hears,
        dispatch: Callable[[a.Action], bool],
        is_blocked: Callable[[PeerId], bool],
        guests: Container[str] = (),
        book: HubBook | None = None,
    ) -> None:
        """guests: the keys of our invites. Who proves one of them gets no further than to use it.

        book: what is told of hubs; nothing without one.
        """
        self._keys = keys
        self._network_key = network_key
        self._router = router
        self._hears = hears
        self._dispatch = dispatch
        self._is_blocked = is_blocked
        self._guests = guests
        self._book = book
        self._visits: set[Link] = set()
        """Links of owners and guests. The manager, which looks for peers, never hears of them."""
        self._links: dict[int, Link] = {}
        self._numbers: dict[Link, int] = {}
        self._used: dict[PeerId, int] = {}
        """The link with each peer of which the plugins know."""
        self._goodbyes: dict[Link, _Goodbye] = {}
        self.ended_bytes: Counter[tuple[str, ...]] = Counter()
        """What came and went over links that have ended, by transport and `in` or `out`."""
        self._remarks = Remarks()
        self._last_id = 0
        self._shaking: dict[Stream, None] = {}
        """Inbound streams that are in their handshake, the oldest first."""
        self._entering: dict[Stream, PeerId] = {}
        """Those of them that were admitted as a guest, by invite: many at once must not pass as one each."""

    def get(self, number: int) -> Link | None:
        """The open link of this number."""
        return self._links.get(number)

    def all(self) -> list[Link]:
        """Every open link to a remote peer."""
        return list(self._links.values())

    def used(self, peer: PeerId) -> int | None:
        """The number of the link to this peer that replicates."""
        return self._used.get(peer)

    async def meet(
        self, stream: Stream, peer: PeerId, route: Route, attempt: int, *, client: bool, began: bool
    ) -> None:
        """A stream came of an attempt: prove both sides, then tell the manager. Nobody but `peer` may be there.

        client: we are the handshake's client and the dialler of the link; began: the attempt was our doing. Raises
        RemoteFault or TransportFault.
        """
        if client:
            link = await open_link(
                stream, keys=self._keys, network_key=self._network_key, remote=peer, dialled=True, router=self._router
            )
        else:
            link = await self._accept(
                stream, lambda proven: Caller.PEER if proven == peer and not self._is_blocked(proven) else None
            )
        self._add(link, route, attempt, began=began)

    async def inbound(self, stream: Stream) -> None:
        """Somebody dialled our listener."""
        if len(self._shaking) >= INBOUND_HANDSHAKES_MAX:
            # The oldest has had most time. Refusing the newest would let silent connections keep everybody out.
            oldest = next(iter(self._shaking))
            del self._shaking[oldest]
            oldest.abort("too many handshakes at once")
        self._shaking[stream] = None

        def admit(proven: PeerId) -> Caller | None:
            caller = self._admit(proven)
            if caller is Caller.GUEST:
                self._entering[stream] = proven
            return caller

        try:
            link = await self._accept(stream, admit)
        except SsbRtcError as fault:
            logger.info("a caller at %s came to nothing: %s", stream.description, fault)
            return
        finally:
            self._shaking.pop(stream, None)
            self._entering.pop(stream, None)
        if link.caller is Caller.PEER:
            self._add(link, Route("inbound", stream.description), None, began=False)
        else:
            self._visit(link)

    def _admit(self, proven: PeerId) -> Caller | None:
        """What a caller is to us. Our own key makes an owner, as ssb-master has it: who holds it can sign as us anyway.

        The handshake's client signs for whom it does so; so nobody can pass on to us what we proved to them.
        """
        if proven == peer_of(self._keys.id):
            return Caller.OWNER
        if self._is_blocked(proven):
            return None
        if proven in self._guests:
            return Caller.GUEST if self._has_place_for(proven) else None
        return Caller.PEER

    def _has_place_for(self, guest: PeerId) -> bool:
        guests = [link.remote for link in self._visits if link.caller is Caller.GUEST]
        guests += self._entering.values()
        return len(guests) < GUESTS_MAX and guests.count(guest) < GUESTS_OF_A_CODE_MAX

    def _visit(self, link: Link) -> None:
        self._visits.add(link)
        link.closed.add_done_callback(lambda _: self._visits.discard(link))
        if link.caller is Caller.GUEST:
            timer = asyncio.get_running_loop().call_later(
                GUEST_LIMIT_S, link.fail, TransportFault(f"an invite was not used within {GUEST_LIMIT_S:g} s")
            )
            link.closed.add_done_callback(lambda _: timer.cancel())

    async def _accept(self, stream: Stream, admit: Callable[[PeerId], Caller | None]) -> Link:
        return await open_link(
            stream,
            keys=self._keys,
            network_key=self._network_key,
            remote=None,
            dialled=False,
            router=self._router,
            admit=admit,
        )

    def _add(self, link: Link, route: Route, attempt: int | None, *, began: bool) -> None:
        self._last_id += 1
        number = self._last_id
        self._links[number] = link
        self._numbers[link] = number
        link.closed.add_done_callback(lambda _: self._ended(number, link))
        self._dispatch(a.RemotePeerConnectionSucceeded(link.remote, number, route, began, attempt))

    def _ended(self, number: int, link: Link) -> None:
        del self._links[number], self._numbers[link]
        self.ended_bytes[link.transport, "in"] += link.bytes_in
        self.ended_bytes[link.transport, "out"] += link.bytes_out
        self._unuse(number, link)
        goodbye = self._goodbyes.pop(link, None)
        if goodbye is None or link.fault is not None:
            goodbye, clean = _Goodbye(link.closed.result(), None), link.ended_cleanly
        else:
            clean = True
        self._dispatch(
            a.RemotePeerLinkEnded(link.remote, number, goodbye.reason, clean=clean, not_before_s=goodbye.not_before_s)
        )

    # --- what the manager orders ---

    def use(self, number: int) -> None:
        """From now on this link is the one of its peer that replicates."""
        link = self._links.get(number)
        if link is None or link.closed.done():
            return
        before = self._used.get(link.remote)
        if before is not None:
            self._unuse(before, self._links[before])
        self._used[link.remote] = number
        self._hears.opened(link)

    def _unuse(self, number: int, link: Link) -> None:
        if self._used.get(link.remote) == number:
            del self._used[link.remote]
            self._hears.closed(link)

    def disconnect(
        self, number: int, reason: str, not_before_s: float | None = None
    ) -> Coroutine[Any, Any, None] | None:
        """Close a link in good order: the plugins hear it at once, the remote is told why by what this returns."""
        link = self._links.get(number)
        if link is None:
            return None
        self._unuse(number, link)
        return self._part(link, reason, not_before_s)

    async def _part(self, link: Link, reason: str, not_before_s: float | None) -> None:
        await self._remarks.goodbye(link, reason, not_before_s)
        await link.close(reason)

    async def tell(self, number: int, *, only_link: bool, downloading: bool) -> None:
        """Tell the remote how we stand with this link."""
        link = self._links.get(number)
        if link is not None:
            await self._remarks.tell(link, only_link=only_link, downloading=downloading)

    async def tell_hubs(self, peers: Iterable[PeerId], hubs: Sequence[KnownHub]) -> None:
        """Tell these peers which hubs work for us and what others say of hubs, those of them that are linked."""
        if self._book is not None:
            links = [self._links[self._used[peer]] for peer in peers if peer in self._used]
            await asyncio.gather(*(self._tell_hubs(self._book, link, hubs) for link in links))

    async def _tell_hubs(self, book: HubBook, link: Link, hubs: Sequence[KnownHub]) -> None:
        said = book.list_for(link, hubs)
        if said and await self._remarks.tell_hubs(link, said):
            book.was_told(link, said)

    async def check(self, number: int) -> None:
        """Ping, and close the link when no answer comes. A refusal is an answer: not every peer knows gossip.ping.

        On a slow way the answer stands behind what was sent before it, and anybody on a hub can have us ask in the
        midst of a download: a link over which something comes meanwhile, or which we don't read just now, lives.
        """
        link = self._links.get(number)
        if link is None:
            return
        clock, before_bytes = asyncio.get_running_loop().time, link.bytes_in
        began_s = clock()
        try:
            async with asyncio.timeout(PING_LIMIT_S):
                await _ping(link)
        except (TimeoutError, SsbRtcError):
            if link.bytes_in == before_bytes and not link.is_held:
                await link.close("it did not answer a ping")
        else:
            self._dispatch(a.LinkDidAnswer(link.remote, number, clock() - began_s))

    # --- what remotes say ---

    def hear_goodbye(self, link: Link, reason: str, not_before_s: float | None) -> None:
        """The remote is about to close the link; why, and how long we should stay away."""
        if link not in self._numbers or link in self._goodbyes:
            return
        self._goodbyes[link] = _Goodbye(reason, not_before_s)
        late = TransportFault(f"it said goodbye and did not go within {PARTING_LIMIT_S:g} s")
        timer = asyncio.get_running_loop().call_later(PARTING_LIMIT_S, link.fail, late)
        link.closed.add_done_callback(lambda _: timer.cancel())

    def hear(self, link: Link, *, only_link: bool, downloading: bool) -> None:
        """The remote says how it stands with this link."""
        number = self._numbers.get(link)
        if number is not None:
            self._dispatch(a.RemotePeerDidTell(link.remote, number, only_link, downloading))

    async def close(self, reason: str) -> None:
        """Close every link."""
        await asyncio.gather(*(link.close(reason) for link in [*self._links.values(), *self._visits]))


async def _ping(link: Link) -> None:
    try:
        ping = link.duplex("gossip.ping", {"timeout": int(PING_LIMIT_S * 1000)})
        await ping.send(0)
        await ping.read_batch()
        await ping.aclose()
    except RemoteCallError:
        return
