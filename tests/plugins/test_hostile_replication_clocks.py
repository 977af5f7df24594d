"""Clocks that no honest peer tells, and feeds that break on the way: bounded, nothing wrong kept, others unharmed."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssb_rtc.errors import SsbRtcError
from ssb_rtc.feeds import canonical, ebt, validate
from ssb_rtc.plugins import gossip as gossip_module
from ssb_rtc.transport.link import Duplex, Link
from ssb_rtc.types import FeedId, Json
from ssb_rtc.wire.rpc import RawJson
from tests.plugins.machines import Machine, connect
from tests.storage.feedmaker import feed_of, keys_of, raws

Make = Callable[..., Machine]
ANNA, BERT, CARL = (keys_of(n).id for n in (1, 2, 3))


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Machine] = []

    def make(number: int, wanted: list[FeedId] | None = None, **rest: Any) -> Machine:
        made.append(Machine(tmp_path / f"{number}-{len(made)}", number, wanted or [], **rest))
        return made[-1]

    yield make
    for machine in made:
        await machine.close()


class Hostile:
    """The remote's end: sends anything, and reads all that comes."""

    def __init__(self, link: Link, duplex: Duplex) -> None:
        self.link = link
        self.duplex = duplex
        self.notes: dict[str, int] = {}
        self.messages: list[tuple[str, int]] = []
        self._heard = asyncio.Event()
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        try:
            while batch := await self.duplex.read_batch():
                for item in batch:
                    value: Any = item.value
                    if "author" in value:
                        self.messages.append((value["author"], value["sequence"]))
                    else:
                        self.notes |= value
                self._heard.set()
        except SsbRtcError:
            return

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._heard.clear()
                await self._heard.wait()

    async def close(self) -> None:
        self._reading.cancel()
        await self.link.close("enough")


async def attack(ours: Machine, make: Make) -> Hostile:
    link, _ = await connect(make(9, ebt=False), ours)
    hostile = Hostile(link, link.duplex("ebt.replicate", {"version": 3, "format": "classic"}))
    await hostile.until(lambda: ANNA in hostile.notes)
    return hostile


def strange(count: int) -> list[str]:
    return [f"@{b64encode(n.to_bytes(32, 'big')).decode()}.ed25519" for n in range(count)]


ODD_VALUES: list[Json] = [
    *(2**32, 2**63, -2, -(2**70), 10**400, 1.5, 4.0, 1e300, -0.0, True, False, None),
    *("", "8", [], [8], {}, {"clock": 8}, {CARL: 8}),
]
ODD_NAMES = [
    "__proto__",
    "constructor",
    "toString",
    "",
    ".",
    "a.b.c",
    CARL[:-8],
    CARL + ".box",
    "🐜" * 99,
]


@pytest.mark.parametrize("value", ODD_VALUES, ids=lambda value: repr(value)[:20])
async def test_odd_notes_are_left_out_and_the_good_ones_count(make: Make, value: Json) -> None:
    ours = make(1, [BERT, CARL])
    await ours.store.ingest.add(raws(feed_of(2)), "test")
    hostile = await attack(ours, make)
    text = json.dumps({CARL: value, **dict.fromkeys(ODD_NAMES, value), ANNA: value, BERT: 76})
    await hostile.duplex.send(RawJson(text.encode()))
    await hostile.until(lambda: len(hostile.messages) == 2)
    assert hostile.messages == [(BERT, 39), (BERT, 40)]
    assert ours.store.author.frozen is None
    await hostile.duplex.send_encoded(raws(feed_of(3)))
    await ours.until(lambda: ours.sequence(CARL) == 40)
    assert not hostile.link.closed.done()
    await hostile.close()


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_odd_names_are_no_feeds(make: Make, name: str) -> None:
    ours = make(1)
    hostile = await attack(ours, make)
    for note in (0, 7, -1):
        await hostile.duplex.send({name: note})
    await hostile.duplex.send({CARL: 0})
    await hostile.until(lambda: CARL in hostile.notes)
    assert hostile.notes == {ANNA: 1, CARL: -1}
    await hostile.close()


@pytest.mark.parametrize(
    "body", [b'{"%s":NaN}', b'{"%s":Infinity}', b'{"%s":0x10}', b'{"%s":01}', b'{"%s":-}', b'{"%s":1']
)
async def test_what_is_no_json_ends_the_link(make: Make, body: bytes) -> None:
    ours = make(1, [CARL])
    hostile = await attack(ours, make)
    await hostile.duplex.send(RawJson(body % CARL.encode()))
    async with asyncio.timeout(10):
        await hostile.link.closed


async def test_a_hundred_thousand_unknown_feeds_are_bounded(make: Make) -> None:
    ours = make(1, [CARL])
    hostile = await attack(ours, make)
    names = strange(100_000)
    for start in range(0, len(names), 5_000):
        await hostile.duplex.send(dict.fromkeys(names[start : start + 5_000], 14))
    await hostile.duplex.send_encoded(raws(feed_of(3)))
    await ours.until(lambda: ours.sequence(CARL) == 40, limit_s=30)
    (session,) = ours.gossip.replicator._sessions.values()
    assert session.refused == ebt.REFUSED_MAX
    assert max(map(len, (session.remote, session.told, session.outbox))) <= ebt.REFUSED_MAX + 2
    await hostile.close()
    assert ours.store.database.query("SELECT count(*) FROM authors WHERE feed = ?", (names[7],)) == [(0,)]


