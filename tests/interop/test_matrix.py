"""{legacy, modern with ssb-db2 6 and 8} x {we dial, they dial} x {net, ws}: everything that peers do together.

One pair of processes a cell, and one session of them from the first message to the block.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import pytest
import pytest_asyncio

from tests.interop.jspeer import KINDS, JsPeer, Kind
from tests.interop.ourpeer import OurPeer, our_peer
from tests.interop.processes import RigFailure
from tests.interop.together import Sessions, running_together, together

BLOB_CHARS = 200_000
"""Above the 64 KiB that JavaScript sends in one piece."""

pytestmark = together


Dialler = Literal["ours", "theirs"]
Way = Literal["net", "ws"]
DIALLERS: Final[tuple[Dialler, ...]] = ("ours", "theirs")
WAYS: Final[tuple[Way, ...]] = ("net", "ws")


@dataclass(frozen=True)
class Cell:
    """One way to be linked with one kind of peer."""

    kind: Kind
    dialler: Dialler
    way: Way

    def __str__(self) -> str:
        return f"{self.kind}-{self.dialler}-{self.way}"


CELLS = [Cell(*axes) for axes in itertools.product(KINDS, DIALLERS, WAYS)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sessions(
    request: pytest.FixtureRequest, node_packages: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Sessions[Cell]]:
    async with running_together(request, tmp_path_factory, session) as tasks:
        yield tasks


@pytest.mark.parametrize("cell", CELLS, ids=str)
async def test_a_pair_does_everything_that_peers_do(cell: Cell, sessions: Sessions[Cell]) -> None:
    await sessions[cell]


async def session(cell: Cell, folder: Path) -> None:
    """Everything, in one session of one pair."""
    async with (
        our_peer(folder / "ours") as ours,
        await JsPeer.start(folder / "theirs", kind=cell.kind, name=str(cell)) as theirs,
    ):
        await prepare(ours, theirs)
        await link(cell, ours, theirs)
        await catch_up(ours, theirs)
        await live(ours, theirs)
        await private_messages(ours, theirs)
        await blobs(ours, theirs)
        await block(ours, theirs)


async def prepare(ours: OurPeer, theirs: JsPeer) -> None:
    """Each has something to tell and follows the other; ours: 6 messages, theirs: 21."""
    await asyncio.gather(theirs.publish_many(20), *(ours.publish(f"ours {number} \u2603") for number in range(5)))
    await asyncio.gather(ours.follow(theirs.id), theirs.follow(ours.id))


async def link(cell: Cell, ours: OurPeer, theirs: JsPeer) -> None:
    if cell.dialler == "ours":
        made = await ours.connect(theirs.address if cell.way == "net" else theirs.ws_address)
        assert made == {"id": theirs.id, "state": "CONNECTED", "transport": cell.way}
    else:
        assert await theirs.connect(getattr(ours, cell.way)) == ours.id
        await ours.meets(theirs.id)
        if cell.kind == "legacy":
            # It ends links that it opened after ten seconds, unless its ping was answered.
            await theirs.command("pinged", id=ours.id)


async def catch_up(ours: OurPeer, theirs: JsPeer) -> None:
    await asyncio.gather(ours.reached({theirs.id: 21}), theirs.reached({ours.id: 6}))
    await hold_the_same(ours, theirs)


async def live(ours: OurPeer, theirs: JsPeer) -> None:
    """Over the link that has caught up, each way alone and both at once."""
    await ours.publish("live")
    await theirs.reached({ours.id: 7})
    await theirs.publish({"type": "post", "text": "live"})
    await ours.reached({theirs.id: 22})
    await asyncio.gather(ours.publish("at once"), theirs.publish({"type": "post", "text": "at once"}))
    await asyncio.gather(ours.reached({theirs.id: 23}), theirs.reached({ours.id: 8}))
    await hold_the_same(ours, theirs)


async def private_messages(ours: OurPeer, theirs: JsPeer) -> None:
    both = [ours.id, theirs.id]
    mine = await ours.publish_private("from ours", both)
    made = await theirs.publish({"type": "post", "text": "from theirs"}, recps=both)
    await asyncio.gather(ours.reached({theirs.id: 24}), theirs.reached({ours.id: 9}))
    assert (await theirs.read(mine))["content"]["text"] == "from ours"
    assert (await ours.unbox(made["key"]))["text"] == "from theirs"
    # What crossed the link was closed.
    held = (await ours.feed(theirs.id))[-1]
    assert held["key"] == made["key"]
    assert held["value"]["content"].endswith(".box")
    await hold_the_same(ours, theirs)


async def blobs(ours: OurPeer, theirs: JsPeer) -> None:
    """Each wants what the other has, then pushes what nobody asked for."""
    mine, yours = "o" * BLOB_CHARS, "t" * BLOB_CHARS
    my_id, your_id = await asyncio.gather(ours.add_blob(mine), theirs.add_blob(yours))
    assert list(await asyncio.gather(theirs.want_blob(my_id), ours.want_blob(your_id))) == [mine, yours]
    my_id, your_id = await asyncio.gather(ours.add_blob("mine"), theirs.add_blob("yours"))
    await asyncio.gather(ours.push_blob(my_id), theirs.push_blob(your_id))
    await asyncio.gather(theirs.gets_blob(my_id), ours.gets_blob(your_id))
    assert [await theirs.blob(my_id), await ours.blob(your_id)] == ["mine", "yours"]


async def block(ours: OurPeer, theirs: JsPeer) -> None:
    """We block them: the link ends at once, and their next one is refused."""
    await ours.block(theirs.id)
    await asyncio.gather(ours.parted(theirs.id), theirs.parted(ours.id))
    with pytest.raises(RigFailure):
        await theirs.connect(ours.net)
    assert await ours.linked() == []


async def hold_the_same(ours: OurPeer, theirs: JsPeer) -> None:
    """Both hold both feeds, id by id."""
    for feed in (ours.id, theirs.id):
        assert await ours.ids(feed) == await theirs.ids(feed)
