"""Thousands of seeds of the simulator, started by `make soak`; the first one that fails is named."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor

import pytest

from ssb_rtc.sim.run import simulate
from ssb_rtc.sim.scenario import scenario

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3_600)]

FIRST = 1_000
"""Seeds below are those of the ordinary tests."""


def failure(name: str, seed: int) -> str:
    """What went wrong with a seed; empty where nothing did."""
    report = simulate(name, scenario(name), seed)
    if report.converged:
        return ""
    return f"ssb-rtc simulate --scenario {name} --seed {seed}: {report.violations[:3]}"


@pytest.mark.parametrize(
    ("name", "seeds"),
    [("faults", 4_000), ("churn", 100), ("sleepers", 200), ("partition", 200), ("sybils", 50), ("in_turn", 20)],
)
def test_many_seeds(name: str, seeds: int) -> None:
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for failed in pool.map(failure, [name] * seeds, range(FIRST, FIRST + seeds), chunksize=5):
            assert not failed, failed
