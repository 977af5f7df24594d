"""What each client and each channel may take of the hub. No I/O, no clock."""

from __future__ import annotations

import hashlib
from collections import Counter

from ssb_rtc.hub.limits import HubLimits
from ssb_rtc.hub.rates import Rate, RateTable

REMEMBERED_NAME_BYTES = 128
"""Of a longer channel name only a hash is remembered with its rate: names may be as long as a request's head."""


class Quotas:
    """Connections, subscriptions and requests of clients, and posts of clients and to channels."""

    def __init__(self, limits: HubLimits) -> None:
        self._connections_max = limits.connections_per_address_max
        self._connections: Counter[str] = Counter()
        self._subscriptions_max = limits.subscriptions_per_address_max
        self._subscriptions: Counter[str] = Counter()
        # Requests have no size here.
        requests = Rate(limits.address_requests_s, limits.address_requests_burst, 1.0, 1.0)
        self._requests: RateTable[str] = RateTable(requests, limits.rates_max)
        self._clients: RateTable[str] = RateTable(limits.address_rate, limits.rates_max)
        self._channels: RateTable[bytes] = RateTable(limits.channel_rate, limits.rates_max)

    def opened(self, client: str) -> bool:
        """Count a connection of `client`; whether that is within the limit. `closed` has to follow in any case."""
        self._connections[client] += 1
        return self._connections[client] <= self._connections_max

    def closed(self, client: str) -> None:
        """Undo one `opened`."""
        self._connections[client] -= 1
        if not self._connections[client]:
            del self._connections[client]

    def subscribed(self, client: str, count: int, now_s: float) -> bool:
        """Count more subscriptions of `client`, if that is within the limit; then `unsubscribed` has to follow.

        Each but the first counts as a request more: at a broker it costs as much.
        """
        if self._subscriptions[client] + count > self._subscriptions_max:
            return False
        self._subscriptions[client] += count
        self._requests.charge(client, 0, now_s, count - 1)
        return True

    def unsubscribed(self, client: str, count: int) -> None:
        """Undo one `subscribed`."""
        self._subscriptions[client] -= count
        if not self._subscriptions[client]:
            del self._subscriptions[client]

    def asked(self, client: str, now_s: float) -> int:
        """Count a request; returns the seconds to wait where it is one too many, and counts nothing then."""
        wait_s = self._requests.wait_s(client, 0, now_s)
        if not wait_s:
            self._requests.charge(client, 0, now_s)
        return wait_s

    def charge(self, client: str, channel: bytes, size_bytes: int, now_s: float) -> int:
        """Count a post; returns the seconds after which to try again where it is one too many, and counts nothing."""
        if len(channel) > REMEMBERED_NAME_BYTES:
            channel = hashlib.blake2b(channel, digest_size=32).digest()
        wait_s = max(self._clients.wait_s(client, size_bytes, now_s), self._channels.wait_s(channel, size_bytes, now_s))
        if not wait_s:
            self._clients.charge(client, size_bytes, now_s)
            self._channels.charge(channel, size_bytes, now_s)
        return wait_s
