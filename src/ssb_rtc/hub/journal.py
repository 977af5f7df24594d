"""What a hub writes down, as lines of text or JSON: never a body, never a channel, addresses only when asked for.

Everything goes through the logger `ssb_rtc.hub`; a line's facts are its record's `fields`. What happens often is
counted and told once a minute, so that no stranger can fill the disk.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from ssb_rtc.hub.server import HubServer

LOGGER = "ssb_rtc.hub"
PERIOD_S = 60.0

_log = logging.getLogger(LOGGER)


class _Lines(logging.Formatter):
    """`<time> <level> <event> <name>=<value>...`."""

    def __init__(self) -> None:
        super().__init__()
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        head = f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%SZ')} {record.levelname.lower():7} {record.getMessage()}"
        facts = "".join(f" {name}={_word(value)}" for name, value in _fields(record).items())
        trace = "\n" + self.formatException(record.exc_info) if record.exc_info else ""
        return head + facts + trace


class _Json(_Lines):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, separators=(",", ":"), default=str)


def write_to(stream: TextIO, style: str, level: str) -> logging.Handler:
    """Send the journal, and what other parts of the process log, to `stream`; returns the handler."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Json() if style == "json" else _Lines())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    _log.setLevel(level.upper())
    return handler


async def tell_traffic(hub: HubServer, period_s: float = PERIOD_S) -> None:
    """Write what a period brought, until cancelled; nothing where nothing happened."""
    before = replace(hub.counts)
    while True:
        await asyncio.sleep(period_s)
        grown = hub.counts.since(before)
        before = replace(hub.counts)
        if grown:
            now = {"subscribers": hub.subscribers, "open_connections": hub.connections}
            _log.info("traffic", extra={"fields": {**now, **grown}})


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = getattr(record, "fields", None)
    return fields if isinstance(fields, dict) else {}


def _word(value: Any) -> str:
    text = str(value)
    plain = text and text.isprintable() and not any(character in ' "=' for character in text)
    return text if plain else json.dumps(text)
