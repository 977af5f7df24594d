"""Three in a row, the outer two without a link: a JavaScript peer between two of ours, ours between two of theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.interop.jspeer import JsPeer, Kind
from tests.interop.ourpeer import OurPeer, our_peer
from tests.interop.together import Sessions, running_together, together

BLOB_CHARS = 200_000

pytestmark = together


@dataclass(frozen=True)
class Row:
    """Their peers: the one in the middle of ours, or the two beside ours."""

    theirs: tuple[Kind, ...]

    def __str__(self) -> str:
        return f"ours-{self.theirs[0]}-ours" if len(self.theirs) == 1 else f"{self.theirs[0]}-ours-{self.theirs[1]}"


ROWS = [Row(("legacy",)), Row(("modern6",)), Row(("legacy", "modern8")), Row(("modern8", "modern6"))]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sessions(
    request: pytest.FixtureRequest, node_packages: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Sessions[Row]]:
    async def session(row: Row, folder: Path) -> None:
        await (theirs_between if len(row.theirs) == 1 else ours_between)(row, folder)

    async with running_together(request, tmp_path_factory, session) as tasks:
        yield tasks


@pytest.mark.parametrize("cell", ROWS, ids=str)
async def test_the_one_in_the_middle_carries_all(cell: Row, sessions: Sessions[Row]) -> None:
    await sessions[cell]


async def theirs_between(row: Row, folder: Path) -> None:
    async with (
        our_peer(folder / "left") as left,
        our_peer(folder / "right") as right,
        await JsPeer.start(folder / "middle", kind=row.theirs[0]) as middle,
    ):
        for feed in (left.id, right.id):
            await middle.follow(feed)
        await asyncio.gather(befriend(left, middle.id, right.id), befriend(right, middle.id, left.id))
        await left.connect(middle.address)
        await middle.connect(right.ws)
        await asyncio.gather(left.reached({right.id: 7}), right.reached({left.id: 7}))
        await asyncio.gather(left.publish("live"), right.publish("live"))
        await asyncio.gather(left.reached({right.id: 8}), right.reached({left.id: 8}))
        for feed in (left.id, right.id):
            assert await left.ids(feed) == await right.ids(feed) == await middle.ids(feed)
        mine, yours = "l" * BLOB_CHARS, "r" * BLOB_CHARS
        my_id, your_id = await asyncio.gather(left.add_blob(mine), right.add_blob(yours))
        assert await right.want_blob(my_id) == mine
        assert await left.want_blob(your_id) == yours
        assert [await left.linked(), await right.linked()] == [[middle.id], [middle.id]]


async def befriend(peer: OurPeer, middle: str, far: str) -> None:
    """Follows both, and has seven messages then."""
    await peer.follow(middle)
    await peer.follow(far)
    for number in range(5):
        await peer.publish(f"post {number}")


async def ours_between(row: Row, folder: Path) -> None:
    async with (
        our_peer(folder / "middle") as middle,
        await JsPeer.start(folder / "left", kind=row.theirs[0], name="left") as left,
        await JsPeer.start(folder / "right", kind=row.theirs[1], name="right") as right,
    ):
        await asyncio.gather(befriend_js(left, middle.id, right.id), befriend_js(right, middle.id, left.id))
        await middle.follow(left.id)
        await middle.follow(right.id)
        await left.connect(middle.net)
        await middle.connect(right.ws_address)
        await asyncio.gather(left.reached({right.id: 7}), right.reached({left.id: 7}))
        await asyncio.gather(*(peer.publish({"type": "post", "text": "live"}) for peer in (left, right)))
        await asyncio.gather(left.reached({right.id: 8}), right.reached({left.id: 8}))
        for feed in (left.id, right.id):
            assert await left.ids(feed) == await right.ids(feed) == await middle.ids(feed)
        mine, yours = "l" * BLOB_CHARS, "r" * BLOB_CHARS
        my_id, your_id = await asyncio.gather(left.add_blob(mine), right.add_blob(yours))
        assert await right.want_blob(my_id) == mine
        assert await left.want_blob(your_id) == yours
        assert [await left.peers(), await right.peers()] == [[middle.id], [middle.id]]


async def befriend_js(peer: JsPeer, middle: str, far: str) -> None:
    """Follows both, and has seven messages then."""
    await peer.follow(middle)
    await peer.follow(far)
    await peer.publish_many(5)
