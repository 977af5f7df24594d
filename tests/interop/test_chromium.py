"""A peer of stock npm modules in a page of headless Chromium: it meets ours on a hub, and they replicate over WebRTC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest

from ssb_rtc.signalhub.client import HubClient, open_session
from ssb_rtc.types import HubUrl, PeerId
from ssb_rtc.wire import swarm
from tests.e2e.processes import running
from tests.interop.chromium import browser_peer
from tests.interop.npmhub import NpmHub
from tests.interop.ourpeer import SWARM_APP, our_peer, on_swarm_hub

pytestmark = [pytest.mark.js, pytest.mark.timeout(120)]

Hub = Literal["ours", "npm"]


@asynccontextmanager
async def hub_of(kind: Hub, folder: Path) -> AsyncIterator[str]:
    """The address of a hub that runs as a process of its own."""
    if kind == "npm":
        async with await NpmHub.start() as hub:
            yield hub.url
    else:
        async with running(folder, "hub", "serve", "--port", "0") as process:
            yield process.ready["url"]


async def say_that_we_are_there(hub: str, peer: str) -> None:
    """A `connect` in our peer's name, on which a swarm's peer offers: ours does not say it in every dialect."""
    async with open_session() as session:
        client = HubClient(HubUrl(hub), SWARM_APP, session)
        await client.broadcast(swarm.ALL, swarm.format_connect(PeerId(peer)))
        await client.close()


@pytest.mark.parametrize(
    ("hub", "dialler", "ebt"),
    [("ours", "browser", True), ("ours", "ours", False), ("npm", "browser", False), ("npm", "ours", True)],
    ids=str,
)
async def test_a_page_replicates_with_us(
    node_packages: Path, tmp_path: Path, hub: Hub, dialler: str, ebt: bool
) -> None:
    """Both ways and live; our hub's answers let a page of another origin in."""
    browser_dials = dialler == "browser"
    async with (
        hub_of(hub, tmp_path / "hub") as url,
        our_peer(tmp_path / "ours", *on_swarm_hub(url)) as ours,
        browser_peer(tmp_path / "browser", hubs=[url], app=SWARM_APP, quiet=browser_dials, ebt=ebt) as theirs,
    ):
        await asyncio.gather(theirs.publish_many(20), *(ours.publish(f"ours {number} \u2603") for number in range(5)))
        await asyncio.gather(ours.follow(theirs.id), theirs.follow(ours.id))
        if browser_dials:
            await say_that_we_are_there(url, ours.id)
        assert await theirs.met(ours.id) == browser_dials
        await asyncio.gather(ours.reached({theirs.id: 21}), theirs.reached({ours.id: 6}))
        await asyncio.gather(ours.publish("live"), theirs.publish({"type": "post", "text": "live"}))
        await asyncio.gather(ours.reached({theirs.id: 22}), theirs.reached({ours.id: 7}))
        for feed in (ours.id, theirs.id):
            assert await ours.ids(feed) == await theirs.ids(feed)
        assert theirs.page.complaints == []
