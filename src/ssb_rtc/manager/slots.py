"""How many links and attempts there are, and whether there is room for one more.

Once we replicate somebody's feed, strangers get a few slots only (`strangers_max`), so that the others stay free for
friends; without any link, we take the stranger that we can get. Who finds a full house may still come in the place of a
stranger whose link is not busy: a friend at any time, a peer that has no link at all once a minute. Its attempt goes
beyond `peers_max`, and its link ends the stranger's (see `rotation`). A stuck link takes no slot: another one is opened
before it is given up.
"""

from __future__ import annotations

from typing import NamedTuple

from ssb_rtc.manager.activity import mono_s, protected, stuck
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
    """Second links, and attempts at peers that have a link."""
    rivals: int
    """Second links."""
    dialling: int
    """Own attempts, handovers included."""
    answering: int
    """Offers being answered, handovers included."""
    strangers: int
    """Links and attempts with strangers, handovers not included."""
    strangers_linked: int
    yielding: int
    """Strangers whose link ends when somebody better comes."""
    stuck: int
    """Links that claim to download and move nothing, as far as others may come beside them."""
    friends_known: bool
    """Whether there is anybody for whom slots are to stay free."""
    may_displace: bool
    """Whether a peer that has no link at all may take a stranger's place now."""

    @property
    def used(self) -> int:
        """Slots of `peers_max` that are taken."""
        links = self.links_out + self.links_in - self.stuck
        return links + self.attempts_out + self.attempts_in

    def free(self, settings: Settings) -> int:
        """Slots that anybody may still take."""
        return max(0, settings.peers_max - self.used)

    def refuses_dial(self, settings: Settings, *, near: bool, asked: bool = False) -> str:
        """Why we may not dial one more now; empty where we may. `near`: a friend, or asked for."""
        if self.dialling >= settings.attempts_max:
            return _all(settings.attempts_max, "attempt", "under way")
        # A friend that we dial takes no place of the strangers' share; whom somebody here asked for does.
        share = 0 if asked else settings.strangers_max
        beyond = min(self._displaceable(settings), max(0, self.strangers_linked - share)) if near else 0
        if self.used >= settings.peers_max + beyond:
            return _all(settings.peers_max, "slot", "taken")
        out = self.links_out + self.attempts_out - self.stuck
        if not asked and out >= settings.outbound_max + beyond:
            return _all(settings.outbound_max, "slot", "taken", " for own dialling")
        return "" if near else self._refuses_stranger(settings)

    def refuses_link(self, settings: Settings, *, near: bool, alone: bool = False) -> str:
        """Why a link that came unasked has no place; empty where it has. `alone`: the peer has no link at all."""
        instead = near or (alone and self.may_displace)
        beyond = self._displaceable(settings) if instead else 0
        if self.used >= settings.peers_max + beyond:
            return _all(settings.peers_max, "slot", "taken")
        return "" if instead else self._refuses_stranger(settings)

    def refuses_attempted(self, settings: Settings, *, instead: bool) -> str:
        """Why a link has no place although there was an attempt: that was to displace a stranger, who is busy now."""
        if self.links_in + self.links_out - self.stuck >= settings.peers_max and not (instead and self.yielding):
            return _all(settings.peers_max, "slot", "taken")
        return ""

    def _displaceable(self, settings: Settings) -> int:
        """Second links, stuck ones and those who displace are `handovers_max` beyond `peers_max`, all together."""
        return max(0, min(self.yielding, settings.handovers_max - self.rivals - self.stuck))

    def _refuses_stranger(self, settings: Settings) -> str:
        alone = self.links_in + self.links_out - self.stuck == 0
        if not self.friends_known or self.strangers < max(settings.strangers_max, alone):
            return ""
        return _all(settings.strangers_max, "slot", "taken", " for strangers")


def _all(number: int, what: str, how: str, which: str = "") -> str:
    if number == 0:
        return f"no {what}s{which} are wanted"
    return f"the only {what}{which} is {how}" if number == 1 else f"all {number} {what}s{which} are {how}"


def is_near(tables: State | Turn, row: Peer) -> bool:
    """Whether we replicate this peer's feed, or somebody here asked for it. All others are strangers."""
    return row.asked or row.id in tables.hops or row.id in tables.pinned


def count(tables: State | Turn) -> Slots:
    """Count, over the few peers that have a link or an attempt."""
    if not isinstance(tables, Turn):
        return _counted(tables)
    if tables.slots is None:
        tables.slots = _counted(tables)
    return tables.slots


def _counted(tables: State | Turn) -> Slots:
    settings, now_s = tables.settings, mono_s(tables)
    links_out = attempts_out = attempts_in = dialling = handovers = 0
    strangers = strangers_linked = yielding = stuck_links = 0
    for peer in tables.linked:
        row = tables.peers[peer]
        assert row.link is not None
        links_out += row.link.dialled
        if row.link.download is not None:
            stuck_links += stuck(row.link, settings, now_s)
        if not is_near(tables, row):
            strangers_linked += 1
            yielding += not protected(tables, row, row.link)
    for peer in tables.trying:
        row = tables.peers[peer]
        ours = row.attempt is not None and row.attempt.dialled
        dialling += ours
        handovers += row.link is not None
        attempts_out += ours and row.link is None
        attempts_in += not ours and row.link is None
        strangers += row.link is None and not is_near(tables, row)
    return Slots(
        links_out=links_out,
        links_in=len(tables.linked) - links_out,
        attempts_out=attempts_out,
        attempts_in=attempts_in,
        handovers=handovers + len(tables.handovers),
        rivals=len(tables.handovers),
        dialling=dialling,
        answering=len(tables.trying) - dialling,
        strangers=strangers + strangers_linked,
        strangers_linked=strangers_linked,
        yielding=yielding,
        stuck=max(0, min(stuck_links, settings.handovers_max - len(tables.handovers))),
        friends_known=bool(tables.hops),
        may_displace=now_s - tables.displaced_s >= settings.displace_s,
    )
