"""A legacy peer whose replication is createHistoryStream alone, as before EBT."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.interop.jspeer import JsPeer
from tests.interop.ourpeer import our_peer

pytestmark = [pytest.mark.js, pytest.mark.timeout(120)]


@pytest.mark.parametrize("dialler", ["ours", "theirs"])
async def test_replicates_both_ways_and_live(node_packages: Path, tmp_path: Path, dialler: str) -> None:
    async with (
        our_peer(tmp_path / "ours") as ours,
        await JsPeer.start(tmp_path / "js", kind="legacy", ebt=False) as theirs,
    ):
        await asyncio.gather(theirs.publish_many(20), *(ours.publish(f"ours {number}") for number in range(5)))
        await ours.follow(theirs.id)
        await theirs.follow(ours.id)
        if dialler == "ours":
            await ours.connect(theirs.address)
        else:
            await theirs.connect(ours.net)
        await asyncio.gather(ours.reached({theirs.id: 21}), theirs.reached({ours.id: 6}))
        await asyncio.gather(ours.publish("live"), theirs.publish({"type": "post", "text": "live"}))
        await asyncio.gather(ours.reached({theirs.id: 22}), theirs.reached({ours.id: 7}))
        for feed in (ours.id, theirs.id):
            assert await ours.ids(feed) == await theirs.ids(feed)
