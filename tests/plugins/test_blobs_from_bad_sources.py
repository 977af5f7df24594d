"""Blobs from sources that fail, lie, dawdle or flood."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import BlobMissing, BlobsFull, MisuseError
from ssb_rtc.feeds import blob_wants
from ssb_rtc.feeds.blob_wants import EMPTY_BLOB
from ssb_rtc.feeds.refs import blob_id
from ssb_rtc.plugins import blob_exchange
from ssb_rtc.plugins import blobs as blobs_module
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import Json
from tests.plugins.blob_parts import (
    BLOB,
    DATA,
    LIMIT_S,
    Make,
    claiming,
    connect_rogue,
    content,
    giving,
    id_of,
)
from tests.plugins.machines import connect
from tests.storage.full_disk import file_limit


async def _cut(link: Link, _options: Json) -> AsyncIterator[bytes]:
    for at in range(0, 550_000, 50_000):
        yield DATA[at : at + 50_000]
    await link.close("enough")


@pytest.mark.parametrize("get", [giving(DATA, cut_at=500_000), _cut], ids=["error", "cut"])
async def test_what_one_source_began_another_goes_on_with(make: Make, get: Handler) -> None:
    machine, asked = make(1), list[Any]()
    handlers = {"blobs.createWants": claiming({BLOB: len(DATA)}), "blobs.get": get}
    waiting = asyncio.create_task(machine.blobs.api.want(BLOB))
    await asyncio.sleep(0)
    await connect_rogue(machine, 2, handlers)
    await machine.until(lambda: machine.blobs._store.used_bytes >= 500_000 and not machine.blobs._exchange._fetches)
    await connect_rogue(
        machine, 3, {"blobs.createWants": claiming({BLOB: len(DATA)}), "blobs.getSlice": giving(DATA, asked)}
    )
    async with asyncio.timeout(LIMIT_S):
        await waiting
    assert await content(machine.blobs.api, BLOB) == DATA
    assert asked[0]["start"] >= 500_000
    assert asked[0]["end"] == len(DATA)


@pytest.mark.parametrize("slices", ["right", "none"])
async def test_a_wrong_beginning_is_thrown_away_and_its_heir_is_not_to_blame(make: Make, slices: str) -> None:
    machine, asked = make(1), list[Any]()
    wrong = bytes(len(DATA))
    await connect_rogue(
        machine, 2, {"blobs.createWants": claiming({BLOB: len(DATA)}), "blobs.get": giving(wrong, cut_at=500_000)}
    )
    waiting = asyncio.create_task(machine.blobs.api.want(BLOB))
    await machine.until(lambda: machine.blobs._store.used_bytes >= 500_000 and not machine.blobs._exchange._fetches)
    honest = {"blobs.createWants": claiming({BLOB: len(DATA)}), "blobs.get": giving(DATA, asked)}
    if slices == "right":
        honest["blobs.getSlice"] = giving(DATA)
    await connect_rogue(machine, 3, honest)
    async with asyncio.timeout(LIMIT_S):
        await waiting
    assert len(asked) == 1
    assert machine.blobs._store.used_bytes == len(DATA)


LIES: dict[str, Handler] = {
    "flood": giving(DATA + bytes(10_000_000)),
    "wrong bytes": giving(bytes(len(DATA))),
    "too few": giving(DATA[:-1]),
    "text": lambda _link, _options: _endless("text" * 10_000),
    "json": lambda _link, _options: _endless({"a": "x" * 50_000}),
    "endless": lambda _link, _options: _endless(bytes(65536)),
}


async def _endless(item: Json) -> AsyncIterator[Json]:
    while True:
        yield item


@pytest.mark.parametrize("lie", LIES)
async def test_a_source_that_lies_is_left_and_nothing_of_it_stays(make: Make, tmp_path: Path, lie: str) -> None:
    machine, good = make(1), make(9)
    await good.blobs.api.add(DATA)
    asked = list[Any]()

    def get(link: Link, options: Json) -> AsyncIterator[Json]:
        asked.append(options)
        found: AsyncIterator[Json] = LIES[lie](link, options)
        return found

    link = await connect_rogue(
        machine, 2, {"blobs.createWants": claiming({BLOB: len(DATA)}), "blobs.get": get, "blobs.getSlice": get}
    )
    waiting = asyncio.create_task(machine.blobs.api.want(BLOB))
    await machine.until(lambda: bool(asked) and not machine.blobs._exchange._fetches, LIMIT_S)
    assert machine.blobs._store.used_bytes == 0
    assert not [path for path in tmp_path.rglob("1-0-files/blobs/**/*") if path.is_file()]
    await connect(machine, good)
    async with asyncio.timeout(LIMIT_S):
        await waiting
    assert await content(machine.blobs.api, BLOB) == DATA
    assert len(asked) == 1
    assert not link.closed.done()


async def test_a_source_that_never_delivers_is_given_up_for_another(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_exchange, "SILENCE_MAX_S", 0.2)
    machine, good = make(1), make(9)
    await good.blobs.api.add(DATA)
    asked = asyncio.Event()

    async def silent(_link: Link, _options: Json) -> AsyncIterator[bytes]:
        yield DATA[:1000]
        asked.set()
        await asyncio.get_running_loop().create_future()

    await connect_rogue(
        machine,
        2,
        {"blobs.createWants": claiming({BLOB: len(DATA)}), "blobs.get": silent, "blobs.getSlice": silent},
    )
    waiting = asyncio.create_task(machine.blobs.api.want(BLOB))
    async with asyncio.timeout(LIMIT_S):
        await asked.wait()
        await connect(machine, good)
        await waiting


async def test_a_fetch_that_is_called_off_before_it_began_is_no_hindrance_later(make: Make) -> None:
    machine, good = make(1), make(9)
    await good.blobs.api.add(DATA)
    link, _ = await connect(machine, good)
    exchange = machine.blobs._exchange
    exchange.want(BLOB, 1 << 30)
    exchange.wants.remote_has(id(link), BLOB, len(DATA))
    exchange.look()
    assert BLOB in exchange._fetches
    assert await machine.blobs.api.remove(BLOB)
    await machine.blobs.api.want(BLOB, timeout_s=LIMIT_S)


async def test_a_drip_is_given_up_too(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_exchange, "FETCH_MAX_S", 0.2)
    monkeypatch.setattr(blob_exchange, "RATE_MIN_BYTES_S", 10**9)
    machine, ended = make(1), asyncio.Event()

    async def drip(_link: Link, _options: Json) -> AsyncIterator[bytes]:
        try:
            for at in itertools.count():
                yield DATA[at : at + 1]
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    await connect_rogue(machine, 2, {"blobs.createWants": claiming({BLOB: len(DATA)}), "blobs.get": drip})
    with pytest.raises(BlobMissing):
        await machine.blobs.api.want(BLOB, timeout_s=0.3)
    async with asyncio.timeout(LIMIT_S):
        await ended.wait()
    assert machine.blobs.api.wants() == {BLOB: -1}


async def test_what_is_too_great_is_never_asked_for_unless_we_say_so(make: Make) -> None:
    machine, asked = make(1, blob_max=1000), list[Any]()
    await connect_rogue(
        machine,
        2,
        {
            "blobs.createWants": claiming({BLOB: len(DATA), id_of(b"small"): 5}),
            "blobs.get": giving(DATA, asked),
        },
    )
    with pytest.raises(BlobMissing, match=f"it has {len(DATA)} bytes"):
        await machine.blobs.api.want(BLOB, timeout_s=0.2)
    assert asked == []
    waiting = asyncio.create_task(machine.blobs.api.want(BLOB, size_limit=2 * len(DATA)))
    await machine.until(lambda: machine.blobs._store.wants() == {BLOB: 2 * len(DATA)})
    await connect_rogue(
        machine, 3, {"blobs.createWants": claiming({BLOB: len(DATA)}), "blobs.get": giving(DATA, asked)}
    )
    async with asyncio.timeout(LIMIT_S):
        await waiting


async def test_a_full_disk_stops_the_fetching_for_a_while_and_nothing_else(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(blob_exchange, "DISK_REST_S", 0.3)
    monkeypatch.setattr(blob_exchange, "TICK_S", 0.05)
    monkeypatch.setattr(blob_wants, "RETRY_S", 0.1)
    machine, good, data = make(1), make(9), DATA * 3
    blob = await good.blobs.api.add(data)
    link, _ = await connect(machine, good)
    with file_limit(1 << 20):
        waiting = asyncio.create_task(machine.blobs.api.want(blob))
        await machine.until(lambda: "Make room" in caplog.text, LIMIT_S)
        assert await link.call("blobs.has", blob) is True
    async with asyncio.timeout(LIMIT_S):
        await waiting
    assert await content(machine.blobs.api, blob) == data
    assert machine.blobs._store.used_bytes == len(data)


# --- floods of notes ---


async def test_a_hundred_thousand_wants_are_read_slowly_and_remembered_in_part(make: Make) -> None:
    machine, friend = make(1), make(3)
    many = {blob_id(sha256(b"%d" % n).digest()): -1 for n in range(100_000)}
    odd: dict[str, Any] = {
        "&../../etc/passwd.sha256": -1,
        "__proto__": -1,
        "": 5,
        id_of(b"1"): 10**400,
        id_of(b"2"): -(10**400),
        id_of(b"3"): 1.5,
        id_of(b"4"): "7",
        id_of(b"5"): None,
        id_of(b"6"): True,
        id_of(b"7"): [1],
    }
    await machine.blobs.api.add(DATA)
    await connect_rogue(machine, 2, {"blobs.createWants": claiming([], "x", 7, None, odd, many)})
    wants = machine.blobs.api.wants
    await machine.until(lambda: len(wants()) == blob_wants.SYMPATHY_PER_PEER_MAX, LIMIT_S)
    assert set(wants().values()) == {-2}
    # Others are served meanwhile.
    await connect(friend, machine)
    await friend.blobs.api.want(BLOB, timeout_s=LIMIT_S)
    assert len(wants()) == blob_wants.SYMPATHY_PER_PEER_MAX


async def test_without_room_ours_is_an_error_and_others_get_none(make: Make) -> None:
    machine, good = make(1, blob_quota=1), make(9)
    ours = await machine.blobs.api.add(bytes(700_000))
    await good.blobs.api.add(DATA)
    link, _ = await connect(machine, good)
    with pytest.raises(BlobMissing):
        await machine.blobs.api.want(BLOB, timeout_s=0.3)
    with pytest.raises(BlobsFull, match="--blob-quota"):
        await machine.blobs.api.add(bytes(900_000))
    assert [record.id for record in machine.blobs.api.ls()] == [ours]
    assert machine.blobs.api.wants() == {BLOB: -1}
    assert not link.closed.done()


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([BLOB, EMPTY_BLOB]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "key", "hash", "max", "start"]) | st.text(), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(any_json)
def test_arguments_of_any_shape_are_understood_or_refused(value: Json) -> None:
    for read in (
        blobs_module._id,
        lambda v: blobs_module._number(v, "max"),
        lambda v: blobs_module._amount(v, "start"),
    ):
        try:
            found = read(value)
        except MisuseError:
            continue
        assert found in (None, BLOB, EMPTY_BLOB) or 0 <= float(found) <= blobs_module.NUMBER_MAX
