"""Who can open an envelope, by private-group-spec v1: keys between two feeds, keys of groups, and how those are told.

A group is a symmetric key that its members share. It is named by the cloaked id of its first message, and told to a
new member in a `group/add-member` message that the whole group can read.
"""

from __future__ import annotations

import hmac
from binascii import a2b_base64
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from nacl import bindings

from ssb_rtc.feeds import bfe, box2, refs
from ssb_rtc.feeds.box2 import Opened, Place, TrialKey
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.types import FeedId, Json, MsgId

GROUP: Final = "envelope-large-symmetric-group"
DIRECT: Final = "envelope-id-based-dm-converted-ed25519"
PO_BOX: Final = "envelope-id-based-pobox-curve25519"

GROUP_SLOTS: Final = 1
"""A group's key, if there is one, is in the first slot."""

_SALTS: Final = {
    DIRECT: (b"envelope-dm-v1-extract-salt", b"envelope-ssb-dm-v1/key"),
    PO_BOX: (b"envelope-pobox-v1-extract-salt", b"envelope-ssb-pobox-v1/key"),
}


@dataclass(frozen=True, slots=True)
class GroupKey:
    """The key of a private group, as the one who added us told it."""

    key: bytes = field(repr=False)
    group: str
    """The group's id, `%<32 bytes>.cloaked`, as told: `group_id` proves it."""
    root: MsgId
    """The group's first message."""
    added_by: FeedId

    @property
    def trial(self) -> TrialKey:
        """What opens the first slot of the group's messages."""
        return TrialKey(self.key, GROUP)


def direct_key(keys: Keys, other: FeedId) -> TrialKey:
    """The key for messages from `other` to us, and from us to them.

    Raises MisuseError for no ed25519 feed, nacl's CryptoError for a key that is no point of the curve.
    """
    public = bindings.crypto_sign_ed25519_pk_to_curve25519(refs.public_key(other))
    return shared_key(
        DIRECT,
        bindings.crypto_sign_ed25519_sk_to_curve25519(keys.secret),
        (bfe.DM_KEY + bindings.crypto_sign_ed25519_pk_to_curve25519(keys.public), bfe.encode(keys.id)),
        (bfe.DM_KEY + public, bfe.encode(other)),
    )


def shared_key(scheme: str, secret: bytes, ours: tuple[bytes, bytes], theirs: tuple[bytes, bytes]) -> TrialKey:
    """The key that two parties share. `secret`: our Curve25519 key; each party: public key and id, as bfe bytes.

    The specification sorts the parties by their bytes. npm ssb-private-group-keys, which everybody uses, sorts Node
    buffers with `sort()`, which compares them as text, and so do we: else one pair in some would not understand.
    """
    salt, context = _SALTS[scheme]
    secret_shared = bindings.crypto_scalarmult(secret, theirs[0][2:])
    parties = sorted((b"".join(ours), b"".join(theirs)), key=_as_javascript_sorts)
    extracted = hmac.digest(sha256(salt).digest(), secret_shared, "sha256")
    return TrialKey(box2.hkdf_expand(extracted, box2.slp(context, *parties)), scheme)


def group_id(key: bytes, root: MsgId | str, author: str, previous: str | None, boxed: bytes) -> str | None:
    """The id of the group whose first message is `root`: `%<32 bytes>.cloaked`; None where `key` does not open it."""
    opened = open_as_group(key, Place(bfe.encode(author), bfe.encode(previous)), boxed)
    if opened is None:
        return None
    return f"%{refs.base64_of(box2.cloaked_id(bfe.encode(root), opened.read_key))}.cloaked"


def open_as_group(key: bytes, place: Place, boxed: bytes) -> Opened | None:
    """Opens the header of a message to a group."""
    return box2.open_header(boxed, place, [TrialKey(key, GROUP)], slots_max=GROUP_SLOTS)


def read_add_member(content: Json, author: FeedId, own: FeedId) -> GroupKey | None:
    """The group key that an opened message brings us: a `group/add-member` of version v1 with us among its `recps`."""
    if not isinstance(content, dict) or content.get("type") != "group/add-member" or content.get("version") != "v1":
        return None
    recps, key, root = content.get("recps"), content.get("groupKey"), content.get("root")
    if not isinstance(recps, list) or not 2 <= len(recps) <= box2.SLOTS_MAX or own not in recps[1:]:
        return None
    group = recps[0]
    # A key is spelled as the data of a feed id is, canonical base64 of 32 bytes.
    if not refs.is_cloaked_msg_id(group) or not isinstance(root, str) or not refs.is_msg_id(root):
        return None
    if not isinstance(key, str) or not refs.is_feed_id(f"@{key}.ed25519"):
        return None
    return GroupKey(a2b_base64(key), group, MsgId(root), author)


def _as_javascript_sorts(data: bytes) -> bytes:
    return data.decode("utf-8", "replace").encode("utf-16-be")
