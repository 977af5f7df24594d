"""Dashboards of real `ssb-rtc start` processes that meet on a real hub, in a real browser. About 25 s."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from ssb_rtc.peer import connect_local
from ssb_rtc.testing import keys_of
from tests.browser.pages import TELEPHONE, Board, board
from tests.dashboard.visitor import served
from tests.e2e.processes import Running, eventually, running
from tests.plugins.test_sync_limits import FAR, NEAR, claim, follow_near_and_far, peer_in

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]

EVIL = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
EVIL_NAME = "Bo <img src=x onerror=alert(1)>"
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)
"""A picture of one pixel."""


class Island:
    """Amy, who has just started, and Bo, who has a name and a post; a hub that both can reach."""

    def __init__(self, hub: Running, amy: Running, bo: Running, folder: Path) -> None:
        self.hub = hub
        self.amy = amy
        self.bo = bo
        self.folder = folder
        self.hub_url: str = hub.ready["url"]

    async def call(self, who: str, method: str, *args: Any) -> Any:
        """What a command of somebody's would call."""
        link = await connect_local(self.folder / who)
        try:
            return await link.call(method, *args)
        finally:
            await link.close()

    async def url(self, who: str) -> str:
        """A fresh address of somebody's dashboard."""
        return str(await self.call(who, "dashboard.url"))

    async def linked(self, who: str, other: str) -> None:
        """Waits until they are linked."""

        async def look() -> bool:
            peers = (await self.call(who, "rtc.status"))["peers"]
            return any(row["id"] == other and row["state"] == "CONNECTED" for row in peers)

        await eventually(f"{who} linked with {other}", look)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def island(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Island]:
    folder = tmp_path_factory.mktemp("island")
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running(folder, "hub", "serve", "--port", "0"))
        path = {who: ("--path", str(folder / who)) for who in ("bo", "amy")}
        started = [
            stack.enter_async_context(running(folder / "logs" / who, "start", *path[who], *more))
            for who, more in (("bo", ("--hub", hub.ready["url"])), ("amy", ()))
        ]
        bo, amy = await asyncio.gather(*started)
        found = Island(hub, amy, bo, folder)
        await found.call("bo", "publish", {"type": "about", "about": bo.ready["id"], "name": EVIL_NAME})
        await found.call("bo", "publish", {"type": "post", "text": "Bo writes from the other side"})
        yield found


async def follow(page: Page, feed: str) -> None:
    """Follows somebody by their id, as the first steps propose."""
    await page.get_by_label("First steps").get_by_label("An id or a code").fill(feed)
    await page.get_by_label("First steps").get_by_role("button", name="Follow").click()
    await expect(page.locator(".toast").last).to_contain_text("Done")


async def test_from_the_first_run_to_a_friends_post(browser: Browser, island: Island) -> None:
    """And what a friend wrote as HTML, in a name or a post, is text."""
    async with board(browser, island.amy.ready["dashboard"]) as amy:
        page = amy.page
        assert "token" not in page.url, "the token leaves the address bar"
        steps = page.get_by_label("First steps")
        await expect(steps.locator("li")).to_have_count(4)
        await steps.get_by_label("Your name").fill("Amy")
        await steps.get_by_role("button", name="Publish it").click()
        await steps.get_by_label("Address of a hub").fill(island.hub_url)
        await steps.get_by_role("button", name="Add", exact=True).click()
        await follow(page, island.bo.ready["id"])
        await expect(steps.locator("li.done")).to_have_count(3)
        await expect(steps.locator("li", has_text="Share your code")).not_to_have_class("done")
        await island.call("bo", "friends.follow", island.amy.ready["id"])
        await expect(steps).to_be_hidden()
        await expect(page.get_by_role("table", name="Links").locator("tbody tr")).to_have_count(1)
        await expect(page.locator(".map .peer.CONNECTED")).to_have_count(1)
        await expect(page.locator(".map .hub.CONNECTED")).to_have_count(1)
        await amy.view("messages")
        await expect(page.locator(".post", has_text="Bo writes from the other side")).to_be_visible()

        await island.call("bo", "publish", {"type": "post", "text": EVIL})
        post = page.locator(".post .words", has_text="onerror")
        await expect(post).to_have_text(EVIL)
        await expect(page.locator(".post .name").first).to_have_text(EVIL_NAME)
        assert await page.locator("main img, main script").count() == 0
        assert await page.title() == "Messages - ssb-rtc"
        assert amy.complaints == []


