"""A peer's network: the driver of the manager with everything that it drives, started and stopped as one.

Also the read side for people: peers and hubs as the command line and the control rpc show them.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Container, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Final, TypeVar

import msgspec

from ssb_rtc.config import Settings
from ssb_rtc.errors import ConfigFault, ConnectFailed, HandshakeRefused, MisuseError
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.feeds.refs import feed_id
from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.settings import Settings as Policy
from ssb_rtc.manager.state import Now, Route, State, initial
from ssb_rtc.manager.view import PeerView, hubs_view, peers_view
from ssb_rtc.runtime.driver import Driver
from ssb_rtc.runtime.effects import EffectPerformer
from ssb_rtc.runtime.links import Hears, LinkTable
from ssb_rtc.runtime.trace import Trace
from ssb_rtc.runtime.ways_out import NetworkWatch, ways_out
from ssb_rtc.signalhub.client import open_session
from ssb_rtc.signalhub.swarm_signalling import SwarmSignalling
from ssb_rtc.storage.contacts import Contacts
from ssb_rtc.transport.base import Stream, Transport
from ssb_rtc.transport.ice import IceConfig, parse_stun, parse_turn
from ssb_rtc.transport.link import Link, Router, ServesNothing, open_link
from ssb_rtc.transport.multiserver import Multiserver
from ssb_rtc.transport.net import join_host_port
from ssb_rtc.transport.rtc import RtcTransport, backend_named
from ssb_rtc.types import FeedId, HubUrl, JsonObject, PeerId, peer_of
from ssb_rtc.wire import address as addresses
from ssb_rtc.wire.address import hub_host, is_loopback
from ssb_rtc.wire.swarm import app_name

CONNECT_LIMIT_S: Final = 60.0
TRACE_QUEUE_MAX: Final = 1_000
HOPS_BATCH_MAX: Final = 500
"""Peers that one action tells of, so that no step takes long."""
LISTENS: Final = ("net", "ws", "wss")
"""The transports that can be listened on while we run; the local socket and hubs have their own ways."""
T = TypeVar("T")


class Network:
    """Everything of a peer that talks to others. Making one raises ConfigFault, when there is nothing to close yet."""

    def __init__(
        self,
        keys: Keys,
        settings: Settings,
        *,
        router: Router,
        hears: Hears,
        contacts: Contacts,
        now_ms: Callable[[], int],
        guests: Container[str] = (),
        transports: Iterable[Transport] | None = None,
    ) -> None:
        self._keys = keys
        self._own = PeerId(keys.id)
        self._settings = settings
        self._backend = backend_named(settings.rtc_backend)
        self._ice = IceConfig(
            stun=_parsed("--stun", parse_stun, settings.stun),
            turn=_parsed("--turn", parse_turn, settings.turn),
            relay_only=settings.relay_only,
        )
        self._blocked: set[PeerId] = set()
        self._links = LinkTable(keys, settings.network_key, router, hears, self._dispatch, self._is_blocked, guests)
        self._multiserver = Multiserver(keys.public, transports, certificate=_certificate(settings))
        self._performer = EffectPerformer(contacts, self._links, self._dial, self._dispatch, now_ms)
        now = Now(time.monotonic(), time.time())
        policy = Policy(peers_max=settings.peers_max, strangers_max=settings.strangers_max)
        state = initial(self._own, seed=secrets.randbits(64), settings=policy, now=now)
        self._trace = Trace()
        self._driver = Driver(state, self._performer, trace=self._trace)
        self._driver.observe(self._links.observe)
        self._watch = NetworkWatch(self._network_changed)
        self._parts = AsyncExitStack()
        """What `start` opened, closed in the reverse order."""

    # --- life ---

    async def start(
        self, *, stored: Iterable[HubUrl], for_this_run: Iterable[HubUrl], known: Iterable[tuple[PeerId, str]] = ()
    ) -> None:
        """Listens, meets on these hubs, and dials the peers whose addresses are known. Raises ListenFailed."""
        settings = self._settings
        stored, for_this_run = list(stored), list(for_this_run)
        allow_loopback = any(is_loopback(hub_host(hub)) for hub in (*stored, *for_this_run)) or not ways_out()
        ice = dataclasses.replace(self._ice, allow_loopback=allow_loopback)
        rtc = RtcTransport(self._own, self._backend, ice, self._performer.send_signal, self._performer.on_offer)
        session = open_session()
        self._parts.push_async_callback(session.close)
        signalling = SwarmSignalling(
            self._own, app_name(settings.network_key), session, self._performer.on_signalling, clock=time.monotonic
        )
        self._parts.push_async_callback(signalling.close)
        self._parts.push_async_callback(rtc.close)
        self._performer.attach(signalling, rtc)
        self._parts.push_async_callback(self._end_links)
        self._parts.push_async_callback(self._multiserver.close)
        for where in _listens_on(settings):
            await self._multiserver.listen(where, self._links.inbound)
        self._driver.start()
        for hub in stored:
            self._dispatch(a.HubAddressAdded(hub, "user", stored=True))
        for hub in for_this_run:
            self._dispatch(a.HubAddressAdded(hub, "config", stored=True))
        for peer, address in known:
            self._dispatch(a.ConnectToRemotePeer(peer, Route("address", address)))
        await self._driver.settled()
        self._watch.start()
        self._parts.push_async_callback(self._watch.close)

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

    async def unlisten(self, where: str) -> None:
        """Stop listening there; links live on. `where` as `listen` took it, or an address. Raises MisuseError."""
        name, _, place = where.partition(":")
        wanted = _at(name, self._settings.host, int(place)) if place.isdigit() else where
        listener = self._multiserver.listener(wanted)
        if listener is None:
            raise MisuseError(f"nothing listens at {where}: `ssb-rtc listen` shows where we do")
        await listener.close()

    def add_hub(self, hub: HubUrl) -> None:
        """Keep this hub and meet there."""
        self._dispatch(a.HubAddressAdded(hub, "user"))

    def remove_hub(self, hub: HubUrl) -> None:
        """Forget this hub and leave it."""
        self._dispatch(a.HubAddressRemoved(hub))

    def disconnect(self, peer: PeerId) -> None:
        """End the link to a peer."""
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
            raise ConnectFailed(f"no link to {host} within {CONNECT_LIMIT_S:g} s") from None
        except HandshakeRefused as fault:
            raise ConnectFailed(f"no link to {host}: {fault}") from None

    async def connect(self, text: str) -> JsonObject:
        """Connect to a multiserver address; gives {id, state, transport}. Raises ConfigFault, ConnectFailed."""
        address = addresses.parse(text)[0]
        target = addresses.target(address, allow_http=self._settings.allow_http)
        if target.key is None:
            raise MisuseError(f"{text}: the address names no key: add ~shs:KEY")
        peer = PeerId(feed_id(target.key))
        if peer == self._own:
            raise MisuseError("this is our own address")
        if self._is_blocked(peer):
            raise ConnectFailed(f"we block {peer}: undo that first (`ssb-rtc block {peer} --undo`)")
        if isinstance(target, addresses.RtcTarget):
            if target.hub not in self._driver.state.hubs:
                self._dispatch(a.HubAddressAdded(target.hub, "config", stored=True))
            route = Route("hub", target.hub)
        else:
            route = Route("address", str(address))
        outcome = self._outcome_of(peer)
        self._dispatch(a.ConnectToRemotePeer(peer, route))
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                await outcome
        except TimeoutError:
            row = self._driver.state.peers.get(peer)
            why = (row and row.last_error) or "nobody answered"
            raise ConnectFailed(f"no link to {peer} within {CONNECT_LIMIT_S:g} s: {why}") from None
        return self._short(peer)

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

    # --- what people see ---

    def _state_now(self) -> State:
        """The state, with the present time in place of that of the last step."""
        return msgspec.structs.replace(self._driver.state, now=Now(time.monotonic(), time.time()))

    def addresses(self) -> list[str]:
        """Multiserver addresses at which we can be reached now."""
        hubs = [hub.url for hub in hubs_view(self._driver.state) if hub.state == "CONNECTED"]
        return [*self._multiserver.addresses(), *(addresses.rtc_address(hub, self._keys.public) for hub in hubs)]

    def hubs(self) -> list[JsonObject]:
        """Every hub: {url, state, source, attempts, error}."""
        return [
            {
                "url": hub.url,
                "state": hub.state,
                "source": hub.source,
                "attempts": hub.connection_attempts,
                "error": hub.last_error or None,
            }
            for hub in hubs_view(self._driver.state)
        ]

    def peers(self, *, everyone: bool) -> list[JsonObject]:
        """Peers with a link or an attempt, or all: {id, state, transport, hubs, hops, failures, reason}."""
        return [
            {
                **self._short(peer.id),
                "hubs": list(peer.connected_hubs),
                "hops": peer.hops,
                "failures": peer.failures,
                "reason": _reason(peer),
            }
            for peer in peers_view(self._state_now())
            if everyone or peer.state != "DISCONNECTED"
        ]

    def status_of_peers(self) -> list[JsonObject]:
        """Every known peer: {id, state, transport}."""
        return [self._short(peer) for peer in sorted(self._driver.state.peers)]

    def _short(self, peer: PeerId) -> JsonObject:
        row = self._driver.state.peers.get(peer)
        link = self._links.get(row.link.id) if row is not None and row.link is not None else None
        return {
            "id": peer,
            "state": row.connection_state if row is not None else "DISCONNECTED",
            "transport": link.transport if link is not None else None,
        }

    async def follow_trace(self) -> AsyncIterator[JsonObject]:
        """Each action from now on, with its effects; a reader that is too slow misses some."""
        queue: asyncio.Queue[JsonObject] = asyncio.Queue(TRACE_QUEUE_MAX)

        def take(_state: State, action: a.Action, effects: tuple[e.Effect, ...]) -> None:
            if not queue.full():
                queue.put_nowait({"action": _plain(action), "effects": [_plain(effect) for effect in effects]})

        stop = self._driver.observe(take)
        try:
            while True:
                yield await queue.get()
        finally:
            stop()


def _parsed(flag: str, parse: Callable[[str], T], texts: Iterable[str]) -> tuple[T, ...]:
    try:
        return tuple(parse(text) for text in texts)
    except ConfigFault as fault:
        raise ConfigFault(f"{flag} {fault}") from None


def _certificate(settings: Settings) -> tuple[str, str] | None:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise ConfigFault("--tls-cert and --tls-key go together: one names the certificate, the other its private key")
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return settings.tls_cert, settings.tls_key


def _listens_on(settings: Settings) -> list[str]:
    """The places that the settings name, as `Multiserver.listen` takes them."""
    ports = {"net": settings.net, "wss" if settings.tls_cert else "ws": settings.ws}
    return [_at(name, settings.host, port) for name, port in ports.items() if port is not None]


def _at(name: str, host: str, port: int) -> str:
    return f"{name}:{join_host_port(host, port)}"


def _reason(peer: PeerView) -> str:
    if peer.connected_for_s is not None:
        return f"linked for {peer.connected_for_s:.0f} s"
    return f"{peer.last_error}; {peer.reason}" if peer.last_error else peer.reason


def _plain(record: a.Action | e.Effect) -> JsonObject:
    plain = msgspec.to_builtins(record)
    assert isinstance(plain, dict)
    return plain
