"""What goes wrong: each fault plans its events until the faults are over; `heal` makes the world whole again.

A scenario names its faults with their strengths; each seed switches a random half of them off altogether, because some
failures show only where others are absent (swarm testing).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ssb_rtc.manager import actions as a
from ssb_rtc.manager.state import Route
from ssb_rtc.sim.dice import Dice
from ssb_rtc.sim.hubs import SimHub
from ssb_rtc.sim.network import End
from ssb_rtc.sim.node import Node
from ssb_rtc.sim.world import World

Fault: TypeAlias = Callable[[World, Dice, float], None]


def again_and_again(world: World, dice: Dice, every_s: float, event: Callable[[], None]) -> None:
    """Have something go wrong at random times until the faults are over."""
    at_s = 0.0
    while True:
        at_s += dice.uniform(0.0, 2 * every_s)
        if at_s >= world.scenario.faults_s:
            return
        world.at(at_s, event)


def _some_hub(world: World, dice: Dice) -> SimHub:
    return dice.pick(list(world.hubs.values()))


def _some_node(world: World, dice: Dice) -> Node | None:
    awake = [party for party in world.parties if isinstance(party, Node) and party.awake and not party.shutting_down]
    return dice.pick(awake) if awake else None


def _some_end(world: World, dice: Dice) -> End | None:
    node = _some_node(world, dice)
    return dice.pick(list(node.links.values())) if node is not None and node.links else None


def _every_s(world: World, strength: float) -> float:
    """At full strength something happens to each peer once in five minutes."""
    return 300.0 / (strength * len(world.parties)) if strength > 0 else float("inf")


# --- hubs ---


def hub_down(world: World, dice: Dice, strength: float) -> None:
    """A hub dies, and stays dead for minutes."""

    def die() -> None:
        hub = _some_hub(world, dice)
        hub.die()
        world.later(dice.uniform(60.0, 300.0), hub.rise)

    again_and_again(world, dice, 300.0 / strength, die)


def hub_restarting(world: World, dice: Dice, strength: float) -> None:
    """A hub is started anew: it is away for a moment."""

    def restart() -> None:
        hub = _some_hub(world, dice)
        hub.die()
        world.later(dice.uniform(0.5, 5.0), hub.rise)

    again_and_again(world, dice, 200.0 / strength, restart)


def _for_some(change: Callable[[SimHub, Dice, float], None]) -> Fault:
    """A state in which each hub is, with the fault's strength as its probability."""

    def fault(world: World, dice: Dice, strength: float) -> None:
        for hub in world.hubs.values():
            if dice.chance(strength):
                change(hub, dice, strength)

    return fault


def _slow(hub: SimHub, dice: Dice, _strength: float) -> None:
    hub.slow = dice.uniform(5.0, 40.0)


def _lying(hub: SimHub, _dice: Dice, _strength: float) -> None:
    hub.lying = True


def _deaf(hub: SimHub, _dice: Dice, _strength: float) -> None:
    hub.deaf = True


def _dropping(hub: SimHub, dice: Dice, _strength: float) -> None:
    hub.dropping = dice.uniform(0.1, 0.6)


def _replaying(hub: SimHub, dice: Dice, _strength: float) -> None:
    hub.replaying = dice.uniform(0.1, 0.5)


def _late(hub: SimHub, dice: Dice, _strength: float) -> None:
    hub.late_s = dice.uniform(1.0, 15.0)


def _limiting(hub: SimHub, dice: Dice, _strength: float) -> None:
    hub.limit_s = dice.uniform(0.5, 3.0)


def hub_cut(world: World, dice: Dice, strength: float) -> None:
    """Some peers can't reach some hub for minutes."""

    def cut() -> None:
        node, hub = _some_node(world, dice), _some_hub(world, dice)
        if node is not None:
            hub.cut_off(node)
            world.later(dice.uniform(60.0, 240.0), hub.restore, node)

    again_and_again(world, dice, _every_s(world, strength), cut)


# --- peers ---


def crash(world: World, dice: Dice, strength: float) -> None:
    """A peer is killed, and starts anew with what its disk has."""

    def kill() -> None:
        node = _some_node(world, dice)
        if node is not None:
            node.stop()
            world.later(dice.uniform(1.0, 120.0), node.start)

    again_and_again(world, dice, _every_s(world, strength), kill)


def churn(world: World, dice: Dice, strength: float) -> None:
    """A peer says goodbye, and comes back later."""

    def leave() -> None:
        node = _some_node(world, dice)
        if node is not None:
            node.leave()
            world.later(dice.uniform(10.0, 200.0), node.start)

    again_and_again(world, dice, _every_s(world, strength), leave)


def sleep(world: World, dice: Dice, strength: float) -> None:
    """A machine sleeps for a while."""

    def fall_asleep() -> None:
        node = _some_node(world, dice)
        if node is not None:
            node.sleep()
            world.later(dice.uniform(5.0, 200.0), node.wake)

    again_and_again(world, dice, _every_s(world, strength), fall_asleep)


def wall_clock(world: World, dice: Dice, strength: float) -> None:
    """Wall clocks are wrong by days, drift, and jump."""
    for party in world.parties:
        if isinstance(party, Node) and dice.chance(strength):
            party.wall_offset_s += dice.uniform(-30.0, 30.0) * 86_400.0
            party.wall_drift = dice.uniform(-0.01, 0.01)

    def jump() -> None:
        node = _some_node(world, dice)
        if node is not None:
            node.wall_offset_s += dice.uniform(-2.0, 2.0) * 86_400.0

    again_and_again(world, dice, _every_s(world, strength), jump)


