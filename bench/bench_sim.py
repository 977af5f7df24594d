"""The simulator: events a second with 1,000 peers, and how long 300 peers take until everybody holds everything.

    python -m bench.bench_sim [--quick] [--json] [--profile]

The first runs the calm scenario with 1,000 peers for so many virtual seconds, the second runs it to its end. Each
manager is whole, so most of the time is spent in `step`; --profile shows where.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import pstats
import time
from dataclasses import asdict, dataclass

import msgspec

from ssb_rtc.sim.run import Run
from ssb_rtc.sim.scenario import scenario

VIRTUAL_S = 45.0


@dataclass(frozen=True)
class Sample:
    """One world."""

    peers: int
    virtual_s: float
    seconds: float
    events_s: float
    actions_s: float
    converged: bool


def world(peers: int) -> Run:
    """The calm scenario with so many peers."""
    return Run("calm", msgspec.structs.replace(scenario("calm"), peers=peers), 1)


def for_a_while(peers: int, virtual_s: float) -> Sample:
    """The beginning of a run, when everybody starts and meets."""
    run = world(peers)
    began_s = time.perf_counter()
    run.world.run_until(virtual_s)
    return _sample(run, peers, time.perf_counter() - began_s, converged=False)


def to_the_end(peers: int) -> Sample:
    """A whole run."""
    run = world(peers)
    began_s = time.perf_counter()
    report = run.run()
    return _sample(run, peers, time.perf_counter() - began_s, converged=report.converged)


def _sample(run: Run, peers: int, seconds: float, *, converged: bool) -> Sample:
    actions = run.world.recorder.actions
    return Sample(peers, run.world.now_s, seconds, run.world.events / seconds, actions / seconds, converged)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer peers, for a look")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--profile", action="store_true", help="show where the time goes, instead of figures")
    options = parser.parse_args()
    many, some = (200, 60) if options.quick else (1_000, 300)
    gc.disable()  # as `ssb-rtc simulate` does
    if options.profile:
        with cProfile.Profile() as profile:
            for_a_while(many, VIRTUAL_S)
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    samples = [for_a_while(many, VIRTUAL_S), to_the_end(some)]
    if options.json:
        print(json.dumps([asdict(sample) for sample in samples]))
        return
    for sample, what in zip(samples, ("the beginning", "until everybody holds everything"), strict=True):
        print(
            f"{sample.peers:>6,} peers, {what}: {sample.virtual_s:.0f} virtual seconds in {sample.seconds:.1f} s, "
            f"{sample.events_s:,.0f} events/s, {sample.actions_s:,.0f} actions/s"
        )


if __name__ == "__main__":
    main()
