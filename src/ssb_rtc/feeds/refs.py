"""References to feeds, messages and blobs, by the rules of ssb-ref 2.16.0.

Where JavaScript gives undefined, null or false for "none", these give None. Addresses and invites, which ssb-ref knows
too, are in `ref_addresses`.
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from typing import Final
from urllib.parse import unquote_to_bytes

from ssb_rtc.errors import MisuseError
from ssb_rtc.types import BlobId, FeedId, JsonObject, MsgId

CANONICAL_BASE64: Final = r"(?:[a-zA-Z0-9/+]{4})*(?:[a-zA-Z0-9/+](?:[AQgw]==|[a-zA-Z0-9/+][AEIMQUYcgkosw048]=))?"
"""The pattern of any number of bytes in base64 whose unused bits are zero (is-canonical-base64 1.1.1)."""

_BASE64_32 = r"[a-zA-Z0-9/+]{42}[AEIMQUYcgkosw048]="
_ANY = "[^\n\r\u2028\u2029]"
_TYPE = r"\.[a-zA-Z0-9-]+"
# The unescaped dot before the suffix is ssb-ref's own: "@...=!ed25519" is a feed id to it.
_FEED = re.compile(rf"@{_BASE64_32}{_ANY}(?:sha256|ed25519)\Z")
_MSG = re.compile(rf"%{_BASE64_32}{_ANY}sha256\Z")
_BLOB = re.compile(rf"&{_BASE64_32}{_ANY}sha256\Z")
_CLOAKED_MSG = re.compile(rf"%{_BASE64_32}{_ANY}cloaked\Z")
_FEED_TYPE = re.compile(rf"@{CANONICAL_BASE64}{_TYPE}\Z")
_MSG_TYPE = re.compile(rf"%{CANONICAL_BASE64}{_TYPE}\Z")
_BLOB_TYPE = re.compile(rf"&{CANONICAL_BASE64}{_TYPE}\Z")
_LINK = re.compile(rf"([@%&][A-Za-z0-9/+]{{43}}=\.[A-Za-z0-9_]+)(?:\?({_ANY}+))?\Z")
_EXTRACT = re.compile(r"[@%&][A-Za-z0-9/+]{43}=\.[A-Za-z0-9_]+")
_MALFORMED_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_CHANNEL_NOISE = re.compile(
    "[\t\n\x0b\x0c\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff" + r',.?!<>()\[\]"#]'
)
_CHANNEL_MAX_UNITS = 30
_QUERY_PAIRS_MAX = 1000


def is_feed_id(x: object) -> bool:
    """`@<32 bytes>.ed25519`; `.sha256` too, as in ssb-ref."""
    return isinstance(x, str) and _FEED.match(x) is not None


def is_msg_id(x: object) -> bool:
    """`%<32 bytes>.sha256`."""
    return isinstance(x, str) and _MSG.match(x) is not None


def is_blob_id(x: object) -> bool:
    """`&<32 bytes>.sha256`."""
    return isinstance(x, str) and _BLOB.match(x) is not None


def is_cloaked_msg_id(x: object) -> bool:
    """`%<32 bytes>.cloaked`: the id of a private group."""
    return isinstance(x, str) and _CLOAKED_MSG.match(x) is not None


def is_feed_type(x: object) -> bool:
    """`@<any bytes>.<any suffix>`."""
    return isinstance(x, str) and _FEED_TYPE.match(x) is not None


def is_msg_type(x: object) -> bool:
    """`%<any bytes>.<any suffix>`."""
    return isinstance(x, str) and _MSG_TYPE.match(x) is not None


def is_blob_type(x: object) -> bool:
    """`&<any bytes>.<any suffix>`."""
    return isinstance(x, str) and _BLOB_TYPE.match(x) is not None


def is_link(x: object) -> bool:
    """The id of a feed, a message or a blob, with or without `?` and a query."""
    if not isinstance(x, str):
        return False
    plain = x.partition("?")[0]
    return is_feed_id(plain) or is_msg_id(plain) or is_blob_id(plain)


def feed_id(public: bytes) -> FeedId:
    """The feed of a 32-byte public key. Raises MisuseError for another length."""
    return FeedId(f"@{base64_of(public)}.ed25519")


def msg_id(digest: bytes) -> MsgId:
    """The message id of a 32-byte SHA-256. Raises MisuseError for another length."""
    return MsgId(f"%{base64_of(digest)}.sha256")


def blob_id(digest: bytes) -> BlobId:
    """The blob id of a 32-byte SHA-256. Raises MisuseError for another length."""
    return BlobId(f"&{base64_of(digest)}.sha256")


def public_key(feed: str) -> bytes:
    """The 32 bytes of an ed25519 feed's or peer's public key. Raises MisuseError for anything else."""
    if not is_feed_id(feed) or not feed.endswith(".ed25519"):
        raise MisuseError(f"no id of an ed25519 feed: {feed!r:.100}")
    return a2b_base64(feed[1:45])


def blob_digest(blob: object) -> bytes:
    """The 32 bytes of a blob's SHA-256. Raises MisuseError for what is not `&<base64>.sha256` to the letter."""
    if not isinstance(blob, str) or not is_blob_id(blob) or not blob.endswith(".sha256"):
        raise MisuseError(f"{blob!r:.100} is no blob id; one looks like &<44 characters>.sha256")
    return a2b_base64(blob[1:45])