def network_change(world: World, dice: Dice, strength: float) -> None:
    """A machine gets another network: its links are dead, and it is told so."""

    def change() -> None:
        node = _some_node(world, dice)
        if node is not None:
            world.network.fell_silent(node)
            node.act(a.NetworkDidReconnect())

    again_and_again(world, dice, _every_s(world, strength), change)


def disk_full(world: World, dice: Dice, strength: float) -> None:
    """Tables of hubs can't be stored."""
    for party in world.parties:
        if isinstance(party, Node) and dice.chance(strength):
            party.disk_fails = True


def blocks(world: World, dice: Dice, strength: float) -> None:
    """Peers block each other, in the middle of whatever they do."""

    def block() -> None:
        node, other = _some_node(world, dice), dice.pick(world.parties)
        if node is not None and other is not node and len(node.blocked) < 2:
            node.blocked[other.id] = True
            node.act(a.PeerBlocked(other.id))

    again_and_again(world, dice, _every_s(world, strength), block)


def owners(world: World, dice: Dice, strength: float) -> None:
    """Somebody asks for links and ends them by hand, pins peers and unpins them."""

    def order() -> None:
        node, other = _some_node(world, dice), dice.pick(world.parties)
        if node is None or other is node:
            return
        match dice.below(4):
            case 0:
                node.act(a.ConnectToRemotePeer(other.id))
            case 1:
                node.act(a.DisconnectFromRemotePeer(other.id, not_before_s=dice.uniform(5.0, 120.0)))
            case 2:
                node.act(a.PeerPinned(other.id))
            case 3:
                node.act(a.PeerUnpinned(other.id))

    again_and_again(world, dice, _every_s(world, strength), order)


# --- links ---


def never(world: World, _dice: Dice, strength: float) -> None:
    """Some pairs can never connect, not after the healing either."""
    world.network.never = strength


def loss(world: World, dice: Dice, strength: float) -> None:
    """A link breaks: nothing passes any longer."""

    def cut() -> None:
        end = _some_end(world, dice)
        if end is not None:
            world.network.break_link(end.link)

    again_and_again(world, dice, _every_s(world, strength), cut)


def half_open(world: World, dice: Dice, strength: float) -> None:
    """A link is gone for one side, and the other one believes that it is up."""

    def cut() -> None:
        end = _some_end(world, dice)
        if end is not None:
            world.network.half_open(end)

    again_and_again(world, dice, _every_s(world, strength), cut)


def late_results(world: World, _dice: Dice, strength: float) -> None:
    """An attempt that was given up opens a link all the same."""
    world.network.late_results = strength


def duplicate_dials(world: World, dice: Dice, strength: float) -> None:
    """A peer is dialled over another route while a link to it is open."""

    def dial() -> None:
        node = _some_node(world, dice)
        other = _some_node(world, dice)
        if node is not None and other is not None and other is not node:
            caller = node.next_number()
            world.network.dial_address(node, -caller, other.id, Route("address", f"net:{other.number}"))

    again_and_again(world, dice, _every_s(world, strength), dial)


def stuck(world: World, _dice: Dice, strength: float) -> None:
    """Some links never deliver what the remote says that it has."""
    world.replication.stuck = strength


def trickle(world: World, _dice: Dice, strength: float) -> None:
    """Some deliver a message now and then."""
    world.replication.trickle = strength


FAULTS: dict[str, Fault] = {
    "hub_down": hub_down,
    "hub_restarting": hub_restarting,
    "hub_slow": _for_some(_slow),
    "hub_lying": _for_some(_lying),
    "hub_deaf": _for_some(_deaf),
    "hub_dropping": _for_some(_dropping),
    "hub_replaying": _for_some(_replaying),
    "hub_late": _for_some(_late),
    "hub_limiting": _for_some(_limiting),
    "hub_cut": hub_cut,
    "crash": crash,
    "churn": churn,
    "sleep": sleep,
    "wall_clock": wall_clock,
    "network_change": network_change,
    "disk_full": disk_full,
    "blocks": blocks,
    "owners": owners,
    "never": never,
    "loss": loss,
    "half_open": half_open,
    "late_results": late_results,
    "duplicate_dials": duplicate_dials,
    "stuck": stuck,
    "trickle": trickle,
}
"""Every fault there is, by the name that a scenario gives."""


def plan(world: World) -> tuple[str, ...]:
    """Plan the faults of the scenario that this seed does not switch off; their names."""
    chosen = []
    dice = world.dice("faults")
    for name, strength in world.scenario.faults.items():
        on = dice.chance(0.5) or world.scenario.every_fault
        if on and strength > 0:
            chosen.append(name)
            FAULTS[name](world, world.dice(f"fault/{name}"), strength)
    return tuple(chosen)


def heal(world: World) -> None:
    """Nothing goes wrong from now on, but what can never work."""
    dice = world.dice("healing")
    world.network.halves = {}
    world.network.late_results = world.replication.stuck = world.replication.trickle = 0.0
    for hub in world.hubs.values():
        hub.heal()
    for party in world.parties:
        if not isinstance(party, Node):
            continue
        party.disk_fails = False
        if party.started_s is not None and party.shutting_down:
            world.later(4.0 + dice.uniform(0.0, 10.0), _back, party)
        elif party.started_s is not None and not party.awake:
            world.later(dice.uniform(0.0, 10.0), _back, party)


def _back(node: Node) -> None:
    """Whoever is away comes back: a sleeper wakes, whoever was stopped starts."""
    if not node.awake:
        if node.asleep:
            node.wake()
        else:
            node.start()
