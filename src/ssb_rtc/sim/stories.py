"""Courses of events that a scenario tells beyond its faults, and what they measure."""

from __future__ import annotations

from typing import Final

from ssb_rtc.manager import actions as a
from ssb_rtc.manager.state import KnownHub, Route
from ssb_rtc.sim.liveness import mesh_parts
from ssb_rtc.sim.node import Node
from ssb_rtc.sim.party import Party
from ssb_rtc.sim.world import World
from ssb_rtc.types import behind

LOOK_S: Final = 1.0
ADDRESSES: Final = 2
"""Friends whose address a peer knows where there is no hub any longer."""


class Story:
    """No story: the faults are all that happens."""

    def __init__(self, world: World) -> None:
        self.world = world

    def healed(self) -> None:
        """The healing is over."""

    def done(self) -> bool:
        """Whether what the story waits for has come about."""
        return True

    def figures(self) -> dict[str, float]:
        """What it has measured."""
        return {}

    def nodes(self) -> list[Party]:
        """The honest ones that are there."""
        return [party for party in self.world.parties if party.honest and party.awake]


class SeedHubsDie(Story):
    """All hubs that the peers started with die for good. Two peers know a spare one, which their followers hear of."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        urls = list(world.hubs)
        self.spare = urls[-1]
        for party in world.parties:
            if isinstance(party, Node):
                known = [hub for hub in party.first_hubs if hub != self.spare] or urls[:1]
                party.first_hubs = known
                party.disk = tuple(KnownHub(hub, "user") for hub in known)
        self.died_s = world.scenario.faults_s / 3
        self.parts_most = 1
        self.apart_since_s: float | None = None
        self.healed_s: float | None = None
        self.everywhere_s: float | None = None
        self.apart_s = 0.0
        world.at(self.died_s / 2, self._name_spare)
        world.at(self.died_s, self._die)

    def _name_spare(self) -> None:
        for party in self.nodes()[:2]:
            if isinstance(party, Node):
                party.act(a.HubAddressAdded(self.spare))

    def _die(self) -> None:
        for url, hub in self.world.hubs.items():
            if url != self.spare:
                hub.die()
                hub.gone = True
        self._look()

    def _look(self) -> None:
        """The mesh is connected while it is one part."""
        now_s, nodes = self.world.now_s, self.nodes()
        parts = len(mesh_parts(nodes))
        self.parts_most = max(self.parts_most, parts)
        if parts > 1:
            self.apart_s += LOOK_S
            self.healed_s = None
        elif self.healed_s is None:
            self.healed_s = now_s - self.died_s
        known = sum(isinstance(node, Node) and self.spare in node.subscribed for node in nodes)
        if self.everywhere_s is None and known >= 0.9 * len(nodes):
            self.everywhere_s = now_s - self.died_s
        self.world.later(LOOK_S, self._look)

    def done(self) -> bool:
        """The mesh is one, and the spare hub is where it belongs."""
        return self.healed_s is not None and self.everywhere_s is not None

    def figures(self) -> dict[str, float]:
        """In seconds since the hubs died; -1 for what has not come about."""
        return {
            "parts_at_most": self.parts_most,
            "apart_s": self.apart_s,
            "mesh_whole_after_s": -1.0 if self.healed_s is None else round(self.healed_s, 1),
            "spare_hub_at_9_of_10_after_s": -1.0 if self.everywhere_s is None else round(self.everywhere_s, 1),
        }


class NoHubs(Story):
    """All hubs die for good once everybody has met. Each peer, and whoever starts anew, has the addresses of two
    friends to dial; all other links come about through peers that are linked with both.
    """

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.died_s = world.scenario.faults_s / 4
        self.apart = self.looks = 0
        self.apart_s = 0.0
        self._lives: dict[int, int] = {}
        self._seen: dict[tuple[int, int], bool] = {}
        world.at(self.died_s, self._die)

    def _die(self) -> None:
        for hub in self.world.hubs.values():
            hub.die()
            hub.gone = True
        self._look()

    def _look(self) -> None:
        nodes = self._ours()
        for node in nodes:
            if self._lives.get(node.number) != node.lives:
                self._lives[node.number] = node.lives
                self._dial_friends(node)
            for end in node.links.values():
                self._seen[node.number, end.number] = behind(end.link.route.where) is not None
        whole = len(mesh_parts(nodes)) == 1
        self.apart_s = 0.0 if whole else self.apart_s + LOOK_S
        self.apart += not whole
        self.looks += 1
        self.world.later(LOOK_S, self._look)

    def _ours(self) -> list[Node]:
        return [party for party in self.nodes() if isinstance(party, Node)]

    def _dial_friends(self, node: Node) -> None:
        ours = [peer for peer, hops in node.hops if hops == 1 and self.world.by_id[peer].introduces]
        for friend in self.world.dice(f"addresses/{node.number}").some(ours, ADDRESSES):
            node.act(a.ConnectToRemotePeer(friend, Route("address", f"net:{friend}")))

    def done(self) -> bool:
        """The mesh is one, and has been so for a while."""
        return self.looks > 0 and self.apart_s == 0

    def figures(self) -> dict[str, float]:
        """Shares of time and of links since the hubs died."""
        nodes = self._ours()
        links = [end for node in nodes for end in node.links.values()]
        through = sum(behind(end.link.route.where) is not None for end in links)
        return {
            "apart_share": round(self.apart / max(1, self.looks), 3),
            "ends_seen": len(self._seen),
            "ends_through_go_betweens": sum(self._seen.values()),
            "links_a_node_in_the_end": round(len(links) / max(1, len(nodes)), 2),
            "of_these_through_go_betweens": round(through / max(1, len(links)), 2),
            "envelopes_passed_on": self.world.network.passed_on,
        }


class Partition(Story):
    """The network falls into two halves, hubs included, and becomes one again; nobody starts anew."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.merged_s: float | None = None
        self.parts = 1
        world.at(world.scenario.faults_s / 3, self._part)

    def _part(self) -> None:
        world = self.world
        half = len(world.parties) // 2
        halves = {party.number: int(party.number >= half) for party in world.parties}
        for at, hub in enumerate(world.hubs.values()):
            for party in world.parties:
                if halves[party.number] != at % 2:
                    hub.cut_off(party)
        world.network.part_into(halves)
        world.at(world.scenario.faults_s, self._merge)

    def _merge(self) -> None:
        self.parts = len(mesh_parts(self.nodes()))
        self._look()

    def _look(self) -> None:
        if len(mesh_parts(self.nodes())) == 1:
            self.merged_s = self.world.now_s - self.world.scenario.faults_s
        else:
            self.world.later(LOOK_S, self._look)

    def done(self) -> bool:
        """The two halves are one mesh again."""
        return self.merged_s is not None

    def figures(self) -> dict[str, float]:
        """In seconds since the network is one again."""
        return {"parts": self.parts, "merged_after_s": -1.0 if self.merged_s is None else round(self.merged_s, 1)}


class Sybils(Story):
    """How many of the links of honest peers lead to hostile ones in the end."""

    def figures(self) -> dict[str, float]:
        """Shares of links and of what was not heard."""
        ends = [end for node in self.nodes() for end in node.links.values()]
        hostile = sum(not end.other.owner.honest for end in ends)
        overheard = sum(node.overheard for node in self.nodes() if isinstance(node, Node))
        return {
            "hostile_links": round(hostile / max(1, len(ends)), 3),
            "hostile_links_at_most": max(
                (sum(not end.other.owner.honest for end in node.links.values()) for node in self.nodes()), default=0
            ),
            "not_heard_for_lack_of_time": overheard,
        }


STORIES: dict[str, type[Story]] = {
    "": Story,
    "seed_hubs_die": SeedHubsDie,
    "no_hubs": NoHubs,
    "partition": Partition,
    "sybils": Sybils,
}
"""Every story, by the name that a scenario gives."""
