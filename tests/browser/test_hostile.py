"""What a feed that one follows can do to whoever reads it on the page: in a real browser. About 6 s."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from ssb_rtc import Peer, Settings
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.feeds.message import create, message_id
from ssb_rtc.testing import keys_of
from ssb_rtc.types import JsonObject
from tests.browser.pages import Board, board
from tests.dashboard.visitor import served

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]

TRUE, FALSE = keys_of("the true Alice"), keys_of("somebody else")
POLYGLOT = b"GIF89a/*<script>alert(1)</script>*/=1;" + bytes(20)
"""A picture by its first bytes, and a script in a file that ends in .html."""


def post(text: str) -> JsonObject:
    """A post."""
    return {"type": "post", "text": text}


async def write(peer: Peer, keys: Keys, *contents: JsonObject) -> None:
    """Has this feed say these things, as if a peer had sent them."""
    lines, previous = b"", None
    for sequence, content in enumerate(contents, 1):
        message = create(keys, content, previous=previous, sequence=sequence, timestamp_ms=sequence)
        previous = message_id(message)
        lines += json.dumps(message).encode() + b"\n"
    async with peer.local_link() as link:
        await link.call("friends.follow", keys.id)
        taken = link.duplex("import")
        await taken.send(lines)
        await taken.end()
        assert (await anext(taken))["imported"] == len(contents)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shown(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Board, Peer, str]]:
    folder: Path = tmp_path_factory.mktemp("hostile")
    async with Peer(folder, Settings(lan=False)) as peer, served(peer) as dashboard:
        async with peer.local_link() as link:
            upload = link.duplex("blobs.put")
            await upload.send(POLYGLOT)
            await upload.end()
            blob = (await anext(upload))["id"]
        for keys in (FALSE, TRUE):
            named = {"type": "about", "about": keys.id, "name": "Alice"}
            words = f"[https://bank.example](https://phish.example/) [@Bob]({keys.id}) [photo.html]({blob})"
            await write(peer, keys, named, post(words), post("\n" * 1_300 + "deep"))
        async with board(browser, dashboard.new_url()) as opened:
            await opened.view("messages")
            await expect(opened.page.locator(".post .name", has_text="Alice")).to_have_count(4)
            yield opened, peer, blob


async def test_who_calls_themself_like_a_friend_is_sent_nothing(shown: tuple[Board, Peer, str]) -> None:
    page = shown[0].page
    await page.get_by_label("Private").check()
    adding = page.get_by_label("Only these can read it; add somebody")
    await adding.fill("alice")
    await page.get_by_role("button", name="Add", exact=True).click()
    await expect(page.locator(".toast.fault")).to_contain_text("2 people call themselves alice")
    await expect(page.locator(".chip")).to_have_count(0)
    await adding.fill(f"Alice {TRUE.id}")
    await page.get_by_role("button", name="Add", exact=True).click()
    await expect(page.locator(".chip")).to_contain_text(TRUE.id[:8])
    await page.get_by_role("button", name="Never mind").click()


async def test_a_link_says_where_it_leads_and_nobody_goes_by_another_name(shown: tuple[Board, Peer, str]) -> None:
    words = shown[0].page.locator(".post .words", has_text="bank.example").first
    await expect(words).to_contain_text("https://bank.example (phish.example) @Alice")


async def test_a_picture_is_not_saved_as_a_program(shown: tuple[Board, Peer, str]) -> None:
    page = shown[0].page
    async with page.expect_download() as downloading:
        await page.get_by_role("button", name="Save the file “photo.html”").first.click()
    assert (await downloading.value).suggested_filename == "photo_html.gif"


async def test_a_post_of_many_lines_leaves_room_for_others(shown: tuple[Board, Peer, str]) -> None:
    box = await shown[0].page.locator(".post", has_text="deep").first.bounding_box()
    assert box is not None
    assert box["height"] < 500, "it was 33,000 pixels high"
    assert shown[0].complaints == []