async def test_what_is_written_in_one_browser_appears_in_the_others(browser: Browser, island: Island) -> None:
    """A post, a reply and a picture."""
    await island.linked("amy", island.bo.ready["id"])
    async with board(browser, await island.url("amy")) as amy, board(browser, await island.url("bo")) as bo:
        await amy.view("messages")
        await bo.view("messages")
        await write(amy, "Written in a browser")
        theirs = bo.page.locator(".post", has_text="Written in a browser")
        await expect(theirs).to_be_visible()

        await theirs.get_by_role("button", name="Reply").click()
        await expect(bo.page.get_by_label("Write a reply")).to_be_focused()
        await bo.page.get_by_label("Write a reply").fill("Read in another one")
        await bo.page.get_by_role("button", name="Publish").click()
        reply = amy.page.locator(".post", has_text="Read in another one")
        await reply.get_by_role("button", name="Show the conversation").click()
        await expect(amy.page.locator(".post")).to_have_count(2)
        await amy.page.get_by_role("button", name="Back to all").click()

        await amy.page.locator("input[type=file]").set_input_files(
            {"name": "dot.png", "mimeType": "image/png", "buffer": PIXEL}
        )
        await expect(amy.page.get_by_label("Write a post")).to_have_value(re.compile(r"^!\[dot\.png\]\(&"))
        await amy.page.get_by_role("button", name="Publish").click()
        # The posts are drawn again while the picture is asked for.
        asked, drawn = asyncio.Event(), asyncio.Event()

        async def hold(route: Route) -> None:
            asked.set()
            await drawn.wait()
            await route.continue_()

        await bo.page.route("**/api/want", hold)
        await bo.page.get_by_role("button", name="Show the picture “dot.png”").click()
        async with asyncio.timeout(20):
            await asked.wait()
        button = bo.page.get_by_role("button", name="Show the picture “dot.png”")
        await bo.page.get_by_role("button", name="Mine").click()
        await expect(button).to_have_count(0)
        await bo.page.get_by_role("button", name="Everything").click()
        await expect(button).to_be_enabled()
        drawn.set()
        await expect(bo.page.get_by_alt_text("dot.png")).to_have_js_property("naturalWidth", 1)
        assert [*amy.complaints, *bo.complaints] == []


async def test_private_messages_stand_apart_from_public_ones(browser: Browser, island: Island) -> None:
    """On both sides: under "Private" and "Everything" only, as they come and when they are asked for."""
    await island.linked("amy", island.bo.ready["id"])
    async with board(browser, await island.url("amy")) as amy, board(browser, await island.url("bo")) as bo:
        await amy.view("messages")
        await bo.view("messages")
        note = amy.page.get_by_text("A file is not sealed with the message")
        await expect(note).to_be_hidden()
        await amy.page.get_by_label("Private", exact=True).check()
        await expect(note).to_be_visible()
        await expect(amy.page.get_by_role("button", name="Add a file")).to_have_accessible_description(
            re.compile("whoever learns its id can fetch it")
        )
        people = amy.page.get_by_role("combobox", name="Only these can read it; add somebody")
        await people.press_sequentially("bo")
        offered = amy.page.get_by_role("option", name=EVIL_NAME)
        await expect(offered).to_be_visible()
        await people.press("ArrowDown")
        await expect(offered).to_have_attribute("aria-selected", "true")
        await people.press("Enter")
        await expect(amy.page.locator(".chip")).to_have_text(re.compile(re.escape(EVIL_NAME)))
        await expect(people).to_be_focused()
        await expect(people).to_have_value("")
        await amy.page.get_by_role("button", name=f"Without {EVIL_NAME}").click()
        await expect(offered).to_be_visible()
        await people.press("Escape")
        await expect(offered).to_be_hidden()
        namesake = "async ([id, name]) => (await import('/js/store.js')).learnName(id, name)"
        await amy.page.evaluate(namesake, [keys_of("another bo").id, EVIL_NAME])
        await people.fill(EVIL_NAME)
        await expect(offered).to_have_count(2)
        await people.press("Enter")
        await expect(amy.page.locator(".toast.fault")).to_contain_text("2 people call themselves")
        await expect(amy.page.locator(".chip")).to_have_count(0)
        await people.fill(island.bo.ready["id"])
        await people.press("Enter")
        await amy.page.get_by_label("Write a private message").fill("For Bo only")
        await amy.page.get_by_role("button", name="Send").click()
        await expect(amy.page.locator(".toast").last).to_contain_text("under “Private”")
        await write(amy, "For everybody")
        for page in (amy.page, bo.page):
            await expect(page.locator(".post", has_text="For everybody")).to_be_visible()
            sealed = page.locator(".post.private", has_text="For Bo only")
            assert await sealed.count() == 0
            for tab, times in (("Posts", 0), ("Everything", 1), ("Mine", 0), ("Private", 1), ("Posts", 0)):
                await page.get_by_role("button", name=tab, exact=True).click()
                await expect(sealed).to_have_count(times)

        await bo.page.get_by_role("button", name="Private", exact=True).click()
        theirs = bo.page.locator(".post.private", has_text="For Bo only")
        await theirs.get_by_role("button", name="Reply").click()
        await bo.page.get_by_label("Write a reply").fill("For Amy only")
        await bo.page.get_by_role("button", name="Send").click()
        await amy.page.get_by_role("button", name="Private", exact=True).click()
        reply = amy.page.locator(".post.private", has_text="For Amy only")
        await reply.get_by_role("button", name="Show the conversation").click()
        await expect(amy.page.get_by_role("heading", name="One conversation")).to_be_visible()
        await expect(amy.page.locator(".post.private")).to_have_count(2)
        assert [*amy.complaints, *bo.complaints] == []


