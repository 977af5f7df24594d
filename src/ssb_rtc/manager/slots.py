"""How many links and attempts there are, and whether there is room for one more."""

from __future__ import annotations

from typing import NamedTuple

from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import State
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

    @property
    def used(self) -> int:
        """Slots of `peers_max` that are taken."""
        return self.links_out + self.links_in + self.attempts_out + self.attempts_in

    def refuses_dial(self, settings: Settings, *, asked: bool) -> str:
        """Why we may not dial one more now; empty where we may."""
        if self.dialling >= settings.attempts_max:
            return f"all {settings.attempts_max} attempts are under way"
        if self.used >= settings.peers_max:
            return f"all {settings.peers_max} slots are taken"
        if not asked and self.links_out + self.attempts_out >= settings.outbound_max:
            return f"all {settings.outbound_max} slots for own dialling are taken"
        return ""

    def refuses_link(self, settings: Settings) -> str:
        """Why a link that came unasked has no place; empty where it has."""
        return f"all {settings.peers_max} slots are taken" if self.used >= settings.peers_max else ""


def count(tables: State | Turn) -> Slots:
    """Count, over the few peers that have a link or an attempt."""
    links_out = attempts_out = attempts_in = dialling = handovers = 0
    for peer in tables.linked:
        link = tables.peers[peer].link
        links_out += link is not None and link.dialled
    for peer in tables.trying:
        row = tables.peers[peer]
        ours = row.attempt is not None and row.attempt.dialled
        dialling += ours
        handovers += row.link is not None
        attempts_out += ours and row.link is None
        attempts_in += not ours and row.link is None
    return Slots(
        links_out=links_out,
        links_in=len(tables.linked) - links_out,
        attempts_out=attempts_out,
        attempts_in=attempts_in,
        handovers=handovers,
        dialling=dialling,
        answering=len(tables.trying) - dialling,
    )
