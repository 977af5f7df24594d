"""The log of a long-running command, as lines of text or JSON: never a message, a letter or a password.

A line's facts are its record's `fields`. What others say may stand in it, so it is kept on one line.
"""

from __future__ import annotations

import json
import logging
import re
import time
from typing import Any, TextIO

_CREDENTIALS = re.compile(r"(?<=//)[^/@,\s\"]+@")
"""User and password in a hub's address."""


class _Lines(logging.Formatter):
    """`<time> <level> <event> <name>=<value>...`."""

    def __init__(self) -> None:
        super().__init__()
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        head = f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%SZ')} {record.levelname.lower():7} {_event(record)}"
        facts = "".join(f" {name}={_word(value)}" for name, value in _fields(record).items())
        lines = self.formatException(record.exc_info).splitlines() if record.exc_info else []
        trace = "".join(f"\n{_printable(line)}" for line in lines)
        return _CREDENTIALS.sub("***@", head + facts + trace)


class _Json(_Lines):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _event(record),
            **_fields(record),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return _CREDENTIALS.sub("***@", json.dumps(line, separators=(",", ":"), default=str))


def write_to(stream: TextIO, style: str, level: str, logger: str) -> logging.Handler:
    """Sends what `logger` and those below it say from `level` on to `stream`; of all others warnings.

    style: one of config.LOG_STYLES; level: one of config.LOG_LEVELS. Returns the handler, for whoever ends it.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Json() if style == "json" else _Lines())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(logger).setLevel(level.upper())
    return handler


def _event(record: logging.LogRecord) -> str:
    return _printable(record.getMessage())


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = getattr(record, "fields", None)
    return fields if isinstance(fields, dict) else {}


def _word(value: Any) -> str:
    text = str(value)
    plain = text and text.isprintable() and not any(character in ' "=' for character in text)
    return text if plain else json.dumps(text)
