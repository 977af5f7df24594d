"""The box stream without I/O: bytes in order, each part encrypted and authenticated, with a goodbye at the end.

A part of 1 to 4,096 bytes travels as a header box of 34 bytes (length and MAC of the body, themselves boxed) and the
body. The nonce counts up by one for each box. The end is a header of zeros: a stream that stops without it was cut.
Byte-compatible with npm pull-box-stream 1.0.13.
"""

from __future__ import annotations

from typing import Final

from nacl.bindings import crypto_secretbox, crypto_secretbox_open
from nacl.exceptions import CryptoError

from ssb_rtc.errors import FrameInvalid, MisuseError

BODY_LIMIT_BYTES: Final = 4096
HEADER_BYTES: Final = 34
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 24

_MAC_BYTES: Final = 16
_NONCES: Final = 1 << (8 * NONCE_BYTES)
_GOODBYE_HEADER: Final = bytes(2 + _MAC_BYTES)


class Boxer:
    """The sending half. `key` is 32 bytes, `nonce` the first of them, 24 bytes."""

    def __init__(self, key: bytes, nonce: bytes) -> None:
        _require(key, nonce)
        self._key = key
        self._nonce = int.from_bytes(nonce, "big")
        self._ended = False

    @property
    def ended(self) -> bool:
        """We said goodbye: nothing more may be boxed."""
        return self._ended

    def box(self, data: bytes | bytearray | memoryview) -> bytes:
        """The boxed bytes to send for `data`, cut at 4,096; nothing for nothing. MisuseError after the goodbye."""
        if self._ended:
            raise MisuseError("the box stream has said goodbye: nothing more can be sent on it")
        size = len(data)
        if size <= BODY_LIMIT_BYTES:
            return b"".join(self._box_part(data)) if size else b""
        view = memoryview(data)
        parts: list[bytes] = []
        for start in range(0, size, BODY_LIMIT_BYTES):
            parts += self._box_part(view[start : start + BODY_LIMIT_BYTES])
        return b"".join(parts)

    def goodbye(self) -> bytes:
        """The 34 bytes that end the stream cleanly; send them, then close. Nothing when it was said already."""
        if self._ended:
            return b""
        self._ended = True
        return crypto_secretbox(_GOODBYE_HEADER, self._take_nonce(), self._key)

    def _box_part(self, part: bytes | bytearray | memoryview) -> tuple[bytes, bytes]:
        key = self._key
        header_nonce = self._take_nonce()
        # PyNaCl pads by concatenation, so any buffer serves, although its stubs say bytes.
        body = crypto_secretbox(part, self._take_nonce(), key)  # type: ignore[arg-type]
        header = crypto_secretbox(len(part).to_bytes(2, "big") + body[:_MAC_BYTES], header_nonce, key)
        return header, body[_MAC_BYTES:]

    def _take_nonce(self) -> bytes:
        nonce = self._nonce
        self._nonce = (nonce + 1) % _NONCES
        return nonce.to_bytes(NONCE_BYTES, "big")


class Unboxer:
    """The receiving half. `key` is 32 bytes, `nonce` the first of them, 24 bytes.

    `ended` at the end of the transport tells a clean end from a cut one. What follows a goodbye is dropped unread, as
    JavaScript does.
    """

    def __init__(self, key: bytes, nonce: bytes) -> None:
        _require(key, nonce)
        self._key = key
        self._nonce = int.from_bytes(nonce, "big")
        self._rest = b""
        self._body_bytes = 0
        self._mac = b""
        self._ended = False
        self._fault: str | None = None

    @property
    def ended(self) -> bool:
        """The other side said goodbye. False at the end of the transport means that the stream was cut."""
        return self._ended

    def feed(self, data: bytes) -> list[bytes]:
        """Takes bytes cut anywhere and returns the parts that are whole now, each at most 4,096 bytes.

        Raises FrameInvalid, then and ever after, when a box was tampered with or breaks the limit; parts opened in
        the same call are lost with it, because the link is.
        """
        if self._fault is not None:
            raise FrameInvalid(self._fault)
        if self._ended:
            return []
        if self._rest:
            data = self._rest + data
        parts: list[bytes] = []
        offset, size = 0, len(data)
        while True:
            if not self._body_bytes:
                if size - offset < HEADER_BYTES:
                    break
                if self._open_header(data[offset : offset + HEADER_BYTES]):
                    self._rest = b""
                    return parts
                offset += HEADER_BYTES
            end = offset + self._body_bytes
            if end > size:
                break
            parts.append(self._open(self._mac + data[offset:end], "body"))
            offset = end
            self._body_bytes = 0
        self._rest = data[offset:]
        return parts

    def _open_header(self, box: bytes) -> bool:
        """True when it is the goodbye."""
        header = self._open(box, "header")
        if header == _GOODBYE_HEADER:
            self._ended = True
            return True
        size = int.from_bytes(header[:2], "big")
        if not 0 < size <= BODY_LIMIT_BYTES:
            self._fault = f"a box stream body may have 1 to {BODY_LIMIT_BYTES} bytes, this header says {size}"
            raise FrameInvalid(self._fault)
        self._body_bytes, self._mac = size, header[2:]
        return False

    def _open(self, box: bytes, what: str) -> bytes:
        nonce = self._nonce
        self._nonce = (nonce + 1) % _NONCES
        try:
            return crypto_secretbox_open(box, nonce.to_bytes(NONCE_BYTES, "big"), self._key)
        except CryptoError:
            self._fault = f"a box stream {what} was tampered with, or lost on the way"
            raise FrameInvalid(self._fault) from None


def _require(key: bytes, nonce: bytes) -> None:
    if len(key) != KEY_BYTES or len(nonce) != NONCE_BYTES:
        raise MisuseError(f"a box stream takes a key of 32 bytes and a nonce of 24, not {len(key)} and {len(nonce)}")
