"""Which hubs' addresses may be told among peers, by their form.

The addresses come from others, who could name any machine for us to knock at: what is no public place by its form is
left out. What a name stands for is looked at when a hub is asked: see signalhub.guarded.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from ssb_rtc.errors import ConfigFault
from ssb_rtc.wire.hub_url import has_credentials, hub_host, is_loopback, normalise_hub

_LOCAL_NAMES: Final = frozenset(
    (
        *("localhost", "localdomain", "local", "internal", "intranet", "private", "corp", "home", "lan", "arpa"),
        *("test", "invalid", "onion", "svc", "cluster", "consul", "docker"),
    )
)
"""Last parts of names that mean something in one network only, such as those of clouds' metadata servers."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NETWORKS: Final = tuple(
    map(
        ipaddress.IPv6Network,
        ("::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "fec0::/10", "2001::/32", "3fff::/20", "5f00::/16"),
    )
)
"""Beyond what `is_global` knows: IPv4 in old clothes, local NAT64, site-local, Teredo, documentation, SRv6."""
_LOCAL_IPV4_NETWORKS: Final = tuple(
    map(ipaddress.IPv4Network, ("192.0.0.0/24", "168.63.129.16/32", "192.88.99.0/24", "192.175.48.0/24"))
)
"""Protocol assignments (a cloud's metadata server is among them), another cloud's own host, 6to4 relays, and AS112."""
_ISATAP: Final = (0x0000_5EFE, 0x0200_5EFE)
"""Third quarter of an IPv6 address whose last one is an IPv4 address."""


def is_fit(url: str, *, allow_loopback: bool = False) -> bool:
    """Whether this is a hub's address in its one spelling that others may be told, and that we may try when told.

    That is https at a public place, without credentials. allow_loopback: a hub of this machine is fine too, because we
    meet on one.
    """
    # A normalised address is ASCII; making one of Unicode takes milliseconds, which strangers could use.
    if not url.isascii():
        return False
    try:
        hub = normalise_hub(url)
    except ConfigFault:
        return False
    if hub != url or has_credentials(hub):
        return False
    host = hub_host(hub)
    if is_loopback(host):
        return allow_loopback
    return hub.startswith("https://") and is_public_host(host)


def is_public_host(host: str) -> bool:
    """Whether a host, without brackets, may be anywhere on the internet: no address or name of one network only."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        labels = host.split(".")
        return len(labels) > 1 and labels[-1] not in _LOCAL_NAMES
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is None and int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public_host(str(inner))
        if any(address in network for network in _LOCAL_NETWORKS):
            return False
    elif any(address in network for network in _LOCAL_IPV4_NETWORKS):
        return False
    return address.is_global and not address.is_multicast
