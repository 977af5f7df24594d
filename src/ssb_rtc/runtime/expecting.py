"""Peers that an invitation brings together: the one that comes with it, and the one that is looked for."""

from __future__ import annotations

from collections.abc import Callable

from ssb_rtc.manager import actions as a
from ssb_rtc.runtime.driver import Driver
from ssb_rtc.runtime.effects import EffectPerformer
from ssb_rtc.types import PeerId


class Expecting:
    """dial: looks for a peer at an address, too."""

    def __init__(self, driver: Driver, performer: EffectPerformer, dial: Callable[[PeerId, str], None]) -> None:
        self._driver = driver
        self._performer = performer
        self._dial = dial

    def on_invited(self, listener: Callable[[PeerId, str], None]) -> None:
        """Calls `listener(peer, id)` for whoever knocks and proves to hold an invitation of ours."""
        self._performer.on_invited = listener

    def expect(self, peer: PeerId) -> None:
        """Somebody whom the owner asked for is about to come: room is made for it, and it is answered."""
        self._driver.dispatch(a.PeerPinned(peer))
        self._driver.dispatch(a.ConnectToRemotePeer(peer))

    def expect_no_more(self, peer: PeerId, why_end: str | None = None) -> None:
        """It is like any other again; where there is a reason for it, its link ends."""
        if peer in self._driver.state.pinned:
            self._driver.dispatch(a.PeerUnpinned(peer))
        if why_end is not None:
            self._driver.dispatch(a.DisconnectFromRemotePeer(peer, why_end, 0.0))

    def seek(self, peer: PeerId, address: str | None = None) -> None:
        """Look for this peer now: knock wherever its inbox is known, and dial the address."""
        self.expect(peer)
        if address:
            self._dial(peer, address)
        for known in (False, True):  # what becomes known is knocked at, at once
            self._driver.dispatch(a.InboxesDidChange(((peer, known),)))

    def was_busy(self, peer: PeerId) -> bool:
        """Whether this peer has told us a moment ago that it has no room for one more link."""
        return self._performer.was_busy(peer)
