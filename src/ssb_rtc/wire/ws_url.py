"""The addresses of WebSockets: ws:// and wss:// URLs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ssb_rtc.errors import ConfigFault


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a ws:// or wss:// URL says. `host` is a name or an address without brackets."""

    secure: bool
    host: str
    port: int
    path: str = "/"

    @property
    def authority(self) -> str:
        """Host and port for a URL and the Host header; the scheme's own port stays away, as in JavaScript."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL again."""
        path = "" if self.path == "/" else self.path
        return f"{'wss' if self.secure else 'ws'}://{self.authority}{path}"


def endpoint(url: str) -> Endpoint:
    """Takes a URL apart. Raises ConfigFault where it is none for a WebSocket."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigFault(f"{url[:200]!r} is no WebSocket address: write it like ws://example.com:8989") from None
    if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.username is not None or parts.fragment:
        raise ConfigFault(f"{url[:200]!r} is no WebSocket address: write it like ws://example.com:8989")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not re.fullmatch(r"/[!-~]*", path) or not re.fullmatch(r"[!-~]+", parts.hostname):
        raise ConfigFault(f"{url[:200]!r}: other than printable ASCII has to be written with percent signs")
    secure = parts.scheme == "wss"
    return Endpoint(secure, parts.hostname, (443 if secure else 80) if port is None else port, path)
