"""createHistoryStream, served and used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc.errors import RemoteCallError
from ssb_rtc.feeds.hops import BLOCKS
from ssb_rtc.plugins import history as history_module
from ssb_rtc.transport.link import Link
from ssb_rtc.types import Json
from ssb_rtc.wire.rpc import RawJson
from tests.plugins.machines import Machine, Make, connect, machines_in
from tests.storage.feedmaker import break_signature, feed_of, keys_of, raws

ANNA, BERT, CARL = (keys_of(n).id for n in (1, 2, 3))


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with machines_in(tmp_path) as make:
        yield make


@pytest.fixture
async def served(make: Make) -> tuple[Link, Machine]:
    server = make(1, ebt=False)
    await server.store.ingest.add(raws(feed_of(3)), "test")
    link, _ = await connect(make(9, ebt=False), server)
    return link, server


async def ask(link: Link, **options: Json) -> list[Json]:
    async with asyncio.timeout(5):
        return [value async for value in link.source("createHistoryStream", {"id": CARL, **options})]


async def test_options(served: tuple[Link, Machine]) -> None:
    link, _ = served
    whole = await ask(link)
    assert [set(entry) for entry in whole] == [{"key", "value", "timestamp"}] * 40
    assert [entry["key"] for entry in whole] == [message.key for message in feed_of(3)]
    assert [entry["value"] for entry in whole] == [message.value for message in feed_of(3)]
    assert await ask(link, keys=False, seq=38) == [message.value for message in feed_of(3)[37:]]
    assert await ask(link, keys=False, sequence=39) == [message.value for message in feed_of(3)[38:]]
    assert await ask(link, values=False, limit=2) == [message.key for message in feed_of(3)[:2]]
    assert await ask(link, limit=0) == []
    assert len(await ask(link, limit=-1, seq=0)) == 40
    assert await ask(link, seq=41) == []
    assert await ask(link, id=BERT) == []
    assert await ask(link, keys=False, values=False) == whole
    assert await ask(link, reverse=True) == whole[::-1]
    assert await ask(link, reverse=True, seq=30, limit=4, live=True) == whole[:-5:-1]


@pytest.mark.parametrize(
    ("options", "first", "last"),
    [
        ({"seq": -5}, 1, 40),
        ({"seq": 2.5}, 3, 40),
        ({"seq": 2.0, "limit": 3}, 2, 4),
        ({"sequence": 0, "seq": 7}, 7, 40),
        ({"seq": 1e300}, 41, 40),
        ({"seq": None, "limit": 1e300}, 1, 40),
        ({"limit": -1e300}, 1, 40),
        ({"limit": 2**70, "reverse": 1, "live": "yes", "sync": True, "unknown": {}}, 1, 40),
    ],
    ids=str,
)
async def test_odd_numbers_mean_what_they_mean_to_javascript(
    served: tuple[Link, Machine], options: dict[str, Json], first: int, last: int
) -> None:
    got = await ask(served[0], keys=False, **options)
    assert [value["sequence"] for value in got] == list(range(first, last + 1))


async def test_newest_first_over_several_pages(served: tuple[Link, Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "PAGE_MESSAGES", 7)
    got = await ask(served[0], keys=False, reverse=True, limit=30)
    assert [value["sequence"] for value in got] == list(range(40, 10, -1))


@pytest.mark.parametrize(
    "options",
    [{"id": "nobody"}, {"id": None}, {"seq": "1"}, {"limit": [1]}, {"limit": True}, {"sequence": {"$": 1}}],
    ids=str,
)
async def test_bad_options_are_refused(served: tuple[Link, Machine], options: dict[str, Json]) -> None:
    with pytest.raises(RemoteCallError, match="createHistoryStream takes"):
        await ask(served[0], **options)


async def test_live_streams_go_on_until_their_limit(served: tuple[Link, Machine]) -> None:
    link, server = served
    both = [
        link.source("createHistoryStream", {"id": CARL, "seq": 40, "live": True, "keys": False, "limit": 3}),
        link.source("createHistoryStream", {"id": CARL, "old": False, "live": True, "keys": False, "limit": 2}),
    ]
    first = await both[0].__anext__()
    await server.store.ingest.add(raws(feed_of(3, 42)), "test")
    async with asyncio.timeout(5):
        rest = [[value async for value in incoming] for incoming in both]
    new = [message.value for message in feed_of(3, 42)[40:]]
    assert first == feed_of(3)[39].value
    assert rest == [new, new]


async def test_a_feed_whose_author_blocks_the_caller_is_not_served(served: tuple[Link, Machine]) -> None:
    link, server = served
    server.store.log.graph.set(CARL, keys_of(9).id, BLOCKS)
    with pytest.raises(RemoteCallError, match="not served"):
        await ask(link)


async def test_a_block_ends_what_a_live_stream_gives(served: tuple[Link, Machine]) -> None:
    link, server = served
    incoming = link.source("createHistoryStream", {"id": CARL, "seq": 40, "live": True, "keys": False})
    assert await incoming.__anext__() == feed_of(3)[39].value
    server.store.log.graph.set(CARL, keys_of(9).id, BLOCKS)
    await server.store.ingest.add(raws(feed_of(3, 42)), "test")
    await link.call("blobs.has", "&" + "A" * 43 + "=.sha256")  # what came before it was answered
    assert not incoming._items
    assert not incoming._batch


async def test_more_feeds_than_streams_are_asked_in_turns(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "STREAMS_MAX", 2)
    monkeypatch.setattr(history_module, "TURN_S", 0.01)
    old, ours = make(1, ebt=False), make(9, [keys_of(n).id for n in range(2, 8)])
    for number in range(2, 8):
        await old.store.ingest.add(raws(feed_of(number)), "test")
    await connect(ours, old)
    await ours.until(lambda: all(ours.sequence(keys_of(n).id) == 40 for n in range(2, 8)))
    (fetching,) = ours.history._active.values()
    assert (len(fetching.live), len(fetching.rest)) == (2, 5)
    for number in range(2, 8):
        await old.store.ingest.add(raws(feed_of(number, 41)), "test")
    await ours.until(lambda: all(ours.sequence(keys_of(n).id) == 41 for n in range(2, 8)))


async def test_what_is_no_longer_wanted_is_no_longer_asked(make: Make) -> None:
    old, ours = make(1, ebt=False), make(9, [CARL])
    await old.store.ingest.add(raws(feed_of(3)), "test")
    await connect(ours, old)
    await ours.until(lambda: ours.sequence(CARL) == 40)
    ours.wanted.replace([ours.keys.id])
    (fetching,) = ours.history._active.values()
    await ours.until(lambda: CARL not in fetching.live)
    await old.until(lambda: CARL not in old.history._waiting)


async def test_links_that_nobody_took_leave_no_progress(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "GRACE_S", 0.0)
    ours = make(9)
    link, _ = await connect(make(1, ebt=False), ours, taken=False)
    await ask(link)
    await ours.until(lambda: ours.context.progress != {})
    await link.close("enough")
    await ours.until(lambda: ours.context.progress == {})


async def test_a_remote_without_ebt_is_asked_feed_by_feed(make: Make) -> None:
    old, ours = make(1, ebt=False), make(9, [ANNA, CARL])
    await old.store.ingest.add(raws(feed_of(3)), "test")
    await connect(ours, old)
    await ours.until(lambda: ours.sequence(CARL) == 40)
    await old.store.ingest.add(raws(feed_of(3, 41)), "test")
    await ours.until(lambda: ours.sequence(CARL) == 41)
    await old.store.ingest.add(raws(feed_of(2)), "test")
    ours.wanted.replace([ours.keys.id, CARL, BERT])
    await ours.until(lambda: ours.sequence(BERT) == 40)


async def test_a_dialler_without_ebt_is_asked_the_same_way_in_return(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "GRACE_S", 0.01)
    old, ours = make(1, [BERT], ebt=False), make(2, [CARL])
    await old.store.ingest.add(raws(feed_of(3)), "test")
    await ours.store.ingest.add(raws(feed_of(2)), "test")
    await connect(old, ours)
    old.history.replicate(old.context.links.live()[0])
    await old.until(lambda: old.sequence(BERT) == 40)
    await ours.until(lambda: ours.sequence(CARL) == 40)


async def test_a_bad_history_ends_the_link(make: Make) -> None:
    old, ours = make(1, ebt=False), make(2, [CARL])
    broken = [*raws(feed_of(3)[:3]), break_signature(feed_of(3)[3])]

    class Bad:
        name, version = "bad", "1.0.0"
        manifest, permissions = {"createHistoryStream": "source"}, {"remote": ["createHistoryStream"]}

        def init(self, _context: object) -> dict[str, Any]:
            return {"createHistoryStream": self.serve}

        async def serve(self, _link: Link, options: Json) -> AsyncIterator[Json]:
            for raw in broken if options["id"] == CARL else []:
                yield RawJson(raw)
            await asyncio.get_running_loop().create_future()

    old.registry = type(old.registry)(old.context, [Bad()])  # type: ignore[list-item]
    link, _ = await connect(ours, old)
    async with asyncio.timeout(5):
        assert "signature" in await link.closed
    assert ours.sequence(CARL) == 3
