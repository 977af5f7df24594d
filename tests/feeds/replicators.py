"""Replicators for tests, and feeds for them."""

from __future__ import annotations

from base64 import b64encode

from ssb_rtc.feeds.ebt import Replicator
from ssb_rtc.feeds.keys import keys_from_seed
from ssb_rtc.types import FeedId, peer_of

FEEDS = [keys_from_seed(bytes([n] * 32)).id for n in range(1, 5)]
F, G = FEEDS[:2]
PEERS = [peer_of(feed) for feed in FEEDS]


def replicator(heads: dict[FeedId, int] | None = None, wanted: list[FeedId] | None = None) -> Replicator:
    return Replicator(heads or {}, FEEDS if wanted is None else wanted)


def feeds_of(count: int) -> list[FeedId]:
    return [FeedId(f"@{b64encode(n.to_bytes(32, 'big')).decode()}.ed25519") for n in range(count)]
