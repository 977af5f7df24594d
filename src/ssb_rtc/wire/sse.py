"""Server-sent events without I/O: the data of each frame out of bytes that anybody may have written.

The line and field rules of the HTML standard (9.2 Server-sent events). A signalhub hands bodies on unchecked, and npm
signalhub 4.9.0 even lets a newline in one inject frames: so nothing that arrives here is trusted, and whatever parses
is only a text for the next layer to judge.
"""

from __future__ import annotations

from typing import Final

from ssb_rtc.errors import FrameInvalid

EVENT_LIMIT_BYTES: Final = 128 * 1024
"""Twice what a signalhub takes as one body."""

_BOM: Final = b"\xef\xbb\xbf"


class Parser:
    """Takes bytes cut anywhere, returns the data of whole events. `limit_bytes` bounds one line and one event's data.

    Comments (a hub's `:heartbeat signal`) return nothing and count in `comments`: together with `bytes_in` the signs
    of life. Fields other than `data` are ignored. Bytes that are no UTF-8 become U+FFFD, as the standard says.
    """

    def __init__(self, limit_bytes: int = EVENT_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._line = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._after_cr = False
        self._at_start = True
        self._fault: str | None = None
        self.comments = 0
        """How many comment lines came."""
        self.bytes_in = 0
        """How many bytes came."""
        self.lines = 0
        """How many lines ended."""

    def feed(self, chunk: bytes) -> list[str]:
        """The data of the events that ended in this chunk, in order; an event without data is none.

        Raises FrameInvalid, then and ever after, when a line or an event is larger than the limit: drop the hub.
        """
        if self._fault is not None:
            raise FrameInvalid(self._fault)
        self.bytes_in += len(chunk)
        if self._after_cr and chunk:
            # The line feed of a CRLF that was cut in two.
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        events: list[str] = []
        for part in chunk.splitlines(keepends=True):
            line = part.rstrip(b"\r\n")
            if len(self._line) + len(line) > self._limit_bytes:
                self._fail(f"a line of a hub's event stream has more than {self._limit_bytes} bytes")
            self._line += line
            if len(line) < len(part):
                self._end_line(events)
        return events

    def _end_line(self, events: list[str]) -> None:
        line = bytes(self._line)
        self._line.clear()
        self.lines += 1
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if not line:
            self._dispatch(events)
        elif line.startswith(b":"):
            self.comments += 1
        else:
            field, _, value = line.partition(b":")
            if field == b"data":
                self._add_data(value.removeprefix(b" "))

    def _add_data(self, value: bytes) -> None:
        self._data_bytes += len(value) + 1
        if self._data_bytes > self._limit_bytes:
            self._fail(f"an event of a hub has more than {self._limit_bytes} bytes")
        self._data.append(value)

    def _dispatch(self, events: list[str]) -> None:
        if self._data:
            events.append(b"\n".join(self._data).decode("utf-8", "replace"))
            self._data = []
            self._data_bytes = 0

    def _fail(self, why: str) -> None:
        self._fault = why
        self._line.clear()
        self._data = []
        raise FrameInvalid(why)
