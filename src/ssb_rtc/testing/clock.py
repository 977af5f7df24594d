"""A wall clock that a test holds in its hand."""

from __future__ import annotations

from typing import Final

from ssb_rtc.errors import MisuseError

START_MS: Final = 1_700_000_000_000
"""Where a clock begins: 14 November 2023, 22:13:20 UTC."""


class Clock:
    """Milliseconds since 1970, which stand still but for what the test and its own messages do to them.

    now_ms: where it begins. tick_ms: how far it goes with each message that a peer of the swarm writes to its own feed;
    what arrives from others does not move it. So the times in messages, and with them their ids, are the same in each
    run as long as the messages are written in the same order.
    """

    def __init__(self, now_ms: int = START_MS, *, tick_ms: int = 1) -> None:
        self.now_ms = now_ms
        self.tick_ms = tick_ms

    def __call__(self) -> int:
        """The time now, in milliseconds since 1970."""
        return self.now_ms

    def set(self, now_ms: int) -> None:
        """Makes it this late, or this early, in milliseconds since 1970."""
        self.now_ms = now_ms

    def advance(self, by_ms: int) -> None:
        """Lets this many milliseconds pass. Raises MisuseError where they are negative: `set` goes back."""
        if by_ms < 0:
            raise MisuseError(f"time can't pass by {by_ms} ms: clock.set() goes back")
        self.now_ms += by_ms
