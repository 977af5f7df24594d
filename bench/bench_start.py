"""How long a person waits: until `ssb-rtc --help` stands there, and from `ssb-rtc start` until the peer listens.

    python bench/bench_start.py [--rounds 10] [--json]

Each is a whole process, run in turns with `python -c pass`, whose time nobody can get below; on a folder that exists,
and without looking around in the local network. `start` counts until its line of JSON, which it prints when its sockets
listen; `ended` is from SIGTERM to the end of the process. CPU time is that of the whole life of the process, user and
system: on a machine that has other work to do, it tells more than the clock. Aims: 0.3 s for --help, 1.5 s for start.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROUNDS = 10
OURS = (sys.executable, "-m", "ssb_rtc.cli")
AIMS_S = {"ssb-rtc --help": 0.3, "ssb-rtc start": 1.5}


def _cpu_s() -> float:
    """CPU time of all processes of ours that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _run(*command: str) -> float:
    """Seconds until the command has ended."""
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def _start(folder: Path, *flags: str) -> tuple[float, float]:
    """Seconds until a peer listens, and from SIGTERM until it has ended."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SSB_RTC_")}
    began = time.perf_counter()
    command = (*OURS, "start", "--json", "--no-lan", "--path", str(folder), *flags)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        took_s = time.perf_counter() - began
        if not line:
            raise SystemExit(f"start failed: {process.communicate()[1].decode()}")
        process.terminate()
        ending = time.perf_counter()
        process.wait()
        return took_s, time.perf_counter() - ending


class Took:
    """Seconds by the clock, and of CPU time."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}

    def note(self, what: str, wall_s: float, cpu_s: float) -> None:
        """One more."""
        self.wall.setdefault(what, []).append(wall_s)
        self.cpu.setdefault(what, []).append(cpu_s)


def measure(rounds: int) -> Took:
    """One of each kind after another, so many times."""
    took = Took()

    with tempfile.TemporaryDirectory(prefix="ssb-rtc-bench-") as scratch:
        folder = Path(scratch)
        short: dict[str, Callable[[], float]] = {
            "python -c pass": lambda: _run(sys.executable, "-c", "pass"),
            "ssb-rtc --help": lambda: _run(*OURS, "--help"),
            "ssb-rtc whoami": lambda: _run(*OURS, "whoami", "--path", str(folder / "peer")),
            "ssb-rtc status": lambda: _run(*OURS, "status", "--path", str(folder / "peer")),
        }
        _start(folder / "peer")  # makes the identity, and has the files of Python compiled
        for _ in range(rounds):
            for what, run in short.items():
                before_s = _cpu_s()
                took.note(what, run(), _cpu_s() - before_s)
            for what, flags in (("ssb-rtc start", ()), ("start --net 0 --ws 0 --with-hub 0", _LISTENERS)):
                before_s = _cpu_s()
                listens_s, ended_s = _start(folder / "peer", *flags)
                took.note(what, listens_s, _cpu_s() - before_s)
                took.wall.setdefault("ended" if not flags else "ended, with all listeners", []).append(ended_s)
    return took


_LISTENERS = ("--net", "0", "--ws", "0", "--with-hub", "0")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    took = measure(options.rounds)
    if options.json:
        print(json.dumps({"wall_s": took.wall, "cpu_s": took.cpu}))
        return
    least = statistics.median(took.wall["python -c pass"])
    print(f"{'':<36}{'median':>9}{'least':>9}{'most':>9}{'CPU':>9}{'of python':>11}  aim")
    for what, seconds in took.wall.items():
        median = statistics.median(seconds)
        cpu = f"{statistics.median(took.cpu[what]):>7.3f} s" if what in took.cpu else " " * 9
        aim = f"{AIMS_S[what]:.1f} s, {'kept' if median < AIMS_S[what] else 'MISSED'}" if what in AIMS_S else ""
        wall = f"{median:>7.3f} s{min(seconds):>7.3f} s{max(seconds):>7.3f} s"
        print(f"{what:<36}{wall}{cpu}{median / least:>10.1f}x  {aim}")


if __name__ == "__main__":
    main()
