"""One muxrpc session without I/O: many calls over one pair of byte streams, from both sides.

Hand in what arrived with `receive`, act on its events, send what `take_outgoing` returns after each turn.

A **request** here is the number that we put on the wire: positive for calls of ours, negative for calls of the remote.
A call for one answer (ASYNC, SYNC) is over with the answer. A stream is over when both sides have ended it:

- the reader of a SOURCE or a SINK (the caller of the one, the callee of the other) aborts with `end`;
- an end that arrives on a SOURCE or SINK is echoed at once, an error on a DUPLEX too, as JavaScript does;
- a clean end that arrives on a DUPLEX leaves our half open: write the rest, then `end` it.

Byte-compatible with npm muxrpc 8.0.0 over packet-stream 2.0.6. Where JavaScript kills the link we raise FrameInvalid:
malformed JSON (in a call at once, in a stream's item when `Received.value` is read, on an unknown stream never), a body
of unknown kind. Packets for calls that are over or never were are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from ssb_rtc.errors import FrameInvalid, LinkClosed, MisuseError, RemoteCallError
from ssb_rtc.types import Json, JsonObject
from ssb_rtc.wire.manifest import NAME_DEPTH_MAX, Kind, Name
from ssb_rtc.wire.packets import (
    BODY_LIMIT_BYTES,
    GOODBYE,
    REQUEST_MAX,
    BodyKind,
    Decoder,
    Packet,
    RawJson,
    encode_parts,
    from_body,
    to_body,
)
from ssb_rtc.wire.values import encode_json

__all__ = [
    "Called",
    "Ended",
    "Event",
    "Goodbye",
    "Kind",
    "Limits",
    "RawJson",
    "Received",
    "Session",
    "error_to_json",
]

NAME_PART_LIMIT_CHARS: Final = 128
ERROR_TEXT_LIMIT_CHARS: Final = 4096
_TRUE: Final = b"true"
_STREAM_KINDS: Final = {kind.value: kind for kind in Kind if kind.is_stream}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one session holds at most. A legacy JavaScript peer opens one live source for each feed that it wants."""

    body_bytes: int = BODY_LIMIT_BYTES
    args_bytes: int = 64 * 1024
    """The size of the packet that opens a call of the remote; a larger one is answered with an error."""
    open_in_max: int = 4_096
    """Calls of the remote that are open at once; one more is answered with an error. Each costs about 5 KB here."""
    streams_in_bytes: int = 1024 * 1024
    """The size of the packets that opened the remote's open streams, whose arguments live as long as they do."""
    open_out_max: int = 16_384


class Called(msgspec.Struct, frozen=True, gc=False):
    """The remote calls us. ASYNC stands for SYNC as well: answer with `reply` or `reply_error`. Others are streams."""

    request: int
    name: Name
    args: list[Json]
    kind: Kind


class Received(msgspec.Struct, frozen=True, gc=False):
    """One item of a stream, or the answer to a call of ours, with its raw body."""

    request: int
    body: bytes
    body_kind: BodyKind

    @property
    def value(self) -> Json | bytes | str:
        """The body's value, parsed anew at each look. Raises FrameInvalid for malformed JSON: end the link."""
        return from_body(self.body, self.body_kind)


class Ended(msgspec.Struct, frozen=True, gc=False):
    """Nothing more will arrive on this request: cleanly (`error` is None), or with the remote's error."""

    request: int
    error: RemoteCallError | None


class Goodbye(msgspec.Struct, frozen=True, gc=False):
    """The remote closed the session; ours has said goodbye too. Every open call got its Ended before."""


Event: TypeAlias = Called | Received | Ended | Goodbye


class _Call:
    """What we know of one open call."""

    __slots__ = ("got_end", "held_bytes", "kind", "reads", "said_end", "writes")

    def __init__(self, kind: Kind, *, ours: bool, held_bytes: int = 0) -> None:
        self.kind = kind
        self.held_bytes = held_bytes
        self.reads = kind is Kind.DUPLEX or (kind is not Kind.SINK) == ours
        self.writes = kind is Kind.DUPLEX or (kind is Kind.SINK) == ours
        self.said_end = False
        self.got_end = False


