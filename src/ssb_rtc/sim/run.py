"""A whole run: the world is made from a scenario and a seed, then come faults, healing, convergence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ssb_rtc.feeds.hops import FOLLOWS
from ssb_rtc.sim import faults, liveness, report, stories
from ssb_rtc.sim.checkers import Checkers
from ssb_rtc.sim.feeds import Replication
from ssb_rtc.sim.follows import follow_graph, within_two_hops
from ssb_rtc.sim.hubs import SimHub
from ssb_rtc.sim.neighbours import Hostile, JavaScript
from ssb_rtc.sim.network import Network
from ssb_rtc.sim.node import Node
from ssb_rtc.sim.party import Party
from ssb_rtc.sim.report import Recorder, Report
from ssb_rtc.sim.scenario import Scenario
from ssb_rtc.sim.world import STORM_S, Storm, World
from ssb_rtc.types import HubUrl, feed_of

LOOK_S: Final = 5.0
"""How often it is looked whether everybody holds everything."""


class Run:
    """One run of a scenario."""

    def __init__(self, name: str, scenario: Scenario, seed: int) -> None:
        self.name = name
        self.scenario = scenario
        self.world = world = World(scenario, seed)
        world.recorder = Recorder()
        world.network = Network(world)
        world.replication = Replication(world)
        world.checkers = Checkers(world)
        for number in range(scenario.hubs):
            url = HubUrl(f"https://hub-{number}.example")
            world.hubs[url] = SimHub(world, url, world.dice(f"hub/{number}"))
        self._populate()
        self.story = stories.STORIES[scenario.story](world)
        self.faults = faults.plan(world)

    def _populate(self) -> None:
        world, scenario = self.world, self.scenario
        dice = world.dice("population")
        late = scenario.newcomers
        honest = scenario.peers + late
        graph = follow_graph(honest, scenario.follows, scenario.far, world.dice("follows"))
        for number in range(honest):
            javascript = number < scenario.peers and dice.chance(scenario.javascript)
            most = min(scenario.hubs_each, scenario.hubs)
            least = min(scenario.hubs_least, most)
            known = dice.some(list(world.hubs), least + dice.below(most - least + 1))
            party: Party = (JavaScript if javascript else Node)(world, number, known)
            world.add(party)
            wants = within_two_hops(graph, number)
            messages = 1 + dice.below(scenario.messages) if scenario.messages else 0
            world.replication.add(party, wants, messages)
        for number, followed in enumerate(graph):
            for other in followed:
                world.graph.set(feed_of(world.parties[number].id), feed_of(world.parties[other].id), FOLLOWS)
        for party in world.parties:
            if isinstance(party, Node):
                wants = world.replication.wants[party.number]
                party.hops = tuple((world.parties[feed].id, hops) for feed, hops in wants.items() if hops)
                if not scenario.announcing:
                    mutual = [other for other in graph[party.number] if party.number in graph[other]]
                    party.inboxes = dict.fromkeys((world.parties[other].id for other in mutual), True)
        for number in range(honest, honest + int(scenario.peers * scenario.hostile)):
            enemy = Hostile(world, number, list(world.hubs))
            world.add(enemy)
            world.replication.add(enemy, {}, 0)
        world.replication.settle()
        self._plan_starts(late)
        self._plan_writing()

    def _plan_starts(self, late: int) -> None:
        world, scenario = self.world, self.scenario
        dice = world.dice("starts")
        for party in world.parties:
            newcomer = scenario.peers <= party.number < scenario.peers + late
            if newcomer:
                start_s = dice.uniform(0.5, 0.9) * scenario.faults_s
                if isinstance(party, Node):
                    party.holds_nothing = True
            elif scenario.in_turn:
                start_s = scenario.start_s * party.number / scenario.peers
            else:
                start_s = dice.uniform(0.0, scenario.start_s)
            world.at(start_s, party.start)

    def _plan_writing(self) -> None:
        world, scenario = self.world, self.scenario
        dice = world.dice("writing")
        until_s = scenario.faults_s + scenario.healing_s
        if scenario.published_per_h <= 0:
            return
        for party in world.parties:
            at_s = 0.0
            while party.honest:
                at_s += dice.uniform(0.0, 2 * 3_600.0 / scenario.published_per_h)
                if at_s >= until_s:
                    break
                world.at(at_s, self._write, party)

    def _write(self, party: Party) -> None:
        if party.awake:
            self.world.replication.publish(party)

    def run(self, progress: Callable[[float, float], None] = lambda _now_s, _until_s: None) -> Report:
        """From the first event to the report."""
        world, after_s = self.world, None
        try:
            after_s = self._phases(progress)
        except Storm:
            world.checkers.broken("a storm of events", -1, f"more than {STORM_S:.0f} a second for each peer")
        liveness.check(world, after_s)
        if not self.story.done():
            world.checkers.broken("the story has no end", -1, str(self.story.figures()))
        for party in world.parties:
            if isinstance(party, Node) and party.awake:
                world.checkers.look_at(party)
        return report.make(world, self.name, self.faults, after_s, self.story.figures())

    def _phases(self, progress: Callable[[float, float], None]) -> float | None:
        """Faults, healing, convergence: how long after the healing everybody held everything."""
        world, scenario = self.world, self.scenario
        heal_s, bound_s = scenario.faults_s + scenario.healing_s, scenario.bounds.converged_s
        end_s = heal_s + bound_s
        every_s = end_s / report.SAMPLES
        self._pass(scenario.faults_s, every_s, end_s, progress)
        world.healed = True
        faults.heal(world)
        self._pass(heal_s, every_s, end_s, progress)
        self.story.healed()
        while not (liveness.everybody_holds_everything(world) and self.story.done()):
            if world.now_s >= end_s:
                return None
            self._pass(min(end_s, world.now_s + LOOK_S), every_s, end_s, progress)
        return world.now_s - heal_s

    def _pass(self, until_s: float, every_s: float, end_s: float, progress: Callable[[float, float], None]) -> None:
        world = self.world
        while world.now_s < until_s:
            samples = world.recorder.samples
            due_s = samples[-1].time_s + every_s if samples else 0.0
            world.run_until(min(until_s, max(due_s, world.now_s)))
            if world.now_s >= due_s:
                world.recorder.sample(world)
                progress(world.now_s, end_s)


def simulate(
    name: str, scenario: Scenario, seed: int, progress: Callable[[float, float], None] = lambda _now_s, _until_s: None
) -> Report:
    """Run a scenario with a seed."""
    return Run(name, scenario, seed).run(progress)
