"""What a run shows: its seed, a hash over everything that happened, and figures."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import msgspec

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.sim.checkers import Violation
from ssb_rtc.sim.feeds import BUCKETS
from ssb_rtc.sim.hubs import SPAN_S
from ssb_rtc.sim.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ssb_rtc.sim.world import World

SAMPLES = 200
"""Points of the curves."""


class Sample(msgspec.Struct, frozen=True):
    """The world at one moment."""

    time_s: float
    links: int
    """Links a peer, in the mean, times 100."""
    held: float
    """The share of all wanted messages that has arrived."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, as `--json` prints it."""

    scenario: str
    seed: int
    peers: int
    hubs: int
    faults: tuple[str, ...]
    """Those that were not switched off."""
    converged: bool
    """Everybody who can be reached holds everything, and all other bounds hold."""
    trace_hash: str
    """BLAKE2b over every (time, peer, action, effects)."""
    violations: tuple[Violation, ...]
    virtual_s: float
    converged_after_s: float | None
    """How long after the healing everybody held everything; 0 where that was so before."""
    events: int
    actions: int
    connections: int
    """Links that were opened."""
    links_mean: float
    announcements_peer_h: float
    """What a peer announces on its hubs in an hour, in the mean."""
    posts_peer_h: float
    """All that it posts there: announcements, goodbyes, offers, answers."""
    heard_peer_h: float
    """What it hears from hubs in an hour."""
    hub_requests_s: float
    """What the busiest hub carried a second, in its busiest ten seconds."""
    first_link_p50_s: float | None
    first_link_p99_s: float | None
    convergence_p50_s: float | None
    """How long a message took from being written until a peer held it."""
    convergence_p99_s: float | None
    redundancy: float
    """Messages that arrived for each that was needed."""
    reconnects_pair_h: float
    """How often two peers opened a link to each other again, for the pair that did most, an hour."""
    dials_pair_min: float
    """How often one peer offered a connection to another one within a minute, at most."""
    figures: dict[str, float] = {}
    """What the story of the scenario has measured."""


class Recorder:
    """Hashes what happens while it happens."""

    def __init__(self) -> None:
        self.actions = 0
        self._hash = hashlib.blake2b(digest_size=20)
        self._encoder = msgspec.msgpack.Encoder()
        self._buffer = bytearray()
        self.samples: list[Sample] = []

    def stepped(self, time_s: float, peer: int, action: a.Action, effects: tuple[e.Effect, ...]) -> None:
        """A manager has taken an action."""
        self.actions += 1
        self._encoder.encode_into((time_s, peer, action, effects), self._buffer)
        self._hash.update(self._buffer)

    @property
    def digest(self) -> str:
        """The hash of all that happened so far."""
        return self._hash.hexdigest()

    def sample(self, world: World) -> None:
        """Note how the world stands now."""
        awake = [party for party in world.parties if party.awake and party.honest]
        links = sum(len(party.links) for party in awake)
        replication = world.replication
        held = replication.got / replication.needed if replication.needed else 1.0
        self.samples.append(Sample(world.now_s, round(100 * links / max(1, len(awake))), held))


def percentile(values: Iterable[float], share: float) -> float | None:
    """The value below which this share of them lies."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else None


def of_histogram(delays: dict[int, int], share: float) -> float | None:
    """The same of a histogram of delays."""
    left = share * sum(delays.values())
    for bucket in sorted(delays):
        left -= delays[bucket]
        if left <= 0:
            return round(math.exp((bucket + 1) / BUCKETS), 3)
    return None


def reconnects_pair_h(world: World) -> float:
    """The most links that two honest peers opened to each other within an hour, beyond the first."""
    return _most_within(world, world.network.opened, 3_600.0) - 1


def dials_pair_min(world: World) -> float:
    """The most offers that an honest peer sent to another one within a minute."""
    return _most_within(world, world.network.dialled, 60.0)


def _most_within(world: World, events: dict[tuple[int, int], list[float]], within_s: float) -> float:
    most = 1
    for (one, other), times in events.items():
        if other < 0 or not (world.parties[one].honest and world.parties[other].honest):
            continue
        first = 0
        for at, time_s in enumerate(times):
            while times[first] < time_s - within_s:
                first += 1
            most = max(most, at - first + 1)
    return float(most)


def hub_requests_s(world: World) -> float:
    """What the busiest hub carried a second, in its busiest span."""
    return max(max(hub.requests.values(), default=0) for hub in world.hubs.values()) / SPAN_S


def make(world: World, name: str, faults: tuple[str, ...], after_s: float | None, figures: dict[str, float]) -> Report:
    """The report of a run that is over."""
    nodes = [party for party in world.parties if isinstance(party, Node)]
    peer_h = max(1, len(nodes)) * world.now_s / 3_600.0
    hubs = world.hubs.values()
    first = [party.linked_s - (party.started_s or 0.0) for party in nodes if party.linked_s is not None]
    replication = world.replication
    violations = tuple(world.checkers.violations)
    return Report(
        scenario=name,
        seed=world.seed,
        peers=len(world.parties),
        hubs=len(hubs),
        faults=faults,
        converged=after_s is not None and not violations,
        trace_hash=world.recorder.digest,
        violations=violations,
        virtual_s=round(world.now_s, 3),
        converged_after_s=None if after_s is None else round(after_s, 3),
        events=world.events,
        actions=world.recorder.actions,
        connections=world.network.links_opened,
        links_mean=round(sum(len(node.links) for node in nodes) / max(1, len(nodes)), 2),
        announcements_peer_h=round(sum(hub.announcements for hub in hubs) / peer_h, 1),
        posts_peer_h=round(sum(hub.posts for hub in hubs) / peer_h, 1),
        heard_peer_h=round(sum(hub.deliveries for hub in hubs) / peer_h, 1),
        hub_requests_s=hub_requests_s(world),
        first_link_p50_s=percentile(first, 0.5),
        first_link_p99_s=percentile(first, 0.99),
        convergence_p50_s=of_histogram(replication.delays, 0.5),
        convergence_p99_s=of_histogram(replication.delays, 0.99),
        redundancy=round(1 + replication.redundant / max(1, replication.got), 4),
        reconnects_pair_h=reconnects_pair_h(world),
        dials_pair_min=dials_pair_min(world),
        figures=figures,
    )
