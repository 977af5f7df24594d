"""How quickly the dashboard answers a key or a click while it shows a peer that knows 1,000 others and changes.

Each figure is the time from the event, as the browser stamps it, until after the next frame was painted. Fifty peers a
second are heard on one more hub, or on one less, all the while. Beside it: the size of the page's files.

    python -m bench.bench_dashboard [--known N] [--rounds N] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Page

from ssb_rtc.dashboard import assets
from tests.browser.crowd_page import crowded
from tests.browser.pages import Board, board, chromium

AIM_MS: Final = 100.0
STATIC_AIM_BYTES: Final = 300_000
WORD: Final = "known"

PROBE: Final = """
window.samples = [];
const painted = event => {
  const kind = event.type;
  const from = event.timeStamp;
  requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => window.samples.push([kind, performance.now() - from]);
    channel.port2.postMessage(null);
  });
};
for (const kind of ["keydown", "click", "wheel"]) addEventListener(kind, painted, { capture: true, passive: true });
"""


async def prepare(page: Page) -> None:
    """Has the page measure itself, from its beginning."""
    await page.add_init_script(PROBE)


async def samples(page: Page) -> list[float]:
    """What was measured since the last time, in milliseconds."""
    await page.wait_for_timeout(100)
    found: list[tuple[str, float]] = await page.evaluate("window.samples.splice(0)")
    return [ms for _, ms in found]


async def search(shown: Board, rounds: int) -> list[float]:
    """A word typed into the search among all peers, and taken back."""
    await shown.view("peers")
    await shown.page.locator("#view-peers input").focus()
    await samples(shown.page)
    for _ in range(rounds):
        await shown.page.keyboard.type(WORD, delay=40)
        for _ in WORD:
            await shown.page.keyboard.press("Backspace", delay=40)
    return await samples(shown.page)


async def views(shown: Board, rounds: int) -> list[float]:
    """From view to view by clicks."""
    await samples(shown.page)
    for _ in range(rounds):
        for name in ("Overview", "Peers", "Timeline", "Feeds", "Hubs"):
            await shown.page.get_by_role("link", name=name, exact=True).click()
    return await samples(shown.page)


async def scrolling(shown: Board, rounds: int) -> list[float]:
    """Through the list of all peers by the wheel."""
    await shown.view("peers")
    await shown.page.locator("#view-peers .long").hover()
    await samples(shown.page)
    for number in range(rounds * 10):
        await shown.page.mouse.wheel(0, 900 if number % 20 < 10 else -900)
        await shown.page.wait_for_timeout(30)
    return await samples(shown.page)


async def sheet(shown: Board, rounds: int) -> list[float]:
    """Why a peer is as it is, opened and closed."""
    await shown.view("peers")
    await shown.page.locator("#view-peers .long").evaluate("list => { list.scrollTop = 0; }")
    await samples(shown.page)
    for _ in range(rounds):
        await shown.page.locator("#view-peers .who").first.click()
        await shown.page.keyboard.press("Escape")
    return await samples(shown.page)


KINDS: Final = {
    "a key in the search": search,
    "a click to another view": views,
    "the wheel": scrolling,
    "a peer opened": sheet,
}


def summary(found: list[float]) -> dict[str, float]:
    """Median, 95th percentile and the most, in milliseconds."""
    ordered = sorted(found)
    return {
        "median_ms": round(statistics.median(ordered), 1),
        "p95_ms": round(ordered[int(len(ordered) * 0.95)], 1),
        "most_ms": round(ordered[-1], 1),
        "events": len(ordered),
    }


def static_bytes() -> int:
    """All files of the page together."""
    return sum(len(asset.body) for path, asset in assets.load().items() if path != "/")


async def measure(executable: str, known: int, rounds: int) -> dict[str, dict[str, float]]:
    """Each kind of event in one page."""
    with tempfile.TemporaryDirectory(prefix="crowd-") as folder:
        async with (
            crowded(Path(folder), known) as urls,
            chromium(executable) as browser,
            board(browser, urls[0], prepare=prepare) as shown,
        ):
            await shown.page.wait_for_timeout(1_000)
            return {name: summary(await act(shown, rounds)) for name, act in KINDS.items()}


def print_table(found: dict[str, Any], known: int) -> None:
    """For people."""
    print(f"{known:,} known peers, 50 changes a second; from the event until after the next frame")
    for name, one in found["latency"].items():
        figures = f"median {one['median_ms']:6.1f} ms   95 % {one['p95_ms']:6.1f} ms   most {one['most_ms']:6.1f} ms"
        print(f"  {name:26} {figures}   of {one['events']}")
    worst = max(one["p95_ms"] for one in found["latency"].values())
    met = "met" if worst < AIM_MS else "NOT met"
    print(f"  aim: under {AIM_MS:g} ms; {met} (95 % of the slowest kind: {worst:.1f} ms)")
    print(f"the page's files: {found['static_bytes']:,} bytes (aim: under {STATIC_AIM_BYTES:,})")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--known", type=int, default=1_000, help="how many peers are known (default: 1000)")
    parser.add_argument("--rounds", type=int, default=8, help="of each kind of event (default: 8)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    executable = shutil.which("chromium")
    if executable is None:
        print("no chromium: apt-get install chromium", file=sys.stderr)
        return 4
    latency = asyncio.run(measure(executable, arguments.known, arguments.rounds))
    found = {"latency": latency, "static_bytes": static_bytes()}
    if arguments.json:
        print(json.dumps(found))
    else:
        print_table(found, arguments.known)
    return 0


if __name__ == "__main__":
    sys.exit(main())
