"""A seed gives the same run, to the last effect, on every machine and in every process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ssb_rtc.sim.dice import Dice
from tests.sim.worlds import run


def test_the_same_seed_gives_the_same_hash() -> None:
    first, second, other = run("faults", 5), run("faults", 5), run("faults", 6)
    assert first == second
    assert first.trace_hash != other.trace_hash


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_the_same_in_another_process_with_other_hashes(hash_seed: str) -> None:
    code = "from tests.sim.worlds import run; import msgspec; print(msgspec.json.encode(run('faults', 5)).decode())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        capture_output=True,
        timeout=50,
    )
    assert json.loads(done.stdout)["trace_hash"] == run("faults", 5).trace_hash


def test_dice() -> None:
    dice, same, other = Dice(1, "a"), Dice(1, "a"), Dice(1, "b")
    drawn = [dice.uniform(2.0, 3.0) for _ in range(1_000)]
    assert drawn == [same.uniform(2.0, 3.0) for _ in range(1_000)]
    assert drawn != [other.uniform(2.0, 3.0) for _ in range(1_000)]
    assert 2.0 <= min(drawn) < 2.01
    assert 2.99 < max(drawn) < 3.0
    assert sorted(dice.shuffled(range(100))) == list(range(100))
    assert len(dice.some(range(5), 9)) == 5
    assert sum(dice.chance(0.3) for _ in range(10_000)) in range(2_800, 3_200)
