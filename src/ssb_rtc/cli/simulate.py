"""`ssb-rtc simulate`: run scenarios of the simulator, and show what came of them."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from ssb_rtc.cli.output import Progress, print_json, print_table, progress
from ssb_rtc.errors import ConfigFault, MisuseError
from ssb_rtc.sim import presence
from ssb_rtc.sim.plot import svg
from ssb_rtc.sim.report import Report
from ssb_rtc.sim.run import Run
from ssb_rtc.sim.scenario import Scenario, scenario, scenarios

PROGRESS_EVERY_S = 0.5
QUIET = "quiet"
"""The name of the scenario that is no world of its own: presence alone."""
PEERS_MIN, PEERS_MAX = 2, 20_000
"""More would take days, and more memory than there is."""
HUBS_MAX = 32
"""A manager's table holds no more."""


def simulate(arguments: argparse.Namespace) -> int:
    """Carry out the command."""
    # What a run needs no longer goes by its reference counts; the collector would only walk through millions of live
    # objects again and again.
    gc.disable()
    try:
        return _simulate(arguments)
    finally:
        gc.enable()


def _simulate(arguments: argparse.Namespace) -> int:
    if arguments.list:
        return _list(arguments.json)
    _check(arguments)
    if arguments.scenario == QUIET:
        return _quiet(arguments)
    chosen = _adapted(scenario(arguments.scenario), arguments)
    if arguments.seeds is not None:
        return _many(arguments, chosen)
    if arguments.plot:
        # A run may take minutes: whoever can't keep its picture shall hear of it now.
        _write(Path(arguments.plot), "", mode="a")
    began_s = time.perf_counter()
    run = Run(arguments.scenario, chosen, arguments.seed)
    with progress(f"{arguments.scenario}, virtual seconds", total=None, quiet=arguments.json) as show:
        report = run.run(_now_and_then(show))
    took_s = time.perf_counter() - began_s
    if arguments.plot:
        _write(Path(arguments.plot), svg(report, chosen, run.world.recorder.samples))
    if arguments.json:
        print_json({**msgspec.to_builtins(report), "violations": _violations(report), "took_s": round(took_s, 2)})
    else:
        _show(report, took_s)
    return 0 if report.converged else 1


def _check(arguments: argparse.Namespace) -> None:
    """Raises MisuseError for what makes no sense, or could never end."""
    name, quiet = arguments.scenario, arguments.scenario == QUIET
    if not quiet and name not in scenarios():
        raise MisuseError(f"there is no scenario {name!r}; `ssb-rtc simulate --list` shows them")
    if arguments.seeds is not None and arguments.seeds < 1:
        raise MisuseError("--seeds takes a number from 1")
    if arguments.peers is not None and not PEERS_MIN <= arguments.peers <= PEERS_MAX:
        raise MisuseError(f"--peers takes a number from {PEERS_MIN} to {PEERS_MAX:,}")
    if arguments.hubs is not None and not 1 <= arguments.hubs <= HUBS_MAX:
        raise MisuseError(f"--hubs takes a number from 1 to {HUBS_MAX}")
    if arguments.plot and (quiet or arguments.seeds is not None):
        raise MisuseError("--plot draws one run of a world: it goes neither with --seeds nor with the scenario quiet")
    if quiet and (arguments.seeds is not None or arguments.hubs is not None):
        raise MisuseError("the scenario quiet has one hub and one seed: leave out --hubs and --seeds")


def _adapted(chosen: Scenario, arguments: argparse.Namespace) -> Scenario:
    """The scenario with what the flags change."""
    given = {"peers": arguments.peers, "hubs": arguments.hubs}
    changes = {name: value for name, value in given.items() if value is not None}
    try:
        return msgspec.structs.replace(chosen, **changes)
    except ConfigFault as fault:
        raise MisuseError(str(fault)) from fault


def _list(as_json: bool) -> int:
    rows = [(name, each.peers, each.hubs, each.what) for name, each in scenarios().items()]
    rows.append((QUIET, 1_000, 1, presence.WHAT))
    if as_json:
        for name, peers, hubs, what in rows:
            print_json({"scenario": name, "peers": peers, "hubs": hubs, "what": what})
    else:
        print_table(("scenario", "peers", "hubs", "what it is about"), rows, "")
    return 0


