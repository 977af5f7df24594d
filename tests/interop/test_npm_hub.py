"""The main job through npm's hub instead of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.processes import run_ok
from tests.interop.npmhub import NpmHub

pytestmark = pytest.mark.js


async def test_two_peers_meet_on_the_npm_signalhub(node_packages: Path) -> None:
    async with await NpmHub.start() as hub:
        done = await run_ok("demo", "--once", "--json", "--messages", "20", "--hub", hub.url)
    assert (done.json["transport"], done.json["messages"], done.json["verified"]) == ("rtc", 20, True)


async def test_a_real_feed_through_the_npm_signalhub(node_packages: Path, vectors: Path) -> None:
    feed = vectors / "go-ssb-legacy" / "real-feed-235.jsonl"
    async with await NpmHub.start() as hub:
        done = await run_ok("demo", "--once", "--json", "--import", str(feed), "--hub", hub.url)
    assert (done.json["transport"], done.json["messages"], done.json["verified"]) == ("rtc", 235, True)
