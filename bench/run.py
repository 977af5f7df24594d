"""Runs every benchmark, one after another, and prints each one's table.

    python -m bench.run [NAME ...]

A benchmark that can't run here is left out, with the reason. Exit code 1 when one failed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def no_linux() -> str | None:
    """Memory and CPU time of other processes are read from /proc."""
    return None if sys.platform == "linux" else "needs Linux (/proc)"


def no_wrtc() -> str | None:
    """The bare library is what ours is compared with."""
    return None if importlib.util.find_spec("webrtc") else "needs wrtc: pip install wrtc"


def no_browser() -> str | None:
    """The dashboard is measured in a browser."""
    if importlib.util.find_spec("playwright") is None:
        return "needs playwright: pip install -e '.[dev]'"
    return None if shutil.which("chromium") else "needs chromium: apt-get install chromium"


BENCHES: dict[str, Callable[[], str | None]] = {
    "start": lambda: None,
    "step": lambda: None,
    "validate": lambda: None,
    "channel": no_wrtc,
    "link": lambda: None,
    "hub": no_linux,
    "meet": no_wrtc,
    "storage": lambda: None,
    "replicate": lambda: no_linux() or no_wrtc(),
    "many_feeds": no_linux,
    "sim": lambda: None,
    "dashboard": no_browser,
}
"""What there is, and why it can't run here."""


def machine() -> str:
    """One line on where the figures come from."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        found = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = found[0].partition(":")[2].strip() if found else model
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    return f"{os.cpu_count()} x {model}, {platform.system()}, Python {platform.python_version()}, load {load}"


def run(name: str) -> bool:
    """One benchmark in a process of its own; False when it failed."""
    print(f"== {name}", flush=True)
    missing = BENCHES[name]()
    if missing is not None:
        print(f"left out: {missing}\n", flush=True)
        return True
    began = time.monotonic()
    code = subprocess.run([sys.executable, "-m", f"bench.bench_{name}"], cwd=ROOT, check=False).returncode
    print(f"({time.monotonic() - began:.0f} s{'' if code == 0 else f', failed with code {code}'})\n", flush=True)
    return code == 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHES)}; all without any")
    names = parser.parse_args().names or list(BENCHES)
    if unknown := set(names) - set(BENCHES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    print(f"{time.strftime('%Y-%m-%d')}; {machine()}\n", flush=True)
    failed = [name for name in names if not run(name)]
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
