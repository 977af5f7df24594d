"""What a node has heard of hubs and from whom: the runtime's book of signed entries, without signatures.

An entry is a pair of hub and signer that can't be forged here. It is told on as it came, over any link, and who hears
it keeps it when the signer is within its hops; what the manager is told is what `feeds.witnesses` makes of all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from ssb_rtc.feeds.witnesses import first_steps, witnesses
from ssb_rtc.manager import actions as a
from ssb_rtc.manager.state import KnownHub, Witness
from ssb_rtc.types import HubUrl, PeerId, feed_of, peer_of

if TYPE_CHECKING:
    from ssb_rtc.sim.network import End
    from ssb_rtc.sim.node import Node

LIST_MAX: Final = 64


class Entry(NamedTuple):
    """A signer's word for a hub."""

    hub: HubUrl
    signer: PeerId


class HubWords:
    """The entries of one node; they outlive its restarts, as they do on a disk."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._said: dict[HubUrl, dict[PeerId, bool]] = {}

    def start(self) -> None:
        """The node begins: its manager is told of what the disk has."""
        if self._said:
            self._tell_manager(self._said)
            self._node.act(a.HubEntriesReceived())

    def tell(self, end: End, hubs: Iterable[KnownHub]) -> None:
        """Over one link: which hubs work for the node, and what others said, each once."""
        own = [Entry(hub.url, self._node.id) for hub in hubs]
        others = [Entry(hub, signer) for hub, signers in self._said.items() for signer in signers]
        news = [entry for entry in (*own, *others) if entry not in end.told][:LIST_MAX]
        if news:
            end.told.update(dict.fromkeys(news, True))
            self._node.world.network.tell_hubs(end, tuple(news))

    def hear(self, end: End, entries: tuple[Entry, ...]) -> None:
        """The other end of a link tells entries, its own and others'."""
        hops = dict(self._node.hops)
        news: dict[HubUrl, bool] = {}
        for entry in entries:
            end.told[entry] = True
            if hops.get(entry.signer) and entry.signer not in self._said.get(entry.hub, {}):
                self._said.setdefault(entry.hub, {})[entry.signer] = True
                news[entry.hub] = True
        if news:
            self._tell_manager(news)
            self._node.act(a.HubEntriesReceived())

    def _tell_manager(self, hubs: Iterable[HubUrl]) -> None:
        node = self._node
        distances = {feed_of(peer): hops for peer, hops in node.hops if hops}
        said = {hub: [feed_of(signer) for signer in self._said[hub]] for hub in hubs}
        through = first_steps(node.world.graph, distances, {signer for signers in said.values() for signer in signers})
        told = tuple(
            (hub, tuple(Witness(peer_of(signer), peer_of(step)) for signer, step in witnesses(through, signers)))
            for hub, signers in said.items()
        )
        node.act(a.HubVouchersDidChange(told))
