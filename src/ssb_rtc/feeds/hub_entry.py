"""Signed entries of hub gossip: a peer's word that a hub works, as it travels from peer to peer. No I/O.

    {"url": URL, "signer": ID, "time": MS, "lastSuccess": MS, "signature": "...=.sig.ed25519"}

Signed as npm ssb-keys' signObj signs with an hmac key: over the HMAC-SHA512, cut to 32 bytes, of what
JSON.stringify(entry, null, 2) gives of the first four fields in this order. The key is ours alone and goes with the
network, so that the signature means nothing anywhere else: see docs/wire.md.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from ssb_rtc.errors import FrameInvalid
from ssb_rtc.feeds import keys as _keys
from ssb_rtc.feeds.canonical import encode
from ssb_rtc.feeds.message import signed_bytes
from ssb_rtc.manager.identity import public_key
from ssb_rtc.types import FeedId, HubUrl, Json, JsonObject

LIST_MAX: Final = 64
"""Entries in one list."""
URL_CHARACTERS_MAX: Final = 1_024
DAY_MS: Final = 86_400_000
LIFE_MS: Final = 30 * DAY_MS
"""So long an entry counts. A domain that nobody pays for rests 30 days before somebody else can have it (ICANN's
redemption grace period), so no entry outlives the owner of the name that it speaks for."""
RENEWED_AFTER_MS: Final = 7 * DAY_MS
"""The signer of a hub that still works signs anew after so long: an entry that is on its way for weeks still counts."""
AHEAD_MAX_MS: Final = DAY_MS
"""How far ahead of ours the signer's clock may be."""

_CONTEXT: Final = b"ssb-rtc-1 hub entry\0"
_SUFFIX: Final = ".sig.ed25519"
_TIME_MAX_MS: Final = 2**53


@dataclass(frozen=True, slots=True)
class HubEntry:
    """One signer's word for one hub. Times are wall milliseconds since 1970, by the signer's clock."""

    url: HubUrl
    signer: FeedId
    time_ms: int
    """When it was signed."""
    last_success_ms: int
    """When the hub last did well for the signer."""
    signature: str

    def is_timely(self, now_ms: int) -> bool:
        """Whether it counts now: neither from the future nor too old."""
        return -AHEAD_MAX_MS <= now_ms - self.time_ms < LIFE_MS


def entry_key(network_key: bytes) -> bytes:
    """The hmac key of all entries of a network, 32 bytes."""
    return sha256(_CONTEXT + network_key).digest()


def sign_entry(keys: _keys.Keys, key: bytes, url: HubUrl, *, time_ms: int, last_success_ms: int) -> HubEntry:
    """Our word for a hub; `key` is that of `entry_key`."""
    covered = signed_bytes(_encoded(url, keys.id, time_ms, last_success_ms), key)
    signature = b2a_base64(_keys.sign(keys, covered), newline=False).decode() + _SUFFIX
    return HubEntry(url, keys.id, time_ms, last_success_ms, signature)


def verify_entry(entry: HubEntry, key: bytes) -> bool:
    """Whether its signer signed it, for the network of `key`."""
    public = public_key(entry.signer)
    if public is None or not entry.signature.endswith(_SUFFIX):
        return False
    try:
        signature = a2b_base64(entry.signature.removesuffix(_SUFFIX), strict_mode=True)
    except ValueError:
        return False
    encoded = _encoded(entry.url, entry.signer, entry.time_ms, entry.last_success_ms)
    return _keys.verify(public, signature, signed_bytes(encoded, key))


def _encoded(url: HubUrl, signer: FeedId, time_ms: int, last_success_ms: int) -> bytes:
    return encode({"url": url, "signer": signer, "time": time_ms, "lastSuccess": last_success_ms})


def format_entries(entries: Iterable[HubEntry]) -> list[JsonObject]:
    """The argument of `hubs.tell`: entries as they were signed."""
    return [
        {
            "url": entry.url,
            "signer": entry.signer,
            "time": entry.time_ms,
            "lastSuccess": entry.last_success_ms,
            "signature": entry.signature,
        }
        for entry in entries
    ]


def parse_entries(value: Json) -> list[HubEntry]:
    """The entries of a list, without those that are malformed; no signature is checked yet.

    Raises FrameInvalid for what is no list, or too long a one.
    """
    if not isinstance(value, list) or len(value) > LIST_MAX:
        raise FrameInvalid(f"hubs.tell takes a list of at most {LIST_MAX} entries")
    return [entry for entry in map(_parsed, value) if entry is not None]


def _parsed(value: Json) -> HubEntry | None:
    if not isinstance(value, dict):
        return None
    url, signer, signature = value.get("url"), value.get("signer"), value.get("signature")
    time_ms, success_ms = value.get("time"), value.get("lastSuccess")
    if not (isinstance(url, str) and isinstance(signer, str) and isinstance(signature, str)):
        return None
    if not (url.isascii() and 0 < len(url) <= URL_CHARACTERS_MAX and len(signature) == 88 + len(_SUFFIX)):
        return None
    if type(time_ms) is not int or type(success_ms) is not int or not 0 < time_ms < _TIME_MAX_MS:
        return None
    # Who has not seen the hub at work for as long as an entry lives has nothing to say about it.
    if not 0 <= time_ms - success_ms < LIFE_MS or public_key(signer) is None or not signature.isascii():
        return None
    return HubEntry(HubUrl(url), FeedId(signer), time_ms, success_ms, signature)
