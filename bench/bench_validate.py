"""Validation of one feed, messages a second: ours on one and on two threads, and ssb-validate 4.1.4 in Node.

    python bench/bench_validate.py [--messages 10000] [--rounds 3] [--node-modules FOLDER] [--json]

Each gets the bytes of the wire and checks everything, signatures included, in memory. The three take turns, so that a
machine that slows down slows all of them; the medians count. Without Node or its packages only ours runs, and the
report says what is missing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ssb_rtc.feeds.canonical import compact
from ssb_rtc.feeds.keys import keys_from_seed
from ssb_rtc.feeds.message import create, message_id
from ssb_rtc.feeds.validate import Job, check_batch, verify_jobs

ROOT = Path(__file__).resolve().parent.parent
BATCH = 500
WARM_UP = 1000
TEXT = "The quick brown fox jumps over the lazy dog, again and again, until the page is full. "

Verify = Callable[[Sequence[Job]], int]


def make_feed(count: int) -> list[bytes]:
    """A feed of messages of about 830 bytes each, as posts of an ordinary conversation are, as bytes of the wire."""
    keys = keys_from_seed(b"bench: one feed, many messages..")
    raws: list[bytes] = []
    previous = None
    for sequence in range(1, count + 1):
        content = {
            "type": "post",
            "text": f"{sequence}: " + (TEXT * 3)[:236],
            "root": "%" + "A" * 43 + "=.sha256",
            "branch": ["%" + "B" * 43 + "=.sha256"],
            "channel": "benchmarks",
            "mentions": [{"link": "@" + "C" * 43 + "=.ed25519", "name": "somebody"}],
        }
        timestamp_ms = 1514517067954 + sequence + (0.001 if sequence % 4 == 0 else 0)
        value = create(keys, content, previous=previous, sequence=sequence, timestamp_ms=timestamp_ms)
        previous = message_id(value)
        raws.append(compact(value))
    return raws


def run_ours(raws: Sequence[bytes], verify: Verify) -> float:
    """Seconds for the whole feed."""
    started = time.perf_counter()
    head = None
    for at in range(0, len(raws), BATCH):
        batch = check_batch(head, raws[at : at + BATCH], verify=verify)
        if batch.error is not None:
            raise SystemExit(f"our own feed was refused: {batch.error}")
        head = batch.head
    return time.perf_counter() - started


def in_halves(pool: ThreadPoolExecutor) -> Verify:
    """`verify_jobs` in this thread and one other."""

    def verify(jobs: Sequence[Job]) -> int:
        middle = len(jobs) // 2
        rest = pool.submit(verify_jobs, jobs[middle:])
        bad = verify_jobs(jobs[:middle])
        bad_in_rest = rest.result()
        return bad if bad >= 0 or bad_in_rest < 0 else middle + bad_in_rest

    return verify


def run_javascript(node: str, modules: Path, feed: Path) -> float:
    """Seconds for the whole feed, as Node measures them."""
    script = Path(__file__).with_name("validate.mjs")
    done = subprocess.run(
        [node, str(script), str(modules), str(feed), str(WARM_UP)], capture_output=True, check=True, text=True
    )
    return float(json.loads(done.stdout)["seconds"])


def what_is_missing(node: str | None, modules: Path) -> str | None:
    """Why ssb-validate can't run here, or None."""
    if node is None:
        return "no Node.js: install it (apt-get install nodejs npm)"
    if not (modules / "ssb-validate").is_dir():
        return f"no ssb-validate in {modules}: make test installs it, or name its folder with --node-modules"
    return None


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the rounds; gives the medians in messages a second, and the ratios to ssb-validate."""
    raws = make_feed(options.messages)
    node = shutil.which("node")
    missing = what_is_missing(node, options.node_modules)
    seconds: dict[str, list[float]] = {"ours_1_thread": [], "ours_2_threads": []}
    if missing is None:
        seconds["ssb_validate"] = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        feed = Path(folder) / "feed.jsonl"
        feed.write_bytes(b"\n".join(raws) + b"\n")
        run_ours(raws[:WARM_UP], in_halves(pool))
        for _ in range(options.rounds):
            seconds["ours_1_thread"].append(run_ours(raws, verify_jobs))
            if node is not None and missing is None:
                seconds["ssb_validate"].append(run_javascript(node, options.node_modules, feed))
            seconds["ours_2_threads"].append(run_ours(raws, in_halves(pool)))
    rates = {name: round(len(raws) / statistics.median(times)) for name, times in seconds.items()}
    found: dict[str, Any] = {
        "bench": "validate",
        "messages": len(raws),
        "bytes_a_message": round(sum(map(len, raws)) / len(raws)),
        "rounds": options.rounds,
        "messages_a_second": rates,
    }
    if missing is None:
        theirs = rates["ssb_validate"]
        found["ratio"] = {name: round(rate / theirs, 2) for name, rate in rates.items() if name != "ssb_validate"}
    else:
        found["missing"] = missing
    return found


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--node-modules", type=Path, default=ROOT / ".node" / "node_modules")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.messages < 1 or options.rounds < 1:
        parser.error("--messages and --rounds are at least 1")
    found = measure(options)
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    lines = [f"{found['messages']} messages of {found['bytes_a_message']} bytes, median of {found['rounds']} rounds"]
    for name, rate in found["messages_a_second"].items():
        ratio = found.get("ratio", {}).get(name)
        lines.append(f"  {name:<16}{rate:>8}/s" + (f"   x{ratio} of ssb-validate" if ratio else ""))
    if "missing" in found:
        lines.append(f"  ssb_validate: {found['missing']}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
