"""The links of a peer: brought about by attempts and listeners, told to the manager, closed on its orders.

The manager knows a link by its number only. A link serves the remote's calls from the moment it is open; our own
plugins hear of it (`Links.opened`) once the manager has taken it, so that of two links to one peer only one replicates.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container
from typing import Final, Protocol

from ssb_rtc.errors import RemoteCallError, SsbRtcError, TransportFault
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.state import Route, State
from ssb_rtc.transport.base import Stream
from ssb_rtc.transport.link import Caller, Link, Router, open_link
from ssb_rtc.types import PeerId, peer_of

INBOUND_HANDSHAKES_MAX: Final = 64
"""Inbound streams that may be in their handshake at once."""
GUESTS_MAX: Final = 16
"""Links of those who hold an invite that may be open at once."""
GUEST_LIMIT_S: Final = 60.0
"""The longest that such a link may last."""
PING_LIMIT_S: Final = 5.0

logger = logging.getLogger(__name__)


class Hears(Protocol):
    """Who is told of links that the manager has taken: plugins.base.Links."""

    def opened(self, link: Link) -> None: ...

    def closed(self, link: Link) -> None: ...


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
    ) -> None:
        """guests: the keys of our invites. Who proves one of them gets no further than to use it."""
        self._keys = keys
        self._network_key = network_key
        self._router = router
        self._hears = hears
        self._dispatch = dispatch
        self._is_blocked = is_blocked
        self._guests = guests
        self._visits: set[Link] = set()
        """Links of owners and guests. The manager, which looks for peers, never hears of them."""
        self._links: dict[int, Link] = {}
        self._taken: set[int] = set()
        self._last_id = 0
        self._shaking: dict[Stream, None] = {}
        """Inbound streams that are in their handshake, the oldest first."""

    def get(self, number: int) -> Link | None:
        """The open link of this number."""
        return self._links.get(number)

    async def outbound(self, stream: Stream, peer: PeerId, route: Route, attempt: int) -> None:
        """We dialled: prove both sides, then tell the manager. Raises RemoteFault or TransportFault."""
        link = await open_link(
            stream, keys=self._keys, network_key=self._network_key, remote=peer, dialled=True, router=self._router
        )
        self._add(link, route, attempt)

    async def answered(self, stream: Stream, peer: PeerId, route: Route, attempt: int) -> None:
        """We answered an offer that claims to come from `peer`: nobody else may stand at the other end."""
        link = await self._accept(
            stream, lambda proven: Caller.PEER if proven == peer and not self._is_blocked(proven) else None
        )
        self._add(link, route, attempt)

    async def inbound(self, stream: Stream) -> None:
        """Somebody dialled our listener."""
        if len(self._shaking) >= INBOUND_HANDSHAKES_MAX:
            # The oldest has had most time. Refusing the newest would let silent connections keep everybody out.
            oldest = next(iter(self._shaking))
            del self._shaking[oldest]
            oldest.abort("too many handshakes at once")
        self._shaking[stream] = None
        try:
            link = await self._accept(stream, self._admit)
        except SsbRtcError as fault:
            logger.info("a caller at %s came to nothing: %s", stream.description, fault)
            return
        finally:
            self._shaking.pop(stream, None)
        if link.caller is Caller.PEER:
            self._add(link, Route("inbound", stream.description), None)
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
            return Caller.GUEST if self._guests_now < GUESTS_MAX else None
        return Caller.PEER

    @property
    def _guests_now(self) -> int:
        return sum(link.caller is Caller.GUEST for link in self._visits)

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

    def _add(self, link: Link, route: Route, attempt: int | None) -> None:
        self._last_id += 1
        number = self._last_id
        self._links[number] = link
        link.closed.add_done_callback(lambda _: self._ended(number, link))
        self._dispatch(a.RemotePeerConnectionSucceeded(link.remote, number, route, link.dialled, attempt))

    def _ended(self, number: int, link: Link) -> None:
        del self._links[number]
        if number in self._taken:
            self._taken.discard(number)
            self._hears.closed(link)
        self._dispatch(a.RemotePeerLinkEnded(link.remote, number, link.closed.result(), clean=link.ended_cleanly))

    def observe(self, state: State, action: a.Action, _effects: tuple[e.Effect, ...]) -> None:
        """A driver's observer: a link that the manager has just taken is handed to the plugins."""
        if not isinstance(action, a.RemotePeerConnectionSucceeded):
            return
        link = self._links.get(action.link)
        peer = state.peers.get(action.peer)
        taken = peer is not None and peer.link is not None and peer.link.id == action.link
        if link is not None and taken and not link.closed.done():
            self._taken.add(action.link)
            self._hears.opened(link)

    async def disconnect(self, number: int, reason: str) -> None:
        """Close a link in good order."""
        link = self._links.get(number)
        if link is not None:
            await link.close(reason)

    async def check(self, number: int) -> None:
        """Ping, and close the link when no answer comes. A refusal is an answer: not every peer knows gossip.ping."""
        link = self._links.get(number)
        if link is None:
            return
        try:
            async with asyncio.timeout(PING_LIMIT_S):
                ping = link.duplex("gossip.ping", {"timeout": int(PING_LIMIT_S * 1000)})
                await ping.send(0)
                await ping.read_batch()
                await ping.aclose()
        except RemoteCallError:
            return
        except (TimeoutError, SsbRtcError):
            await link.close("it did not answer a ping")

    async def close(self, reason: str) -> None:
        """Close every link."""
        await asyncio.gather(*(link.close(reason) for link in [*self._links.values(), *self._visits]))
