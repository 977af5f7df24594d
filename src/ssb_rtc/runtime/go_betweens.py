"""Linked peers as go-betweens: while its link is in use, each is to the signalling what a hub is.

What we want passed on goes out as `introductions.pass`; what they pass on to us comes in by plugins.introductions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from ssb_rtc.errors import RemoteCallError, SsbRtcError, TransportFault
from ssb_rtc.manager import actions as a
from ssb_rtc.runtime.links import Hears
from ssb_rtc.signalhub.sealed_signalling import SealedSignalling
from ssb_rtc.transport.link import Link
from ssb_rtc.transport.rtc import RtcTransport
from ssb_rtc.types import PeerId, go_between

PASS_LIMIT_S: Final = 10.0


class GoBetweens:
    """Stands between the table of links and who hears of them. Does nothing before `attach`."""

    def __init__(self, hears: Hears, dispatch: Callable[[a.Action], bool]) -> None:
        self._hears = hears
        self._dispatch = dispatch
        self._signalling: SealedSignalling | None = None
        self._rtc: RtcTransport

    def attach(self, signalling: SealedSignalling, rtc: RtcTransport) -> None:
        """Give it what it drives."""
        self._signalling, self._rtc = signalling, rtc

    def opened(self, link: Link) -> None:
        """See runtime.links.Hears."""
        if self._signalling is not None:
            self._rtc.listen_on(self._signalling.passes_on(link.remote, partial(self._pass, link)))
        self._hears.opened(link)

    def closed(self, link: Link) -> None:
        """See runtime.links.Hears."""
        if self._signalling is not None:
            self._signalling.passes_no_more(link.remote)
            self._rtc.stop_listening(go_between(link.remote))
        self._hears.closed(link)

    async def _pass(self, link: Link, to: PeerId, body: str) -> None:
        try:
            await link.call("introductions.pass", to, body, timeout_s=PASS_LIMIT_S)
        except RemoteCallError as refusal:
            self._dispatch(a.RemotePeerWontIntroduce(link.remote))
            raise TransportFault(f"{link.remote} does not introduce peers: {refusal}") from None
        except SsbRtcError as fault:
            raise TransportFault(f"{link.remote} passed nothing on: {fault}") from None