async def test_a_page_that_somebody_posted_is_saved_and_never_opened(browser: Browser, island: Island) -> None:
    """What could run code is a file to keep, and nothing of it is shown."""
    active = f"<!doctype html>{EVIL}".encode()
    async with board(browser, await island.url("amy")) as amy:
        page = amy.page
        await amy.view("messages")
        await page.locator("input[type=file]").set_input_files(
            {"name": "page.html", "mimeType": "text/html", "buffer": active}
        )
        await expect(page.get_by_label("Write a post")).to_have_value(re.compile(r"^\[page\.html\]\(&"))
        await page.get_by_role("button", name="Publish").click()
        async with page.expect_download() as downloading:
            await page.get_by_role("button", name="Save the file “page.html”").first.click()
        saved = await (await downloading.value).path()
        assert saved.read_bytes() == active
        assert len(page.context.pages) == 1
        assert await page.title() == "Messages - ssb-rtc"
        assert amy.complaints == []


ODD = (
    {"type": "post", "text": {"a": 1}},
    {"type": "post", "text": "x" * 5_000},
    {"type": "post", "text": "[a](javascript:alert(1)) ![b](http://127.0.0.1/b.png) [c](&c) \u202ed"},
    {"type": "contact", "contact": [1], "following": True},
    {"type": "about", "about": {"link": 3}, "name": ["x"]},
    {"type": "vote", "vote": None},
    {"type": "odd", "__proto__": {"x": 1}, "constructor": 1},
)


async def test_odd_messages_are_shown_as_what_they_are(browser: Browser, island: Island) -> None:
    """Fields of other types than usual, links that are none, and a word that is wider than a telephone."""
    for content in ODD:
        await island.call("bo", "publish", content)
    async with board(browser, await island.url("bo"), size=TELEPHONE) as bo:
        page = bo.page
        await bo.view("messages")
        await page.get_by_role("button", name="Everything").click()
        await expect(page.locator(".post.minor", has_text="published a message of the type odd")).to_be_visible()
        for more in await page.get_by_role("button", name="Details").all():
            await more.click()
        shown = page.locator(".post .words", has_text="javascript:alert(1)")
        await expect(shown).to_contain_text("[a](javascript:alert(1))")
        assert await shown.locator("a, img, button").count() == 1, "the address of a picture is a link and no picture"
        assert await page.evaluate("document.documentElement.scrollWidth") == TELEPHONE[0]
        assert bo.complaints == []