class Session:
    """The state of one session. Not thread-safe; nothing in it blocks or reads a clock."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._decoder = Decoder(self._limits.body_bytes)
        self._calls: dict[int, _Call] = {}
        self._open_in = 0
        self._streams_in_bytes = 0
        self._next_request = 1
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._said_goodbye = False
        self._got_goodbye = False
        self._fault: str | None = None

    @property
    def open_calls(self) -> int:
        """How many calls are open, of both sides."""
        return len(self._calls)

    @property
    def outgoing_bytes(self) -> int:
        """How much `take_outgoing` would return."""
        return self._outgoing_bytes

    @property
    def closed(self) -> bool:
        """We said goodbye, or the remote broke the protocol: nothing more can be called or written."""
        return self._said_goodbye or self._fault is not None

    def is_open(self, request: int) -> bool:
        """True while our half of this call can still be written or answered."""
        call = self._calls.get(request)
        return call is not None and not call.said_end

    # --- our calls ------------------------------------------------------------------------------------------------

    def call(self, name: Name, args: list[Json], kind: Kind) -> int:
        """Opens a call and returns its request. The answer comes as Received and Ended, or as Ended with an error.

        Raises LinkClosed after a goodbye, MisuseError for arguments without JSON or with too many calls open.
        """
        if self.closed:
            raise LinkClosed("the link is closing: it takes no new calls")
        if len(self._calls) - self._open_in >= self._limits.open_out_max:
            raise MisuseError(f"{self._limits.open_out_max} calls are open on this link: end some first")
        opening: JsonObject = {"name": list(name), "args": args}
        if kind.is_stream:
            opening["type"] = kind.value
        body = encode_json(opening)
        request = self._take_request()
        self._calls[request] = _Call(kind, ours=True)
        self._send(request, body, BodyKind.JSON, stream=kind.is_stream, end=False)
        return request

    # --- both sides -----------------------------------------------------------------------------------------------

    def write(self, request: int, value: Json | bytes | str) -> bool:
        """Sends one item of a stream (RawJson goes out as it is; empty bytes can't be said and are left out).

        False when the call is over or ended: stop writing. Raises MisuseError where this side doesn't write.
        """
        call = self._calls.get(request)
        if call is None or call.said_end or self.closed:
            return False
        if not (call.writes and call.kind.is_stream):
            raise MisuseError(f"this side of a {call.kind.value} call does not write")
        body, body_kind = to_body(value)
        if body:
            self._send(request, body, body_kind, stream=True, end=False)
        return True

    def end(self, request: int, error: RemoteCallError | None = None) -> bool:
        """Ends our half of a stream, or aborts it where we read; with an error, both halves are done with.

        Ended still comes when the remote has ended its half too. False when there was nothing to end.
        """
        call = self._calls.get(request)
        if call is None or call.said_end or self.closed:
            return False
        if not call.kind.is_stream:
            raise MisuseError("a call for one answer is answered, not ended")
        if error is not None or not call.writes:
            call.reads = False
        self._say_end(request, call, error)
        return True

    def reply(self, request: int, value: Json | bytes | str) -> bool:
        """Answers a call for one answer. False when it is answered already. Raises MisuseError for empty bytes."""
        body, body_kind = to_body(value)
        return self._answer(request, body, body_kind, end=False)

    def reply_error(self, request: int, error: RemoteCallError) -> bool:
        """Answers a call for one answer with an error. False when it is answered already."""
        return self._answer(request, encode_json(error_to_json(error)), BodyKind.JSON, end=True)

    def goodbye(self) -> None:
        """Closes the session: the goodbye goes out after everything written so far, nothing after it."""
        if not self.closed:
            self._put(GOODBYE)
            self._said_goodbye = True

    def take_outgoing(self) -> bytes:
        """What to send now, headers and bodies in one piece. Call it after each turn."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        self._outgoing_bytes = 0
        return data

    def receive(self, data: bytes) -> list[Event]:
        """Takes bytes cut anywhere and returns what happened. Raises FrameInvalid, then and ever after: end the link.

        No other exception, whatever the remote sends.
        """
        if self._fault is not None:
            raise FrameInvalid(self._fault)
        events: list[Event] = []
        try:
            for packet in self._decoder.feed(data):
                self._take(packet, events)
            if self._decoder.ended and not self._got_goodbye:
                self._take_goodbye(events)
        except FrameInvalid as error:
            self._fault = str(error)
            raise
        return events

    # --- what arrived ---------------------------------------------------------------------------------------------

    def _take(self, packet: Packet, events: list[Event]) -> None:
        # The remote's number, negated, is ours: its answers to our call N come as -N, its own call N is our -N.
        request = -packet.request
        call = self._calls.get(request)
        if call is None:
            if packet.request > 0:
                self._take_opening(request, packet, events)
        elif call.kind.is_stream != packet.stream:
            raise FrameInvalid(f"request {packet.request} is a {call.kind.value} call and the packet says otherwise")
        elif packet.stream:
            self._take_item(request, call, packet, events)
        elif request > 0:
            del self._calls[request]
            if packet.end:
                events.append(Ended(request, _answered_error(packet)))
            else:
                events.append(Received(request, packet.body, packet.kind))
                events.append(Ended(request, None))
        else:
            raise FrameInvalid(f"request {packet.request} is open already")

    def _take_item(self, request: int, call: _Call, packet: Packet, events: list[Event]) -> None:
        if call.got_end:
            return
        if not packet.end:
            if call.reads:
                events.append(Received(request, packet.body, packet.kind))
            return
        call.got_end = True
        error = _stream_error(packet)
        events.append(Ended(request, error))
        if call.said_end:
            self._forget(request)
        elif error is not None or call.kind is not Kind.DUPLEX:
            self._say_end(request, call, error)

    def _take_opening(self, request: int, packet: Packet, events: list[Event]) -> None:
        if self._said_goodbye:
            return
        if packet.stream and packet.end:
            # A late or repeated end: muxrpc echoes it too.
            self._send(request, packet.body, packet.kind, stream=True, end=True)
            return
        if self._open_in >= self._limits.open_in_max:
            self._refuse(request, packet, f"too many open calls: the limit is {self._limits.open_in_max}")
            return
        if len(packet.body) > self._limits.args_bytes:
            self._refuse(request, packet, f"the call is too large: the limit is {self._limits.args_bytes} bytes")
            return
        if packet.stream and self._streams_in_bytes + len(packet.body) > self._limits.streams_in_bytes:
            self._refuse(request, packet, f"too many open streams: they hold {self._limits.streams_in_bytes} bytes")
            return
        opening = from_body(packet.body, packet.kind)
        called = _read_opening(request, opening, stream=packet.stream)
        if isinstance(called, str):
            self._refuse(request, packet, called)
            return
        held_bytes = len(packet.body) if packet.stream else 0
        self._open_in += 1
        self._streams_in_bytes += held_bytes
        self._calls[request] = _Call(called.kind, ours=False, held_bytes=held_bytes)
        events.append(called)

    def _refuse(self, request: int, packet: Packet, why: str) -> None:
        body = encode_json(error_to_json(RemoteCallError(why)))
        self._send(request, body, BodyKind.JSON, stream=packet.stream, end=True)

    def _take_goodbye(self, events: list[Event]) -> None:
        self._got_goodbye = True
        events.extend(
            Ended(request, RemoteCallError("unexpected end of parent stream"))
            for request, call in self._calls.items()
            if not call.got_end
        )
        self._calls.clear()
        self._open_in = self._streams_in_bytes = 0
        self.goodbye()
        events.append(Goodbye())

    # --- what goes out --------------------------------------------------------------------------------------------

    def _say_end(self, request: int, call: _Call, error: RemoteCallError | None) -> None:
        body = _TRUE if error is None else encode_json(error_to_json(error))
        self._send(request, body, BodyKind.JSON, stream=True, end=True)
        call.said_end = True
        if call.got_end:
            self._forget(request)

    def _answer(self, request: int, body: bytes, body_kind: BodyKind, *, end: bool) -> bool:
        call = self._calls.get(request)
        if call is None or self.closed:
            return False
        if request > 0 or call.kind.is_stream:
            raise MisuseError("only a call of the remote for one answer can be answered")
        self._send(request, body, body_kind, stream=False, end=end)
        self._forget(request)
        return True

    def _forget(self, request: int) -> None:
        call = self._calls.pop(request)
        if request < 0:
            self._open_in -= 1
            self._streams_in_bytes -= call.held_bytes

    def _take_request(self) -> int:
        # Numbers wrap around after 2^31 - 1; one that is still open is passed over.
        while self._next_request in self._calls:
            self._next_request = self._next_request % REQUEST_MAX + 1
        request = self._next_request
        self._next_request = request % REQUEST_MAX + 1
        return request

    def _send(self, request: int, body: bytes, kind: BodyKind, *, stream: bool, end: bool) -> None:
        self._put(encode_parts(request, body, kind, stream=stream, end=end))

    def _put(self, data: bytes) -> None:
        if self._said_goodbye:
            return
        self._outgoing.append(data)
        self._outgoing_bytes += len(data)


def error_to_json(error: RemoteCallError) -> JsonObject:
    """`{name, message, stack}`, as JavaScript flattens an Error. Our own stacks stay at home."""
    return {"name": error.name, "message": error.message, "stack": error.stack}


def _read_opening(request: int, opening: Json, *, stream: bool) -> Called | str:
    """The call that a packet opens, or the text to refuse it with."""
    if not isinstance(opening, dict):
        return "invalid request: a call is an object with name and args"
    name = opening.get("name")
    parts = [name] if isinstance(name, str) else name
    if not isinstance(parts, list) or not 0 < len(parts) <= NAME_DEPTH_MAX:
        return "invalid request, name should be an array of strings"
    if not all(isinstance(part, str) and 0 < len(part) <= NAME_PART_LIMIT_CHARS for part in parts):
        return "invalid request, name should be an array of strings"
    args = opening.get("args")
    if not isinstance(args, list):
        return "invalid request, args should be array"
    if not stream:
        return Called(request, tuple(parts), args, Kind.ASYNC)
    type_name = opening.get("type")
    if not isinstance(type_name, str) or type_name not in _STREAM_KINDS:
        shown = type_name[:NAME_PART_LIMIT_CHARS] if isinstance(type_name, str) else "none"
        return f"unsupported stream type: {shown}"
    return Called(request, tuple(parts), args, _STREAM_KINDS[type_name])


def _stream_error(packet: Packet) -> RemoteCallError | None:
    """`true` ends cleanly; so do null and false, which JavaScript's pull-streams take for no error."""
    value = from_body(packet.body, packet.kind)
    if value is True or value is None or value is False:
        return None
    return _error_of(value, packet)


def _answered_error(packet: Packet) -> RemoteCallError:
    value = from_body(packet.body, packet.kind)
    if value is True or value is None or value is False:
        return RemoteCallError("the remote ended the call without an answer")
    return _error_of(value, packet)


def _error_of(value: Json | bytes | str, packet: Packet) -> RemoteCallError:
    if isinstance(value, dict):
        message, name, stack = value.get("message"), value.get("name"), value.get("stack")
        return RemoteCallError(
            _short(message) if isinstance(message, str) else "the remote gave no reason",
            name=_short(name) if isinstance(name, str) else "Error",
            stack=_short(stack) if isinstance(stack, str) else "",
        )
    if isinstance(value, str):
        return RemoteCallError(_short(value))
    # Not str(value): a nested value could exhaust the stack.
    return RemoteCallError(_short(packet.body[:ERROR_TEXT_LIMIT_CHARS].decode("utf-8", "replace")))


def _short(text: str) -> str:
    return text[:ERROR_TEXT_LIMIT_CHARS]
