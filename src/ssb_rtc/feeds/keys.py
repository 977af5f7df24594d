"""Ed25519 keys, signatures, and the text of the `secret` file as ssb-keys 8.5.0 writes and reads it."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from typing import Any

from nacl import bindings
from nacl.exceptions import CryptoError

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds import refs
from ssb_rtc.types import FeedId

SIGNATURE_BYTES = 64
SECRET_TEXT_MAX_BYTES = 64 * 1024
_COMMENT = re.compile(r"\s*#[^\n]*")

_FILE_TEXT = """\
# WARNING: Never show this to anyone.
# WARNING: Never edit it or use it on multiple devices at once.
#
# This is your SECRET, it gives you magical powers. With your secret you can
# sign your messages so that your friends can verify that the messages came
# from you. If anyone learns your secret, they can use it to impersonate you.
#
# If you use this secret on more than one device you will create a fork and
# your friends will stop replicating your content.
#
{
  "curve": "ed25519",
  "public": "%(public)s.ed25519",
  "private": "%(private)s.ed25519",
  "id": "%(id)s"
}
#
# The only part of this file that's safe to share is your public name:
#
#   %(id)s"""


@dataclass(frozen=True, slots=True)
class Keys:
    """An Ed25519 key pair: 32 bytes each. `repr` shows the public half only."""

    public: bytes
    seed: bytes = field(repr=False)

    @property
    def id(self) -> FeedId:
        """The feed that this key writes."""
        return refs.feed_id(self.public)

    @property
    def secret(self) -> bytes:
        """The 64 bytes that libsodium calls the secret key: seed and public key."""
        return self.seed + self.public


def keys_from_seed(seed: bytes) -> Keys:
    """The key pair of a 32-byte seed. Raises MisuseError for another length."""
    if len(seed) != 32:
        raise MisuseError(f"a seed has 32 bytes, not {len(seed)}")
    public, _ = bindings.crypto_sign_seed_keypair(seed)
    return Keys(public, bytes(seed))


def sign(keys: Keys, data: bytes) -> bytes:
    """The Ed25519 signature of `data`, 64 bytes."""
    return bytes(bindings.crypto_sign(data, keys.secret)[:SIGNATURE_BYTES])


def verify(public: bytes, signature: bytes, data: bytes) -> bool:
    """Whether `signature` (64 bytes) of `data` is by `public` (32 bytes); False for other lengths."""
    if len(signature) != SIGNATURE_BYTES or len(public) != 32:
        return False
    try:
        bindings.crypto_sign_open(signature + data, public)
    except CryptoError:
        return False
    return True


def format_secret(keys: Keys) -> str:
    """The text of a `secret` file, to the byte what ssb-keys 8.5.0 writes (no newline at its end)."""
    public = base64.b64encode(keys.public).decode()
    private = base64.b64encode(keys.secret).decode()
    return _FILE_TEXT % {"public": public, "private": private, "id": keys.id}


def parse_secret(text: str) -> Keys:
    """Reads a `secret` file: JSON between comments from `#` to the end of their line, as ssb-keys 8.5.0 does.

    Stricter than ssb-keys, which takes any object: the three keys must belong together, since a secret with another
    public key signs messages that nobody accepts. Raises MisuseError; its text never quotes the file.
    """
    if len(text) > SECRET_TEXT_MAX_BYTES:
        raise MisuseError("this is no secret file: it is too long")
    stripped = "".join(_COMMENT.sub("", text).split("\n"))
    try:
        found = json.loads(stripped)
    except (ValueError, RecursionError):
        raise MisuseError("this is no secret file: there is no JSON in it beside the comments") from None
    if not isinstance(found, dict):
        raise MisuseError("this is no secret file: its JSON is no object")
    if found.get("curve", "ed25519") != "ed25519":
        raise MisuseError("this secret file is for another curve than ed25519")
    secret = _field(found, "private", 64)
    keys = keys_from_seed(secret[:32])
    if keys.public != secret[32:] or ("public" in found and _field(found, "public", 32) != keys.public):
        raise MisuseError("the public and the private key of this secret file do not belong together")
    if isinstance(found.get("id"), str) and found["id"][:1] in "@%&" and found["id"] != keys.id:
        raise MisuseError("the id and the private key of this secret file do not belong together")
    return keys


def _field(found: dict[str, Any], name: str, size_bytes: int) -> bytes:
    text = found.get(name)
    if isinstance(text, str):
        body, _, curve = text.partition(".")
        try:
            data = binascii.a2b_base64(body, strict_mode=True)
        except ValueError:
            data = b""
        if len(data) == size_bytes and curve in ("", "ed25519"):
            return data
    raise MisuseError(f"this is no secret file: its {name!r} is no ed25519 key")
