"""A peer's network: the driver of the manager with everything that it drives, started and stopped as one.

The read side for people is runtime.reports.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import secrets
import time
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp

from ssb_rtc.config import Settings, certificate_of
from ssb_rtc.errors import ConfigFault, ConnectFailed, HandshakeRefused, MisuseError
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.feeds.refs import feed_id
from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.settings import Settings as Policy
from ssb_rtc.manager.state import HubSource, KnownHub, Now, Route, State, Witness, initial
from ssb_rtc.manager.view import hubs_view
from ssb_rtc.runtime.downloads import DownloadWatch, Progress
from ssb_rtc.runtime.driver import Driver
from ssb_rtc.runtime.effects import FOR_THIS_RUN, FROM_ELSEWHERE, Care, EffectPerformer, known_hub
from ssb_rtc.runtime.expecting import Expecting
from ssb_rtc.runtime.go_betweens import GoBetweens
from ssb_rtc.runtime.hub_book import HubBook
from ssb_rtc.runtime.hub_prober import HubProber
from ssb_rtc.runtime.journal import tell_hubs, tell_milestone
from ssb_rtc.runtime.lan_listening import LanListening
from ssb_rtc.runtime.links import Hears, LinkTable
from ssb_rtc.runtime.reports import Reports
from ssb_rtc.runtime.timelines import Timelines
from ssb_rtc.runtime.trace import Trace
from ssb_rtc.runtime.ways_out import NetworkWatch, ways_out
from ssb_rtc.signalhub.client import open_session
from ssb_rtc.signalhub.dialects import Dialects
from ssb_rtc.signalhub.guarded import GuardedResolver
from ssb_rtc.signalhub.sealed_signalling import SealedSignalling
from ssb_rtc.signalhub.signalling import Signalling
from ssb_rtc.signalhub.swarm_signalling import SwarmSignalling
from ssb_rtc.storage.contacts import Contacts, HubRecord
from ssb_rtc.storage.inboxes import Inboxes
from ssb_rtc.storage.ingest import Ingest
from ssb_rtc.transport.base import Stream, Transport
from ssb_rtc.transport.ice import ice_of, is_local
from ssb_rtc.transport.lan import LanDiscovery
from ssb_rtc.transport.link import Link, Router, ServesNothing, open_link
from ssb_rtc.transport.multiserver import Multiserver
from ssb_rtc.transport.net import join_host_port
from ssb_rtc.transport.rtc import RtcTransport, backend_named
from ssb_rtc.types import FeedId, HubUrl, JsonObject, PeerId, peer_of
from ssb_rtc.wire import address as addresses
from ssb_rtc.wire.address import hub_host, is_loopback
from ssb_rtc.wire.hub_url import speaks_swarm
from ssb_rtc.wire.lan import Appeared
from ssb_rtc.wire.swarm import app_name

if TYPE_CHECKING:
    from ssb_rtc.runtime.metrics_server import MetricsServer

CONNECT_LIMIT_S: Final = 60.0
HOPS_BATCH_MAX: Final = 500
"""Peers that one action tells of, so that no step takes long."""
VOUCHERS_BATCH_MAX: Final = 64
"""The same for hubs."""
LISTENS: Final = ("net", "ws", "wss")
"""The transports that can be listened on while we run; the local socket and hubs have their own ways."""

logger = logging.getLogger(__name__)


class Network:
    """Everything of a peer that talks to others. Making one raises ConfigFault, when there is nothing to close yet."""

    def __init__(  # noqa: PLR0913 - keywords only, each of its own
        self,
        keys: Keys,
        settings: Settings,
        *,
        router: Router,
        hears: Hears,
        contacts: Contacts,
        inboxes: Inboxes,
        now_ms: Callable[[], int],
        guests: Container[str] = (),
        progress: Mapping[PeerId, Progress] | None = None,
        transports: Iterable[Transport] | None = None,
        book: HubBook | None = None,
    ) -> None:
        self._keys = keys
        self._own = PeerId(keys.id)
        self._settings = settings
        self._backend = backend_named(settings.rtc_backend)
        self._ice = ice_of(settings)
        self._inboxes = inboxes
        self._blocked: set[PeerId] = set()
        self._go_betweens = GoBetweens(hears, self._dispatch)
        self._book = book
        self._links = LinkTable(
            keys, settings.network_key, router, self._go_betweens, self._dispatch, self._is_blocked, guests, book
        )
        self._prober = HubProber(book.store if book is not None else None, lambda: self.meets_on_loopback, now_ms)
        self._multiserver = Multiserver(keys.public, transports, certificate=certificate_of(settings))
        self.timelines = Timelines()
        self.metrics: MetricsServer | None = None
        self._performer = EffectPerformer(
            contacts, self._links, self._dial, self._dispatch, now_ms, self._care_for, self.timelines.mark
        )
        now = Now(time.monotonic(), time.time())
        state = initial(self._own, seed=secrets.randbits(64), settings=_policy(settings), now=now)
        progress = {} if progress is None else progress
        self._downloads = DownloadWatch(progress, self._links.used, self._dispatch)
        self._watch = NetworkWatch(self._network_changed)
        # Who connects through relays only tells nobody where it is; wires of a test lead to no network.
        self._lan = settings.lan and not settings.relay_only and transports is None
        self._trace = Trace(Path(settings.trace) if settings.trace is not None else None)
        self._driver = Driver(state, self._performer, trace=self._trace)
        self._driver.observe(self.timelines.observe)
        self._driver.observe(tell_hubs)
        self.timelines.subscribe(tell_milestone)
        self._parts = AsyncExitStack()
        """What was opened, closed in the reverse order."""
        self._parts.callback(self._trace.close)
        self.expecting = Expecting(self._driver, self._performer, self._meet)
        self.reports = Reports(self._driver, self._links, progress, self.timelines)

    # --- life ---

    async def start(
        self,
        *,
        hubs: Iterable[KnownHub],
        known: Iterable[tuple[PeerId, str]] = (),
        pinned: Iterable[PeerId] = (),
        initial_sync: bool = False,
    ) -> None:
        """Listens, meets on these hubs, and dials the peers whose addresses are known. Raises ListenFailed.

        initial_sync: we hold nothing of anybody else yet.
        """
        settings, hubs = self._settings, list(hubs)
        allow_loopback = any(is_loopback(hub_host(hub.url)) for hub in hubs) or not ways_out()
        ice = dataclasses.replace(self._ice, allow_loopback=allow_loopback)
        session = open_session(GuardedResolver(self._is_only_told, lambda: self.meets_on_loopback))
        self._parts.push_async_callback(session.close)
        signalling = self._signalling = self._speak(session)
        performer = self._performer
        rtc = RtcTransport(
            self._own,
            self._backend,
            ice,
            performer.send_signal,
            performer.on_offer,
            knocks=signalling.knocks,
            on_state=self.timelines.mark,
        )
        self._parts.push_async_callback(signalling.close)
        self._parts.push_async_callback(rtc.close)
        self._performer.attach(signalling, rtc, self._prober)
        self._go_betweens.attach(self._sealed, rtc)
        self._parts.push_async_callback(self._end_links)
        self._parts.push_async_callback(self._multiserver.close)
        for where in _listens_on(settings):
            await self._multiserver.listen(where, self._links.inbound)
        self._driver.start()
        if self._lan:
            lan = LanDiscovery(self._keys.public, self._multiserver.net_places, self._appeared)
            self._parts.push_async_callback(lan.close)
            await lan.start()
        if initial_sync:
            self._dispatch(a.InitialSyncStarted())
        for peer in pinned:
            self._dispatch(a.PeerPinned(peer))
        known_inboxes = self._inboxes.peers()
        for at in range(0, len(known_inboxes), HOPS_BATCH_MAX):
            batch = known_inboxes[at : at + HOPS_BATCH_MAX]
            self._dispatch(a.InboxesDidChange(tuple((peer, True) for peer in batch)))
        for host, ago_s in self._prober.asked_s_ago().items():
            self._dispatch(a.HubWasProbed(host, ago_s))
        if self._book:
            self._dispatch(a.HubEntriesReceived())
        for hub in hubs:
            self._added(hub.url, hub.source, True, hub.private, hub.last_success_wall_s)
        for peer, address in known:
            self._meet(peer, address)
        await self._driver.settled()
        self._downloads.start(initial_sync=initial_sync)
        self._parts.callback(self._downloads.close)
        self._watch.start()
        self._parts.push_async_callback(self._watch.close)

    def _speak(self, session: aiohttp.ClientSession) -> Signalling:
        """The dialects: sealed everywhere, but swarm where a hub's address asks for it."""
        settings, hear = self._settings, self._performer.on_signalling
        self._sealed = SealedSignalling(
            self._keys,
            settings.network_key,
            session,
            hear,
            inboxes=self._inboxes,
            strangers=settings.strangers_max > 0,
            clock=time.monotonic,
            wall=time.time,
        )
        swarm = SwarmSignalling(self._own, app_name(settings.network_key), session, hear, clock=time.monotonic)
        return Dialects(self._sealed, swarm)

    def _appeared(self, heard: Appeared) -> None:
        self._dispatch(a.RemotePeerDidAppear(PeerId(feed_id(heard.key)), heard.address))

    def _meet(self, peer: PeerId, text: str) -> None:
        """Dials a peer at an address that was kept, as far as it leads anywhere."""
        try:
            route = self._route_to(addresses.parse(text)[0])
        except ConfigFault as fault:
            logger.warning("the address of %s is of no use: %s", peer, fault)
        else:
            self._dispatch(a.ConnectToRemotePeer(peer, route))

    def _route_to(self, address: addresses.Address) -> Route:
        """How an address is dialled; a hub that it names is met on for this run. Raises ConfigFault."""
        target = addresses.target(address, allow_http=self._settings.allow_http)
        if not isinstance(target, addresses.RtcTarget):
            return Route("address", str(address))
        if target.hub not in self._driver.state.hubs:
            self._added(target.hub, FOR_THIS_RUN, stored=True)
        return Route("hub", target.hub)

    async def _network_changed(self) -> None:
        await self._performer.renew_hubs("this machine's network changed")
        self._dispatch(a.NetworkDidReconnect())

    async def close(self) -> None:
        """Says goodbye on hubs and links, then ends everything, however far `start` came."""
        await self._parts.aclose()

    async def _end_links(self) -> None:
        self._dispatch(a.ShutdownRequested())
        await self._driver.close()
        await self._links.close("shutdown")
        await self._performer.close()

    def _dispatch(self, action: a.Action) -> bool:
        return self._driver.dispatch(action)

    def _is_blocked(self, peer: PeerId) -> bool:
        return peer in self._blocked

    def _care_for(self, hub: HubUrl, peer: PeerId) -> Care:
        """Strangers could aim us at what is in our own network, and learn our address.

        In the swarm dialect everybody reads along, and whoever likes can say that they are a friend.
        """
        state = self._driver.state
        row = state.peers.get(peer)
        near = peer in state.hops or peer in state.pinned or (row is not None and row.asked)
        return Care(
            allow_private=near or is_local(hub_host(hub)),
            relay_only=self._settings.relay_strangers and (not near or speaks_swarm(hub)),
        )

    async def _dial(self, where: str) -> Stream:
        return await self._multiserver.connect(where)

    # --- what people order ---

    async def listen(self, where: str) -> list[str]:
        """Listen for peers at `net:HOST:PORT`, `ws:` or `wss:`, or at a port of the settings' host (`net:PORT`).

        Gives the addresses that others can use. Raises MisuseError, ListenFailed.
        """
        name, _, place = where.partition(":")
        if name not in LISTENS:
            raise MisuseError(f"{where!r} is no place to listen for peers: write it like net:0.0.0.0:8008 or ws:8989")
        if place.isdigit():
            where = _at(name, self._settings.host, int(place))
        return (await self._multiserver.listen(where, self._links.inbound)).addresses

    async def listen_on_lan(self) -> None:
        """Listen at this machine's private addresses, those that it gets later included."""
        listening = LanListening(self.listen)
        self._parts.push_async_callback(listening.close)
        await listening.start()

    async def unlisten(self, where: str) -> None:
        """Stop listening there; links live on. `where` as `listen` took it, or an address. Raises MisuseError."""
        name, _, place = where.partition(":")
        wanted = _at(name, self._settings.host, int(place)) if place.isdigit() else where
        listener = self._multiserver.listener(wanted)
        if listener is None:
            raise MisuseError(f"nothing listens at {where}: `ssb-rtc listen` shows where we do")
        await listener.close()

    def add_hub(self, hub: HubUrl, *, private: bool = False, invited: bool = False) -> None:
        """Keep this hub and meet there; a private one is never told to others. invited: an invitation names it."""
        self._added(hub, "invite" if invited else "user", private=private)

    def _added(
        self,
        hub: HubUrl,
        source: HubSource,
        stored: bool = False,
        private: bool = False,
        last_success_wall_s: float | None = None,
    ) -> None:
        announces = not speaks_swarm(hub)
        self._dispatch(a.HubAddressAdded(hub, source, stored, private, last_success_wall_s, announces))

    def remove_hub(self, hub: HubUrl) -> None:
        """Forget this hub and leave it."""
        self._dispatch(a.HubAddressRemoved(hub))

    def pin(self, peer: PeerId) -> None:
        """A link with this peer is wanted for good."""
        self._dispatch(a.PeerPinned(peer))

    def unpin(self, peer: PeerId) -> None:
        """A link with this peer is wanted like any other."""
        self._dispatch(a.PeerUnpinned(peer))

    def disconnect(self, peer: PeerId) -> None:
        """End the link to a peer, and no longer want it for good."""
        if peer in self._driver.state.pinned:
            self.unpin(peer)
        self._dispatch(a.DisconnectFromRemotePeer(peer))

    def block(self, added: Collection[PeerId], removed: Collection[PeerId] = ()) -> None:
        """Hold no link with these; end it with those who have one. Undone for `removed`."""
        # Counts at once, and not only when the manager has taken it: whoever unblocks may connect in the next line.
        self._blocked.update(added)
        self._blocked.difference_update(removed)
        for peer in added:
            self._dispatch(a.PeerBlocked(peer))
        for peer in removed:
            self._dispatch(a.PeerUnblocked(peer))

    def inbox_changed(self, peer: PeerId, known: bool) -> None:
        """A friend's inbox became known, or is no longer."""
        self._dispatch(a.InboxesDidChange(((peer, known),)))

    def own_inbox_changed(self) -> None:
        """Our own inbox is another one: listen there and no longer at the old one."""
        self._sealed.renew_soon()

    def hops_changed(self, changes: Mapping[FeedId, int | None]) -> None:
        """The follow graph says anew how far away these are."""
        told = [(peer_of(feed), hops) for feed, hops in changes.items() if peer_of(feed) != self._own]
        for start in range(0, len(told), HOPS_BATCH_MAX):
            self._dispatch(a.HopsDidChange(tuple(told[start : start + HOPS_BATCH_MAX])))

    async def visit(self, address: str, host: PeerId, keys: Keys) -> Link:
        """A link to `host` under another key than ours, which serves nothing; close it. Raises ConnectFailed."""
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                stream = await self._multiserver.connect(address)
                return await open_link(
                    stream,
                    keys=keys,
                    network_key=self._settings.network_key,
                    remote=host,
                    dialled=True,
                    router=ServesNothing(),
                )
        except TimeoutError:
            raise ConnectFailed(f"no link to {host} within {CONNECT_LIMIT_S:g} s: is it online?") from None
        except HandshakeRefused as fault:
            raise ConnectFailed(f"no link to {host}: {fault}") from None

    def peer_at(self, text: str) -> PeerId:
        """Whom a multiserver address leads to. Raises ConfigFault, and ConnectFailed for whom we don't connect to."""
        target = addresses.target(addresses.parse(text)[0], allow_http=self._settings.allow_http)
        if target.key is None:
            raise MisuseError(f"{text}: the address names no key: add ~shs:KEY")
        peer = PeerId(feed_id(target.key))
        if peer == self._own:
            raise MisuseError("this is our own address: give that of another peer")
        if self._is_blocked(peer):
            raise ConnectFailed(f"we block {peer}: undo that first (`ssb-rtc block {peer} --undo`)")
        return peer

    async def connect(self, text: str) -> JsonObject:
        """Connect to a multiserver address; gives {id, state, transport}. Raises ConfigFault, ConnectFailed."""
        peer = self.peer_at(text)
        route = self._route_to(addresses.parse(text)[0])
        outcome = self._outcome_of(peer)
        self._dispatch(a.ConnectToRemotePeer(peer, route))
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                await outcome
        except TimeoutError:
            row = self._driver.state.peers.get(peer)
            why = (row and row.last_error) or "nobody answered"
            raise ConnectFailed(f"no link to {peer} within {CONNECT_LIMIT_S:g} s: {why}; is it online?") from None
        return self.reports.short(peer)

    def _outcome_of(self, peer: PeerId) -> asyncio.Future[None]:
        """Done when the peer is connected; ConnectFailed when an attempt at it failed."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def look(state: State, action: a.Action, _effects: tuple[e.Effect, ...]) -> None:
            row = state.peers.get(peer)
            if done.done():
                return
            if row is not None and row.link is not None:
                done.set_result(None)
            elif isinstance(action, a.RemotePeerConnectionFailed) and action.peer == peer:
                done.set_exception(ConnectFailed(action.reason))

        stop = self._driver.observe(look)
        done.add_done_callback(lambda _: stop())
        return done

    # --- what remotes say ---

    @property
    def meets_on_loopback(self) -> bool:
        """A hub of ours is on this machine, so we may be told of others there."""
        hubs = self._driver.state.hubs.values()
        return any(is_loopback(hub_host(hub.url)) for hub in hubs if hub.source != FROM_ELSEWHERE)

    def _is_only_told(self, host: str) -> bool:
        """Whether we know of hubs at this host from others alone."""
        sources = {hub.source for hub in self._driver.state.hubs.values() if hub_host(hub.url) == host}
        return sources == {FROM_ELSEWHERE}

    def hear_goodbye(self, link: Link, reason: str, not_before_s: float | None) -> None:
        """See LinkTable.hear_goodbye."""
        self._links.hear_goodbye(link, reason, not_before_s)

    def hear(self, link: Link, *, only_link: bool, downloading: bool) -> None:
        """See LinkTable.hear."""
        self._links.hear(link, only_link=only_link, downloading=downloading)

    def hear_vouchers(self, hubs: Mapping[HubUrl, tuple[Witness, ...]]) -> None:
        """Who vouches for these hubs now."""
        told = list(hubs.items())
        for start in range(0, len(told), VOUCHERS_BATCH_MAX):
            self._dispatch(a.HubVouchersDidChange(tuple(told[start : start + VOUCHERS_BATCH_MAX])))

    def tell_hubs(self) -> None:
        """There is something new to tell others of hubs."""
        self._dispatch(a.HubEntriesReceived())

    def hear_passed(self, link: Link, body: str) -> None:
        """A linked peer passed on a sealed envelope."""
        self._sealed.hear_passed(link.remote, body)

    # --- what people see ---

    async def serve_metrics(self, port: int, ingest: Ingest) -> None:
        """Shows the numbers of this peer to Prometheus, on this machine. Raises ListenFailed, ConfigFault."""
        # An optional library, and an HTTP server, for those who want them only.
        from ssb_rtc.runtime.metrics import KIND, Page, Parts  # noqa: PLC0415
        from ssb_rtc.runtime.metrics_server import MetricsServer  # noqa: PLC0415

        outcomes = self._performer.outcomes
        parts = Parts(self._driver, self._links, outcomes, self.timelines, self._signalling, ingest)
        self.metrics = MetricsServer(KIND, Page(parts).render)
        self._parts.push_async_callback(self.metrics.close)
        await self.metrics.start(port)

    def addresses(self) -> list[str]:
        """Multiserver addresses at which we can be reached now."""
        # A hub behind a password is nothing to pass on, and neither is the password.
        hubs = [hub.url for hub in hubs_view(self._driver.state) if hub.state == "CONNECTED" and "@" not in hub.url]
        return [*self._multiserver.addresses(), *(addresses.rtc_address(hub, self._keys.public) for hub in hubs)]


def hubs_at_start(stored: Iterable[HubRecord], for_this_run: Iterable[HubUrl]) -> list[KnownHub]:
    """The hubs to begin with: what is stored, and what a flag or the environment named.

    A stored hub stays what it is, unless nobody here had a hand in it.
    """
    hubs = {record.url: known_hub(record) for record in stored}
    for url in for_this_run:
        if url not in hubs or hubs[url].source == FROM_ELSEWHERE:
            hubs[url] = KnownHub(url, FOR_THIS_RUN)
    return list(hubs.values())


def _listens_on(settings: Settings) -> list[str]:
    """The places that the settings name, as `Multiserver.listen` takes them."""
    ports = {"net": settings.net, "wss" if settings.tls_cert else "ws": settings.ws}
    return [_at(name, settings.host, port) for name, port in ports.items() if port is not None]


def _at(name: str, host: str, port: int) -> str:
    return f"{name}:{join_host_port(host, port)}"


def _policy(settings: Settings) -> Policy:
    """The manager's settings, with the numbers that people choose."""
    return Policy(
        peers_max=settings.peers_max,
        strangers_max=settings.strangers_max,
        lifetime_s=settings.lifetime * 60.0,
        gossiped_hubs_max=settings.learnt_hubs_max,
        introducers_max=settings.introducers,
    )
