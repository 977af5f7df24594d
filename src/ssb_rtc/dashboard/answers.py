"""What every answer has in common: headers that keep the page to itself, JSON that any browser reads, errors."""

from __future__ import annotations

import json
import math
from typing import Final

import orjson
from aiohttp import web

from ssb_rtc import errors
from ssb_rtc.types import Json

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Refused(Exception):
    """A request that gets this status and this sentence."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error


def encode_json(value: Json) -> bytes:
    """UTF-8 JSON on one line.

    Messages of others may hold what orjson refuses: lone surrogates, which are escaped here, and numbers of any size.
    What JSON has no word for becomes null.
    """
    try:
        return orjson.dumps(value)
    except (orjson.JSONEncodeError, RecursionError):
        return json.dumps(_finite(value), separators=(",", ":"), allow_nan=False).encode()


def _finite(value: Json) -> Json:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_answer(value: Json, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(body=encode_json(value), status=status, content_type="application/json", charset="utf-8")


def error_answer(status: int, error: str) -> web.Response:
    """{"error": sentence}."""
    return json_answer({"error": error}, status)


_STATUS: Final[tuple[tuple[type[errors.SsbRtcError], int], ...]] = (
    (errors.MisuseError, 400),
    (errors.ConfigFault, 400),
    (errors.MessageInvalid, 400),
    (errors.BlobMissing, 404),
    (errors.AuthorFault, 409),
    (errors.ConnectFailed, 409),
    (errors.HandshakeRefused, 409),
    (errors.BlobsFull, 409),
)


def status_of(fault: errors.SsbRtcError) -> int:
    """The status of an error; one that came over the local link counts as what it was there."""
    kind: type[errors.SsbRtcError] = type(fault)
    if isinstance(fault, errors.RemoteCallError):
        if fault.name == "NotFoundError":
            return 404
        was = getattr(errors, fault.name, None)
        kind = was if isinstance(was, type) and issubclass(was, errors.SsbRtcError) else kind
        if kind is errors.RemoteCallError:
            # What plugins refuse by this name are arguments that make no sense.
            return 503 if fault.message == "internal error" else 400
    return next((status for known, status in _STATUS if issubclass(kind, known)), 503)
