"""Blobs between machines over memory links: gossip, sympathy, push, resuming, and remotes that mean no good."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.config import Settings
from ssb_rtc.errors import BlobMissing, BlobsFull, MisuseError, RemoteCallError
from ssb_rtc.feeds import blob_wants
from ssb_rtc.feeds.blob_wants import EMPTY_BLOB
from ssb_rtc.feeds.refs import blob_id
from ssb_rtc.plugins import blob_exchange
from ssb_rtc.plugins import blobs as blobs_module
from ssb_rtc.plugins.blob_api import BlobApi
from ssb_rtc.transport.link import Handler, Link, open_link, open_plain_link
from ssb_rtc.transport.memory import stream_pair
from ssb_rtc.types import BlobId, Json, PeerId, peer_of
from ssb_rtc.wire.rpc import Kind
from tests.plugins.machines import NETWORK, Machine, connect
from tests.storage.feedmaker import keys_of
from tests.storage.full_disk import file_limit

Make = Callable[..., Machine]
DATA = bytes(range(256)) * 5000
"""More than one read, one write and one chunk."""
LIMIT_S = 20.0


def id_of(data: bytes) -> BlobId:
    return blob_id(sha256(data).digest())


BLOB = id_of(DATA)


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Machine] = []

    def make(number: int, **settings: Any) -> Machine:
        machine = Machine(tmp_path / f"{number}-{len(made)}", number, ebt=False, settings=Settings(**settings))
        made.append(machine)
        return machine

    yield make
    for machine in made:
        await machine.close()


async def content(api: BlobApi, blob: BlobId) -> bytes:
    return b"".join([chunk async for chunk in api.get(blob)])


async def local(machine: Machine) -> Link:
    """A caller on the machine itself."""
    ours, theirs = stream_pair()
    own = PeerId(machine.keys.id)
    await open_plain_link(theirs, own=own, router=machine.registry, dialled=False)
    return await open_plain_link(ours, own=own, router=Rogue({}), dialled=True)


class Rogue:
    """A remote that answers by these handlers only."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self.handlers = handlers

    def find(self, name: tuple[str, ...], _kind: Kind, _link: Link) -> Handler:
        try:
            return self.handlers[".".join(name)]
        except KeyError:
            raise RemoteCallError("no such command") from None


async def connect_rogue(machine: Machine, number: int, handlers: Mapping[str, Handler]) -> Link:
    ours, theirs = stream_pair()
    keys = keys_of(number)
    mine, served = await asyncio.gather(
        open_link(
            theirs,
            keys=keys,
            network_key=NETWORK,
            remote=peer_of(machine.keys.id),
            dialled=True,
            router=Rogue(handlers),
        ),
        open_link(ours, keys=machine.keys, network_key=NETWORK, remote=None, router=machine.registry),
    )
    machine.take(served)
    return mine


def claiming(*notes: Mapping[str, Any]) -> Handler:
    """A createWants that says these and stays open."""

    async def create_wants(_link: Link, *_options: Json) -> AsyncIterator[Json]:
        for note in notes:
            yield note
        await asyncio.get_running_loop().create_future()

    return create_wants


def giving(data: bytes, asked: list[Any] | None = None, *, cut_at: int | None = None, chunk: int = 65536) -> Handler:
    """A get that sends this, and breaks off with an error at `cut_at`."""

    async def get(_link: Link, options: Json) -> AsyncIterator[bytes]:
        if asked is not None:
            asked.append(options)
        part = data[options.get("start", 0) : options.get("end", len(data))]
        for at in range(0, len(part), chunk):
            if cut_at is not None and at >= cut_at:
                raise RemoteCallError("no more")
            yield part[at : at + chunk]

    return get


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


# --- sources that fail ---


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
    await connect_rogue(machine, 2, {"blobs.createWants": claiming([], "x", 7, None, odd, many)})  # type: ignore[arg-type]
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
