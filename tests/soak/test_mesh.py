"""The mesh of real processes: small with every run of the tests, large with `make soak`. And no task is left behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from ssb_rtc.testing import Swarm
from tests.soak.mesh import LARGE, SMALL, planned, run

SEED = 1
ROUNDS = 5


@pytest.mark.timeout(300)
async def test_six_peers_hold_everything_after_twenty_seconds_of_faults(tmp_path: Path) -> None:
    mesh = await run(SMALL, SEED, tmp_path)
    print(mesh.table())


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_thirty_peers_hold_everything_after_five_minutes_of_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh = await run(LARGE, SEED, tmp_path)
    with capsys.disabled():
        print("\n" + mesh.table())


def test_a_seed_plans_the_same_faults_again_and_spares_nobody() -> None:
    plan = planned(LARGE, SEED)
    assert plan == planned(LARGE, SEED) != planned(LARGE, SEED + 1)
    happens = {(event.what, event.silent) for event in plan}
    assert happens >= {("kill a hub", False), ("start a hub", False), ("cut", True), ("cut", False), ("heal", False)}
    assert {event.who for event in plan if event.what == "publish"} == set(range(LARGE.peers))


async def test_no_task_and_no_descriptor_outlives_what_it_was_for(swarm: Swarm) -> None:
    """In one process, where tasks can be counted: links are cut and made anew, and a peer ends and comes back."""
    ann, ben, cleo = await swarm.peers("ann", "ben", "cleo")
    await swarm.befriend()
    await swarm.connect("ring")
    await swarm.converged()

    def held() -> tuple[Counter[str], int]:
        kinds = Counter(str(getattr(task.get_coro(), "__qualname__", "")) for task in asyncio.all_tasks())
        return kinds, sum(1 for _ in Path("/proc/self/fd").iterdir()) if Path("/proc/self/fd").is_dir() else 0

    await swarm.until(lambda: "FriendInboxes._say" not in held()[0], "friends having told one another of their inboxes")
    before = held()
    for number in range(ROUNDS):
        await swarm.cut((ann, ben))
        await ann.publish({"type": "post", "text": f"round {number}"})
        await swarm.heal()
        cleo = await swarm.restart(cleo)
        await swarm.connect("ring")
        await swarm.converged()
    await swarm.until(lambda: held() == before, f"tasks and descriptors as before: {before}")
