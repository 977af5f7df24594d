"""Addresses in, streams out: finds the transport for a multiserver address, and starts and stops listeners.

server = Multiserver(keys.public, transports=[NetTransport(), UnixTransport()])
listener = await server.listen("net:0.0.0.0:8008", on_stream)
stream = await server.connect("net:example.com:8008~shs:...")
server.addresses()
"""

from __future__ import annotations

import dataclasses
import ipaddress
import socket
from collections.abc import Collection, Iterable

from ssb_rtc.errors import ConfigFault, ConnectFailed, ListenFailed, MisuseError
from ssb_rtc.feeds.refs import feed_id
from ssb_rtc.transport.base import Listener, OnStream, Stream, Transport
from ssb_rtc.transport.net import NetTransport, join_host_port, split_host_port
from ssb_rtc.transport.unix import UnixTransport
from ssb_rtc.transport.ws import WssTransport, WsTransport
from ssb_rtc.wire.address import (
    Address,
    NetTarget,
    RtcTarget,
    Target,
    UnixTarget,
    WsTarget,
    net_address,
    parse,
    target,
    unix_address,
    ws_address,
)
from ssb_rtc.wire.ws_url import endpoint

OUTSIDE_ADDRESSES = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses of no one (RFC 5737, RFC 3849), to ask the routing table which of our own would reach outside."""


LISTENERS_MAX = 32


class Multiserver:
    """The transports of one peer. `public` is its key, which its own addresses carry."""

    def __init__(
        self,
        public: bytes,
        transports: Iterable[Transport] | None = None,
        *,
        allow_http: Collection[str] = (),
        certificate: tuple[str, str] | None = None,
    ) -> None:
        if transports is None:
            transports = [NetTransport(), WsTransport(), WssTransport(certificate), UnixTransport()]
        self._public = public
        self._transports = {transport.name: transport for transport in transports}
        self._allow_http = allow_http
        self._listeners: list[_Listening] = []

    async def connect(self, address: str | Address) -> Stream:
        """A stream to the first address of a multiaddress that can be connected to.

        Raises ConfigFault where it is no address, ConnectFailed with why none of them led anywhere.
        """
        addresses = parse(address) if isinstance(address, str) else [address]
        failures: list[str] = []
        for each in addresses:
            try:
                return await self._connect(target(each, allow_http=self._allow_http))
            except (ConnectFailed, ConfigFault) as error:
                if len(addresses) == 1:
                    raise
                failures.append(str(error))
        raise ConnectFailed("; ".join(failures))

    async def listen(self, where: str, on_stream: OnStream) -> Listener:
        """Listens at `<transport>:<where>`, like `net:0.0.0.0:0` or `unix:/run/peer.sock`; close it at any time.

        Raises ListenFailed with why and the remedy, MisuseError for a transport that this peer does not have.
        """
        name, _, place = where.partition(":")
        transport = self._transports.get(name)
        if transport is None or not place:
            raise MisuseError(
                f"{where!r} is no place to listen: write {' or '.join(sorted(self._transports))}, : and it"
            )
        if len(self._listeners) >= LISTENERS_MAX:
            raise ListenFailed(f"this peer listens at {LISTENERS_MAX} places already: stop one first")
        listener = _Listening(self, where, await transport.listen(place, on_stream))
        self._listeners.append(listener)
        return listener

    def listener(self, where: str) -> Listener | None:
        """The listener that was started at `where` (not at a port 0), or that has this address, with its key or not."""
        for listener in self._listeners:
            started = where == listener.where and not where.endswith(":0")
            if started or any(where in (each, each.partition("~")[0]) for each in listener.addresses):
                return listener
        return None

    def addresses(self) -> list[str]:
        """Where this peer can be reached now, as multiserver addresses with its key."""
        return [address for listener in self._listeners for address in listener.addresses]

    def net_places(self) -> list[tuple[str, int]]:
        """Host and port of each net listener, as it listens: the host may stand for all of this machine's."""
        places = [text.partition(":") for listener in self._listeners for text in listener.places]
        return [split_host_port(place) for name, _, place in places if name == "net"]

    async def close(self) -> None:
        """Stops every listener. Streams live on."""
        for listener in list(self._listeners):
            await listener.close()

    def full_address(self, text: str) -> str:
        """A listener's address with what a caller needs besides: the key, and a host that others can reach."""
        name, _, place = text.partition(":")
        if name == "net":
            host, port = split_host_port(place)
            return net_address(reachable(host), port, self._public)
        if name in ("ws", "wss"):
            at = endpoint(text)
            return ws_address(dataclasses.replace(at, host=reachable(at.host)).url, self._public)
        if name == "unix":
            return unix_address(place)
        return text

    def forget(self, listener: _Listening) -> None:
        """The listener has closed."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    async def _connect(self, to: Target) -> Stream:
        match to:
            case NetTarget(host, port, _):
                return await self._transport("net").connect(join_host_port(host, port))
            case UnixTarget(path, _):
                return await self._transport("unix").connect(path)
            case WsTarget(url, _):
                scheme, _, rest = url.partition(":")
                return await self._transport(scheme).connect(rest)
            case RtcTarget(hub, key):
                return await self._transport("rtc").connect(f"{hub}~{feed_id(key)}")

    def _transport(self, name: str) -> Transport:
        transport = self._transports.get(name)
        if transport is None:
            raise ConnectFailed(f"this peer has no {name} transport running")
        return transport


class _Listening(Listener):
    """A listener that this object knows of."""

    def __init__(self, server: Multiserver, where: str, inner: Listener) -> None:
        self.where = where
        self.addresses = [server.full_address(text) for text in inner.addresses]
        self.places = inner.addresses
        self._server = server
        self._inner = inner

    async def close(self) -> None:
        self._server.forget(self)
        await self._inner.close()


def reachable(host: str) -> str:
    """The address that others can use when we listen on `host`, which may stand for all of this machine's."""
    try:
        every = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host
    if not every:
        return host
    wanted = socket.AF_INET6 if ":" in host else socket.AF_INET
    for family, outside in OUTSIDE_ADDRESSES:
        if family != wanted:
            continue
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((outside, 9))
                return str(probe.getsockname()[0])
        except OSError:
            break
    return "::1" if wanted == socket.AF_INET6 else "127.0.0.1"
