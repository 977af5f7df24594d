"""The words that every layer shares: distinct string types for identities, and the JSON value.

`FeedId` and `PeerId` have the same spelling (`@<44 base64 characters>.ed25519`), because an SSB peer is named by the
key of its feed; they are distinct types because following a feed and talking to a peer are different things.
"""

from __future__ import annotations

from typing import Any, Final, NewType, TypeAlias

FeedId = NewType("FeedId", str)
"""`@<base64 of an Ed25519 public key>.ed25519`: the author of messages."""

PeerId = NewType("PeerId", str)
"""The same spelling as a FeedId: the other end of a link."""

MsgId = NewType("MsgId", str)
"""`%<base64 of a SHA-256>.sha256`."""

BlobId = NewType("BlobId", str)
"""`&<base64 of a SHA-256>.sha256`."""

HubUrl = NewType("HubUrl", str)
"""The normalised address of a signalhub: scheme kept, host in lower case, no default port, no last slash."""

Json: TypeAlias = Any
"""What JSON.parse gives: None, bool, int, float, str, list, dict with str keys. Checked where it enters."""

JsonObject: TypeAlias = dict[str, Any]


_GO_BETWEEN: Final = "peer:"


def go_between(peer: PeerId) -> HubUrl:
    """The pseudo address under which a linked peer that passes on envelopes stands among the hubs."""
    return HubUrl(_GO_BETWEEN + peer)


def behind(hub: str) -> PeerId | None:
    """The peer of such a pseudo address; None for a real hub's."""
    return PeerId(hub.removeprefix(_GO_BETWEEN)) if hub.startswith(_GO_BETWEEN) else None


def peer_of(feed: FeedId) -> PeerId:
    """The peer that writes this feed."""
    return PeerId(feed)


def feed_of(peer: PeerId) -> FeedId:
    """The feed that this peer writes."""
    return FeedId(peer)
