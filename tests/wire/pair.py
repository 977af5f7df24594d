"""Two rpc sessions and a fake wire between them."""

from __future__ import annotations

from dataclasses import dataclass, field

from ssb_rtc.wire.rpc import Event, Limits, Session


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
