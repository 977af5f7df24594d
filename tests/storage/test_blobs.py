"""The store of blobs: whole files or none, the quota, what is left of a crash, and a full disk."""

from __future__ import annotations

import asyncio
import itertools
import stat
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssb_rtc.errors import BlobInvalid, BlobMissing, BlobsFull, MisuseError, StorageFault
from ssb_rtc.feeds.refs import blob_id
from ssb_rtc.storage.blobs import PARTS_MAX, BlobRecord, BlobStore
from ssb_rtc.storage.database import Database, open_database
from ssb_rtc.types import BlobId, PeerId
from tests.storage.feedmaker import Clock, keys_of
from tests.storage.full_disk import file_limit

MIB = 1 << 20
CLOCK = Clock()


def id_of(data: bytes) -> BlobId:
    return blob_id(sha256(data).digest())


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = open_database(tmp_path / "db", create=True)
    yield opened
    opened.close()


def store_at(tmp_path: Path, database: Database, quota_bytes: int = 100 * MIB) -> BlobStore:
    return BlobStore(tmp_path / "blobs", database, now_ms=CLOCK, quota_bytes=quota_bytes)


@pytest.fixture
async def store(tmp_path: Path, database: Database) -> AsyncIterator[BlobStore]:
    made = store_at(tmp_path, database)
    yield made
    await made.close()


async def put(store: BlobStore, data: bytes, *, keep: bool = True, chunk: int = 50_000) -> BlobRecord:
    writer = await store.begin(size_max=10 * MIB, keep=keep)
    try:
        for at in range(0, len(data), chunk):
            await writer.write(data[at : at + chunk])
        return await writer.finish()
    except BaseException:
        await writer.discard()
        raise


async def all_of(store: BlobStore, blob: BlobId, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.read(blob, start, end)])


def names(tmp_path: Path) -> list[str]:
    """What lies in the folder of blobs, without folders."""
    return sorted(str(p.relative_to(tmp_path / "blobs")) for p in (tmp_path / "blobs").rglob("*") if p.is_file())


