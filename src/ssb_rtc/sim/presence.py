"""Quiet presence: what it costs that the peers of one hub know of each other, ours beside webrtc-swarm.

Up to `WHOLE_MAX` peers all managers are run. Of a larger crowd a sample is run, and each of the sample stands for as
many others as it takes: whenever it announces itself, its echoes do so too within the next minutes, on the same hub and
under identities of their own. Echoes hold no manager; to whoever offers they say busy, as a peer with full slots does.
So the sample hears what the crowd would say, and says what it would say in that crowd.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ssb_rtc.manager import effects as e
from ssb_rtc.sim.checkers import Checkers
from ssb_rtc.sim.dice import Dice
from ssb_rtc.sim.feeds import Replication
from ssb_rtc.sim.hubs import SimHub
from ssb_rtc.sim.messages import Announced, Busy, Message, Offered, decode, encode, inbox
from ssb_rtc.sim.neighbours import ALONE_S, CONNECTED_S
from ssb_rtc.sim.network import Network
from ssb_rtc.sim.node import Node
from ssb_rtc.sim.party import peer_id
from ssb_rtc.sim.report import Recorder
from ssb_rtc.sim.scenario import Bounds, Scenario
from ssb_rtc.sim.world import World
from ssb_rtc.types import HubUrl, PeerId

WHAT: Final = "presence alone: what the peers of one hub announce and hear as they grow more, beside webrtc-swarm"
SIZES: Final = (10, 100, 1_000, 10_000)
WHOLE_MAX: Final = 100
SAMPLE: Final = {1_000: 20, 10_000: 10}
"""How many managers are run of a crowd of more than so many."""
WARM_S: Final = 1_200.0
MEASURED_S: Final = 1_800.0
ACQUAINTED_S: Final = 300.0
"""So long the sample is alone: in the crowd its few would not find one another, and nobody else has a slot for them."""
ECHO_S: Final = 300.0
"""Echoes announce themselves within this time after whom they echo."""
URL: Final = HubUrl("https://hub-0.example")


class Presence(msgspec.Struct, frozen=True):
    """What presence costs in a crowd of one size."""

    peers: int
    sampled: int
    """How many whole managers were run."""
    announced_peer_h: float
    heard_peer_h: float
    hub_s: float
    """Announcements that the hub takes a second."""
    swarm_announced_peer_h: float
    swarm_heard_peer_h: float
    swarm_hub_s: float


class _EchoingNode(Node):
    """One of a sample, with so many echoes."""

    def __init__(self, world: World, number: int, echoes: list[PeerId]) -> None:
        super().__init__(world, number, [URL])
        self.echoes = echoes
        self.announced: list[float] = []
        self.heard: list[float] = []
        self._echo_dice: Dice = world.dice(f"echoes/{number}")

    def hear(self, hub: HubUrl, message: Message) -> None:
        """Count announcements."""
        if isinstance(message, Announced):
            self.heard.append(self.world.now_s)
        super().hear(hub, message)

    def announce(self, effect: e.ScheduleAnnounceToHub) -> None:
        """Announce itself; its echoes follow."""
        self.announced.append(self.world.now_s)
        super().announce(effect)
        for echo in self.echoes if self.world.now_s >= ACQUAINTED_S else ():
            self.world.later(self._echo_dice.uniform(0.0, ECHO_S), self._echo, echo, effect.free_slots)

    def _echo(self, echo: PeerId, free_slots: int) -> None:
        frame = Announced(echo, free_slots)
        for party in self.world.parties:
            party.hear(URL, frame)


class _CrowdedHub(SimHub):
    """A hub on which echoes say busy."""

    def __init__(self, world: World, dice: Dice) -> None:
        super().__init__(world, URL, dice)
        self.echoes: dict[bytes, PeerId] = {}

    def _pass_on(self, channel: bytes, frame: bytes, sender: int) -> None:
        echo = self.echoes.get(channel)
        if echo is None:
            return super()._pass_on(channel, frame, sender)
        message = decode(frame)
        if isinstance(message, Offered):
            wait_s = self.dice.uniform(42.0, 78.0)
            busy = Busy(echo, message.session, wait_s, "all slots are taken")
            self.world.later(self.latency_s, self._deliver, inbox(message.peer), encode(busy), -1)
        return None


def measure(peers: int, seed: int) -> Presence:
    """What presence costs in a crowd of this size."""
    sampled = peers if peers <= WHOLE_MAX else min(peers, next((n for most, n in SAMPLE.items() if peers <= most), 10))
    nodes = _sample(peers, sampled, seed)
    hours = MEASURED_S / 3_600.0
    announced = sum(sum(at_s >= WARM_S for at_s in node.announced) for node in nodes) / len(nodes) / hours
    heard = sum(sum(at_s >= WARM_S for at_s in node.heard) for node in nodes) / len(nodes) / hours
    swarm = swarm_announced_h(Dice(seed, "swarm"), connected=True)
    return Presence(
        peers=peers,
        sampled=sampled,
        announced_peer_h=round(announced, 2),
        heard_peer_h=round(heard, 1),
        hub_s=round(announced * peers / 3_600.0, 2),
        swarm_announced_peer_h=round(swarm, 1),
        swarm_heard_peer_h=round(swarm * (peers - 1), 1),
        swarm_hub_s=round(swarm * peers / 3_600.0, 1),
    )


def _sample(peers: int, sampled: int, seed: int) -> list[_EchoingNode]:
    bounds = Bounds(converged_s=0.0)
    scenario = Scenario(what=WHAT, peers=max(2, sampled), hubs=1, faults_s=WARM_S + MEASURED_S, bounds=bounds)
    world = World(scenario, seed)
    world.recorder, world.network = Recorder(), Network(world)
    world.replication, world.checkers = Replication(world), Checkers(world)
    hub = world.hubs[URL] = _CrowdedHub(world, world.dice("hub/0"))
    nodes = []
    for number in range(sampled):
        numbers = range(sampled + number, peers, sampled)
        node = _EchoingNode(world, number, [peer_id(seed, 1_000_000 + at) for at in numbers])
        hub.echoes.update({inbox(echo): echo for echo in node.echoes})
        nodes.append(node)
        world.add(node)
        world.replication.add(node, {}, 0)
        world.at(world.dice(f"start/{number}").uniform(0.0, 60.0), node.start)
    world.run_until(WARM_S + MEASURED_S)
    return nodes


def swarm_announced_h(dice: Dice, *, connected: bool) -> float:
    """How often a webrtc-swarm announces itself in an hour: for ever, at random pauses that depend on no crowd."""
    low, high = CONNECTED_S if connected else ALONE_S
    at_s, times = 0.0, 0
    while at_s < 100 * 3_600.0:
        at_s += dice.uniform(low, high)
        times += 1
    return times / 100


def cells(row: Presence) -> list[tuple[object, ...]]:
    """Two lines of a table: ours and theirs."""
    size = f"{row.peers:,}" + ("" if row.sampled == row.peers else f" ({row.sampled} whole managers)")
    return [
        (size, "ours", row.announced_peer_h, row.heard_peer_h, row.hub_s),
        ("", "webrtc-swarm", row.swarm_announced_peer_h, row.swarm_heard_peer_h, row.swarm_hub_s),
    ]
