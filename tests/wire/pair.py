"""Two rpc sessions and a fake wire between them, and short ways to write and read what goes over it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ssb_rtc.wire.packets import BodyKind, Decoder, Packet, encode
from ssb_rtc.wire.rpc import Called, Ended, Event, Goodbye, Kind, Limits, Received, Session


@dataclass
class ConnectionPair:
    """Two sessions; `turn` carries what both have said across, cut into pieces of `piece_bytes`."""

    left: Session = field(default_factory=Session)
    right: Session = field(default_factory=Session)
    piece_bytes: int = 0

    @classmethod
    def limited(cls, left: Limits | None = None, right: Limits | None = None) -> ConnectionPair:
        return cls(Session(left), Session(right))

    def to_right(self) -> list[Event]:
        return self._carry(self.left, self.right)

    def to_left(self) -> list[Event]:
        return self._carry(self.right, self.left)

    def settle(self) -> tuple[list[Event], list[Event]]:
        """Carries until both are silent; the events of the left and of the right."""
        at_left: list[Event] = []
        at_right: list[Event] = []
        while self.left.outgoing_bytes or self.right.outgoing_bytes:
            at_right += self.to_right()
            at_left += self.to_left()
        return at_left, at_right

    def _carry(self, sender: Session, receiver: Session) -> list[Event]:
        data = sender.take_outgoing()
        assert sender.outgoing_bytes == 0
        step = self.piece_bytes or len(data) or 1
        return [event for start in range(0, len(data), step) for event in receiver.receive(data[start : start + step])]


def shown(events: list[Event]) -> list[Any]:
    """Events as plain tuples, so that a test reads like the conversation."""
    plain: list[Any] = []
    for event in events:
        match event:
            case Called(request, name, args, kind):
                plain.append(("called", request, ".".join(name), args, kind))
            case Received():
                plain.append(("received", event.request, event.value))
            case Ended(request, error):
                plain.append(("ended", request, None if error is None else error.message))
            case Goodbye():
                plain.append("goodbye")
    return plain


def packets_of(session: Session) -> list[Packet]:
    return Decoder().feed(session.take_outgoing())


def json_packet(request: int, value: Any, *, stream: bool = True, end: bool = False) -> bytes:
    return encode(Packet(request, json.dumps(value).encode(), BodyKind.JSON, stream=stream, end=end))


def opening(request: int, name: Any = ("x",), kind: Any = "duplex", args: Any = (), *, stream: bool = True) -> bytes:
    return json_packet(request, {"name": name, "args": args, "type": kind}, stream=stream)


def open_stream(pair: ConnectionPair, kind: Kind) -> int:
    request = pair.left.call(("x",), [], kind)
    assert shown(pair.to_right()) == [("called", -request, "x", [], kind)]
    return request
