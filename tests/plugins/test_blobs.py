"""Blobs between machines over memory links: gossip, sympathy, push, and what remotes may do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ssb_rtc.errors import BlobMissing, MisuseError, RemoteCallError
from ssb_rtc.feeds.blob_wants import EMPTY_BLOB
from ssb_rtc.transport.link import Link
from ssb_rtc.types import Json, peer_of
from tests.plugins.blob_parts import (
    BLOB,
    DATA,
    LIMIT_S,
    Make,
    claiming,
    connect_rogue,
    content,
    id_of,
    local,
)
from tests.plugins.machines import Machine, connect

# --- friendly ones ---


async def test_a_want_is_fetched_from_who_has_it_whoever_comes_first(make: Make) -> None:
    one, two = make(1), make(2)
    assert await two.blobs.api.add(DATA) == BLOB
    waiting = asyncio.create_task(one.blobs.api.want(BLOB, timeout_s=LIMIT_S))
    await asyncio.sleep(0)
    await connect(one, two)
    await waiting
    assert await content(one.blobs.api, BLOB) == DATA
    assert [(r.id, r.size, r.kept) for r in one.blobs.api.ls()] == [(BLOB, len(DATA), True)]
    # Linked already, wanted first and added then.
    waiting = asyncio.create_task(two.blobs.api.want(id_of(b"later"), timeout_s=LIMIT_S))
    await two.until(lambda: id_of(b"later") in two.blobs.api.wants())
    await one.blobs.api.add(b"later")
    await waiting
    assert await content(two.blobs.api, id_of(b"later")) == b"later"
    # Wanted and had already.
    await one.blobs.api.want(BLOB, timeout_s=LIMIT_S)


async def test_a_peer_in_the_middle_fetches_it_for_its_friend(make: Make) -> None:
    one, middle, three = make(1), make(2), make(3)
    await three.blobs.api.add(DATA)
    await connect(one, middle)
    await connect(middle, three)
    await one.blobs.api.want(BLOB, timeout_s=LIMIT_S)
    assert await content(one.blobs.api, BLOB) == DATA
    assert [(r.id, r.kept) for r in middle.blobs.api.ls()] == [(BLOB, False)]
    assert middle.blobs.api.wants() == one.blobs.api.wants() == {}


async def test_what_is_wanted_while_it_is_fetched_for_others_becomes_ours(make: Make) -> None:
    machine, go_on, asked = make(1), asyncio.Event(), asyncio.Event()

    async def slow(_link: Link, _options: Json) -> AsyncIterator[bytes]:
        asked.set()
        yield DATA[:1000]
        await go_on.wait()
        yield DATA[1000:]

    await connect_rogue(machine, 3, {"blobs.createWants": claiming({BLOB: -1})})
    await machine.until(lambda: BLOB in machine.blobs.api.wants(), LIMIT_S)
    await connect_rogue(machine, 2, {"blobs.createWants": claiming({BLOB: len(DATA)}), "blobs.get": slow})
    async with asyncio.timeout(LIMIT_S):
        await asked.wait()
        waiting = asyncio.create_task(machine.blobs.api.want(BLOB))
        await asyncio.sleep(0)
        assert machine.blobs.api.wants() == {BLOB: -1}
        go_on.set()
        await waiting
    assert [(record.id, record.kept) for record in machine.blobs.api.ls()] == [(BLOB, True)]
    assert machine.blobs._store.wants() == {}


async def test_without_sympathy_the_middle_fetches_nothing(make: Make) -> None:
    one, middle, three = make(1), make(2, sympathy=0), make(3)
    await three.blobs.api.add(DATA)
    await connect(one, middle)
    await connect(middle, three)
    await middle.blobs.api.add(b"marker")
    with pytest.raises(BlobMissing, match="stays wanted"):
        await one.blobs.api.want(BLOB, timeout_s=0.2)
    await one.blobs.api.want(id_of(b"marker"), timeout_s=LIMIT_S)
    assert middle.blobs.api.wants() == {}
    assert one.blobs.api.wants() == {BLOB: -1}
    assert await one.blobs.api.remove(BLOB)
    assert one.blobs.api.wants() == {}


async def test_a_push_is_taken_by_peers_and_ends_when_three_have_it(make: Make) -> None:
    pusher, takers = make(1), [make(n) for n in (2, 3, 4)]
    await pusher.blobs.api.add(DATA)
    with pytest.raises(BlobMissing):
        await pusher.blobs.api.push(id_of(b"not here"))
    await connect(pusher, takers[0])
    await pusher.blobs.api.push(BLOB)
    await takers[0].until(lambda: takers[0].blobs.api.has(BLOB))
    wants = pusher.blobs._exchange.wants
    await pusher.until(lambda: wants.pushes == {BLOB: {peer_of(takers[0].keys.id)}})
    await connect(pusher, takers[1])
    await connect(takers[2], pusher)
    await pusher.until(lambda: wants.pushes == {})
    assert all(taker.blobs.api.has(BLOB) for taker in takers)
    assert pusher.blobs._store.pushes() == {}


async def test_wants_and_pushes_go_on_after_a_restart(tmp_path: Path) -> None:
    before = Machine(tmp_path / "one", 1)
    await before.blobs.api.add(b"pushed")
    await before.blobs.api.push(id_of(b"pushed"))
    with pytest.raises(BlobMissing):
        await before.blobs.api.want(BLOB, timeout_s=0.01)
    await before.close()
    one, two = Machine(tmp_path / "one", 1), Machine(tmp_path / "two", 2)
    await two.blobs.api.add(DATA)
    await connect(one, two)
    await one.until(lambda: one.blobs.api.has(BLOB))
    await two.until(lambda: two.blobs.api.has(id_of(b"pushed")))
    await one.until(lambda: one.blobs._store.wants() == {})
    await one.close()
    await two.close()


async def test_the_api_takes_bytes_chunks_and_files(make: Make, tmp_path: Path) -> None:
    api = make(1, blob_max=2_000_000).blobs.api

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(DATA), 1000):
            yield DATA[at : at + 1000]

    (tmp_path / "file").write_bytes(DATA + b"!")
    assert await api.add(chunks()) == BLOB
    assert await api.add(tmp_path / "file", expected=id_of(DATA + b"!")) == id_of(DATA + b"!")
    assert await api.add(b"") == EMPTY_BLOB
    assert (api.has(EMPTY_BLOB), api.size(EMPTY_BLOB), await content(api, EMPTY_BLOB)) == (True, 0, b"")
    await api.want(EMPTY_BLOB)
    with pytest.raises(MisuseError, match="bytes"):
        await api.add(bytes(2_000_000))
    with pytest.raises(MisuseError, match="not those of"):
        await api.add(b"other", expected=BLOB)
    with pytest.raises(MisuseError, match="can't read"):
        await api.add(tmp_path / "absent")
    assert await api.add(bytes(2_000_000), size_limit=3_000_000)
    with pytest.raises(BlobMissing):
        await content(api, id_of(b"absent"))
    await api.push(BLOB)
    assert await api.remove(BLOB)
    assert not await api.remove(BLOB)
    assert api.store.pushes() == {}


async def test_the_rpc_of_a_local_caller(make: Make) -> None:
    machine = make(1)
    link = await local(machine)
    live = link.source("blobs.changes")
    both = link.source("blobs.ls", {"live": True, "meta": True})
    assert await anext(both) == {"sync": True}
    adding = link.sink("blobs.add", BLOB)
    for at in range(0, len(DATA), 100_000):
        await adding.send(DATA[at : at + 100_000])
    await adding.end()
    async with asyncio.timeout(LIMIT_S):
        assert await anext(live) == BLOB
        assert (await anext(both))["size"] == len(DATA)
    put = link.duplex("blobs.put")
    await put.send(b"put")
    await put.end()
    async with asyncio.timeout(LIMIT_S):
        assert await anext(put) == {"id": id_of(b"put"), "size": 3}
    assert await link.call("blobs.has", BLOB) is True
    assert await link.call("blobs.has", [BLOB, id_of(b"no")]) == [True, False]
    assert await link.call("blobs.size", {"id": BLOB}) == len(DATA)
    assert await link.call("blobs.size", [BLOB, id_of(b"no")]) == [len(DATA), None]
    assert await link.call("blobs.want", BLOB) is True
    assert await link.call("blobs.push", BLOB) is True
    assert [blob async for blob in link.source("blobs.ls")] == [BLOB, id_of(b"put")]
    for options in (BLOB, {"id": BLOB}, {"key": BLOB, "max": len(DATA)}, {"hash": BLOB, "size": len(DATA)}):
        assert b"".join([chunk async for chunk in link.source("blobs.get", options)]) == DATA
    slices = link.source("blobs.getSlice", {"hash": BLOB, "start": 5, "end": 70_000})
    assert b"".join([chunk async for chunk in slices]) == DATA[5:70_000]
    assert await link.call("blobs.rm", BLOB) is True
    with pytest.raises(RemoteCallError, match="not here"):
        await link.call("blobs.rm", BLOB)
    await link.close()


# --- what remotes may do ---


async def test_a_remote_may_read_by_name_and_nothing_more(make: Make) -> None:
    server = make(1)
    await server.blobs.api.add(DATA)
    link, _ = await connect(make(2), server)
    assert await link.call("blobs.has", BLOB) is True
    got = [chunk async for chunk in link.source("blobs.get", {"key": BLOB, "max": len(DATA)})]
    assert b"".join(got) == DATA
    odd: list[tuple[str, Json]] = [
        ("blobs.has", ["&../../secret.sha256"] * 3),
        ("blobs.get", "&" + "../" * 20),
        ("blobs.getSlice", {"key": BLOB, "start": 0}),
    ]
    odd += [
        ("blobs.get", options)
        for options in (
            {"key": BLOB, "max": 10},
            {"key": BLOB, "size": 1},
            {"key": BLOB, "max": -1},
            {"key": BLOB, "max": "9"},
            {"key": {"id": BLOB}},
            id_of(b"absent"),
            None,
        )
    ]
    for name, options in odd:
        with pytest.raises(RemoteCallError):
            await _all(link, name, options)
    for name in ("size", "rm", "want", "push"):
        with pytest.raises(RemoteCallError, match="not in list of allowed"):
            await link.call(f"blobs.{name}", BLOB)
    for name in ("ls", "changes"):
        with pytest.raises(RemoteCallError, match="not in list of allowed"):
            await _all(link, f"blobs.{name}", {})
    with pytest.raises(RemoteCallError, match="at most"):
        await link.call("blobs.has", [BLOB] * 1001)


async def _all(link: Link, name: str, options: Json) -> Json:
    if name == "blobs.has":
        return await link.call(name, options)
    async with asyncio.timeout(LIMIT_S):
        return [item async for item in link.source(name, options)]


async def test_many_gets_at_once_are_served_a_few_at_a_time(make: Make) -> None:
    server = make(1)
    await server.blobs.api.add(DATA)
    link, _ = await connect(make(2), server)
    async with asyncio.timeout(LIMIT_S):
        got = await asyncio.gather(*(_all(link, "blobs.get", BLOB) for _ in range(20)))
    assert all(b"".join(chunks) == DATA for chunks in got)