async def test_what_goes_in_comes_out(store: BlobStore, tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    heard: list[BlobRecord] = []
    store.subscribe(heard.append)
    record = await put(store, data)
    assert (record.id, record.size, record.kept) == (id_of(data), len(data), True)
    assert heard == store.ls() == [record]
    assert store.size(record.id) == len(data)
    assert store.sizes([record.id, id_of(b"other")]) == {record.id: len(data)}
    assert await all_of(store, record.id) == data
    assert await all_of(store, record.id, 70_000, 200_001) == data[70_000:200_001]
    assert await all_of(store, record.id, len(data) - 1, 10**15) == data[-1:]
    assert await all_of(store, record.id, 10**15) == b""
    digest = sha256(data).hexdigest()
    assert names(tmp_path) == [f"sha256/{digest[:2]}/{digest[2:]}"]
    assert stat.S_IMODE((tmp_path / "blobs" / names(tmp_path)[0]).stat().st_mode) == 0o600
    assert store.remove(record.id)
    assert not store.remove(record.id)
    assert names(tmp_path) == []
    assert store.used_bytes == 0
    with pytest.raises(BlobMissing):
        await all_of(store, record.id)


async def test_two_at_once_of_the_same_are_one(store: BlobStore) -> None:
    data = b"same" * 100_000
    await asyncio.gather(put(store, data), put(store, data, keep=False), put(store, data))
    assert [record.size for record in store.ls()] == [len(data)]
    assert store.used_bytes == store.kept_bytes == len(data)


async def test_wrong_bytes_leave_nothing(store: BlobStore, tmp_path: Path) -> None:
    writer = await store.begin(id_of(b"right"), size_max=100, keep=True)
    await writer.write(b"wrong")
    with pytest.raises(BlobInvalid, match="not those of"):
        await writer.finish()
    await writer.discard()
    with pytest.raises(BlobInvalid, match="announced"):
        await put(store, bytes(10 * MIB + 1))
    assert names(tmp_path) == []
    assert store.used_bytes == 0
    assert store.ls() == []


async def test_what_was_cut_is_resumed_also_after_a_restart(tmp_path: Path, database: Database) -> None:
    data = bytes(range(251)) * 4000
    blob, store = id_of(data), store_at(tmp_path, database)
    writer = await store.begin(blob, size_max=len(data), keep=True)
    await writer.write(data[:600_000])
    await writer.leave()
    assert store.used_bytes == 600_000
    await store.close()

    store = store_at(tmp_path, database)
    writer = await store.begin(blob, size_max=len(data), keep=True, resume=True)
    assert writer.size == writer.resumed_at == 600_000
    await writer.write(data[600_000:])
    assert (await writer.finish()).id == blob
    assert store.used_bytes == len(data)
    assert await all_of(store, blob) == data
    await store.close()


async def test_what_is_left_is_not_used_where_it_must_not_be(store: BlobStore) -> None:
    async def leave(data: bytes) -> None:
        writer = await store.begin(id_of(b"other"), size_max=100, keep=True)
        await writer.write(data)
        await writer.leave()

    for size_max, resume, resumed_at in ((100, True, 4), (100, False, 0), (3, True, 0)):
        await leave(b"othe")
        writer = await store.begin(id_of(b"other"), size_max=size_max, keep=True, resume=resume)
        assert writer.size == writer.resumed_at == resumed_at
        await writer.discard()
    assert store.used_bytes == 0


async def test_only_so_many_unfinished_ones_are_kept(store: BlobStore, tmp_path: Path) -> None:
    for number in range(PARTS_MAX + 10):
        writer = await store.begin(id_of(b"%d" % number), size_max=100, keep=False)
        await writer.write(b"part")
        await writer.leave()
    assert len(names(tmp_path)) == PARTS_MAX
    assert store.used_bytes == PARTS_MAX * 4


async def test_a_crash_leaves_no_file_without_a_row_and_no_row_is_lost(tmp_path: Path, database: Database) -> None:
    crashed = store_at(tmp_path, database)
    good = await put(crashed, b"good")
    unended = await crashed.begin(size_max=100, keep=True)
    await unended.write(b"x" * 50)
    lost = id_of(b"lost")
    await put(crashed, b"lost", keep=False)
    with database.transaction() as connection:
        connection.execute("DELETE FROM blobs WHERE kept = 0")  # as if the machine had died before the row was safe
    crashed.files.close()

    store = store_at(tmp_path, database)
    assert await all_of(store, good.id) == b"good"
    await put(store, b"more")
    assert store.size(lost) is None
    assert len(names(tmp_path)) == 2
    await store.close()
    unended._unfinished._file.close()


async def test_a_file_that_somebody_took_away_is_missing_and_one_cut_short_is_a_fault(
    store: BlobStore, tmp_path: Path
) -> None:
    gone, short = await put(store, b"gone"), await put(store, b"cut short")
    store.files.path_of(sha256(b"gone").digest()).unlink()
    store.files.path_of(sha256(b"cut short").digest()).write_bytes(b"cut")
    with pytest.raises(BlobMissing, match="gone"):
        await all_of(store, gone.id)
    assert store.size(gone.id) is None
    with pytest.raises(StorageFault, match="short"):
        await all_of(store, short.id)


async def test_the_quota_takes_the_oldest_of_others_and_never_ours(tmp_path: Path, database: Database) -> None:
    store = store_at(tmp_path, database, quota_bytes=1000)
    ours = await put(store, b"a" * 300)
    old, young, kept_later = [await put(store, bytes([n]) * 200, keep=False) for n in range(3)]
    store.keep(kept_later.id)
    assert (store.used_bytes, store.kept_bytes) == (900, 500)
    another = await put(store, b"b" * 250, keep=False)
    assert {record.id for record in store.ls()} == {ours.id, young.id, kept_later.id, another.id}
    await put(store, b"c" * 500)
    assert store.used_bytes == store.kept_bytes == 1000
    for keep, words in ((True, "--blob-quota"), (False, "others")):
        with pytest.raises(BlobsFull, match=words):
            await put(store, b"d", keep=keep)
    assert len(store.ls()) == 3
    assert old.id not in {record.id for record in store.ls()}
    with pytest.raises(BlobMissing):
        store.keep(old.id)
    await store.close()


async def test_unfinished_ones_go_before_whole_ones(tmp_path: Path, database: Database) -> None:
    store = store_at(tmp_path, database, quota_bytes=1000)
    whole = await put(store, b"w" * 400, keep=False)
    writer = await store.begin(id_of(b"never"), size_max=500, keep=False)
    await writer.write(b"p" * 500)
    await writer.leave()
    await put(store, b"n" * 300)
    assert store.size(whole.id) == 400
    assert store.used_bytes == 700
    await store.close()


async def test_wants_and_pushes_outlive_the_process(tmp_path: Path, database: Database) -> None:
    store, peers = store_at(tmp_path, database), [PeerId(keys_of(n).id) for n in range(3)]
    wanted, pushed = id_of(b"wanted"), id_of(b"pushed")
    store.save_want(wanted, 77)
    store.save_push(pushed)
    store.save_push(pushed, peers)
    store.save_push(wanted)
    await store.close()
    store = store_at(tmp_path, database)
    assert store.wants() == {wanted: 77}
    pushes = store.pushes()
    assert sorted(pushes[pushed]) == sorted(peers)
    assert pushes[wanted] == []
    store.drop_push(pushed)
    assert store.pushes() == {wanted: []}
    await put(store, b"wanted")
    assert store.wants() == {}
    assert not store.drop_want(wanted)
    await store.close()


async def test_a_full_disk_is_a_fault_with_a_sentence_and_leaves_nothing(store: BlobStore, tmp_path: Path) -> None:
    good = await put(store, b"good")
    with file_limit(MIB), pytest.raises(StorageFault, match="Make room"):
        await put(store, bytes(3 * MIB))
    assert store.used_bytes == 4
    assert len(names(tmp_path)) == 1
    await put(store, bytes(3 * MIB))
    assert await all_of(store, good.id) == b"good"


async def test_cancelled_writers_leave_no_descriptor_in_use(store: BlobStore, tmp_path: Path) -> None:
    async def write() -> None:
        writer = await store.begin(id_of(b"never"), size_max=10 * MIB, keep=False)
        try:
            while True:
                await writer.write(bytes(100_000))
        finally:
            await writer.leave()

    for _ in range(10):
        writing = asyncio.create_task(write())
        await asyncio.sleep(0.003)
        writing.cancel()
        with pytest.raises((asyncio.CancelledError, BlobInvalid)):
            await writing
    data = b"after" * 100_000
    assert await all_of(store, (await put(store, data)).id) == data


@pytest.mark.parametrize(
    "name", ["", "&../../../etc/passwd.sha256", "&" + "A" * 43 + "=!sha256", "../" * 10, None, 7, {}, "&" + "/" * 44]
)
async def test_what_is_no_id_is_refused_before_any_path_is_made(store: BlobStore, name: BlobId) -> None:
    for call in (store.size, store.remove, store.keep):
        with pytest.raises(MisuseError):
            call(name)
    with pytest.raises(MisuseError):
        await all_of(store, name)


def test_any_cutting_of_the_bytes_makes_the_same_blob(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cut")

    @given(st.binary(max_size=4000), st.lists(st.integers(0, 4000), max_size=5), st.integers(0, 4000))
    @settings(max_examples=25, deadline=None)
    def check(data: bytes, cuts: list[int], stop: int) -> None:
        asyncio.run(cut(data, sorted({0, *(min(c, len(data)) for c in cuts), len(data)}), stop))

    async def cut(data: bytes, cuts: list[int], stop: int) -> None:
        database = open_database(folder / "db", create=True)
        store = store_at(folder, database)
        writer = await store.begin(id_of(data), size_max=4000, keep=False)
        for start, end in itertools.pairwise(cuts):
            if writer.size >= stop:
                break
            await writer.write(data[start:end])
        await writer.leave()
        writer = await store.begin(id_of(data), size_max=4000, keep=False, resume=True)
        await writer.write(data[writer.size :])
        record = await writer.finish()
        assert await all_of(store, record.id) == data
        store.remove(record.id)
        assert store.used_bytes == 0
        await store.close()
        database.close()

    check()
