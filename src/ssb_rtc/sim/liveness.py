"""Liveness: what must come about once the faults are over, judged from the world's own facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, islice

from ssb_rtc.sim import report
from ssb_rtc.sim.node import Node
from ssb_rtc.sim.party import Party
from ssb_rtc.sim.world import World
from ssb_rtc.types import HubUrl


class Meetings:
    """Who has to meet whom: awake, honest, a hub in common that works, a pair that can connect, and one of the two
    replicates the other's feed. Where all hubs are gone for good, a peer that is linked with both does for a hub, if
    one of the two follows the other. Strangers may meet as well and pass on what both want, yet nobody can count on it.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: dict[int, dict[HubUrl, bool]] = {}
        self._no_hubs = all(hub.gone for hub in world.hubs.values())
        for party in world.parties:
            if party.honest and party.awake:
                hubs = dict.fromkeys((*party.first_hubs, *_met_on(party)))
                self._known[party.number] = {hub: True for hub in hubs if hub in world.hubs and world.hubs[hub].up}

    def possible(self, one: int, other: int) -> bool:
        """Whether the two could meet."""
        first, second = self._world.parties[one], self._world.parties[other]
        hubs, others = self._known.get(one, {}), self._known.get(other, {})
        common = _are_introduced(first, second) if self._no_hubs else any(hub in others for hub in hubs)
        if not common or not self._world.network.reaches(first, second):
            return False
        wants = self._world.replication.wants
        near = other in wants[one] or one in wants[other]
        if self._no_hubs:
            near = wants[one].get(other) == 1 or wants[other].get(one) == 1  # others are not asked for
        return near and not (_blocks(first, second) or _blocks(second, first))

    def reached_from(self, start: int, among: Iterable[int]) -> dict[int, bool]:
        """Whoever a message can come to from `start`, over those who pass it on."""
        found, fresh = {start: True}, [start]
        left = [each for each in among if each != start and each in self._known]
        while fresh and left:
            at, fresh = fresh, []
            for one in at:
                near = [each for each in left if self.possible(one, each)]
                found.update(dict.fromkeys(near, True))
                left = [each for each in left if each not in found]
                fresh += near
        return found


def _are_introduced(one: Party, other: Party) -> bool:
    """Whether the two are linked, or somebody of ours is linked with both."""
    near = {party.number: True for party in _neighbours(one) if party.introduces}
    common = any(party.number in near for party in _neighbours(other))
    return other in _neighbours(one) or (common and one.introduces and other.introduces)


def _neighbours(party: Party) -> list[Party]:
    return [end.other.owner for end in party.links.values() if end.works]


def _met_on(party: Party) -> Iterator[HubUrl]:
    """The hubs of a table, without those that others told of and that have not been tried yet: that takes an hour."""
    if isinstance(party, Node):
        for url, hub in party.state.hubs.items():
            if hub.source != "gossip" or hub.connected_s is not None:
                yield url


def _blocks(one: Party, other: Party) -> bool:
    return isinstance(one, Node) and other.id in one.blocked


def lacking(world: World) -> Iterator[tuple[int, int]]:
    """(party, feed) of what is missing although it could be had."""
    meetings = Meetings(world)
    due: dict[int, dict[int, int]] = {}
    for party in world.parties:
        if not (party.honest and party.awake):
            continue
        replication = world.replication
        held = replication.held[party.number]
        for feed in replication.wants[party.number]:
            if held.get(feed, 0) < len(replication.written[feed]):
                if feed not in due:
                    due[feed] = _due(world, meetings, feed)
                if held.get(feed, 0) < due[feed].get(party.number, 0):
                    yield party.number, feed


def _due(world: World, meetings: Meetings, feed: int) -> dict[int, int]:
    """How many messages of a feed each party could have: the most that anybody has whom it can be reached from."""
    replication = world.replication
    among = [each for each in (feed, *replication.wanted_by.get(feed, ())) if world.parties[each].awake]
    most: dict[int, int] = {}
    for holder in sorted(among, key=lambda each: -replication.held[each].get(feed, 0)):
        if holder not in most:
            has = replication.held[holder].get(feed, 0)
            most.update(dict.fromkeys(meetings.reached_from(holder, among), has))
    return most


def everybody_holds_everything(world: World) -> bool:
    """Whether everybody who can be reached holds everything."""
    return next(lacking(world), None) is None


def check(world: World, after_s: float | None) -> None:
    """The bounds of the scenario."""
    bounds, broken = world.scenario.bounds, world.checkers.broken
    if after_s is None:
        for number, feed in islice(lacking(world), 10):
            missing = len(world.replication.written[feed]) - world.replication.held[number].get(feed, 0)
            broken("not converged", number, f"{missing} messages of {feed} are missing")
    honest = [party for party in world.parties if isinstance(party, Node)]
    if bounds.linked_s:
        for party in honest:
            _linked_in_time(world, party, bounds.linked_s)
    if bounds.honest_link:
        for party in honest:
            if party.awake and not any(end.other.owner.honest for end in party.links.values()):
                broken("no honest link", party.number, f"{len(party.links)} links")
    if bounds.connected_mesh:
        _one_mesh(world, honest)
    requests_s = report.hub_requests_s(world)
    if bounds.hub_requests_s and requests_s > bounds.hub_requests_s:
        broken("too many requests", -1, f"{requests_s:.1f}/s on one hub")
    dials = report.dials_pair_min(world)
    if bounds.dials_pair_min and dials > bounds.dials_pair_min:
        broken("too many dials", -1, f"{dials:.0f} within a minute from one peer to another")
    reconnects = report.reconnects_pair_h(world)
    if bounds.reconnects_pair_h and reconnects > bounds.reconnects_pair_h:
        broken("too many reconnects", -1, f"{reconnects:.0f} within an hour between two peers")


def _linked_in_time(world: World, party: Party, within_s: float) -> None:
    if party.started_s is None:
        return
    slept_s = party.slept_unlinked_s if isinstance(party, Node) else 0.0
    took_s = (party.linked_s if party.linked_s is not None else world.now_s) - party.started_s - slept_s
    if took_s > within_s:
        world.checkers.broken("linked late", party.number, f"after {took_s:.0f} s")


def _one_mesh(world: World, honest: list[Node]) -> None:
    """Parts between which nobody could meet anybody, for want of a hub in common, are no fault."""
    parts, meetings = mesh_parts([party for party in honest if party.awake]), Meetings(world)
    for part, other in combinations(parts, 2):
        if any(meetings.possible(one, another) for one in part for another in other):
            world.checkers.broken("the mesh is not one", other[0], f"its parts have {[len(part) for part in parts]}")
            return


def mesh_parts(parties: Sequence[Party]) -> list[list[int]]:
    """The parts of the mesh that the links of these parties make, the greatest first."""
    left = {party.number: party for party in parties}
    parts = []
    while left:
        start = next(iter(left))
        part, fresh = [start], [left.pop(start)]
        while fresh:
            ends = [end for party in fresh for end in party.links.values()]
            fresh = []
            for end in ends:
                other = left.pop(end.other.owner.number, None)
                if other is not None:
                    part.append(other.number)
                    fresh.append(other)
        parts.append(part)
    return sorted(parts, key=lambda part: -len(part))
