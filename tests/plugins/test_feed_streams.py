"""The streams over the log that a local caller gets, with ssb-db's options."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.config import Settings
from ssb_rtc.errors import RemoteCallError
from ssb_rtc.feeds.links import links_of
from ssb_rtc.peer import Peer
from ssb_rtc.plugins.stream_options import options_of, range_of
from ssb_rtc.transport.link import Link
from ssb_rtc.types import Json
from tests.storage.feedmaker import keys_of, linking_feed, raws

ANNA, BERT = (keys_of(number).id for number in (1, 2))
LIMIT_S = 20.0


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Peer]:
    """Holds twenty messages of Anna, forty of Bert, and the rest of Anna's sixty, in this order."""
    async with Peer(tmp_path, Settings(), online=False) as peer:
        for some in (linking_feed(1)[:20], linking_feed(2)[:40], linking_feed(1)[20:]):
            await peer.context.ingest.add(raws(some), "test")
        yield peer


@pytest.fixture
async def link(peer: Peer) -> AsyncIterator[Link]:
    async with peer.local_link() as link:
        yield link


async def ask(link: Link, name: str, *args: Json) -> list[Json]:
    async with asyncio.timeout(LIMIT_S):
        return [item async for item in link.source(name, *args)]


async def take(link: Link, count: int, name: str, *args: Json) -> list[Json]:
    """The first so many items of a live stream."""
    items: list[Json] = []
    async with asyncio.timeout(LIMIT_S):
        incoming = link.source(name, *args)
        async for item in incoming:
            items.append(item)
            if len(items) == count:
                break
        await incoming.aclose()
    return items


def log_order() -> list[Any]:
    return [*linking_feed(1)[:20], *linking_feed(2)[:40], *linking_feed(1)[20:]]


async def test_create_log_stream(peer: Peer, link: Link) -> None:
    keys = [message.key for message in log_order()]
    whole = await ask(link, "createLogStream")
    assert [item["key"] for item in whole] == keys
    assert [item["value"] for item in whole] == [message.value for message in log_order()]
    assert all(set(item) == {"key", "value", "timestamp"} for item in whole)
    assert await ask(link, "createLogStream", {"values": False}) == keys
    assert await ask(link, "createLogStream", {"keys": False, "limit": 1}) == [linking_feed(1)[0].value]
    assert await ask(link, "createLogStream", {"values": False, "reverse": True, "limit": 3}) == keys[:-4:-1]
    assert await ask(link, "createLogStream", {"limit": 0}) == []
    assert len(await ask(link, "createLogStream", {"limit": -1})) == 100
    assert len(await ask(link, "createLogStream", {"author": BERT})) == 40
    times = [stored.timestamp_ms for stored in peer.context.log.iterate()]
    for name, keep in {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}.items():
        for bound in (times[0], times[20], times[20] + 0.5, times[-1], 0, 1e300):
            found = await ask(link, "createLogStream", {name: bound, "values": False})
            assert found == [key for key, ms in zip(keys, times, strict=True) if keep(ms, bound)], (name, bound)


async def test_create_user_stream(link: Link) -> None:
    def keys(first: int, last: int) -> list[str]:
        return [message.key for message in linking_feed(1)[first - 1 : last]]

    plain = {"id": ANNA, "values": False}
    assert await ask(link, "createUserStream", plain) == keys(1, 60)
    assert await ask(link, "createUserStream", {**plain, "gt": 10, "lt": 15}) == keys(11, 14)
    assert await ask(link, "createUserStream", {**plain, "gte": 10, "lte": 15}) == keys(10, 15)
    assert await ask(link, "createUserStream", {**plain, "gt": 55, "reverse": True, "limit": 2}) == keys(59, 60)[::-1]
    assert await ask(link, "createUserStream", {**plain, "lte": -1}) == []
    assert await ask(link, "createUserStream", {"id": keys_of(9).id}) == []
    for wrong in (None, {}, {"id": "x"}, {"id": ANNA, "gt": "5"}, {"id": ANNA, "limit": "5"}):
        with pytest.raises(RemoteCallError):
            await ask(link, "createUserStream", wrong)


async def test_messages_by_type(link: Link) -> None:
    votes = [message.key for message in log_order() if message.value["content"]["type"] == "vote"]
    assert [item["key"] for item in await ask(link, "messagesByType", "vote")] == votes
    assert await ask(link, "messagesByType", {"type": "vote", "values": False, "reverse": True}) == votes[::-1]
    assert await ask(link, "messagesByType", {"type": "absent"}) == []
    with pytest.raises(RemoteCallError, match=r"must provide \{type: string\}"):
        await ask(link, "messagesByType", {})


async def test_live_streams_say_when_the_old_ones_are_over(peer: Peer, link: Link) -> None:
    coming = asyncio.create_task(take(link, 5, "messagesByType", {"type": "vote", "live": True, "limit": 24}))
    only_new = link.source("createLogStream", {"live": True, "old": False, "values": False})
    assert await anext(aiter(only_new)) == {"sync": True}
    no_note = asyncio.create_task(
        take(link, 2, "createUserStream", {"id": peer.id, "live": True, "sync": False, "values": False})
    )
    assert [set(item) == {"sync"} for item in await coming] == [False] * 5
    whole = asyncio.create_task(take(link, 23, "messagesByType", {"type": "vote", "live": True, "values": False}))
    await asyncio.sleep(0)
    first = await peer.publish({"type": "vote", "n": 1})
    second = await peer.publish({"type": "vote", "n": 2})
    old = [message.key for message in log_order() if message.value["content"]["type"] == "vote"]
    got = await whole
    # Where the line between old and new lies depends on when the call came through; nothing is lost or twice.
    assert {"sync": True} in got
    assert [item for item in got if item != {"sync": True}] == [*old, first.key, second.key]
    assert await anext(aiter(only_new)) == first.key
    await only_new.aclose()
    assert await no_note == [first.key, second.key]


