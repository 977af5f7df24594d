"""What each client and each channel may take of the hub. No I/O, no clock.

Of IPv6 a client is a /64, and whoever gets one often gets a /48, 65,536 of them. So all in a /48 together have limits
too, SITE_FACTOR times those of a client.
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
from collections import Counter
from dataclasses import dataclass, field

from ssb_rtc.hub.limits import HubLimits
from ssb_rtc.hub.rates import Rate, RateTable

REMEMBERED_NAME_BYTES = 128
"""Of a longer channel name only a hash is remembered with its rate: names may be as long as a request's head."""
SITE_FACTOR = 8
SITE_PREFIX = 48


@dataclass(slots=True)
class _Takers:
    """What clients take, or sites."""

    connections_max: int
    subscriptions_max: int
    requests: RateTable[str]
    posts: RateTable[str]
    connections: Counter[str] = field(default_factory=Counter)
    subscriptions: Counter[str] = field(default_factory=Counter)


class Quotas:
    """Connections, subscriptions and requests of clients, and posts of clients and to channels."""

    def __init__(self, limits: HubLimits) -> None:
        self._clients, self._sites = _takers(limits, 1), _takers(limits, SITE_FACTOR)
        self._channels: RateTable[bytes] = RateTable(limits.channel_rate, limits.rates_max)

    def _counted(self, client: str) -> tuple[tuple[_Takers, str], ...]:
        if client.endswith("/64"):
            return (self._clients, client), (self._sites, _site(client))
        return ((self._clients, client),)

    def opened(self, client: str) -> bool:
        """Count a connection of `client`; whether that is within the limit. `closed` has to follow in any case."""
        within = True
        for takers, key in self._counted(client):
            takers.connections[key] += 1
            within = within and takers.connections[key] <= takers.connections_max
        return within

    def closed(self, client: str) -> None:
        """Undo one `opened`."""
        for takers, key in self._counted(client):
            _take_back(takers.connections, key, 1)

    def subscribed(self, client: str, count: int, now_s: float) -> bool:
        """Count more subscriptions of `client`, if that is within the limit; then `unsubscribed` has to follow.

        Each but the first counts as a request more: at a broker it costs as much.
        """
        counted = self._counted(client)
        if any(takers.subscriptions[key] + count > takers.subscriptions_max for takers, key in counted):
            return False
        for takers, key in counted:
            takers.subscriptions[key] += count
            takers.requests.charge(key, 0, now_s, count - 1)
        return True

    def unsubscribed(self, client: str, count: int) -> None:
        """Undo one `subscribed`."""
        for takers, key in self._counted(client):
            _take_back(takers.subscriptions, key, count)

    def asked(self, client: str, now_s: float) -> int:
        """Count a request; returns the seconds to wait where it is one too many, and counts nothing then."""
        counted = self._counted(client)
        wait_s = max(takers.requests.wait_s(key, 0, now_s) for takers, key in counted)
        if not wait_s:
            for takers, key in counted:
                takers.requests.charge(key, 0, now_s)
        return wait_s

    def charge(self, client: str, channel: bytes, size_bytes: int, now_s: float) -> int:
        """Count a post; returns the seconds after which to try again where it is one too many, and counts nothing."""
        if len(channel) > REMEMBERED_NAME_BYTES:
            channel = hashlib.blake2b(channel, digest_size=32).digest()
        counted = self._counted(client)
        wait_s = self._channels.wait_s(channel, size_bytes, now_s)
        for takers, key in counted:
            wait_s = max(wait_s, takers.posts.wait_s(key, size_bytes, now_s))
        if not wait_s:
            self._channels.charge(channel, size_bytes, now_s)
            for takers, key in counted:
                takers.posts.charge(key, size_bytes, now_s)
        return wait_s


def _takers(limits: HubLimits, factor: int) -> _Takers:
    post = limits.address_rate
    posts = Rate(*(factor * part for part in (post.messages_s, post.messages_burst, post.bytes_s, post.bytes_burst)))
    # Requests have no size here.
    requests = Rate(factor * limits.address_requests_s, factor * limits.address_requests_burst, 1.0, 1.0)
    return _Takers(
        factor * limits.connections_per_address_max,
        factor * limits.subscriptions_per_address_max,
        RateTable(requests, limits.rates_max),
        RateTable(posts, limits.rates_max),
    )


@functools.lru_cache(maxsize=4_096)
def _site(client: str) -> str:
    return str(ipaddress.IPv6Network(client).supernet(new_prefix=SITE_PREFIX))


def _take_back(counter: Counter[str], key: str, count: int) -> None:
    counter[key] -= count
    if not counter[key]:
        del counter[key]
