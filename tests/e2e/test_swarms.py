"""Whatever happens to links and programs: when it is over, everybody holds what they want."""

from __future__ import annotations

import random

import pytest

from ssb_rtc.testing import Swarm

NAMES = ("ann", "ben", "cleo", "dan", "eve")
STEPS = 30


class Life:
    """Random things that happen to a swarm, from a seed."""

    def __init__(self, swarm: Swarm, seed: int) -> None:
        self.swarm = swarm
        self.random = random.Random(seed)
        self.written = 0

    def somebody(self) -> str:
        return self.random.choice(NAMES)

    async def step(self) -> None:
        happens = self.random.choices(
            [self.write, self.befriend, self.part, self.meet, self.restart, self.cut_some, self.heal_some],
            [12, 3, 1, 3, 1, 2, 2],
        )[0]
        await happens()

    async def write(self) -> None:
        for _ in range(self.random.randint(1, 20)):
            self.written += 1
            await self.swarm[self.somebody()].publish({"type": "post", "text": str(self.written)})

    async def befriend(self) -> None:
        await self.swarm.befriend(*(self.swarm[name] for name in self.random.sample(NAMES, 2)))

    async def part(self) -> None:
        one, other = self.random.sample(NAMES, 2)
        await self.swarm[one].unfollow(self.swarm[other].id)

    async def meet(self) -> None:
        one, other = self.random.sample(NAMES, 2)
        await self.swarm.connect((self.swarm[one], self.swarm[other]))

    async def restart(self) -> None:
        await self.swarm.restart(self.swarm[self.somebody()])

    async def cut_some(self) -> None:
        one, other = self.random.sample(NAMES, 2)
        await self.swarm.cut((self.swarm[one], self.swarm[other]))

    async def heal_some(self) -> None:
        await self.swarm.heal()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_everybody_has_everything_in_the_end(swarm: Swarm, seed: int) -> None:
    await swarm.peers(*NAMES)
    await swarm.connect("ring")
    life = Life(swarm, seed)
    for _ in range(STEPS):
        await life.step()
    await swarm.heal()
    await swarm.befriend()
    await swarm.converged()
    held = [peer.ids_by_feed() for peer in swarm.online]
    assert held == held[:1] * len(NAMES)
    assert len(held[0]) == len(NAMES)
    assert sum(map(len, held[0].values())) > life.written
