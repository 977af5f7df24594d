"""How crowded the announcements of a hub are, and so how deep in the tree of channels one announces and listens.

A listener at depth d hears the channels of depths 0 to d on its path, so peers with different estimates still hear one
another. No I/O, no clock.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ssb_rtc.types import PeerId

WINDOW_S: Final = 1_200.0
"""Two of the longest pauses between announcements."""
DEEPER_ABOVE: Final = 256
"""Announcers within the window. Each announces every 10 min at least: one announcement every two seconds."""
SHALLOWER_BELOW: Final = 48
"""Far below half of the other, so that one that went deeper does not come back at once."""
DEPTH_MAX: Final = 12
HEARD_MAX: Final = 4_096


class Crowd:
    """The announcers heard on one hub."""

    def __init__(self) -> None:
        self.depth = 0
        self._heard: OrderedDict[PeerId, float] = OrderedDict()
        self._settled_s = float("-inf")

    def __len__(self) -> int:
        return len(self._heard)

    def heard(self, peer: PeerId, now_s: float) -> None:
        """Somebody announced itself."""
        self._heard[peer] = now_s
        self._heard.move_to_end(peer)
        if len(self._heard) > HEARD_MAX:
            self._heard.popitem(last=False)

    def settle(self, now_s: float) -> None:
        """Choose the depth anew, by a step at most in each half window: others need time to move, too."""
        while self._heard and now_s - next(iter(self._heard.values())) > WINDOW_S:
            self._heard.popitem(last=False)
        if now_s - self._settled_s < WINDOW_S / 2:
            return
        if len(self._heard) > DEEPER_ABOVE and self.depth < DEPTH_MAX:
            self.depth, self._settled_s = self.depth + 1, now_s
            self._heard.clear()
        elif len(self._heard) < SHALLOWER_BELOW and self.depth > 0:
            self.depth, self._settled_s = self.depth - 1, now_s
