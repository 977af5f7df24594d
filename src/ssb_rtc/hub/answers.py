"""The bytes of a hub's answers, as npm `signalhub` 4.9.0 on Node 20 sends them: same headers, same order. No I/O."""

from __future__ import annotations

import json
from typing import NamedTuple

from ssb_rtc.hub.refusals import Refusal

_CORS = (
    b"Access-Control-Allow-Origin: *\r\n"
    b"Access-Control-Allow-Methods: GET, POST, PUT, DELETE\r\n"
    b"Access-Control-Allow-Credentials: true\r\n"
    b"Access-Control-Max-Age: 86400\r\n"
    b"Access-Control-Allow-Headers: X-Requested-With, X-HTTP-Method-Override, Content-Type, Accept, Authorization\r\n"
)
_CLOSE = b"Connection: close\r\n"
_EMPTY = b"Content-Length: 0\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_STREAM = b"Content-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n"
_JSON = b"Content-Type: application/json; charset=utf-8\r\n"
_HTML = (
    b"Content-Type: text/html; charset=utf-8\r\n"
    b"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n"
    b"Cache-Control: no-store\r\nVary: Accept\r\n"
)
_TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"

OK = b"200 OK"
BAD_REQUEST = b"400 Bad Request"
NOT_FOUND = b"404 Not Found"
FULL = b"503 Service Unavailable"

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


class Ends(NamedTuple):
    """How the heads of this second end."""

    date: bytes
    keep: bytes
    close: bytes


def ends_of(date: str, idle_s: float) -> Ends:
    """idle_s: how long a client may leave a connection idle and still find it open; told in whole seconds."""
    line = b"Date: " + date.encode() + b"\r\n"
    timeout = b"Keep-Alive: timeout=%d\r\n" % max(0, int(idle_s))
    return Ends(line, line + b"Connection: keep-alive\r\n" + timeout, line + _CLOSE)


def broken(status: bytes) -> bytes:
    """What Node says to a request that it can't read, before it closes."""
    return b"HTTP/1.1 " + status + b"\r\n" + _CLOSE + b"\r\n"


def hostless(ends: Ends) -> bytes:
    """What Node says to HTTP/1.1 without a Host, before it closes."""
    return b"HTTP/1.1 400 Bad Request\r\n" + _CLOSE + ends.date + _CHUNKED + b"\r\n" + LAST_CHUNK


def unexpected(ends: Ends, keep: bool) -> bytes:
    """What Node says to an `Expect` other than 100-continue."""
    after = ends.keep if keep else ends.close
    return b"HTTP/1.1 417 Expectation Failed\r\n" + after + _CHUNKED + b"\r\n" + LAST_CHUNK


def empty(status: bytes, ends: Ends, *, keep: bool, sized: bool = True) -> bytes:
    """An answer without a body; `sized` is False for HEAD and HTTP/1.0, where Node gives no Content-Length."""
    return _head(status, _CORS, ends, keep) + (_EMPTY if sized else b"") + b"\r\n"


def refusal(refused: Refusal, ends: Ends, *, keep: bool, bodyless: bool = False) -> bytes:
    """What npm's hub never says; `bodyless` for HEAD."""
    wait_s = refused.retry_after_s
    retry = b"" if wait_s is None else b"Retry-After: %d\r\n" % wait_s
    text = refused.sentence.encode() + b"\n"
    return _sized(refused.status, _CORS + retry + _TEXT, text, ends, keep=keep, bodyless=bodyless)


def stream(ends: Ends, *, keep: bool, chunked: bool) -> bytes:
    """The head of an event stream; nothing follows until the first event."""
    return _head(OK, _CORS + _STREAM, ends, keep) + (_CHUNKED if chunked else b"") + b"\r\n"


def status_page(text: bytes, ends: Ends, *, keep: bool, chunked: bool, bodyless: bool) -> bytes:
    """`GET /` (and every other method but OPTIONS): pretty JSON; `bodyless` for HEAD."""
    head = _head(OK, _CORS + _JSON, ends, keep)
    if bodyless:
        return head + b"\r\n"
    if not chunked:
        return head + b"\r\n" + text
    return head + _CHUNKED + b"\r\n" + chunk(text) + LAST_CHUNK


def people_page(text: bytes, ends: Ends, *, keep: bool, bodyless: bool) -> bytes:
    """`GET /` for a browser, which npm's hub does not have; no script of another site may read it."""
    return _sized(OK, _HTML, text, ends, keep=keep, bodyless=bodyless)


def plain_page(status: bytes, kind: bytes, text: bytes, ends: Ends, *, keep: bool, bodyless: bool) -> bytes:
    """A page for programs that npm's hub does not have; no script of another site may read it."""
    fields = b"Content-Type: " + kind + b"\r\nCache-Control: no-store\r\n"
    return _sized(status, fields, text, ends, keep=keep, bodyless=bodyless)


def _sized(status: bytes, fields: bytes, text: bytes, ends: Ends, *, keep: bool, bodyless: bool) -> bytes:
    head = _head(status, fields, ends, keep) + b"Content-Length: %d\r\n\r\n" % len(text)
    return head if bodyless else head + text


def status_text(name: str, version: str, subscribers: int) -> bytes:
    """The JSON of `GET /`: signalhub's keys in signalhub's form."""
    text = json.dumps({"name": name, "version": version, "subscribers": subscribers}, indent=2, ensure_ascii=False)
    return text.encode() + b"\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; `data` must not be empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def unchunk(chunked: bytes) -> bytes:
    """The data of what `chunk` made."""
    return chunked[chunked.index(b"\r\n") + 2 : -2]


def event(body: bytes) -> bytes:
    """The frame of one posted body; bytes that are no UTF-8 become U+FFFD, as in Node's `Buffer.toString`."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            body = body.decode(errors="replace").encode()
    return b"data: " + body + b"\n\n"


HEARTBEAT = chunk(b":heartbeat signal\n\n")


def _head(status: bytes, fields: bytes, ends: Ends, keep: bool) -> bytes:
    return b"HTTP/1.1 " + status + b"\r\n" + fields + (ends.keep if keep else ends.close)