def parse_link(x: object) -> JsonObject | None:
    """`{"link": id}`, with `"query": {name: text or list of texts}` where the link has one."""
    found = _LINK.match(x) if isinstance(x, str) else None
    if found is None:
        return None
    if found[2] is None:
        return {"link": found[1]}
    query = _parse_query(found[2])
    unbox = query.get("unbox")
    if isinstance(unbox, str):
        query["unbox"] = unbox.replace(" ", "+")
    return {"link": found[1], "query": query}


def extract(x: object) -> str | None:
    """The first reference in a text, which may be percent-encoded or HTML-escaped."""
    if not isinstance(x, str):
        return None
    found = _EXTRACT.search(x) or _EXTRACT.search(_decode_uri_component(x).replace("&amp;", "&"))
    return found[0] if found else None


def normalize_channel(x: object) -> str | None:
    """A channel's name in lower case without spaces and punctuation, 30 UTF-16 units at most; None if none are left."""
    if not isinstance(x, str):
        return None
    name = _CHANNEL_NOISE.sub("", x.lower())
    cut = name.encode("utf-16-le", "surrogatepass")[: 2 * _CHANNEL_MAX_UNITS].decode("utf-16-le", "surrogatepass")
    return cut or None


def base64_of(data: bytes) -> str:
    """The base64 of the 32 bytes of a key or hash. Raises MisuseError for another length."""
    if len(data) != 32:
        raise MisuseError(f"a key or hash has 32 bytes, not {len(data)}")
    return b2a_base64(data, newline=False).decode()


def _decode_uri_component(text: str) -> str:
    """decodeURIComponent, but the text itself where that would throw."""
    if _MALFORMED_PERCENT.search(text):
        return text
    try:
        return _decode_percent(text, "strict")
    except UnicodeError:
        return text


def _parse_query(text: str) -> dict[str, str | list[str]]:
    """Node's querystring.parse: a name that comes twice has a list of values."""
    query: dict[str, str | list[str]] = {}
    for pair in text.split("&")[:_QUERY_PAIRS_MAX]:
        if not pair:
            continue
        name, _, value = (_decode_percent(part, "replace") for part in pair.replace("+", " ").partition("="))
        known = query.get(name)
        if known is None:
            query[name] = value
        elif isinstance(known, list):
            known.append(value)
        else:
            query[name] = [known, value]
    return query


def _decode_percent(text: str, errors: str) -> str:
    return _PERCENT.sub(lambda found: unquote_to_bytes(found[0]).decode("utf-8", errors), text)
