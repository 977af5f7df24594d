"""Multiserver addresses: where a peer is, how to get there, and which key to expect.

    multiaddress = address (";" address)*      net:example.com:8008~shs:KEY;rtc:hub.example.com~shs:KEY
    address      = protocol ("~" protocol)*    a transport, then transforms
    protocol     = name (":" data)*            name: two or more of a-z 0-9 -, a letter first
    data         = printable ASCII but space, where !, :, ; and ~ are written !! !: !; !~

The grammar of npm multiserver-address 1.0.1. Its `encode` forgets to escape; `format_addresses` does not, so that what
it writes reads back the same.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from ssb_rtc.errors import ConfigFault, MisuseError
from ssb_rtc.types import HubUrl
from ssb_rtc.wire.hub_url import has_credentials, hub_host, is_loopback, normalise_hub
from ssb_rtc.wire.ws_url import endpoint

__all__ = [
    "Address",
    "NetTarget",
    "Protocol",
    "RtcTarget",
    "Target",
    "UnixTarget",
    "WsTarget",
    "format_addresses",
    "has_credentials",
    "host_of",
    "hub_host",
    "is_loopback",
    "net_address",
    "normalise_hub",
    "parse",
    "rtc_address",
    "target",
    "unix_address",
    "ws_address",
]

TEXT_LIMIT_CHARS: Final = 8192
KEY_BYTES: Final = 32

_NAME: Final = r"[a-z][a-z0-9\-]+"
_DATA: Final = r"(?:[\"-9<-}]|![!:;~])*"
_PROTOCOL: Final = f"{_NAME}(?::{_DATA})*"
_WHOLE: Final = re.compile(f"{_PROTOCOL}(?:[~;]{_PROTOCOL})*", re.ASCII)
_TOKEN: Final = re.compile(r"!([!:;~])|([:;~])|([^!:;~]+)")
_SPECIAL: Final = re.compile(r"[!:;~]")
_FORBIDDEN: Final = re.compile(r"[^!-~]")


@dataclass(frozen=True, slots=True)
class Protocol:
    """One step of an address: a name and its data fields, unescaped."""

    name: str
    data: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Address:
    """A transport and the transforms on top of it."""

    protocols: tuple[Protocol, ...]

    @property
    def transport(self) -> str:
        """The name of the first protocol: net, ws, wss, unix, rtc, or one that we don't speak."""
        return self.protocols[0].name

    @property
    def key(self) -> bytes | None:
        """The 32 bytes of the public key that `shs` names; None where there is none (or not of 32 bytes)."""
        for protocol in self.protocols[1:]:
            if protocol.name == "shs" and protocol.data:
                return _key_of(protocol.data[0])
        return None

    def __str__(self) -> str:
        return format_addresses([self])


@dataclass(frozen=True, slots=True)
class NetTarget:
    """TCP. `host` is a name or an address without brackets."""

    host: str
    port: int
    key: bytes | None


@dataclass(frozen=True, slots=True)
class WsTarget:
    """A WebSocket at `url` (ws:// or wss://)."""

    url: str
    key: bytes | None


@dataclass(frozen=True, slots=True)
class UnixTarget:
    """A unix socket at `path`; without a key the socket's mode is the lock (`noauth`)."""

    path: str
    key: bytes | None


@dataclass(frozen=True, slots=True)
class RtcTarget:
    """A peer to be met on `hub`; over WebRTC there is always a key."""

    hub: HubUrl
    key: bytes


Target: TypeAlias = NetTarget | WsTarget | UnixTarget | RtcTarget


def parse(text: str) -> list[Address]:
    """The addresses of a multiaddress, at least one. Raises ConfigFault where multiserver-address's `check` says no."""
    if len(text) > TEXT_LIMIT_CHARS:
        raise ConfigFault(f"an address has at most {TEXT_LIMIT_CHARS} characters, this one has {len(text)}")
    if not _WHOLE.fullmatch(text):
        raise ConfigFault(
            f"{text[:200]!r} is no multiserver address: write it like net:example.com:8008~shs:KEY= "
            "(!, :, ; and ~ inside a field are written !!, !:, !; and !~)"
        )
    addresses: list[Address] = []
    protocols: list[Protocol] = []
    fields = [""]
    for escaped, separator, plain in _TOKEN.findall(text):
        if separator == ":":
            fields.append("")
        elif separator:
            protocols.append(Protocol(fields[0], tuple(fields[1:])))
            fields = [""]
            if separator == ";":
                addresses.append(Address(tuple(protocols)))
                protocols = []
        else:
            fields[-1] += escaped or plain
    protocols.append(Protocol(fields[0], tuple(fields[1:])))
    addresses.append(Address(tuple(protocols)))
    return addresses


def format_addresses(addresses: Iterable[Address]) -> str:
    """The text that `parse` reads back the same. Raises MisuseError for names and data that the grammar has not."""
    text = ";".join("~".join(_format_protocol(p) for p in address.protocols) for address in addresses)
    if not _WHOLE.fullmatch(text):
        raise MisuseError("an address needs at least one protocol, with a name of two or more of a-z, 0-9 and -")
    return text


