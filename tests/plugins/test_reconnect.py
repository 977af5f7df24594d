"""Peers that meet again: after a quiet time, a restart, a crash, or the loss of a database."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from ssb_rtc.feeds.validate import Checked
from ssb_rtc.transport.link import Duplex
from ssb_rtc.types import FeedId, Json, MsgId
from tests.plugins.machines import Machine, connect
from tests.storage.feedmaker import feed_of, keys_of, raws

ANNA, BERT, CARL = (keys_of(n).id for n in (1, 2, 3))
Start = Callable[..., Machine]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts machine `number` on the database of that number, whatever it held before."""
    made: list[Machine] = []

    def start(number: int, wanted: list[FeedId] | None = None) -> Machine:
        made.append(Machine(tmp_path / f"{number}.sqlite", number, wanted or []))
        return made[-1]

    yield start
    for machine in made:
        if not machine.store.database.closed:
            await machine.close()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of notes that anybody sends."""
    sizes: list[int] = []
    real = Duplex.send

    async def send(self: Duplex, value: Json) -> None:
        if isinstance(value, dict) and all(type(note) is int for note in value.values()):
            sizes.append(len(orjson.dumps(value)))
        await real(self, value)

    monkeypatch.setattr(Duplex, "send", send)
    return sizes


def hold(machine: Machine, feeds: list[FeedId]) -> None:
    """Feeds of one message each, as far as a log looks at them."""
    stored = machine.store.log.append(
        [
            Checked(
                key=MsgId(f"%{b64encode(n.to_bytes(32, 'big')).decode()}.sha256"),
                author=feed,
                sequence=1,
                previous=None,
                timestamp=1.0,
                value={"content": "x.box"},
                raw=b"{}",
            )
            for n, feed in enumerate(feeds)
        ],
        1,
    )
    machine.store.ingest.announce(stored)


async def talk(one: Machine, other: Machine, marker: str) -> None:
    """Both connect, and each gets a new message of the other, so whatever was to be told has been told."""
    await connect(one, other)
    for writer in (one, other):
        await writer.store.author.publish({"type": "post", "text": marker})
    for writer, reader in ((one, other), (other, one)):
        feed = writer.keys.id
        await reader.until(lambda r=reader, w=writer, f=feed: r.sequence(f) == w.sequence(f), limit_s=60)  # type: ignore[misc]


async def restarted(start: Start, machine: Machine, wanted: list[FeedId]) -> Machine:
    await machine.close()
    again = start(1 if machine.keys.id == ANNA else 2, wanted)
    again.store.clock.now_ms = machine.store.clock.now_ms
    return again


async def test_a_reconnect_after_a_restart_tells_only_what_changed(start: Start, told: list[int]) -> None:
    feeds = [FeedId(f"@{b64encode(n.to_bytes(32, 'big')).decode()}.ed25519") for n in range(10_000)]
    anna, bert = start(1, [*feeds, BERT]), start(2, [*feeds, ANNA])
    for machine in (anna, bert):
        hold(machine, feeds)
    await talk(anna, bert, "first")
    assert 1_100_000 < sum(told) < 1_200_000
    for link in anna.context.links.live():
        await link.close("later")
    anna, bert = await restarted(start, anna, [*feeds, BERT]), await restarted(start, bert, [*feeds, ANNA])
    told.clear()
    await talk(anna, bert, "again")
    assert sum(told) < 2_000
    told.clear()
    anna.wanted.replace([ANNA, BERT])  # the silence was a promise to hear, which is taken back
    await anna.until(lambda: sum(told) > 500_000)


async def test_who_lost_its_database_gets_everything_again(start: Start, tmp_path: Path) -> None:
    anna, bert = start(1, [CARL]), start(2, [CARL, ANNA])
    await anna.store.ingest.add(raws(feed_of(3)), "test")
    await connect(bert, anna)
    await bert.until(lambda: bert.sequence(CARL) == 40)
    await bert.close()
    for file in tmp_path.glob("2.sqlite*"):
        file.unlink()
    bert = start(2, [CARL, ANNA])
    await connect(bert, anna)
    await bert.until(lambda: bert.sequence(CARL) == 40)


async def test_who_died_in_a_session_remembers_nothing_of_it(start: Start) -> None:
    """Its log may have lost what it told: with a memory, both sides would keep silent."""
    anna, bert = start(1, [CARL]), start(2, [CARL])
    await anna.store.ingest.add(raws(feed_of(3)), "test")
    await connect(bert, anna)
    await bert.until(lambda: bert.sequence(CARL) == 40)
    for link in bert.context.links.live():
        await link.close("later")
    await bert.until(lambda: rows(bert) == 1)
    await connect(bert, anna)
    await bert.until(lambda: rows(bert) == 0)


def rows(machine: Machine) -> int:
    found: list[tuple[Any, ...]] = machine.store.database.query("SELECT count(*) FROM clocks")
    return int(found[0][0])
