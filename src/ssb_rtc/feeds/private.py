"""Private messages of the first kind (box1, `<base64>.box`): private-box 0.3.1 as ssb-keys 8.5.0 calls it.

A message is encrypted once with a random key; the key and the number of recipients are boxed for each recipient with
a one-time Curve25519 key. Nothing in it tells who the recipients are: each tries every slot.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence

from nacl import bindings
from nacl.exceptions import CryptoError

from ssb_rtc.errors import MessageInvalid, MisuseError
from ssb_rtc.feeds.canonical import compact, parse
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.feeds.refs import is_feed_id, public_key
from ssb_rtc.feeds.uri import to_sigil
from ssb_rtc.types import FeedId, Json, JsonObject

RECIPIENTS_MAX = 7
RANDOM_BYTES = 24 + 32 + 32
"""Nonce, message key, one-time secret key."""

BOXED_MAX_BYTES = 16_384
"""Of a text to unbox: more than a message of 8,192 UTF-16 units holds."""

_HEADER_BYTES = 24 + 32
_SLOT_BYTES = 1 + 32 + 16
_TAG_BYTES = 16
_NOT_BASE64 = re.compile("[^A-Za-z0-9+/]")


def recipients_of(recps: Json) -> list[FeedId]:
    """Whom `recps` names: one to seven feeds, each once; as ids, ssb: URIs or `{"link": id}`, in a list or one alone.

    Nobody is added: as in JavaScript, whoever wants to read their own message is one of its recipients.
    Raises MisuseError, also for private groups, which are read here but not written to.
    """
    found: dict[FeedId, None] = {}
    for one in recps if isinstance(recps, list) else [recps]:
        link = one.get("link") if isinstance(one, dict) else one
        feed = to_sigil(link) if isinstance(link, str) else None
        if not is_feed_id(feed):
            raise MisuseError(f"a recipient is a feed id like @<44 characters>.ed25519, not {one!r:.100}")
        found[FeedId(str(feed))] = None
    if not 1 <= len(found) <= RECIPIENTS_MAX:
        raise MisuseError(f"a private message has 1 to {RECIPIENTS_MAX} recipients, not {len(found)}")
    return list(found)


def sealed(content: Json, random: Callable[[int], bytes]) -> Json:
    """What is published in the place of `content`: itself, or encrypted if it says for whom (`recps`).

    As in ssb-db and ssb-db2, so that what was meant to be private is never published in clear. Raises MisuseError.
    """
    if not isinstance(content, dict) or content.get("recps") is None:
        return content
    return box(content, recipients_of(content["recps"]), random=random)


def opened_value(value: JsonObject, content: Json) -> JsonObject:
    """A message's value with its content opened, marked as ssb-db marks it: `private`, and the original in `meta`.

    The signature fits the original content only.
    """
    meta = {"private": True, "original": {"content": value["content"]}}
    return {**value, "content": content, "private": True, "meta": meta}


def box(content: Json, recipients: Sequence[FeedId], *, random: bytes | Callable[[int], bytes]) -> str:
    """Encrypts `content` for one to seven feeds; gives `<base64>.box`.

    random: 88 bytes, never used before, or a function that gives as many as asked. To read one's own message later,
    be a recipient of it. Raises MisuseError.
    """
    if not 1 <= len(recipients) <= RECIPIENTS_MAX:
        raise MisuseError(f"a private message has 1 to {RECIPIENTS_MAX} recipients, not {len(recipients)}")
    fresh = random if isinstance(random, bytes) else random(RANDOM_BYTES)
    if len(fresh) != RANDOM_BYTES:
        raise MisuseError(f"a private message takes {RANDOM_BYTES} random bytes, not {len(fresh)}")
    nonce, key, onetime = fresh[:24], fresh[24:56], fresh[56:]
    try:
        text = compact(content)
    except MessageInvalid as error:
        raise MisuseError(f"this content can't be encrypted: {error.reason}") from None
    slot = bytes([len(recipients)]) + key
    slots = [bindings.crypto_secretbox(slot, nonce, _shared_with(onetime, one)) for one in recipients]
    parts = [nonce, bindings.crypto_scalarmult_base(onetime), *slots, bindings.crypto_secretbox(text, nonce, key)]
    return f"{b64encode(b''.join(parts)).decode()}.box"


def unbox(text: str, keys: Keys) -> Json | None:
    """Decrypts `<base64>.box` with the keys of one recipient.

    None where it is not for these keys, is damaged, is of another kind, or holds no JSON: nobody can tell these apart.
    """
    if len(text) > BOXED_MAX_BYTES:
        return None
    boxed = decode_boxed(text)
    secret = bindings.crypto_sign_ed25519_sk_to_curve25519(keys.secret)
    nonce, onetime = boxed[:24], boxed[24:_HEADER_BYTES]
    try:
        shared = bindings.crypto_scalarmult(secret, onetime)
        opened = _open_slot(boxed, nonce, shared)
        if opened is None:
            return None
        body = boxed[_HEADER_BYTES + opened[0] * _SLOT_BYTES :]
        return parse(bindings.crypto_secretbox_open_easy(body, nonce, opened[1:]))
    except (CryptoError, MessageInvalid):
        return None


def _open_slot(boxed: bytes, nonce: bytes, shared: bytes) -> bytes | None:
    """The number of recipients and the key, from the first slot that opens."""
    for at in range(RECIPIENTS_MAX + 1):
        start = _HEADER_BYTES + at * _SLOT_BYTES
        if start + _SLOT_BYTES > len(boxed) - _TAG_BYTES:
            return None
        try:
            return bytes(bindings.crypto_secretbox_open_easy(boxed[start : start + _SLOT_BYTES], nonce, shared))
        except CryptoError:
            continue
    return None


def _shared_with(onetime: bytes, recipient: FeedId) -> bytes:
    try:
        public = bindings.crypto_sign_ed25519_pk_to_curve25519(public_key(recipient))
        return bytes(bindings.crypto_scalarmult(onetime, public))
    except CryptoError:
        raise MisuseError(f"{recipient} is no key that can be encrypted for") from None


def decode_boxed(text: str) -> bytes:
    """The bytes before the first dot, decoded as leniently as Node's Buffer.from(text, 'base64')."""
    body = text.partition(".")[0].replace("-", "+").replace("_", "/")
    body = _NOT_BASE64.sub("", body.partition("=")[0])
    if len(body) % 4 == 1:
        body = body[:-1]
    return b64decode(body + "=" * (-len(body) % 4))
