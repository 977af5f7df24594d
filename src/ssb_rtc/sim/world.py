"""The world of a run: virtual time as a heap of (time, number, event), and who is in it.

Events happen in the order of their time, those of one time in the order in which they were planned. Nothing here reads
a clock or iterates over a set, so that a seed gives the same run on every machine.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ssb_rtc.feeds.hops import FollowGraph
from ssb_rtc.sim.dice import Dice

if TYPE_CHECKING:
    from ssb_rtc.sim.checkers import Checkers
    from ssb_rtc.sim.feeds import Replication
    from ssb_rtc.sim.hubs import SimHub
    from ssb_rtc.sim.network import Network
    from ssb_rtc.sim.party import Party
    from ssb_rtc.sim.report import Recorder
    from ssb_rtc.sim.scenario import Scenario
    from ssb_rtc.types import HubUrl, PeerId


STORM_S: Final = 400.0
"""More events a second for each party than this are a storm that would never end."""


class Storm(Exception):
    """Somebody does things over and over."""


class World:
    """Everything that exists in a run."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.seed = seed
        self.now_s = 0.0
        self.events = 0
        self.healed = False
        """The faults are over: nothing new goes wrong."""
        self.parties: list[Party] = []
        self.by_id: dict[PeerId, Party] = {}
        self.hubs: dict[HubUrl, SimHub] = {}
        self.graph = FollowGraph()
        """Who follows whom."""
        self.network: Network
        self.replication: Replication
        self.recorder: Recorder
        self.checkers: Checkers
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._planned = 0

    def dice(self, name: str) -> Dice:
        """Randomness for one part of the world."""
        return Dice(self.seed, name)

    def later(self, delay_s: float, event: Callable[..., None], *arguments: Any) -> None:
        """Have something happen after so long."""
        self._planned += 1
        heapq.heappush(self._heap, (self.now_s + delay_s, self._planned, event, arguments))

    def at(self, time_s: float, event: Callable[..., None], *arguments: Any) -> None:
        """Have something happen at this time, or now where that is over."""
        self._planned += 1
        heapq.heappush(self._heap, (max(self.now_s, time_s), self._planned, event, arguments))

    def run_until(self, until_s: float) -> None:
        """Let time pass."""
        heap, pop = self._heap, heapq.heappop
        most = self.events + int(STORM_S * len(self.parties) * max(1.0, until_s - self.now_s))
        while heap and heap[0][0] <= until_s:
            self.now_s, _, event, arguments = pop(heap)
            self.events += 1
            event(*arguments)
            if self.events > most:
                raise Storm
        self.now_s = until_s

    def add(self, party: Party) -> None:
        """Somebody more, who has not started yet."""
        self.parties.append(party)
        self.by_id[party.id] = party
