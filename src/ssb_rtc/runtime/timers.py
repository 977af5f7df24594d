"""A table of timers by key: when the next one is due, and which ones are."""

from __future__ import annotations

import heapq

_GARBAGE_MAX = 64  # entries of cancelled timers that may lie in the heap beyond as many as are armed


class TimerTable:
    """One timer a key, all on one clock. It never sleeps and reads no clock; its owner does both."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, key: str) -> bool:
        return key in self._due

    def arm(self, key: str, due_s: float) -> None:
        """Due at `due_s`, in place of an earlier timer of this key."""
        self._due[key] = due_s
        heapq.heappush(self._heap, (due_s, key))
        if len(self._heap) > 2 * len(self._due) + _GARBAGE_MAX:
            self._heap = [(due, name) for name, due in self._due.items()]
            heapq.heapify(self._heap)

    def cancel(self, key: str) -> None:
        """Forget this key's timer, if there is one."""
        self._due.pop(key, None)

    def next_due_s(self) -> float | None:
        """When the earliest timer is due, or None where none is armed."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now_s: float) -> list[tuple[str, float]]:
        """Remove the timers due at `now_s` and give them as (key, due time), the earliest first."""
        taken = []
        while (due_s := self.next_due_s()) is not None and due_s <= now_s:
            key = heapq.heappop(self._heap)[1]
            del self._due[key]
            taken.append((key, due_s))
        return taken
