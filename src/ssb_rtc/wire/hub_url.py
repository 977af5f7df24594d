"""One spelling for each signalhub: the normalised URL that names it in tables, addresses and reports.

Scheme kept (https when there is none), host in lower case and in IDNA's ASCII form, no default port, no trailing
slash, credentials kept. Plain http only to this machine or to a host that the settings allow by name. `swarm+` before
the scheme says that the plain dialect of npm webrtc-swarm is spoken there; the same hub may be in use for both.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from typing import Final, NoReturn
from urllib.parse import SplitResult, urlsplit

from ssb_rtc.errors import ConfigFault
from ssb_rtc.types import HubUrl

URL_LIMIT_CHARS: Final = 1024
SWARM: Final = "swarm+"
_HOST_LIMIT_CHARS: Final = 253
_DEFAULT_PORT: Final = {"http": 80, "https": 443}
_SCHEME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.\-]*://")
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_\-]{1,63}(?<!-)")
# One class of characters, and what may not stand behind a % apart: an alternative for each character takes five times
# as long, and others may have thousands of addresses read.
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%\-]+)*")
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NEVER: Final = re.compile(r"[\x00-\x20\x7f\\]")
_CREDENTIALS: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:\-]|%[0-9A-Fa-f]{2})+")


def normalise_hub(text: str, *, allow_http: Collection[str] = ()) -> HubUrl:
    """The one spelling of this hub's address. `allow_http` names hosts that may be spoken to without encryption.

    Raises ConfigFault, which says what to write instead.
    """
    shown = repr(text[:100])
    text = text.strip()
    if not text or len(text) > URL_LIMIT_CHARS:
        _refuse(shown, f"write it like https://hub.example.com, with at most {URL_LIMIT_CHARS} characters")
    swarm = text[: len(SWARM)].lower() == SWARM
    text = text[len(SWARM) :] if swarm else text
    if not _SCHEME.match(text):
        text = "https://" + text
    if _NEVER.search(text):
        _refuse(shown, "it holds a space, a backslash or a control character: leave that out")
    parts = _split(text, shown)
    scheme = parts.scheme
    if scheme not in _DEFAULT_PORT:
        _refuse(shown, f"{scheme}: is no scheme of a hub: write https:// (or http:// for this machine)")
    if "?" in text or "#" in text:
        _refuse(shown, "a hub's address has no query and no fragment: leave out ? and # and what follows")
    host = _host(parts, shown)
    if scheme == "http" and not is_loopback(host) and host not in {entry.strip().lower() for entry in allow_http}:
        _refuse(shown, f"http is not encrypted: write https://, or allow it for this host with --allow-http {host}")
    dialect, where = SWARM if swarm else "", _credentials(parts, shown) + _authority(host, parts, shown)
    return HubUrl(f"{dialect}{scheme}://{where}{_path(parts.path, shown)}")


def speaks_swarm(hub: HubUrl) -> bool:
    """Whether the address asks for the swarm dialect."""
    return hub.startswith(SWARM)


def http_url(hub: HubUrl) -> HubUrl:
    """Where the hub itself is, whatever is spoken there."""
    return HubUrl(hub.removeprefix(SWARM))


def is_loopback(host: str) -> bool:
    """True for this machine: localhost and the loopback addresses (`host` without brackets)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def hub_host(hub: HubUrl) -> str:
    """The host of a normalised hub, an IPv6 address without brackets."""
    return urlsplit(hub).hostname or ""


def has_credentials(hub: HubUrl) -> bool:
    """True when the address carries a name or a password: such a hub is never told to others."""
    return "@" in urlsplit(hub).netloc


def _split(text: str, shown: str) -> SplitResult:
    try:
        parts = urlsplit(text)
    except ValueError:
        _refuse(shown, "its host can't be read: write it like https://hub.example.com or https://[2001:db8::1]:8443")
    try:
        _ = parts.port
    except ValueError:
        _refuse(
            shown,
            "its port is no number from 1 to 65535 (and IPv6 addresses stand in brackets): like https://a.example:8443",
        )
    return parts


def _host(parts: SplitResult, shown: str) -> str:
    host = parts.hostname or ""
    bracketed = "[" in parts.netloc
    try:
        address = ipaddress.ip_address(host)
        if bracketed == (address.version == 6) and "%" not in host:
            return str(address)
    except ValueError:
        pass
    if bracketed or ":" in host:
        _refuse(shown, "write an IPv6 address in brackets and without a zone, like https://[2001:db8::1]:8443")
    if len(host) > _HOST_LIMIT_CHARS:
        _refuse(shown, "its host is longer than any name that the internet has")
    try:
        host = host.encode("idna").decode("ascii").lower() if not host.isascii() else host
    except UnicodeError:
        _refuse(shown, "its host is no name that the internet has")
    labels = host.split(".")
    if labels[-1] == "" and len(labels) > 1:
        labels.pop()
    if len(host) > _HOST_LIMIT_CHARS or not all(_LABEL.fullmatch(label) for label in labels):
        _refuse(shown, "its host is no name that the internet has: write it like https://hub.example.com")
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        _refuse(shown, "its host looks like a number and is no whole IPv4 address, like 192.0.2.7")
    return ".".join(labels)


def _authority(host: str, parts: SplitResult, shown: str) -> str:
    port = parts.port
    if port == 0:
        _refuse(shown, "port 0 can't be connected to: leave it out or write the hub's port")
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if port is None or port == _DEFAULT_PORT[parts.scheme] else f"{bracketed}:{port}"


def _credentials(parts: SplitResult, shown: str) -> str:
    credentials, at, _ = parts.netloc.rpartition("@")
    if not at:
        return ""
    if not _CREDENTIALS.fullmatch(credentials):
        _refuse(shown, "its name or password holds characters that must be percent-encoded")
    return credentials + at


def _path(path: str, shown: str) -> str:
    path = path.rstrip("/")
    if not _PATH.fullmatch(path) or _BAD_PERCENT.search(path):
        _refuse(shown, "its path holds an empty part, or characters that must be percent-encoded")
    if any(part in (".", "..") for part in path.split("/")):
        _refuse(shown, "its path holds . or ..: write where it leads to")
    return path


def _refuse(shown: str, why: str) -> NoReturn:
    raise ConfigFault(f"{shown} is no address of a hub: {why}")
