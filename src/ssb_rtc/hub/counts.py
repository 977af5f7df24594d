"""What a hub has counted since it started. Plain numbers, because they stand in the hot path. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(slots=True)
class Counts:
    """Each only grows. No address, no channel and no body stands anywhere."""

    connections: int = 0
    connections_refused: int = 0
    """Closed at once: the hub, or this client, had too many."""
    subscriptions_refused: int = 0
    """Answered 503: too many subscribers or channels, draining, or the broker was away."""
    posts: int = 0
    """Answered 200."""
    post_bytes: int = 0
    """Of those, the bodies."""
    posts_limited: int = 0
    """Answered 429."""
    posts_invalid: int = 0
    """A line break in the body: answered 400."""
    posts_too_large: int = 0
    """64 KiB or more: cut."""
    posts_failed: int = 0
    """Answered 503: the broker was away."""
    requests_limited: int = 0
    """Too many from one client, of whatever kind: answered 429 and closed."""
    requests_broken: int = 0
    """No HTTP, or too slow: answered 4xx and closed."""
    deliveries: int = 0
    """Posts times those who heard them."""
    readers_dropped: int = 0
    """Subscribers that read too slowly."""

    def since(self, before: Counts) -> dict[str, int]:
        """What has grown, and by how much."""
        grown = {f.name: getattr(self, f.name) - getattr(before, f.name) for f in fields(self)}
        return {name: number for name, number in grown.items() if number}
