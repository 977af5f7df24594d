"""What becomes of attempts at peers, counted by cause."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from ssb_rtc.errors import ConnectFailed, HandshakeRefused, LinkClosed, RemoteFault
from ssb_rtc.transport.channel import NoRoute
from ssb_rtc.transport.rtc import NobodyAnswered, NotSent, PeerBusy, Superseded

CAUSES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (PeerBusy, "busy"),
    (Superseded, "superseded"),
    (NobodyAnswered, "nobody_answered"),
    (NoRoute, "no_route"),
    (NotSent, "not_sent"),
    (HandshakeRefused, "handshake"),
    (ConnectFailed, "unreachable"),
    (LinkClosed, "closed"),
    (RemoteFault, "fault_of_theirs"),
    (asyncio.CancelledError, "aborted"),
)
"""The first that fits counts."""


def cause_of(error: BaseException) -> str:
    """One of a few words for why an attempt came to nothing."""
    return next((cause for kind, cause in CAUSES if isinstance(error, kind)), "other")


class Outcomes:
    """Counts of one network."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        """Attempts by the kind of their way: `hub`, `address`, `lan`, or `offer` for those that answer one."""
        self.failed: Counter[str] = Counter()
        """By cause."""
        self.linked = 0