async def test_a_code_from_one_browser_is_used_in_another(browser: Browser, island: Island) -> None:
    """By somebody who has just started and knows no hub: the code names one."""
    async with (
        running(island.folder / "logs" / "cleo", "start", "--path", str(island.folder / "cleo")) as cleo,
        board(browser, await island.url("amy")) as amy,
        board(browser, cleo.ready["dashboard"]) as theirs,
    ):
        await amy.view("invite")
        await amy.page.get_by_role("button", name="Make a code").locator("visible=true").click()
        await expect(amy.page.get_by_alt_text("The code as a QR code")).not_to_have_js_property("naturalWidth", 0)
        code = await amy.page.get_by_label("The code", exact=True).input_value()
        given = amy.page.locator(".codes li")
        await expect(given).to_contain_text(["not used yet, 7 days left"])
        steps = theirs.page.get_by_label("First steps")
        await steps.get_by_label("An id or a code").fill(code)
        await steps.get_by_role("button", name="Follow").click()
        await expect(theirs.page.get_by_role("table", name="Links").get_by_text("Amy")).to_be_visible()
        await theirs.view("messages")
        await expect(theirs.page.locator(".post", has_text="Written in a browser")).to_be_visible()
        await expect(given).to_contain_text([re.compile("usedRemove$")])

        await amy.page.get_by_label("A note").fill(EVIL_NAME)
        await amy.page.get_by_role("button", name="Make a code").locator("visible=true").click()
        await expect(given).to_have_count(2)
        await expect(given.get_by_text(EVIL_NAME, exact=True)).to_have_count(1)
        await amy.page.get_by_role("button", name=f"Take back: {EVIL_NAME}").press("Enter")
        await expect(given).to_have_count(1)
        await expect(given.get_by_role("button")).to_be_focused()
        await expect(amy.page.get_by_alt_text("The code as a QR code")).to_have_count(0)
        assert len(await island.call("amy", "welcome.list")) == 1
        assert [*amy.complaints, *theirs.complaints] == []


async def test_the_question_before_a_large_first_sync_is_answered(browser: Browser, tmp_path: Path) -> None:
    """In this process, where a peer can be had to claim a feed that nobody writes in a test."""
    network = os.urandom(32)
    async with (
        peer_in(tmp_path / "holder", network, online=True, lan=False) as holder,
        peer_in(tmp_path / "reader", network, online=True, lan=False) as reader,
        served(reader) as dashboard,
    ):
        for feed in (NEAR, FAR):
            await holder.friends.follow(feed)
        claim(holder, FAR, 150_000)
        await follow_near_and_far(reader)
        await reader.connect(holder.addresses[0])
        async with board(browser, dashboard.new_url()) as shown:
            question = shown.page.get_by_role("group", name="Question")
            await expect(question).to_contain_text("150,000 messages (about 119 MB) of 1 feed wait to be fetched")
            await question.get_by_role("button", name="Only whom I follow").click()
            await expect(shown.page.locator("#banner")).to_be_empty()
            assert reader.status()["warnings"] == []
            assert shown.complaints == []


async def write(shown: Board, text: str) -> None:
    """Publishes a post, by the keyboard."""
    await shown.page.get_by_label("Write a post").fill(text)
    await shown.page.get_by_label("Write a post").press("Control+Enter")
    await expect(shown.page.locator(".post", has_text=text)).to_be_visible()


