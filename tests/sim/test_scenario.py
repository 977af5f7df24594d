"""Scenarios are read strictly, and those that come with the package make sense."""

from __future__ import annotations

import pytest

from ssb_rtc.errors import ConfigFault
from ssb_rtc.sim.faults import FAULTS
from ssb_rtc.sim.scenario import parse, scenario, scenarios
from ssb_rtc.sim.stories import STORIES

GOOD = """
[small]
what = "two peers meet"
peers = 2
hubs = 1
faults_s = 60.0
bounds = { converged_s = 60.0 }
"""


def test_a_scenario_is_read() -> None:
    found = parse(GOOD)["small"]
    assert (found.peers, found.hubs, found.bounds.converged_s) == (2, 1, 60.0)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("peers = 2", "peers = 1", "two peers"),
        ("hubs = 1", "hubs = 0", "a hub"),
        ("hubs = 1", "hubs = 1\nspeed = 3", "speed"),
        ("hubs = 1", "hubs = 'one'", "int"),
        ("hubs = 1", "hubs = 1\nsettings = { peers = 3 }", "peers"),
        ("hubs = 1", "hubs = 1\nsettings = { tick_s = 0 }", "tick_s"),
        ("hubs = 1", "hubs = 1\nfaults = { crash = 2.0 }", "crash"),
        ("hubs = 1", "hubs = 1\nfaults = { rain = 0.5 }", "rain"),
        ("hubs = 1", "hubs = 1\nstory = 'rain'", "rain"),
        ("bounds = { converged_s = 60.0 }", "", "bounds"),
        ("converged_s = 60.0", "converged_s = 60.0, soon = 1", "soon"),
        ("[small]", "[small", "TOML"),
    ],
)
def test_what_a_scenario_may_not_say(old: str, new: str, says: str) -> None:
    with pytest.raises(ConfigFault, match=says):
        parse(GOOD.replace(old, new))


def test_those_of_the_package() -> None:
    known = scenarios()
    assert len(known) >= 10
    for each in known.values():
        assert each.what
        assert all(name in FAULTS for name in each.faults)
        assert each.story in STORIES


def test_the_faults_scenario_has_every_fault() -> None:
    assert sorted(scenario("faults").faults) == sorted(FAULTS)


def test_there_is_none_of_that_name() -> None:
    with pytest.raises(ConfigFault, match=r"no scenario rain; there are calm"):
        scenario("rain")