async def test_notes_that_are_none_without_end_end_the_link(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip_module, "MALFORMED_NOTES_MAX", 500)
    ours = make(1, [CARL])
    hostile = await attack(ours, make)
    for _ in range(6):
        await hostile.duplex.send({f"no feed {n}": 2 for n in range(100)})
    async with asyncio.timeout(10):
        assert "notes" in await ours.context.links.live()[0].closed
    assert ours.gossip.replicator._sessions == {}


async def test_an_endless_stream_of_notes_leaves_no_trace_and_starves_nobody(make: Make) -> None:
    ours, honest = make(1, [BERT, CARL]), make(4, [CARL])
    await ours.store.ingest.add(raws(feed_of(2)), "test")
    hostile = await attack(ours, make)
    notes = dict.fromkeys(strange(200), 0)

    async def flood() -> None:
        while True:
            for note in (80, 81, -1, 2**32 - 1, 0):
                await hostile.duplex.send({**dict.fromkeys(notes, note), BERT: 81 if note != 0 else 80, CARL: note})

    flooding = asyncio.create_task(flood())
    await honest.store.ingest.add(raws(feed_of(3)), "test")
    await connect(ours, honest)
    await ours.until(lambda: ours.sequence(CARL) == 40, limit_s=30)
    flooding.cancel()
    hostile_session = next(iter(ours.gossip.replicator._sessions.values()))
    assert len(hostile_session.remote) <= 203
    assert len(hostile_session.outbox) <= 203
    assert not hostile.link.closed.done()
    await hostile.close()


async def test_a_lie_about_every_feed_costs_only_the_time_until_another_is_asked(make: Make) -> None:
    ours, honest = make(1, [CARL]), make(4, [CARL])
    hostile = await attack(ours, make)
    await hostile.duplex.send({CARL: 2**32 - 1})
    await hostile.until(lambda: hostile.notes.get(CARL) == 0)
    await honest.store.ingest.add(raws(feed_of(3)), "test")
    await connect(ours, honest)
    now_s = ours.context.now_s
    ours.context.now_s = lambda: now_s() + 2 * ebt.STALL_S
    await ours.until(lambda: ours.sequence(CARL) == 40)
    await hostile.close()


# --- a feed that breaks on the way ---

mutations = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "drop", "twice", "swap", "insert"]),
        st.integers(0, 19),
        st.integers(0, 600),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=3,
)


def mutate(stream: list[bytes], script: list[tuple[str, int, int, int]]) -> list[bytes]:
    made = list(stream)
    for what, index, offset, byte in script:
        at = index % len(made)
        raw = made[at]
        place = offset % (len(raw) or 1)
        if what == "flip":
            made[at] = raw[:place] + bytes([byte]) + raw[place + 1 :]
        elif what == "cut":
            made[at] = raw[:place]
        elif what == "insert":
            made[at] = raw[:place] + bytes([byte]) + raw[place:]
        elif what == "swap":
            other = (at + 1) % len(made)
            made[at], made[other] = made[other], made[at]
        elif what == "drop":
            made[at] = b"{}"
        else:
            made.insert(at, raw)
    return [raw for raw in made if raw]  # an empty body is a goodbye


def test_whatever_breaks_on_the_way_a_feed_only_grows_by_what_its_author_wrote(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    feed = feed_of(3, 20)
    whole = raws(feed)

    async def run(script: list[tuple[str, int, int, int]]) -> None:
        folder = tmp_path_factory.mktemp("broken")
        ours, theirs, honest = (
            Machine(folder / "1", 1, [CARL]),
            Machine(folder / "9", 9, ebt=False),
            Machine(folder / "4", 4, [CARL]),
        )
        link, _ = await connect(theirs, ours)
        duplex = link.duplex("ebt.replicate", {"version": 3, "format": "classic"})
        await duplex.read_batch()
        try:
            await duplex.send_encoded(mutate(whole, script))
            await duplex.end()
            while await duplex.read_batch():
                pass
        except SsbRtcError:
            pass
        await ours.store.ingest.settle(CARL)
        held = [canonically(message.raw) for message in ours.store.log.read_feed(CARL)]
        assert held == whole[: len(held)]
        assert ours.store.forks.all() == []
        await honest.store.ingest.add(whole, "test")
        await connect(ours, honest)
        await ours.until(lambda: ours.sequence(CARL) == 20)
        for machine in (ours, theirs, honest):
            await machine.close()

    @settings(max_examples=25)
    @given(script=mutations)
    def check(script: list[tuple[str, int, int, int]]) -> None:
        asyncio.run(run(script))

    check()


def canonically(raw: bytes) -> bytes:
    return canonical.compact(validate.canonically_signed(canonical.parse(raw)))
