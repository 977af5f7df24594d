"""Which requests are the page's own. Pure: it reads headers and says what is wrong with them.

A page of any origin can have a browser send requests here, with our cookie where it counts as the same site (another
port of this machine does). What it can't do is to choose `Host`, `Origin` and `Sec-Fetch-Site`:

- `Host` is an address of ours, or somebody's name was pointed at this machine (DNS rebinding);
- `Sec-Fetch-Site` is not `cross-site` or `same-site`, wherever there is something to read or to do;
- an order (POST) comes from our own origin, in a content type that a form can't send.

And whoever asks or orders anything repeats the session's word besides its cookie, which other ports are sent as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

HOSTS: Final = ("127.0.0.1", "[::1]", "localhost")
JSON_TYPE: Final = "application/json"
BYTES_TYPE: Final = "application/octet-stream"
FOREIGN_SITES: Final = ("cross-site", "same-site")
CSRF_HEADER: Final = "X-CSRF"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    error: str


def refuses_host(host: str | None, port: int) -> Refusal | None:
    """For every request: it must have been sent to us by one of our own names."""
    if host is not None and host.lower() in {f"{name}:{port}" for name in HOSTS}:
        return None
    return Refusal(421, f"this is the dashboard at http://127.0.0.1:{port}: open it by that address")


def refuses_reading(headers: Mapping[str, str]) -> Refusal | None:
    """For a GET under /api: not for pages of other origins."""
    if headers.get("Sec-Fetch-Site", "").lower() in FOREIGN_SITES:
        return Refusal(403, "only the dashboard's own page may ask this")
    return None


def refuses_session(headers: Mapping[str, str]) -> Refusal | None:
    """For GET /api/session, by which our own page finds out whether its session still is good."""
    site = headers.get("Sec-Fetch-Site", "").lower()
    if site == "same-origin" or (not site and refuses_origin(headers) is None):
        return None
    return Refusal(401, "only the dashboard's own page may ask this")


def refuses_origin(headers: Mapping[str, str]) -> Refusal | None:
    """Where the browser says from which page this comes, it must be ours."""
    origin = headers.get("Origin")
    if origin is None or origin.lower() == f"http://{headers.get('Host', '').lower()}":
        return None
    return Refusal(403, "only the dashboard's own page may ask this")


def refuses_order(headers: Mapping[str, str], content_type: str) -> Refusal | None:
    """For every POST, before anything of its body is read."""
    site = headers.get("Sec-Fetch-Site", "").lower()
    if site not in {"", "same-origin"}:
        return Refusal(403, "only the dashboard's own page may order this")
    found = refuses_origin(headers)
    if found is not None:
        return found
    sent = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if sent != content_type:
        return Refusal(400, f"this takes a body of the type {content_type}")
    return None