def net_address(host: str, port: int, key: bytes) -> str:
    """`net:<host>:<port>~shs:<key>`."""
    return format_addresses([_with_key(Protocol("net", (host, str(port))), key)])


def ws_address(url: str, key: bytes) -> str:
    """`ws://<host>:<port>~shs:<key>`, and wss alike: the one scheme whose colons JavaScript leaves unescaped."""
    scheme, colon, rest = url.partition(":")
    if scheme not in ("ws", "wss") or not colon:
        raise MisuseError(f"{url!r} is no ws:// or wss:// URL")
    return format_addresses([_with_key(Protocol(scheme, tuple(rest.split(":"))), key)])


def unix_address(path: str, key: bytes | None = None) -> str:
    """`unix:<path>~noauth`, or with the handshake's key."""
    protocol = Protocol("unix", (path,))
    return format_addresses([Address((protocol, Protocol("noauth"))) if key is None else _with_key(protocol, key)])


def rtc_address(hub: HubUrl, key: bytes) -> str:
    """`rtc:<hub host>[:port]~shs:<key>` for an https hub at `/`; any other hub stands as its full URL, escaped."""
    scheme, _, rest = hub.partition("://")
    if scheme == "https" and "/" not in rest and "@" not in rest:
        host, port = _split_authority(rest)
        data = (host, port) if port else (host,)
    else:
        data = (hub,)
    return format_addresses([_with_key(Protocol("rtc", data), key)])


def target(address: Address, *, allow_http: Collection[str] = ()) -> Target:
    """Where this address leads to. Raises ConfigFault for transports that we don't speak and for nonsense."""
    data = address.protocols[0].data
    match address.transport:
        case "net" if len(data) in (1, 2) and data[0]:
            return NetTarget(_bare_host(data[0]), _port(data[1] if len(data) == 2 else "8008"), address.key)
        case "net" if data and data[0].startswith("["):
            # What JavaScript's unescaped net:[::1]:8008 decodes to.
            return NetTarget(_bare_host(":".join(data[:-1])), _port(data[-1]), address.key)
        case "ws" | "wss" if data and data[0].startswith("//") and len(data[0]) > 2:
            return WsTarget(f"{address.transport}:{':'.join(data)}", address.key)
        case "ws" | "wss" if len(data) == 2 and data[0]:
            # As people write it; JavaScript wants the slashes.
            host = f"[{data[0]}]" if ":" in data[0] and not data[0].startswith("[") else data[0]
            return WsTarget(f"{address.transport}://{host}:{_port(data[1])}", address.key)
        case "unix" if data and data[0]:
            return UnixTarget(":".join(data), address.key)
        case "rtc" if data and data[0]:
            if address.key is None:
                raise ConfigFault(f"{address}: an rtc address needs the peer's key: add ~shs:KEY=")
            return RtcTarget(_hub_of(data, allow_http), address.key)
    raise ConfigFault(f"{address}: this is no address that we can connect to: write net:, ws:, wss:, unix: or rtc:")


def host_of(to: Target) -> str | None:
    """The host that is dialled, without brackets; None where no host is: a path, a hub."""
    match to:
        case NetTarget(host, _, _):
            return host
        case WsTarget(url, _):
            return endpoint(url).host
    return None


def _format_protocol(protocol: Protocol) -> str:
    for field in protocol.data:
        if _FORBIDDEN.search(field):
            raise MisuseError(f"{field!r} can't stand in an address: only printable ASCII without spaces can")
    return ":".join([protocol.name, *(_SPECIAL.sub(r"!\g<0>", field) for field in protocol.data)])


def _with_key(protocol: Protocol, key: bytes) -> Address:
    if len(key) != KEY_BYTES:
        raise MisuseError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
    return Address((protocol, Protocol("shs", (base64.b64encode(key).decode(),))))


def _key_of(text: str) -> bytes | None:
    text = text.removeprefix("@").removesuffix(".ed25519")
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES and base64.b64encode(key).decode() == text else None


def _split_authority(authority: str) -> tuple[str, str]:
    """Host without brackets, and port or nothing."""
    if authority.startswith("["):
        host, _, port = authority[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = authority.partition(":")
    return host, port


def _hub_of(data: tuple[str, ...], allow_http: Collection[str]) -> HubUrl:
    if "://" in data[0]:
        return normalise_hub(":".join(data), allow_http=allow_http)
    if data[0] in ("http", "https") and len(data) > 1 and data[1].startswith("//"):
        # A full URL whose colons somebody forgot to escape.
        return normalise_hub(":".join(data), allow_http=allow_http)
    if len(data) > 2 or "/" in data[0] or "@" in data[0]:
        raise ConfigFault(
            "an rtc address names its hub as host, as host and port, or as a full URL with escaped colons"
        )
    host = f"[{data[0]}]" if ":" in data[0] else data[0]
    return normalise_hub(f"https://{host}" if len(data) == 1 else f"https://{host}:{_port(data[1])}")


def _bare_host(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 65_535):
        raise ConfigFault(f"{text[:20]!r} is no port: write a number from 1 to 65535")
    return int(text)
