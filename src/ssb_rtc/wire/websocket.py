"""WebSockets without I/O (RFC 6455): the opening handshake of both sides, and frames to and from one flow of bytes.

Binary frames carry the bytes; where one ends means nothing, as in npm pull-websocket, so a payload is handed on as it
arrives and no frame is ever held whole. No extensions and no subprotocols: what travels is encrypted, and compressing
it gains nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from ssb_rtc.errors import ConfigFault, FrameInvalid

HEAD_LIMIT_BYTES: Final = 8 * 1024
"""The longest request or answer that opens a WebSocket."""
FRAME_BYTES: Final = 64 * 1024
"""The most that we put into one frame: others limit what they take."""

NONCE_BYTES: Final = 16
MASK_BYTES: Final = 4
CONTROL_LIMIT_BYTES: Final = 125
XOR_BYTES: Final = 16 * 1024
"""Masked at once as one number: 520 MB/s, where larger ones fall out of the cache (210 MB/s at 64 KiB)."""

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_FIN, _RESERVED, _MASKED = 0x80, 0x70, 0x80
_REQUEST_LINE: Final = re.compile(rb"GET (/[!-~]*) HTTP/1\.1")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] (\d{3})(?: .*)?")
_HEADER: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*", re.DOTALL)


# --- where --------------------------------------------------------------------------------------------------------


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


# --- the opening handshake ----------------------------------------------------------------------------------------


class RequestRefused(Exception):
    """What a client asked is no WebSocket; `answer` are the bytes that it shall hear before the connection ends."""

    def __init__(self, status: str, why: str, header: str = "") -> None:
        super().__init__(why)
        body = f"{why}\n".encode()
        self.answer = (
            f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n{header}\r\n"
        ).encode() + body


def request(to: Endpoint, nonce: bytes) -> bytes:
    """What a client sends first. `nonce` is 16 random bytes."""
    return (
        f"GET {to.path} HTTP/1.1\r\nHost: {to.authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(nonce).decode()}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def answer(head: bytes) -> bytes:
    """What the server answers to a request's head (all before the empty line). Raises RequestRefused."""
    line, headers = _head(head)
    if headers is None:
        raise RequestRefused("400 Bad Request", "this is no HTTP request")
    if not _REQUEST_LINE.fullmatch(line):
        raise RequestRefused("400 Bad Request", "a WebSocket begins with GET and HTTP/1.1")
    if "websocket" not in _tokens(headers, b"upgrade") or "upgrade" not in _tokens(headers, b"connection"):
        upgrade = "Upgrade: websocket\r\n"
        raise RequestRefused("426 Upgrade Required", "an SSB peer listens here for WebSockets", upgrade)
    if headers.get(b"sec-websocket-version") != b"13":
        raise RequestRefused("426 Upgrade Required", "this speaks version 13", "Sec-WebSocket-Version: 13\r\n")
    key = headers.get(b"sec-websocket-key", b"")
    try:
        nonce = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        nonce = b""
    if len(nonce) != NONCE_BYTES:
        raise RequestRefused("400 Bad Request", "Sec-WebSocket-Key has to be 16 bytes in base64")
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + _proof(key) + b"\r\n\r\n"
    )


def check_answer(head: bytes, nonce: bytes) -> None:
    """Raises FrameInvalid, with the end of a sentence, unless the server took our request for a WebSocket."""
    line, headers = _head(head)
    status = _STATUS_LINE.fullmatch(line)
    if status is None or headers is None:
        raise FrameInvalid("what answers there is no web server")
    if status[1] != b"101":
        raise FrameInvalid(f"the server answered {status[1].decode()}: there is no WebSocket of an SSB peer")
    proven = headers.get(b"sec-websocket-accept") == _proof(base64.b64encode(nonce))
    asked_for = b"sec-websocket-extensions" not in headers and b"sec-websocket-protocol" not in headers
    if not (proven and asked_for and "websocket" in _tokens(headers, b"upgrade")):
        raise FrameInvalid("the server's answer breaks the rules of WebSockets")


def _head(head: bytes) -> tuple[bytes, dict[bytes, bytes] | None]:
    """The first line, and the headers by lower-case name; None when a line is no header. Repeated ones are joined."""
    line, *rest = head.split(b"\r\n")
    headers: dict[bytes, bytes] = {}
    for each in rest:
        found = _HEADER.fullmatch(each)
        if found is None or b"\n" in each or b"\0" in each:
            return line, None
        name = found[1].lower()
        headers[name] = headers[name] + b"," + found[2] if name in headers else found[2]
    return line, headers


def _tokens(headers: dict[bytes, bytes], name: bytes) -> set[str]:
    return {token.strip().lower() for token in headers.get(name, b"").decode("latin-1").split(",")}


def _proof(key: bytes) -> bytes:
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


# --- frames -------------------------------------------------------------------------------------------------------


