"""Addresses and invites as ssb-ref 2.16.0 knows them, and what kind of reference a text is.

For recognising what people paste and what messages hold. Addresses that this package connects to go through
`ssb_rtc.wire.address`, which has the multiserver grammar as values.

One known difference: ssb-ref asks a list of two-part suffixes (co.uk) and then refuses an underscore in the label
before the suffix; here only the last label counts.
"""

from __future__ import annotations

import math
import re

from ssb_rtc.feeds.refs import is_blob_id, is_feed_id, is_msg_id
from ssb_rtc.types import JsonObject

DEFAULT_PORT = 8008
PORT_MAX = 65536
"""ssb-ref's own limit, one more than TCP's."""

TEXT_MAX = 4096
"""Characters of an address or invite; longer ones are none."""

_NAME = r"[a-z][a-z0-9-]+"
_DATA = r'(?:["-9]|[<-}]|![!~:;])*'
_PROTOCOL = rf"{_NAME}(?::{_DATA})*"
_ADDRESS = rf"{_PROTOCOL}(?:~{_PROTOCOL})*"
_MULTISERVER = re.compile(rf"{_ADDRESS}(?:;{_ADDRESS})*\Z")
_SEPARATOR = re.compile(r"((?:[^!~:;]|![!~:;])*)([~:;]?)")
_TRANSFORMED = re.compile(r"[^!]~")
_IPV4 = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}\Z")
_IPV6 = re.compile(r"(?:::)?(?:(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3})?[0-9a-f]{0,4}:{0,2}){1,8}(?:::)?\Z", re.IGNORECASE)
_WEBSOCKET = re.compile(r"\Awss?://")
_DOMAIN = re.compile(r"[a-z0-9-._*]+\Z")
_TOP_LABEL = re.compile(r"(?:xn--)?[a-z0-9]+\Z")
_LABEL = re.compile(r"[a-z0-9_-]+\Z")
_LAST_LABEL = re.compile(r"[a-z0-9-]+\Z")
_TRANSPORT = re.compile(r"(?:net|wss?|onion)\Z")
_INVITE_KEY = re.compile(r"[A-Za-z0-9/+]{43}=\Z")
_REDIRECT = re.compile("#[^\n\r\u2028\u2029]*\\Z")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")
_PREFIXED_NUMBER = re.compile(r"0(?:[xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)\Z")

_SPACES = "\t\n\x0b\x0c\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200B)))

_Protocol = tuple[str, list[str]]


def is_address(x: object) -> bool:
    """`host:port:@key.ed25519`, a multiserver address with a transform, or an object with host, port and key."""
    if isinstance(x, dict):
        return _is_place(x.get("host"), x.get("port"), x.get("key"))
    if not isinstance(x, str) or len(x) > TEXT_MAX:
        return False
    if _MULTISERVER.match(x) and _TRANSFORMED.search(x):
        return True
    host, port, key = _split_legacy(x)
    return port is not None and _is_place(host, port, key)


def is_invite(x: object) -> bool:
    """A pub's invite code, `host:port:@key.ed25519~seed` or a multiserver address."""
    return (
        isinstance(x, str) and len(x) <= TEXT_MAX and (_is_legacy_invite(x) or _parse_multiserver_invite(x) is not None)
    )


def parse_invite(x: object) -> JsonObject | None:
    """`{invite, key, remote, redirect}` of an invite code, None where it is none."""
    if not isinstance(x, str) or len(x) > TEXT_MAX:
        return None
    return _parse_legacy_invite(x) if _is_legacy_invite(x) else _parse_multiserver_invite(x)


def key_from_address(x: object) -> str | None:
    """`@<key>.ed25519` from the first shs transform of a multiserver address."""
    if not isinstance(x, str) or len(x) > TEXT_MAX or not _MULTISERVER.match(x):
        return None
    for address in _decode(x):
        for name, data in address:
            if name.startswith("shs") and data:
                return f"@{data[0]}.ed25519"
    return None


def ref_type(x: object) -> str | None:
    """`feed`, `msg`, `blob`, `address` or `invite`."""
    if is_feed_id(x):
        return "feed"
    if is_msg_id(x):
        return "msg"
    if is_blob_id(x):
        return "blob"
    if isinstance(x, str) and is_address(x):
        return "address"
    return "invite" if is_invite(x) else None