async def test_links(link: Link) -> None:
    expected = [
        {"source": message.author, "rel": rel, "dest": dest, "key": message.key}
        for message in log_order()
        for rel, dest in links_of(message.value["content"])
    ]
    target = linking_feed(1)[4].key
    friend = keys_of(3).id

    async def links(**options: Json) -> list[Json]:
        return await ask(link, "links", options)

    assert await links() == expected
    assert await links(dest=target) == [item for item in expected if item["dest"] == target]
    assert await links(dest=target, rel="branch") == [
        item for item in expected if item["dest"] == target and item["rel"] == "branch"
    ]
    assert await links(source=BERT, dest=friend) == [
        item for item in expected if item["source"] == BERT and item["dest"] == friend
    ]
    assert await links(source=ANNA, dest="blob") == [
        item for item in expected if item["source"] == ANNA and item["dest"][0] == "&"
    ]
    assert (
        await links(source="@", dest="@", rel="contact", limit=3)
        == [item for item in expected if item["rel"] == "contact"][:3]
    )
    assert await links(source="%") == await links(source="&", dest=target) == []
    assert await links(dest=target, reverse=True, meta=False) == [
        item["key"] for item in reversed(expected) if item["dest"] == target
    ]
    whole = await links(dest=target, values=True, limit=1)
    assert whole[0]["value"]["content"]["root"] == target
    assert set((await links(dest=target, values=True, meta=False))[0]) == {"key", "value"}
    for wrong in ({"dest": "x"}, {"rel": 5}, {"meta": False, "keys": False}, None):
        with pytest.raises(RemoteCallError):
            await ask(link, "links", wrong)


async def test_heads_and_single_messages(peer: Peer, link: Link) -> None:
    last = linking_feed(1)[-1]
    assert await link.call("getVectorClock") == {ANNA: 60, BERT: 40}
    assert await link.call("latestSequence", ANNA) == 60
    assert (await link.call("getLatest", ANNA))["key"] == last.key
    assert await ask(link, "latest") == [
        {"id": feed, "sequence": head.sequence, "ts": head.timestamp} for feed, head in peer.context.log.heads().items()
    ]
    assert await link.call("get", last.key) == last.value
    assert await link.call("get", {"id": f"{last.key}?unbox=x"}) == last.value
    assert (await link.call("get", {"id": last.key, "meta": True}))["key"] == last.key
    for name, argument in (("get", "%x"), ("get", None), ("getLatest", peer.id), ("latestSequence", "x")):
        with pytest.raises(RemoteCallError):
            await link.call(name, argument)


async def test_private_messages_are_opened_on_demand(peer: Peer, link: Link) -> None:
    content = {"type": "post", "text": "secret", "root": linking_feed(1)[0].key}
    made = await link.call("private.publish", content, [peer.id])
    sealed = made["value"]["content"]
    newest = {"reverse": True, "limit": 1}
    [plain] = await ask(link, "createLogStream", newest)
    [opened] = await ask(link, "createLogStream", {**newest, "private": True})
    assert plain["value"]["content"] == sealed
    assert opened["value"]["content"] == content
    assert opened["value"]["meta"]["original"]["content"] == sealed
    assert (await link.call("get", {"id": made["key"], "private": True}))["content"] == content
    assert (await link.call("get", made["key"]))["content"] == sealed
    assert made["key"] not in await ask(link, "messagesByType", {"type": "post", "values": False})


async def test_indexes_are_shown_and_made_anew(peer: Peer, link: Link) -> None:
    await peer.context.indexes.caught_up()
    before = {state["name"]: state for state in await link.call("indexes.status")}
    assert before["links"] == {"name": "links", "version": 1, "done": 100, "total": 100}
    assert (await link.call("progress"))["indexes"]["current"] == 100 * len(before)
    with peer.context.log.database.transaction() as connection:
        connection.execute("DELETE FROM links")
    places = await ask(link, "indexes.rebuild", ["links"])
    assert places[-1] == {"done": 100, "total": 100}
    assert len(await ask(link, "links", {"dest": keys_of(3).id})) > 0
    await ask(link, "indexes.rebuild")
    for wrong in (["speed"], "links", [1]):
        with pytest.raises(RemoteCallError):
            await ask(link, "indexes.rebuild", wrong)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["live", "old", "limit", "reverse", "keys", "values", "gt", "gte", "lt", "lte", "sync"])


@given(ANY | st.dictionaries(NAMES, ANY | st.floats(allow_nan=False) | st.integers(), max_size=6))
def test_any_options_are_read_or_refused(options: Json) -> None:
    try:
        chosen, bounds = options_of(options), range_of(options)
    except RemoteCallError:
        return
    assert chosen.limit is None or chosen.limit >= 0
    assert all(bound is None or abs(bound) <= 2**53 for bound in bounds)
