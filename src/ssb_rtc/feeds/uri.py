"""ssb: URIs (ssb-uri-spec), as npm ssb-uri2 2.4 reads and writes them.

    ssb:message/classic/<base64url>     also spelled ssb:message:classic:<...> and ssb://message/classic/<...>
    ssb:address/multiserver?multiserverAddress=<percent-encoded address>
    ssb:experimental?action=<name>&<more>=<...>

Stricter than ssb-uri2 in one thing: the data must be the canonical base64url of 32 bytes, so that one id has one URI.
Every format of `FORMATS` has 32 bytes of data.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, quote, urlencode

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds import refs

URI_MAX_CHARS: Final = 16_384
PARAMETERS_MAX: Final = 64
DATA_BYTES: Final = 32

FORMATS: Final[Mapping[str, frozenset[str]]] = {
    "feed": frozenset({"classic", "bendybutt-v1", "gabbygrove-v1", "buttwoo-v1", "indexed-v1"}),
    "message": frozenset({"classic", "bendybutt-v1", "gabbygrove-v1", "buttwoo-v1", "indexed-v1", "cloaked"}),
    "blob": frozenset({"classic"}),
    "encryption-key": frozenset({"box2-dm-dh"}),
    "identity": frozenset({"po-box", "group", "fusion"}),
}
"""What a type's data may be. `ed25519` and `sha256` are older names for `classic`."""

_OLD_NAMES: Final = {("feed", "ed25519"), ("message", "sha256"), ("blob", "sha256")}
_SIGILS: Final = {
    ("feed", "classic"): ("@", ".ed25519"),
    ("message", "classic"): ("%", ".sha256"),
    ("message", "cloaked"): ("%", ".cloaked"),
    ("blob", "classic"): ("&", ".sha256"),
}
_DATA = r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]="
_ID = re.compile(
    rf"ssb:(?://)?(?P<type>[a-z0-9-]+)(?P<divider>[/:])(?P<format>[a-z0-9-]+)(?P=divider)"
    rf"(?P<data>{_DATA})(?:(?P=divider)(?P<extra>{_DATA}))?(?:\?(?P<query>[^#]*))?\Z"
)
_ADDRESS = re.compile(r"ssb:(?://)?address[/:]multiserver/?\?(?P<query>[^#]*)\Z")
_EXPERIMENTAL = re.compile(r"ssb:(?://)?experimental/?\?(?P<query>[^#]*)\Z")
_SIGIL = re.compile(r"(?P<sigil>[@%&])(?P<data>[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)(?P<suffix>\.[a-z0-9]+)\Z")
_UNESCAPED = "!~*'()"  # what encodeURIComponent leaves alone beside letters, digits and -_.


@dataclass(frozen=True, slots=True)
class IdUri:
    """A feed, message, blob, key or identity. `extra` is a buttwoo feed's parent, 32 bytes."""

    type: str
    format: str
    data: bytes
    extra: bytes | None = None


@dataclass(frozen=True, slots=True)
class AddressUri:
    """Where a peer can be reached: a multiserver address, not looked into."""

    address: str


@dataclass(frozen=True, slots=True)
class ExperimentalUri:
    """Something an application is asked to do; of two parameters with one name the first counts."""

    action: str | None
    parameters: Mapping[str, str]


Uri: TypeAlias = IdUri | AddressUri | ExperimentalUri


def parse(text: object) -> Uri | None:
    """Reads any ssb: URI; None for what is none, or of a type or format that ssb-uri2 does not know."""
    if not isinstance(text, str) or len(text) > URI_MAX_CHARS or not text.startswith("ssb:"):
        return None
    if found := _EXPERIMENTAL.match(text):
        parameters = _parameters(found["query"])
        return ExperimentalUri(parameters.get("action"), parameters) if parameters is not None else None
    if found := _ADDRESS.match(text):
        address = (_parameters(found["query"]) or {}).get("multiserverAddress")
        return AddressUri(address) if address else None
    found = _ID.match(text)
    if found is None:
        return None
    format_ = "classic" if (found["type"], found["format"]) in _OLD_NAMES else found["format"]
    if format_ not in FORMATS.get(found["type"], ()) or (found["extra"] and format_ != "buttwoo-v1"):
        return None
    return IdUri(found["type"], format_, _bytes(found["data"]), _bytes(found["extra"]) if found["extra"] else None)


def format_uri(uri: Uri) -> str:
    """Writes a URI in its canonical spelling. Raises MisuseError for what `parse` would not read back."""
    match uri:
        case IdUri(type_, format_, data, extra):
            parts = [type_, format_, *(_base64url(part) for part in (data, extra) if part is not None)]
            text = "ssb:" + "/".join(parts)
        case AddressUri(address):
            text = f"ssb:address/multiserver?multiserverAddress={_escaped(address)}"
        case ExperimentalUri(_, parameters):
            try:
                text = f"ssb:experimental?{urlencode(parameters)}"
            except UnicodeError:
                raise MisuseError("a URI can't hold half of a surrogate pair") from None
    if parse(text) != uri:
        raise MisuseError(f"this can't be written as an ssb: URI: {uri!r:.200}")
    return text


def from_sigil(identifier: str) -> str:
    """The URI of `@...=.ed25519`, `%...=.sha256`, `%...=.cloaked` or `&...=.sha256`. Raises MisuseError for others."""
    found = _SIGIL.match(identifier)
    if found is not None:
        for (type_, format_), sigil in _SIGILS.items():
            if sigil == (found["sigil"], found["suffix"]):
                return format_uri(IdUri(type_, format_, a2b_base64(found["data"])))
    raise MisuseError(f"no id of a feed, message or blob: {identifier!r:.100}")


def to_sigil(text: str) -> str:
    """The id that a person gave: an ssb: URI becomes the id that it names, all else comes back as it is.

    Raises MisuseError for an ssb: URI that names no feed, message or blob that we know.
    """
    if not text.startswith("ssb:"):
        return text
    uri = parse(text)
    if isinstance(uri, IdUri) and (sigil := sigil_of(uri)) is not None:
        return sigil
    raise MisuseError(f"this URI names no feed, message or blob that can be used here: {text!r:.200}")


def sigil_of(uri: IdUri) -> str | None:
    """`@...`, `%...` or `&...`; None for a format that has no such spelling."""
    sigil = _SIGILS.get((uri.type, uri.format))
    return f"{sigil[0]}{refs.base64_of(uri.data)}{sigil[1]}" if sigil else None


def _parameters(query: str) -> dict[str, str] | None:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=PARAMETERS_MAX)
    except ValueError:
        return None
    parameters: dict[str, str] = {}
    for name, value in pairs:
        parameters.setdefault(name, value)
    return parameters


def _escaped(text: str) -> str:
    try:
        return quote(text, safe=_UNESCAPED)
    except UnicodeError:
        raise MisuseError("a URI can't hold half of a surrogate pair") from None


def _bytes(data: str) -> bytes:
    return a2b_base64(data.replace("-", "+").replace("_", "/"))


def _base64url(data: bytes) -> str:
    return refs.base64_of(data).replace("+", "-").replace("/", "_")
