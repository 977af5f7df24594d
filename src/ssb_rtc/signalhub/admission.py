"""What comes in from a hub is let through by these: token buckets and a memory of what was heard. No I/O, no clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class TokenBucket:
    """At most `burst` at once and `rate_s` a second in the long run."""

    __slots__ = ("_burst", "_level", "_rate_s", "_since_s")

    def __init__(self, rate_s: float, burst: float, now_s: float) -> None:
        self._rate_s = rate_s
        self._burst = burst
        self._level = burst
        self._since_s = now_s

    def take(self, now_s: float) -> bool:
        """Whether one more may pass at `now_s` (monotonic seconds)."""
        level = min(self._burst, self._level + max(0.0, now_s - self._since_s) * self._rate_s)
        self._since_s = now_s
        allowed = level >= 1.0
        self._level = level - 1.0 if allowed else level
        return allowed


class BucketTable:
    """A token bucket for each key, for the `entries_max` keys heard last."""

    def __init__(self, rate_s: float, burst: float, entries_max: int) -> None:
        self._rate_s = rate_s
        self._burst = burst
        self._entries_max = entries_max
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Hashable, now_s: float) -> bool:
        """Whether `key` may have one more at `now_s`."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._rate_s, self._burst, now_s)
            if len(self._buckets) > self._entries_max:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket.take(now_s)


class SeenCache:
    """Remembers keys for `window_s`, at most `entries_max` of them (the oldest go first)."""

    def __init__(self, window_s: float, entries_max: int) -> None:
        self._window_s = window_s
        self._entries_max = entries_max
        self._heard: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._heard)

    def first(self, key: Hashable, now_s: float) -> bool:
        """Whether `key` is heard for the first time within the window that ends at `now_s`."""
        while self._heard:
            oldest = next(iter(self._heard))
            if now_s - self._heard[oldest] < self._window_s:
                break
            del self._heard[oldest]
        if key in self._heard:
            return False
        self._heard[key] = now_s
        if len(self._heard) > self._entries_max:
            self._heard.popitem(last=False)
        return True


class SeenLetters:
    """Remembers letters for `window_s`. Within it nothing is forgotten: where a sender's quota, or the whole, is used
    up, what comes next is refused, because what was pushed out could be played again.
    """

    def __init__(self, window_s: float, entries_max: int, of_a_sender_max: int) -> None:
        self._window_s = window_s
        self._entries_max = entries_max
        self._of_a_sender_max = of_a_sender_max
        self._heard: OrderedDict[tuple[Hashable, Hashable], float] = OrderedDict()
        self._of_sender: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._heard)

    def holds(self, sender: Hashable, name: Hashable) -> bool:
        """Whether this letter is remembered; for longer than the window it may be, if nothing was heard since."""
        return (sender, name) in self._heard

    def first(self, sender: Hashable, name: Hashable, now_s: float) -> bool:
        """Whether this letter of this sender is heard for the first time, and may be remembered."""
        while self._heard:
            oldest, heard_s = next(iter(self._heard.items()))
            if now_s - heard_s < self._window_s:
                break
            del self._heard[oldest]
            self._of_sender[oldest[0]] -= 1
            if not self._of_sender[oldest[0]]:
                del self._of_sender[oldest[0]]
        held = self._of_sender.get(sender, 0)
        if (sender, name) in self._heard or held >= self._of_a_sender_max or len(self._heard) >= self._entries_max:
            return False
        self._heard[sender, name] = now_s
        self._of_sender[sender] = held + 1
        return True
