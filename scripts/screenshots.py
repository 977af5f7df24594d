"""Take the pictures of the dashboard in docs/images: `python -m scripts.screenshots [--folder DIR] [VIEW ...]`.

They show a real run on this machine: a hub, and a few peers that meet on it. Needs Chromium and playwright.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.async_api import Browser

from tests.browser.pages import DESKTOP, TELEPHONE, Board, board, chromium
from tests.e2e.processes import connected, run_ok, running

TARGET: Final = Path(__file__).resolve().parent.parent / "docs" / "images"
BYTES_MAX: Final = 100_000
SETTLE_MS: Final = 1_500
"""So long the figures of a second come in before a picture."""

PEOPLE: Final = {
    "mara": ("Mara", ["Hello from the harbour.", "The ferry is late again; time to read everybody's posts."]),
    "jonas": (
        "Jonas",
        ["No server of my own, and it works from the train.", "A tunnel cut me off; it came back by itself."],
    ),
    "ines": ("Ines", ["Repaired the old loom today. Pictures follow."]),
    "tomas": ("Tomas", ["Who else is on the island network this weekend?"]),
}


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: a view in colours and a size."""

    view: str
    name: str
    dark: bool = False
    size: tuple[int, int] = DESKTOP


SHOTS: Final = (
    Shot("home", "dashboard-light"),
    Shot("home", "dashboard-dark", dark=True),
    Shot("home", "dashboard-phone", size=TELEPHONE),
    Shot("messages", "messages-light"),
    Shot("messages", "messages-phone", dark=True, size=TELEPHONE),
    Shot("peers", "peers-dark", dark=True),
    Shot("hubs", "hubs-light"),
    Shot("feeds", "feeds-light"),
    Shot("timeline", "timeline-dark", dark=True),
    Shot("invite", "invite-phone", size=TELEPHONE),
    Shot("settings", "settings-light"),
)


@asynccontextmanager
async def island(folder: Path) -> AsyncIterator[str]:
    """A hub and people who follow each other on it; gives the address of the first one's dashboard."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running(folder / "hub", "hub", "serve", "--port", "0"))
        url = hub.ready["url"]
        ids = {}
        for who, (name, posts) in PEOPLE.items():
            path = ("--path", str(folder / who))
            ids[who] = (await run_ok("init", "--json", *path)).json["id"]
            await run_ok("publish", *path, *_about(ids[who], name))
            for text in posts:
                await run_ok("publish", text, *path)
        first = next(iter(PEOPLE))
        for who in PEOPLE:
            for other in PEOPLE:
                if who != other and first in {who, other}:
                    await run_ok("follow", ids[other], "--path", str(folder / who))
        dead = ("--hub", "http://127.0.0.1:9")
        peers = {}
        for who in PEOPLE:
            more = dead if who == first else ()
            words = ("start", "--path", str(folder / who), "--hub", url, *more)
            peers[who] = await stack.enter_async_context(running(folder / who, *words))
        for who in list(PEOPLE)[1:]:
            await connected(folder / first, ids[who])
        yield peers[first].ready["dashboard"]


def _about(author: str, name: str) -> tuple[str, ...]:
    return ("--content", f'{{"type":"about","about":"{author}","name":"{name}"}}')


async def take(browser: Browser, url: str, shots: list[Shot], target: Path, fresh: Path) -> None:
    """All pictures, each in a page of its own."""
    for number, shot in enumerate(shots):
        address = url if number == 0 else (await run_ok("dashboard", "--path", str(fresh))).out.strip()
        async with board(browser, address, size=shot.size, dark=shot.dark) as shown:
            await shown.view(shot.view)
            await prepare(shown, shot)
            await shown.page.wait_for_timeout(SETTLE_MS)
            place = target / f"{shot.name}.png"
            await shown.page.screenshot(path=place)
            for complaint in shown.complaints:
                print(f"{shot.name}: {complaint}", file=sys.stderr)
            size = place.stat().st_size
            print(f"{place.name}: {size:,} bytes{' (too large)' if size > BYTES_MAX else ''}")


async def prepare(shown: Board, shot: Shot) -> None:
    """Brings a view to where it has something to show."""
    if shot.view == "invite":
        await shown.page.get_by_role("button", name="Make a code").click()
        await shown.page.wait_for_timeout(SETTLE_MS)
    if shot.view == "timeline":
        await shown.view("hubs")
        await shown.page.get_by_role("textbox", name="Address of a hub").fill("https://hub.island.example")
        await shown.page.get_by_role("button", name="Add", exact=True).click()
        await shown.view("timeline")
        await shown.page.get_by_label("Which steps").select_option("hubs")
        await shown.page.locator(".timeline > li").first.wait_for()
        await shown.page.locator(".toast").wait_for(state="detached")
    if shot.view == "settings":
        # Below the card that names the folder of this run.
        await shown.page.locator("#view-settings .tools").evaluate("tools => scrollTo(0, tools.offsetTop)")
    if shot.view == "messages":
        await shown.page.locator(".post").first.wait_for()


async def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"{', '.join(shot.name for shot in SHOTS)}; all without"
    )
    parser.add_argument("--folder", type=Path, default=TARGET)
    arguments = parser.parse_args()
    executable = shutil.which("chromium")
    if executable is None:
        print("no chromium: apt-get install chromium", file=sys.stderr)
        return 4
    arguments.folder.mkdir(parents=True, exist_ok=True)
    shots = [shot for shot in SHOTS if not arguments.names or shot.name in arguments.names]
    with tempfile.TemporaryDirectory(prefix="island-") as folder:
        async with island(Path(folder)) as url, chromium(executable) as browser:
            await take(browser, url, shots, arguments.folder, Path(folder) / next(iter(PEOPLE)))
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
