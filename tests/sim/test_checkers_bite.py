"""The checkers notice managers that are wrong; how many of those that were chosen afterwards is printed."""

from __future__ import annotations

import pytest

from ssb_rtc.sim.run import simulate
from ssb_rtc.sim.scenario import scenario
from tests.sim.mutations import CHOSEN, CHOSEN_LATER, REQUIRED, Mutation
from tests.sim.worlds import rules


def caught_by(mutation: Mutation) -> str:
    """What noticed the mutation: a rule, or that the manager raised. Empty where nothing did."""
    with pytest.MonkeyPatch.context() as patch:
        mutation.apply(patch)
        for name, seed in mutation.worlds:
            try:
                report = simulate(name, scenario(name), seed)
            except (AssertionError, KeyError, IndexError) as fault:
                return f"{type(fault).__name__} in {name}, seed {seed}"
            if report.violations:
                return f"{', '.join(rules(report))} in {name}, seed {seed}"
    return ""


@pytest.mark.parametrize(
    ("mutation", "rule"),
    [
        (REQUIRED[0], "not converged"),
        (REQUIRED[1], "cut while downloading"),
        (REQUIRED[2], "two"),
        (REQUIRED[3], "a hub was lost"),
    ],
    ids=[mutation.name for mutation in REQUIRED],
)
def test_what_has_to_be_caught(mutation: Mutation, rule: str) -> None:
    assert rule in caught_by(mutation)


NOT_CAUGHT = (
    # A newcomer announces itself, and that is enough for others to dial it.
    "it announces itself once",
    # What fails takes its time, an offer without an answer 30 s for one: redialling at once is not much.
    "there is no back-off",
    # An attempt over a hub that is down fails as it would have waited.
    "nobody is parked",
    # Everybody replicates everything here, so that nobody needs a particular other one.
    "nobody rotates",
    # The floor rate finds the same a little later.
    "stalls are ignored",
    # No world of these lasts as long as an announcement lives.
    "nothing goes stale",
)
"""What the worlds above let pass, and why."""


@pytest.mark.timeout(180)
def test_how_many_of_the_others_are_caught(capsys: pytest.CaptureFixture[str]) -> None:
    found = {mutation.name: caught_by(mutation) for mutation in (*CHOSEN, *CHOSEN_LATER)}
    with capsys.disabled():
        print(f"\n{sum(map(bool, found.values()))} of {len(found)} mutations chosen afterwards were caught:")
        for name, by in found.items():
            print(f"  {name}: {by or 'not caught'}")
    assert tuple(name for name, by in found.items() if not by) == NOT_CAUGHT
