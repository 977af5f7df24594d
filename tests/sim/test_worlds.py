"""Scenarios: each holds its bounds, and the small world with every fault holds them for many seeds."""

from __future__ import annotations

import pytest

from tests.sim.worlds import rules, run

SEEDS = 60
PARTS = 6


@pytest.mark.parametrize("part", range(PARTS))
def test_small_worlds_with_faults(part: int) -> None:
    for seed in range(part, SEEDS, PARTS):
        report = run("faults", seed)
        assert report.converged, f"ssb-rtc simulate --scenario faults --seed {seed}: {report.violations[:3]}"


@pytest.mark.parametrize(
    "name", ["at_once", "glare", "churn", "partition", "seed_hubs_die", "sybils", "javascript", "sleepers", "limits"]
)
def test_a_scenario_holds_its_bounds(name: str) -> None:
    report = run(name)
    assert report.converged, report.violations[:3]


def test_a_calm_world_is_quiet() -> None:
    report = run("calm", peers=20)
    assert report.converged, report.violations[:3]
    assert report.reconnects_pair_h <= 2
    assert report.first_link_p99_s is not None
    assert report.first_link_p99_s < 60


def test_more_demand_than_slots() -> None:
    report = run("crowded", peers=16, newcomers=4, messages=100)
    assert report.converged, report.violations[:3]


def test_the_partition_falls_into_parts_and_merges() -> None:
    report = run("partition", 2)
    assert report.figures["parts"] > 1
    assert 0 <= report.figures["merged_after_s"] < 900


def test_a_mesh_without_its_hubs_stays_whole_and_finds_another() -> None:
    report = run("seed_hubs_die", 2)
    assert report.figures["apart_s"] == 0
    assert report.figures["spare_hub_at_9_of_10_after_s"] > 0


def test_a_mesh_whose_hubs_are_all_gone_heals_through_its_own_links() -> None:
    report = run("no_hubs", 3)
    assert report.converged, report.violations[:3]
    assert report.figures["ends_through_go_betweens"] > 200
    assert report.figures["links_a_node_in_the_end"] > 4.5, "by addresses alone it would be three"


def test_half_of_all_are_hostile() -> None:
    report = run("sybils", 2)
    assert "no honest link" not in rules(report)
    assert report.figures["hostile_links"] < 0.5