class Frames:
    """Both directions after the handshake: bytes into frames, and frames, cut anywhere, into bytes.

    new_mask: gives 4 random bytes, on the client's side, which must mask what it sends; None on the server's.
    """

    def __init__(self, new_mask: Callable[[], bytes] | None) -> None:
        self._new_mask = new_mask
        self._from_client = new_mask is None
        self._rest = b""
        """A frame's header, or a control frame, that has not arrived whole."""
        self._left_bytes = 0
        """What is still to come of the payload that arrives."""
        self._mask = b""
        self._in_message = False
        self._replies: list[bytes] = []
        self._closed = False

    @property
    def closed(self) -> bool:
        """The other side said that it closes; nothing behind that counts."""
        return self._closed

    def frame(self, data: bytes) -> bytes:
        """`data`, of any size, in binary frames."""
        if len(data) <= FRAME_BYTES:
            return self._framed(_BINARY, data)
        view = memoryview(data)
        return b"".join(
            self._framed(_BINARY, bytes(view[at : at + FRAME_BYTES])) for at in range(0, len(view), FRAME_BYTES)
        )

    def close_frame(self, code: int = 1000) -> bytes:
        """Says that we close: 1000 in good order, 1002 because the other side broke the rules."""
        return self._framed(_CLOSE, code.to_bytes(2, "big"))

    def ping_frame(self) -> bytes:
        """Asks for a sign of life, and is one."""
        return self._framed(_PING, b"")

    def take_reply(self) -> bytes:
        """The frame that answers the last ping or close that arrived, if any; older pings need no answer."""
        replies, self._replies = self._replies, []
        return replies[-1] if replies else b""

    def receive(self, data: bytes) -> bytes:
        """The payload in what arrived. Raises FrameInvalid with why the other side is no WebSocket."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        payload: list[bytes] = []
        at, end = 0, len(data)
        while at < end and not self._closed:
            if self._left_bytes:
                piece = data[at : at + self._left_bytes]
                at += len(piece)
                self._left_bytes -= len(piece)
                if self._mask:
                    piece, self._mask = _masked(piece, self._mask), _turned(self._mask, len(piece))
                payload.append(piece)
                continue
            start = self._header(data, at)
            if start is None:
                self._rest = data[at:]
                break
            at = start
        return payload[0] if len(payload) == 1 else b"".join(payload)

    def _header(self, data: bytes, at: int) -> int | None:
        """Reads a frame's header, and a control frame whole; where its payload begins, None while some is missing."""
        if len(data) < at + 2:
            return None
        first, second = data[at], data[at + 1]
        self._check(first, second)
        opcode, size = first & 0x0F, second & 0x7F
        start = at + 2
        if size > CONTROL_LIMIT_BYTES:
            start += 2 if size == 126 else 8
            size = int.from_bytes(data[at + 2 : start], "big")
        mask_at = start
        start += MASK_BYTES if self._from_client else 0
        if len(data) < start:
            return None
        if size >> 63:
            raise FrameInvalid("a WebSocket frame of an impossible size")
        mask = data[mask_at:start]
        if opcode >= _CLOSE:
            if len(data) < start + size:
                return None
            self._control(opcode, _masked(data[start : start + size], mask))
            return start + size
        self._in_message = not first & _FIN
        self._left_bytes = size
        self._mask = mask
        return start

    def _check(self, first: int, second: int) -> None:
        opcode = first & 0x0F
        if first & _RESERVED:
            raise FrameInvalid("a WebSocket frame uses an extension that nobody agreed to")
        if bool(second & _MASKED) != self._from_client:
            raise FrameInvalid("a WebSocket's client masks its frames, and its server does not")
        if opcode == _TEXT:
            raise FrameInvalid("a WebSocket carries bytes here, and the other side sent text")
        if opcode in (_CLOSE, _PING, _PONG):
            if not first & _FIN or second & 0x7F > CONTROL_LIMIT_BYTES:
                raise FrameInvalid("a control frame of a WebSocket is in pieces or too long")
        elif opcode != (_CONTINUATION if self._in_message else _BINARY):
            raise FrameInvalid("a WebSocket frame of an unknown kind, or out of order")

    def _control(self, opcode: int, body: bytes) -> None:
        if opcode == _PING:
            self._replies.append(self._framed(_PONG, body))
        elif opcode == _CLOSE:
            self._closed = True
            self._replies.append(self._framed(_CLOSE, body[:2]))

    def _framed(self, opcode: int, body: bytes) -> bytes:
        size = len(body)
        bit = 0 if self._new_mask is None else _MASKED
        if size <= CONTROL_LIMIT_BYTES:
            header = bytes((_FIN | opcode, bit | size))
        elif size < 1 << 16:
            header = bytes((_FIN | opcode, bit | 126)) + size.to_bytes(2, "big")
        else:
            header = bytes((_FIN | opcode, bit | 127)) + size.to_bytes(8, "big")
        if self._new_mask is None:
            return header + body
        mask = self._new_mask()
        return header + mask + _masked(body, mask)


def _masked(data: bytes, mask: bytes) -> bytes:
    """Masks and unmasks: each byte with the mask's byte of its turn. No mask, no change."""
    if not mask or not data:
        return data
    if len(data) > XOR_BYTES:
        pieces = [_masked(data[at : at + XOR_BYTES], mask) for at in range(0, len(data), XOR_BYTES)]
        return b"".join(pieces)
    size = len(data)
    pattern = mask * (size // MASK_BYTES + 1)
    both = int.from_bytes(data, "little") ^ int.from_bytes(pattern[:size], "little")
    return both.to_bytes(size, "little")


def _turned(mask: bytes, by: int) -> bytes:
    """The mask for what follows `by` bytes."""
    by %= MASK_BYTES
    return mask[by:] + mask[:by]
