"""What peers tell each other of hubs over a link (`hubs.tell`, ours): a list of `{"url": address}`.

The addresses come from others, who could name any machine for us to knock at: what is no public place by its form is
left out. What a name stands for shows only later; https then keeps us from talking to what is no hub of that name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from ssb_rtc.errors import ConfigFault, FrameInvalid
from ssb_rtc.types import HubUrl, Json
from ssb_rtc.wire.hub_url import has_credentials, hub_host, is_loopback, normalise_hub

TOLD_MAX: Final = 64
"""Hubs in one list."""

_LOCAL_NAMES: Final = frozenset(
    (
        *("localhost", "localdomain", "local", "internal", "intranet", "private", "corp", "home", "lan", "arpa"),
        *("test", "invalid", "onion", "svc", "cluster", "consul", "docker"),
    )
)
"""Last parts of names that mean something in one network only, such as those of clouds' metadata servers."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NETWORKS: Final = tuple(map(ipaddress.IPv6Network, ("::/96", "64:ff9b:1::/48", "fec0::/10", "2001::/32")))
"""Beyond what `is_global` knows: IPv4 addresses in old clothes, local NAT64, site-local, Teredo."""


def format_told(hubs: Iterable[HubUrl]) -> list[Json]:
    """The argument of `hubs.tell`: the first TOLD_MAX of these hubs, without those of a local network."""
    entries: list[Json] = [{"url": hub} for hub in hubs if is_loopback(host := hub_host(hub)) or is_public_host(host)]
    return entries[:TOLD_MAX]


def parse_told(value: Json, *, allow_loopback: bool = False) -> tuple[HubUrl, ...]:
    """The hubs of a list, normalised, each once; those that are none for us are left out.

    allow_loopback: hubs of this machine are fine too, because we meet on one. Raises FrameInvalid for what is no such
    list.
    """
    if not isinstance(value, list) or len(value) > TOLD_MAX:
        raise FrameInvalid(f"hubs.tell takes a list of at most {TOLD_MAX} hubs")
    found: dict[HubUrl, None] = {}
    for entry in value:
        url = entry.get("url") if isinstance(entry, dict) else None
        # A normalised address is ASCII; making one of Unicode takes milliseconds, which strangers could use.
        if isinstance(url, str) and url.isascii():
            hub = _told_hub(url, allow_loopback=allow_loopback)
            if hub is not None:
                found[hub] = None
    return tuple(found)


def _told_hub(url: str, *, allow_loopback: bool) -> HubUrl | None:
    try:
        hub = normalise_hub(url)
    except ConfigFault:
        return None
    if has_credentials(hub):
        return None
    host = hub_host(hub)
    if is_loopback(host):
        return hub if allow_loopback else None
    return hub if hub.startswith("https://") and is_public_host(host) else None


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
        if inner is not None:
            return is_public_host(str(inner))
        if any(address in network for network in _LOCAL_NETWORKS):
            return False
    return address.is_global and not address.is_multicast
