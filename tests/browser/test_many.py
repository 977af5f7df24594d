"""The dashboard of a peer that knows 1,000 others and changes all the time: usable and without barriers. About 20 s."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser.crowd_page import crowded
from tests.browser.pages import TELEPHONE, Board, board

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]

VIEWS = ("home", "messages", "peers", "hubs", "feeds", "timeline", "invite", "settings")
BAD = {"serious", "critical"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def urls(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[str]]:
    async with crowded(tmp_path_factory.mktemp("crowded")) as found:
        yield found


@pytest.fixture(scope="module")
def axe(node_packages: Path) -> str:
    source = node_packages / "axe" / "node_modules" / "axe-core" / "axe.min.js"
    if not source.is_file():
        pytest.skip("axe-core is not installed: run scripts/install_node.sh")
    return source.read_text(encoding="utf-8")


async def test_a_thousand_known_peers_are_usable(browser: Browser, urls: list[str]) -> None:
    """Only what can be seen is in the document; rows follow what happens; searching and scrolling find everybody."""
    async with board(browser, urls.pop()) as shown:
        page = shown.page
        await expect(page.get_by_text("1,000 known")).to_be_visible()
        await expect(page.locator("#map-note")).to_contain_text("1,000 peers; the 120 that matter most are drawn")
        assert await page.locator(".map .peer").count() == 120
        await shown.view("peers")
        await expect(page.locator("#peers-amount")).to_have_text("1,000 known peers")
        rows = page.locator("#view-peers .long li")
        assert await rows.count() < 60
        await expect(rows.first).to_have_attribute("aria-setsize", "1000")

        await page.locator("#view-peers .long").focus()
        await page.keyboard.press("End")
        last = page.locator('#view-peers .long li[aria-posinset="1000"] .who')
        name = await last.get_attribute("data-id")
        assert name is not None
        await page.locator("#view-peers input").fill(name)
        await expect(rows).to_have_count(1)
        await rows.locator(".who").click()
        await expect(page.get_by_role("dialog").get_by_text(name)).to_be_visible()
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="Linked", exact=True).click()
        await expect(page.get_by_text("Nobody matches")).to_be_visible()

        await shown.view("timeline")
        await expect(page.locator(".timeline > li").nth(20)).to_be_visible()
        assert await page.locator(".timeline > li").count() <= 150
        assert await page.evaluate("document.querySelectorAll('*').length") < 6_000
        assert shown.complaints == []


async def violations(page: Page, axe: str, *rules: str) -> list[str]:
    """What axe-core finds on the page as it is, that is serious."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(axe)
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = list(rules)
    found = await page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
        if one["impact"] in BAD
    ]


async def views_without_barriers(shown: Board, axe: str, *rules: str, views: tuple[str, ...] = VIEWS) -> None:
    """Goes through the views."""
    for view in views:
        await shown.view(view)
        await settled(shown.page, view)
        assert (view, await violations(shown.page, axe, *rules)) == (view, [])


async def settled(page: Page, view: str) -> None:
    """Waits until the view shows something."""
    first = {
        "messages": ".post",
        "peers": "#view-peers .long li",
        "timeline": ".timeline > li",
        "settings": ".settings tbody tr",
    }.get(view)
    if first is not None:
        await page.locator(first).first.wait_for()


async def test_no_view_has_barriers(browser: Browser, urls: list[str], axe: str) -> None:
    """In light colours with all rules; the sheet, the list of people and given-out codes too."""
    async with board(browser, urls.pop()) as shown:
        await views_without_barriers(shown, axe)
        await shown.view("messages")
        await shown.page.get_by_label("Private", exact=True).check()
        await shown.page.get_by_role("combobox").fill("@A")
        await shown.page.get_by_role("combobox").press("ArrowDown")
        await expect(shown.page.get_by_role("option", selected=True)).to_be_visible()
        assert await violations(shown.page, axe) == []
        await shown.view("invite")
        await shown.page.get_by_role("button", name="Make a code").locator("visible=true").click()
        await shown.page.locator(".codes li").first.wait_for()
        assert await violations(shown.page, axe) == []
        await shown.view("peers")
        await shown.page.locator("#view-peers .who").first.click()
        await shown.page.locator("#sheet .bullets li").first.wait_for()
        await shown.page.get_by_role("dialog").get_by_text("Block", exact=True).click()
        assert await violations(shown.page, axe) == []
        assert shown.complaints == []


async def test_dark_colours_and_a_telephone_have_no_barriers(browser: Browser, urls: list[str], axe: str) -> None:
    """Contrast in the dark, everything on a telephone, where nothing is wider than the screen."""
    async with board(browser, urls.pop(), dark=True, size=TELEPHONE) as shown:
        page = shown.page
        await page.get_by_role("button", name="More").click()
        await expect(page.get_by_role("link", name="Timeline")).to_be_visible()
        await page.get_by_role("link", name="Timeline").click()
        await expect(page.get_by_role("heading", name="Timeline")).to_be_focused()
        for view in VIEWS:
            await shown.view(view)
            await settled(page, view)
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert (view, wide) == (view, TELEPHONE[0])
        await views_without_barriers(shown, axe, "color-contrast", "target-size", "scrollable-region-focusable")
        assert shown.complaints == []


async def test_the_theme_is_kept(browser: Browser, urls: list[str]) -> None:
    async with board(browser, urls.pop()) as shown:
        button = shown.page.locator("#theme")
        await button.click()
        await button.click()
        await expect(button).to_have_text("Theme: dark")
        dark = await shown.page.evaluate("getComputedStyle(document.body).backgroundColor")
        await shown.page.reload()
        await shown.live()
        await expect(button).to_have_text("Theme: dark")
        assert await shown.page.evaluate("getComputedStyle(document.body).backgroundColor") == dark == "rgb(15, 20, 19)"
        assert shown.complaints == []
