"""The muxrpc packet codec without I/O: a header of 9 bytes and a body.

Header: flags (1), body length (4, big-endian), request number (4, signed, big-endian). Flags: 8 stream, 4 end, 2-1 the
body's kind. A body of no bytes is the goodbye, whatever the other fields say, in every decoder of the field.
Byte-compatible with npm packet-stream-codec 1.2.0.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final

import msgspec

from ssb_rtc.errors import FrameInvalid, MisuseError
from ssb_rtc.types import Json
from ssb_rtc.wire.values import encode_json, parse_json

HEADER_BYTES: Final = 9
BODY_LIMIT_BYTES: Final = 8 * 1024 * 1024
"""The default limit of one body: a clock note of 100,000 feeds has 6 MB."""

REQUEST_MAX: Final = 2**31 - 1
GOODBYE: Final = bytes(HEADER_BYTES)

_HEADER: Final = Struct(">BIi")
_STREAM: Final = 8
_END: Final = 4
_KIND: Final = 3


class BodyKind(IntEnum):
    """How a body reads: bytes, UTF-8 text, or JSON."""

    BINARY = 0
    STRING = 1
    JSON = 2


class RawJson(bytes):
    """JSON text that is encoded already: goes out as it is, as a JSON body."""

    __slots__ = ()


class Packet(msgspec.Struct, frozen=True, gc=False):
    """One packet. `request` is the number on the wire: positive from whoever opened the call, negative in answer."""

    request: int
    body: bytes
    kind: BodyKind
    stream: bool
    end: bool


_KINDS: Final = (BodyKind.BINARY, BodyKind.STRING, BodyKind.JSON)


def encode(packet: Packet) -> bytes:
    """The packet's bytes. Raises MisuseError for an empty body, which every decoder would take for the goodbye."""
    return encode_parts(packet.request, packet.body, packet.kind, stream=packet.stream, end=packet.end)


def encode_parts(request: int, body: bytes, kind: BodyKind, *, stream: bool, end: bool) -> bytes:
    """`encode` without the Packet in between."""
    if not body:
        raise MisuseError("a muxrpc body can't be empty: the other side would take it for the goodbye")
    if not -REQUEST_MAX - 1 <= request <= REQUEST_MAX:
        raise MisuseError(f"a muxrpc request number is a signed 32-bit number, {request} is not")
    flags = kind | (_STREAM if stream else 0) | (_END if end else 0)
    return _HEADER.pack(flags, len(body), request) + body


def to_body(value: Json | bytes | str) -> tuple[bytes, BodyKind]:
    """The body for a value: bytes as they are, text as UTF-8, the rest (and what text can't say) as JSON.

    Raises MisuseError for a value that has no JSON.
    """
    if isinstance(value, RawJson):
        return value, BodyKind.JSON
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value), BodyKind.BINARY
    if isinstance(value, str) and value:
        try:
            return value.encode(), BodyKind.STRING
        except UnicodeEncodeError:
            return encode_json(value), BodyKind.JSON
    return encode_json(value), BodyKind.JSON


def from_body(body: bytes, kind: BodyKind) -> Json | bytes | str:
    """The value of a body. Raises FrameInvalid for malformed JSON; text that is no UTF-8 is repaired as Node does."""
    if kind is BodyKind.JSON:
        try:
            return parse_json(body)
        except ValueError as error:
            raise FrameInvalid(f"a muxrpc body says JSON and is none: {error}") from None
    if kind is BodyKind.STRING:
        return body.decode("utf-8", "replace")
    return body


class Decoder:
    """Packets out of bytes cut anywhere. `limit_bytes` bounds one body, and so the memory that is held."""

    def __init__(self, limit_bytes: int = BODY_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._buffer = bytearray()
        self._needs_bytes = HEADER_BYTES
        self._ended = False
        self._fault: str | None = None

    @property
    def ended(self) -> bool:
        """The goodbye came; what follows it is dropped unread."""
        return self._ended

    @property
    def buffered_bytes(self) -> int:
        """How much of an unfinished packet is held."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that are whole now. Raises FrameInvalid, then and ever after, for a body beyond the limit or of
        no known kind: end the connection.
        """
        if self._fault is not None:
            raise FrameInvalid(self._fault)
        if self._ended:
            return []
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needs_bytes:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        return self._split(data)

    def _split(self, data: bytes) -> list[Packet]:
        packets: list[Packet] = []
        offset, size = 0, len(data)
        self._needs_bytes = HEADER_BYTES
        while size - offset >= HEADER_BYTES:
            flags, body_bytes, request = _HEADER.unpack_from(data, offset)
            if body_bytes == 0:
                self._ended = True
                return packets
            if body_bytes > self._limit_bytes:
                self._fail(f"a muxrpc body of {body_bytes} bytes: the limit is {self._limit_bytes}")
            if flags & _KIND == _KIND:
                self._fail("a muxrpc body is neither bytes nor text nor JSON")
            start = offset + HEADER_BYTES
            end = start + body_bytes
            if end > size:
                self._needs_bytes = HEADER_BYTES + body_bytes
                break
            kind = _KINDS[flags & _KIND]
            packets.append(Packet(request, data[start:end], kind, bool(flags & _STREAM), bool(flags & _END)))
            offset = end
        if offset < size:
            self._buffer += data[offset:]
        return packets

    def _fail(self, why: str) -> None:
        self._fault = why
        self._buffer.clear()
        raise FrameInvalid(why)
