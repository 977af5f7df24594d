"""Short cuts to run scenarios in tests."""

from __future__ import annotations

import msgspec

from ssb_rtc.sim.report import Report
from ssb_rtc.sim.run import simulate
from ssb_rtc.sim.scenario import scenario


def run(name: str, seed: int = 1, **changes: object) -> Report:
    """A scenario with some of its numbers changed."""
    return simulate(name, msgspec.structs.replace(scenario(name), **changes), seed)


def rules(report: Report) -> list[str]:
    """Which rules were broken."""
    return sorted({violation.rule for violation in report.violations})