def _now_and_then(show: Progress) -> Callable[[float, float], None]:
    """A run tells of each event; so many looks at the clock of a progress bar would be a part of its time."""
    last_s = 0.0

    def told(now_s: float, end_s: float) -> None:
        nonlocal last_s
        if time.monotonic() - last_s > PROGRESS_EVERY_S:
            last_s = time.monotonic()
            show(now_s, end_s)

    return told


def _many(arguments: argparse.Namespace, chosen: Scenario) -> int:
    """Seed after seed, until one fails."""
    first = arguments.seed
    with progress(f"{arguments.scenario}, seeds", total=arguments.seeds, quiet=arguments.json) as show:
        for done in range(arguments.seeds):
            report = Run(arguments.scenario, chosen, first + done).run()
            show(done + 1)
            if not report.converged:
                break
    if not report.converged:
        return _failed(arguments, report, done)
    if arguments.json:
        print_json({"seeds": arguments.seeds, "failed": None, "violations": []})
    else:
        print(f"{arguments.seeds} seeds from {first} on: none failed")
    return 0


def _failed(arguments: argparse.Namespace, report: Report, done: int) -> int:
    """One seed failed, after `done` that did not."""
    again = f"ssb-rtc simulate --scenario {arguments.scenario} --seed {report.seed}"
    again += "".join(
        f" --{name} {value}"
        for name, value in (("peers", arguments.peers), ("hubs", arguments.hubs))
        if value is not None
    )
    if arguments.json:
        print_json({"seeds": done + 1, "failed": report.seed, "violations": _violations(report)})
    else:
        _show(report, None)
        print(f"seed {report.seed} failed, {done} before it did not; to see it again: {again}")
    return 1


def _violations(report: Report) -> list[dict[str, object]]:
    return [dict(each._asdict()) for each in report.violations]


def _show(report: Report, took_s: float | None) -> None:
    took = "" if took_s is None else f" in {took_s:.1f} s"
    rows: list[tuple[str, object]] = [
        ("seed", report.seed),
        ("trace hash", report.trace_hash),
        ("peers, hubs", f"{report.peers}, {report.hubs}"),
        ("faults", ", ".join(report.faults) or "none"),
        ("converged", _when(report.converged_after_s)),
        ("events, actions", f"{report.events:,}, {report.actions:,}{took}"),
        ("connections", f"{report.connections:,}; {report.links_mean} links a peer in the end"),
        (
            "messages a peer and hour",
            f"{report.posts_peer_h} posted, {report.announcements_peer_h} of them to announce",
        ),
        ("heard a peer and hour", report.heard_peer_h),
        ("busiest hub", f"{report.hub_requests_s} requests a second"),
        ("first link", f"p50 {report.first_link_p50_s} s, p99 {report.first_link_p99_s} s"),
        ("a message arrives", f"p50 {report.convergence_p50_s} s, p99 {report.convergence_p99_s} s"),
        ("redundancy", report.redundancy),
        ("reconnects of a pair", f"{report.reconnects_pair_h:.0f} an hour at most"),
        *((name.replace("_", " "), value) for name, value in report.figures.items()),
    ]
    print_table((report.scenario, ""), rows, "")
    if report.violations:
        print()
        shown = [(each.rule, f"{each.time_s:.1f}", each.peer, each.detail) for each in report.violations[:20]]
        print_table(("broken rule", "at s", "peer", ""), shown, "")


def _when(after_s: float | None) -> str:
    if after_s is None:
        return "no"
    return "when the faults were healed" if after_s == 0 else f"{after_s:.0f} s after the faults were healed"


def _write(path: Path, text: str, *, mode: Literal["w", "a"] = "w") -> None:
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as fault:
        raise MisuseError(f"--plot {path}: {fault.strerror}; name another file") from fault


def _quiet(arguments: argparse.Namespace) -> int:
    """Presence alone: what the peers of one hub say and hear, ours beside webrtc-swarm."""
    sizes = presence.SIZES if arguments.peers is None else (arguments.peers,)
    rows = []
    with progress("quiet, sizes", total=len(sizes), quiet=arguments.json) as show:
        for size in sizes:
            rows.append(presence.measure(size, arguments.seed))
            show(len(rows))
    if arguments.json:
        for row in rows:
            print_json(msgspec.to_builtins(row))
        return 0
    headings = ("peers on the hub", "", "announced a peer and hour", "heard a peer and hour", "on the hub a second", "")
    print_table(headings, [cells for row in rows for cells in presence.cells(row)], "")
    return 0