async def test_why_a_peer_is_as_it_is_and_what_can_be_done(browser: Browser, island: Island) -> None:
    """By the keyboard alone: search, open, read, block, unblock."""
    async with board(browser, await island.url("amy")) as amy:
        page = amy.page
        await amy.view("peers")
        await page.get_by_label("Search").locator("visible=true").fill(island.bo.ready["id"])
        await expect(page.locator("#view-peers .who")).to_have_count(1)
        await page.locator("#view-peers .who").focus()
        await page.keyboard.press("Enter")
        sheet = page.get_by_role("dialog")
        await expect(sheet.locator(".badge")).to_have_text("linked")
        await expect(sheet.locator(".bullets").first.locator("li").first).to_be_visible()
        await sheet.get_by_text("Block", exact=True).click()
        await sheet.get_by_label("Reason (public, may stay empty)").fill("a try")
        await sheet.get_by_role("button", name="Block them").click()
        await expect(sheet.locator(".badge")).to_have_text("blocked")
        await sheet.get_by_role("button", name="Unblock").click()
        await sheet.get_by_role("button", name="Follow", exact=True).click()
        await expect(sheet.get_by_role("button", name="Unfollow")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(sheet).to_be_hidden()
        await expect(page.locator("#view-peers .who")).to_be_focused()
        assert amy.complaints == []


async def test_the_timeline_can_be_filtered_and_paused(browser: Browser, island: Island) -> None:
    async with board(browser, await island.url("bo")) as bo:
        page = bo.page
        await bo.view("timeline")
        await island.call("bo", "rtc.addHub", "http://127.0.0.1:9")
        await expect(page.locator(".timeline .action", has_text="Hub address added").first).to_be_visible()
        await page.get_by_label("Filter").fill("127.0.0.1:9")
        await page.get_by_role("button", name="Pause").click()
        before = await page.locator(".timeline > li").count()
        assert before > 0
        await island.call("bo", "rtc.removeHub", "http://127.0.0.1:9")
        await expect(page.locator("#view-timeline p.small")).to_contain_text("came since")
        assert await page.locator(".timeline > li").count() == before
        await page.get_by_role("button", name="Go on").click()
        await expect(page.locator(".timeline .action", has_text="Hub address removed")).to_be_visible()
        await page.get_by_label("Filter").fill("no step has this word")
        await expect(page.locator(".timeline > li")).to_have_count(0)
        await expect(page.get_by_text("Nothing to show")).to_be_visible()
        assert bo.complaints == []


async def test_settings_are_shown_with_their_sources(browser: Browser, island: Island) -> None:
    async with board(browser, await island.url("bo")) as bo:
        await bo.view("settings")
        row = bo.page.locator(".settings tbody tr", has=bo.page.get_by_text("--hub", exact=True))
        await expect(row).to_contain_text(island.hub_url)
        await expect(row.locator(".tag")).to_have_text("flag")
        await bo.page.get_by_label("Search").locator("visible=true").fill("turn")
        await expect(bo.page.locator(".settings tbody tr", has_text="--turn")).to_be_visible()
        assert bo.complaints == []


async def test_a_page_that_has_no_session_says_what_to_do(browser: Browser, island: Island) -> None:
    """And the used address opens nothing for another browser."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(island.bo.ready["dashboard"].partition("#")[0])
    await expect(page.get_by_role("heading", name="This page is locked")).to_be_visible()
    await expect(page.get_by_text("ssb-rtc dashboard")).to_be_visible()
    await page.goto(f"{island.amy.ready['dashboard']}")
    await expect(page.locator("#view-locked .lead")).to_contain_text("used up")
    await context.close()


async def test_a_hub_that_is_killed_changes_on_the_screen(browser: Browser, island: Island) -> None:
    """Afterwards there is no hub, so this stands near the end."""
    async with board(browser, await island.url("amy")) as amy:
        await amy.view("hubs")
        row = amy.page.locator(".hubs tbody tr")
        await expect(row.locator(".badge")).to_have_text("connected")
        island.hub.kill()
        await expect(row.locator(".badge")).not_to_have_text("connected")
        await expect(row.locator(".history rect.CONNECTED")).to_have_count(1)
        await row.get_by_role("button").click()
        await expect(amy.page.get_by_role("dialog").locator(".bullets li").first).to_be_visible()
        assert amy.complaints == []


async def test_a_page_whose_peer_has_ended_says_so(browser: Browser, island: Island) -> None:
    """And takes no order meanwhile. The last of the file: afterwards Bo is gone."""
    async with board(browser, await island.url("bo"), prepare=lambda page: page.clock.install()) as bo:
        assert await island.bo.end() == 0
        await expect(bo.page.locator("#live")).to_have_text("Trying to reach the peer")
        told = bo.page.get_by_role("alert")
        await expect(told).to_have_count(0)
        await bo.page.clock.fast_forward(10_000)
        await expect(told).to_contain_text("It may have ended, or started anew at another address")
        await expect(told.get_by_text("ssb-rtc dashboard")).to_be_visible()
        await bo.view("messages")
        await bo.page.get_by_label("Write a post").fill("Nobody hears this")
        await bo.page.get_by_role("button", name="Publish").click()
        await expect(bo.page.locator(".toast.fault")).to_contain_text("is `ssb-rtc start` still running?")
        await expect(bo.page.get_by_label("Write a post")).to_have_value("Nobody hears this")
