"""How much may be on its way to a peer over a data channel.

No WebRTC library pushes back on the sender when its application reads slowly, so what a fast sender has sent piles up
in the receiver's memory. Peers of this kind therefore tell each other how much they have read: each calls the other's
source `link.window`, which yields the number of bytes read since the handshake. The sender keeps at most WINDOW_BYTES
unread ones on the way. A peer without that method (JavaScript answers with an error) gets no window; the channel's own
hard limit stays.
"""

from __future__ import annotations

import asyncio

from ssb_rtc.errors import FrameInvalid, SsbRtcError
from ssb_rtc.wire.rpc import Received

WINDOW_NAME = ("link", "window")
WINDOW_BYTES = 4 * 1024 * 1024
"""Bytes on the way that the other side has not read yet; 40 MB/s at a round trip of 100 ms."""
REPORT_BYTES = 256 * 1024
"""The receiver reports after each so many bytes."""


class Window:
    """Both directions' counters of one link."""

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.read_bytes = 0
        self._acknowledged_bytes: int | None = None
        self._opened: list[asyncio.Future[None]] = []
        self._reported_bytes = 0
        self.report_to: int | None = None
        """The request on which the other side waits for our reports."""

    @property
    def full(self) -> bool:
        """True while writers should wait."""
        return self._acknowledged_bytes is not None and self.sent_bytes - self._acknowledged_bytes > WINDOW_BYTES

    @property
    def report_due(self) -> bool:
        """True when the other side should hear how much we have read."""
        return self.report_to is not None and self.read_bytes - self._reported_bytes >= REPORT_BYTES

    def report(self) -> int:
        """The number to report now."""
        self._reported_bytes = self.read_bytes
        return self.read_bytes

    def acknowledge(self, read_bytes: object) -> bool:
        """Takes the other side's report. False when it can't be true."""
        if type(read_bytes) is not int or not (self._acknowledged_bytes or 0) <= read_bytes <= self.sent_bytes:
            return False
        self._acknowledged_bytes = read_bytes
        if not self.full:
            self.wake()
        return True

    def lift(self) -> None:
        """The other side gives no reports (any more): nobody waits."""
        self._acknowledged_bytes = None
        self.wake()

    async def opened(self) -> None:
        """Waits until a report or the end of the link."""
        waiter = asyncio.get_running_loop().create_future()
        self._opened.append(waiter)
        await waiter

    def wake(self) -> None:
        """Lets every waiting writer look again."""
        for waiter in self._opened:
            if not waiter.done():
                waiter.set_result(None)
        self._opened.clear()


class WindowReports:
    """Takes the other side's reports on one link as they arrive, without a task."""

    def __init__(self, window: Window, request: int) -> None:
        self.request = request
        self._window = window

    def push(self, item: Received) -> int:
        """One report. Raises FrameInvalid for one that can't be true."""
        if not self._window.acknowledge(item.value):
            raise FrameInvalid("the other side reports bytes as read that were never sent")
        return 0

    def finish(self, fault: SsbRtcError | None) -> None:
        """No more reports: the method is missing there, or the link is over."""
        del fault
        self._window.lift()
