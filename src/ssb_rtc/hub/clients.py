"""Who a client is, for limits: its address, or what a trusted proxy says about it. No I/O."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import NamedTuple

from ssb_rtc.errors import ConfigFault

FORWARDED_HEADERS = (b"x-forwarded-for", b"forwarded")
"""The headers that proxies tell the client's address in; `Forwarded` is RFC 7239."""

HOPS_MAX = 16
"""How many addresses of a header are looked at, from its end."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Commas and semicolons may stand in quotes. Read from its end: there stands what the proxy wrote, where quotes come in
# pairs and nothing is escaped; what the client made up before it may open a quote, to swallow what follows.
_ELEMENT = re.compile(rb'(?:"[^"]*"|[^,"])+')
_PAIR = re.compile(rb'(?:"[^"]*"|[^;"])+')


class Client(NamedTuple):
    """Whom limits count."""

    key: str
    """The address; of IPv6 its /64, because whoever has one of its addresses has all."""
    local: bool
    """This machine itself."""


NOBODY = Client("", False)
"""Who has no address, as over a unix socket."""


def client_of(host: str) -> Client:
    """The client at an address, as sockets tell it; a text that is no address is a client of that name."""
    address = _parsed(host)
    return Client(host, False) if address is None else _client(address)


class Proxies:
    """The proxies whose word about the client counts, and the one header that they set.

    Only one header is read: a proxy that sets X-Forwarded-For hands on whatever `Forwarded` the client made up.
    """

    def __init__(self, networks: Sequence[str], header: bytes = FORWARDED_HEADERS[0]) -> None:
        """`networks`: addresses or CIDR. Raises ConfigFault."""
        self.header = header
        self._networks = [_network(text) for text in networks]

    def trusts(self, host: str) -> bool:
        """Whether a connection from here speaks for others."""
        address = _parsed(host) if self._networks else None
        return address is not None and self._trusts(address)

    def behind(self, host: str, said: bytes) -> Client:
        """The client on whose behalf the proxy at `host` asks: the last address of its header that is no proxy."""
        parts = said.split(b",") if self.header == FORWARDED_HEADERS[0] else _for_parts(said)
        nearest = host
        for part in parts[: -HOPS_MAX - 1 : -1]:
            address = _parsed(_without_port(part.strip().decode("latin-1")))
            if address is None:
                # A name that a proxy made up ("unknown", "_hidden"), or rubbish: who told us is all that is known,
                # and that it is not itself.
                return Client(client_of(nearest).key, False)
            if not self._trusts(address):
                return _client(address)
            nearest = str(address)
        return client_of(nearest)

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


def _client(address: _Address) -> Client:
    if isinstance(address, ipaddress.IPv6Address) and not address.is_loopback:
        return Client(f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64", False)
    return Client(str(address), address.is_loopback)


def _parsed(host: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _network(text: str) -> _Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ConfigFault(
            f"--trusted-proxy takes an address or a network like 127.0.0.1 or 10.0.0.0/8, not {text!r}"
        ) from None


def _for_parts(said: bytes) -> list[bytes]:
    parts = []
    for element in _ELEMENT.findall(said[::-1])[:HOPS_MAX]:
        values = [pair[::-1].partition(b"=") for pair in _PAIR.findall(element)]
        named = [value.strip().strip(b'"') for name, _, value in values if name.strip().lower() == b"for"]
        parts.append(named[0] if len(named) == 1 else b"")
    return parts[::-1]


def _without_port(text: str) -> str:
    """`192.0.2.1:80`, `[2001:db8::1]:80` and `[2001:db8::1]` without what is not the address."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
