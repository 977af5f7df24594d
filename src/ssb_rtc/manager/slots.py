"""How many links and attempts there are, and whether there is room for one more.

Once we replicate somebody's feed, strangers get a few slots only (`strangers_max`), so that the others stay free for
friends; without any link, we take the stranger that we can get. A friend who finds a full house displaces a stranger:
its attempt goes beyond `peers_max`, and its link ends a stranger's (see `links`).
"""

from __future__ import annotations

from typing import NamedTuple

from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import Peer, State
from ssb_rtc.manager.turn import Turn


class Slots(NamedTuple):
    """Links and attempts by who dialled. An attempt at a connected peer is a handover and takes no slot."""

    links_out: int
    links_in: int
    attempts_out: int
    attempts_in: int
    handovers: int
    dialling: int
    """Own attempts, handovers included."""
    answering: int
    """Offers being answered, handovers included."""
    strangers: int
    """Links and attempts with strangers, handovers not included."""
    strangers_linked: int
    friends_known: bool
    """Whether there is anybody for whom slots are to stay free."""

    @property
    def used(self) -> int:
        """Slots of `peers_max` that are taken."""
        return self.links_out + self.links_in + self.attempts_out + self.attempts_in

    def refuses_dial(self, settings: Settings, *, asked: bool, friend: bool) -> str:
        """Why we may not dial one more now; empty where we may."""
        if self.dialling >= settings.attempts_max:
            return f"all {settings.attempts_max} attempts are under way"
        beyond = self._displaceable(settings, self.strangers_linked - settings.strangers_max) if friend else 0
        if self.used >= settings.peers_max + beyond:
            return f"all {settings.peers_max} slots are taken"
        if not asked and self.links_out + self.attempts_out >= settings.outbound_max + beyond:
            return f"all {settings.outbound_max} slots for own dialling are taken"
        return "" if asked or friend else self._refuses_stranger(settings)

    def refuses_link(self, settings: Settings, *, asked: bool, friend: bool) -> str:
        """Why a link that came unasked has no place; empty where it has."""
        beyond = self._displaceable(settings, self.strangers_linked) if friend else 0
        if self.used >= settings.peers_max + beyond:
            return f"all {settings.peers_max} slots are taken"
        return "" if asked or friend else self._refuses_stranger(settings)

    def refuses_attempted(self, settings: Settings, *, friend: bool) -> str:
        """Why a link has no place although there was an attempt: that was to displace a stranger, who is none now."""
        links = self.links_in + self.links_out
        if links >= settings.peers_max and not (friend and self.strangers_linked):
            return f"all {settings.peers_max} slots are taken"
        return ""

    def _displaceable(self, settings: Settings, strangers: int) -> int:
        return min(max(strangers, 0), settings.handovers_max)

    def _refuses_stranger(self, settings: Settings) -> str:
        alone = self.links_in + self.links_out == 0
        if not self.friends_known or self.strangers < max(settings.strangers_max, alone):
            return ""
        return f"all {settings.strangers_max} slots for strangers are taken"


def is_stranger(tables: State | Turn, row: Peer) -> bool:
    """Whether we neither replicate this peer's feed, nor was it asked for."""
    return row.id not in tables.hops and not row.asked


def count(tables: State | Turn) -> Slots:
    """Count, over the few peers that have a link or an attempt."""
    links_out = attempts_out = attempts_in = dialling = handovers = strangers = strangers_linked = 0
    for peer in tables.linked:
        row = tables.peers[peer]
        links_out += row.link is not None and row.link.dialled
        strangers_linked += is_stranger(tables, row)
    for peer in tables.trying:
        row = tables.peers[peer]
        ours = row.attempt is not None and row.attempt.dialled
        dialling += ours
        handovers += row.link is not None
        attempts_out += ours and row.link is None
        attempts_in += not ours and row.link is None
        strangers += row.link is None and is_stranger(tables, row)
    return Slots(
        links_out=links_out,
        links_in=len(tables.linked) - links_out,
        attempts_out=attempts_out,
        attempts_in=attempts_in,
        handovers=handovers,
        dialling=dialling,
        answering=len(tables.trying) - dialling,
        strangers=strangers + strangers_linked,
        strangers_linked=strangers_linked,
        friends_known=bool(tables.hops),
    )