def _is_place(host: object, port: object, key: object) -> bool:
    number = _number(port) if isinstance(port, str) else port
    return is_feed_id(key) and _is_port(number) and _is_host(host)


def _is_port(port: object) -> bool:
    if isinstance(port, bool) or not isinstance(port, int | float):
        return False
    return math.isfinite(port) and port == int(port) and port <= PORT_MAX


def _is_host(host: object) -> bool:
    if not isinstance(host, str):
        return False
    host = _WEBSOCKET.sub("", host)
    return bool(_IPV4.match(host) or _IPV6.match(host)) or host == "localhost" or _is_domain(host)


def _is_domain(text: str) -> bool:
    """is-valid-domain 0.1.6 without its list of two-part suffixes."""
    text = text.lower().removesuffix(".")
    if len(text) > 253 or not _DOMAIN.match(text):
        return False
    *labels, top = text.split(".")
    if not labels or not _TOP_LABEL.match(top) or top.isdigit():
        return False
    return all(_is_label(label, at == len(labels) - 1) for at, label in enumerate(labels))


def _is_label(label: str, is_last: bool) -> bool:
    return (
        label.count("--") == label.count("xn--")
        and (_LAST_LABEL if is_last else _LABEL).match(label) is not None
        and len(label) < 64
        and not label.startswith("-")
        and not label.endswith("-")
    )


def _split_legacy(text: str) -> tuple[str, str | None, str]:
    rest, has_port, key = text.rpartition(":")
    host, _, port = rest.rpartition(":")
    return host, port if has_port else None, key


def _number(text: str) -> float:
    """Number(text) of ECMAScript, NaN included."""
    text = text.strip(_SPACES)
    if not text:
        return 0
    if _PREFIXED_NUMBER.match(text):
        return int(text, 0)
    return float(text) if _NUMBER.match(text) else math.nan


def _decode(text: str) -> list[list[_Protocol]]:
    """A multiserver address that matches the grammar, as [[(name, data)]], escapes taken out."""
    addresses: list[list[_Protocol]] = [[]]
    fields: list[str] = []
    for part, separator in _SEPARATOR.findall(text):
        fields.append(re.sub(r"!([!~:;])", r"\1", part))
        if separator != ":":
            addresses[-1].append((fields[0], fields[1:]))
            fields = []
        if separator == ";":
            addresses.append([])
        if not separator:
            break
    return addresses


def _parse_multiserver(text: str) -> JsonObject | None:
    if not _MULTISERVER.match(text):
        return None
    for address in _decode(text):
        if len(address) < 2 or not _TRANSPORT.match(address[0][0]) or not address[1][0].startswith("shs"):
            continue
        (name, data), (_, transform) = address[:2]
        prefix = f"{name}:" if name in ("ws", "wss") else ""
        port = _number(data[-1]) if data else math.nan
        host = prefix + ":".join(data[:-1])
        key = f"@{transform[0] if transform else ''}.ed25519"
        return {"host": host, "port": int(port), "key": key} if _is_place(host, port, key) else None
    return None


def _to_multiserver(host: str, port: int, key: str) -> str:
    where = f"onion:{host}" if host.endswith(".onion") else f"net:{host}"
    if host.startswith(("ws:", "wss:")):
        where = host
    return f"{where}:{port}~shs:{key[1 : key.index('.')]}"


def _is_legacy_invite(text: str) -> bool:
    parts = _REDIRECT.sub("", text, count=1).split("~")
    return len(parts) == 2 and is_address(parts[0]) and _INVITE_KEY.match(parts[1]) is not None


def _parse_legacy_invite(text: str) -> JsonObject:
    invite, has_redirect, redirect = text.partition("#")
    place, _, seed = invite.partition("~")
    host, port, key = _split_legacy(place)
    remote = _to_multiserver(host or "localhost", int(_number(port or "")) or DEFAULT_PORT, key)
    return {
        "invite": f"{remote}:{seed}",
        "key": key,
        "remote": remote,
        "redirect": f"#{redirect}" if has_redirect else None,
    }


def _parse_multiserver_invite(text: str) -> JsonObject | None:
    invite, has_redirect, redirect = text.partition("#")
    found = _parse_multiserver(invite)
    if found is None:
        return None
    return {
        "invite": invite,
        "remote": _to_multiserver(found["host"], found["port"], found["key"]),
        "key": found["key"],
        "redirect": f"#{redirect}" if has_redirect else None,
    }
