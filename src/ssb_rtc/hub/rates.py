"""How much a client address may post, and how much a channel may carry: token buckets. No I/O, no clock."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", str, bytes)


@dataclass(frozen=True, slots=True)
class Rate:
    """What passes in the long run, a second, and what passes at once."""

    messages_s: float
    messages_burst: float
    bytes_s: float
    bytes_burst: float


class _Bucket:
    __slots__ = ("bytes", "messages", "since_s")

    def __init__(self, rate: Rate, now_s: float) -> None:
        self.messages = rate.messages_burst
        self.bytes = rate.bytes_burst
        self.since_s = now_s


class RateTable(Generic[K]):
    """A bucket for each of the `entries_max` keys heard last."""

    def __init__(self, rate: Rate, entries_max: int) -> None:
        self._rate = rate
        self._entries_max = entries_max
        self._buckets: OrderedDict[K, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, key: K, size_bytes: int, now_s: float) -> int:
        """Whole seconds until a message of this size may pass; 0 where it may now. Charges nothing."""
        rate, bucket = self._rate, self._filled(key, now_s)
        missing_s = max(
            (1.0 - bucket.messages) / rate.messages_s,
            (min(size_bytes, rate.bytes_burst) - bucket.bytes) / rate.bytes_s,
        )
        return math.ceil(missing_s) if missing_s > 0 else 0

    def charge(self, key: K, size_bytes: int, now_s: float, messages: int = 1) -> None:
        """Count a message that passed, or several of this size together."""
        bucket = self._filled(key, now_s)
        bucket.messages -= messages
        bucket.bytes -= size_bytes

    def _filled(self, key: K, now_s: float) -> _Bucket:
        rate, bucket = self._rate, self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(rate, now_s)
            if len(self._buckets) > self._entries_max:
                self._buckets.popitem(last=False)
            return bucket
        self._buckets.move_to_end(key)
        elapsed_s = max(0.0, now_s - bucket.since_s)
        bucket.messages = min(rate.messages_burst, bucket.messages + elapsed_s * rate.messages_s)
        bucket.bytes = min(rate.bytes_burst, bucket.bytes + elapsed_s * rate.bytes_s)
        bucket.since_s = now_s
        return bucket
