"""The pages that npm's hub does not have: for people, for whoever watches over the hub, and for Prometheus. No I/O."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ssb_rtc.hub import answers

if TYPE_CHECKING:
    from ssb_rtc.hub.server import HubServer

NAME = "ssb-rtc hub"
JSON = b"application/json; charset=utf-8"

_PEOPLE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{name}</title>
<style>
body {{ font: 1.1em/1.5 system-ui, sans-serif; max-width: 38em; margin: 3em auto; padding: 0 1em; }}
strong {{ font-size: 2em; }}
</style>
</head>
<body>
<h1>{name}</h1>
<p><strong>{subscribers}</strong> {noun} now. {state}</p>
<p>This is a signalhub: a place where Scuttlebutt peers find each other before they
connect directly. It stores nothing, and nobody has to trust it.</p>
<p>To meet others here, give your peer this page's address: <code>ssb-rtc hubs add ADDRESS</code></p>
<p><small>version {version}</small></p>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Metrics:
    """The page `/metrics`."""

    kind: bytes
    """Its Content-Type."""
    render: Callable[[HubServer], bytes]
    for_all: bool = False
    """Whether everybody may read it, or only this machine."""


def page(hub: HubServer, local: bool, url: bytes, *, keep: bool, bodyless: bool) -> bytes | None:
    """The answer for a page of ours, or None. local: this machine asks, which may know more than others."""
    trouble = hub.trouble
    if trouble not in (None, "draining") and not local:
        trouble = "the broker is away"  # where it is, is nobody's business
    if url == b"/":
        text = for_people(NAME, hub.version, hub.subscribers, trouble)
        return answers.people_page(text, hub.ends, keep=keep, bodyless=bodyless)
    if url == b"/healthz":
        status, text = health(trouble)
        return answers.plain_page(status, JSON, text, hub.ends, keep=keep, bodyless=bodyless)
    if url == b"/metrics" and hub.metrics is not None and (local or hub.metrics.for_all):
        text = hub.metrics.render(hub)
        return answers.plain_page(answers.OK, hub.metrics.kind, text, hub.ends, keep=keep, bodyless=bodyless)
    return None


def for_people(name: str, version: str, subscribers: int, trouble: str | None) -> bytes:
    """`GET /` for a browser."""
    state = "All is well." if trouble is None else f"In trouble: {trouble}."
    text = _PEOPLE.format(
        name=html.escape(name),
        version=html.escape(version),
        subscribers=subscribers,
        noun="subscriber" if subscribers == 1 else "subscribers",
        state="It is about to stop." if trouble == "draining" else html.escape(state),
    )
    return text.encode()


def health(trouble: str | None) -> tuple[bytes, bytes]:
    """`GET /healthz`: 200, or 503 with the reason while no new subscriber should be sent here."""
    if trouble is None:
        return answers.OK, b'{"status":"ok"}\n'
    return answers.FULL, json.dumps({"status": trouble}, separators=(",", ":")).encode() + b"\n"
