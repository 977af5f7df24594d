"""A dashboard in headless Chromium, driven by playwright. One browser serves many pages, each with its own profile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
)
LIMIT_MS: Final = 20_000
expect.set_options(timeout=LIMIT_MS)
DESKTOP: Final = (1120, 740)
TELEPHONE: Final = (360, 740)


class Board:
    """A page that shows a dashboard."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text} ({message.location})")

    async def view(self, name: str) -> None:
        """Opens a view as its link does."""
        await self.page.evaluate("name => { location.hash = `#/${name}`; }", name)
        await self.page.locator(f"#view-{name}").wait_for(state="visible")

    async def live(self) -> None:
        """Waits until it shows the peer's state."""
        await self.page.locator('#live[data-state="live"]').wait_for()


@asynccontextmanager
async def chromium(executable: str) -> AsyncIterator[Browser]:
    """A browser. Nothing is downloaded: it is the one of this machine."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, headless=True, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def board(
    browser: Browser,
    url: str,
    *,
    size: tuple[int, int] = DESKTOP,
    dark: bool = False,
    still: bool = True,
    prepare: Callable[[Page], Any] | None = None,
) -> AsyncIterator[Board]:
    """A dashboard by its address, live, in a profile of its own. `still`: nothing moves for show."""
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce" if still else "no-preference",
        permissions=["clipboard-read", "clipboard-write"],
        locale="en-GB",
        timezone_id="UTC",
    )
    context.set_default_timeout(LIMIT_MS)
    try:
        page = await context.new_page()
        shown = Board(page)
        if prepare is not None:
            await prepare(page)
        await page.goto(url)
        await shown.live()
        yield shown
    finally:
        await context.close()
