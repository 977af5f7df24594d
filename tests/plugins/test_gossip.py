"""EBT between whole stacks over memory streams, and against a hand-made remote that says what we want it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc.errors import AuthorFault, LinkClosed, RemoteCallError
from ssb_rtc.feeds import validate
from ssb_rtc.feeds.canonical import compact
from ssb_rtc.feeds.message import create
from ssb_rtc.plugins import gossip as gossip_module
from ssb_rtc.transport.link import Duplex, Link
from ssb_rtc.types import Json, peer_of
from ssb_rtc.wire.rpc import RawJson
from tests.plugins.machines import Machine, Make, connect, machines_in
from tests.storage.feedmaker import break_signature, feed_of, keys_of, raws

ANNA, BERT, CARL = (keys_of(n).id for n in (1, 2, 3))


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with machines_in(tmp_path) as make:
        yield make


async def fill(machine: Machine, number: int) -> None:
    await machine.store.ingest.add(raws(feed_of(number)), "test")


async def test_a_fresh_peer_fetches_a_feed_and_hears_what_is_published_after(make: Make) -> None:
    anna, bert = make(1), make(2, [ANNA])
    for number in range(20):
        await anna.store.author.publish({"type": "post", "text": str(number)})
    await connect(bert, anna)
    await bert.until(lambda: bert.sequence(ANNA) == 20)
    await anna.store.author.publish({"type": "post", "text": "live"})
    await bert.until(lambda: bert.sequence(ANNA) == 21)
    ours, theirs = bert.store.log.read_feed(ANNA), anna.store.log.read_feed(ANNA)
    assert [message.raw for message in ours] == [message.raw for message in theirs]
    assert anna.sequence(BERT) == 0
    progress = bert.context.progress[peer_of(ANNA)]
    assert (progress.replicating, progress.missing) == (True, 0)
    assert progress.received == 21


async def test_a_link_that_is_given_up_replicates_no_more_though_it_is_open(make: Make) -> None:
    """Its goodbye is under way, and the link that takes its place replicates at once."""
    anna, bert = make(1), make(2, [ANNA])
    await anna.store.author.publish({"type": "post", "text": "first"})
    old, _ = await connect(bert, anna)
    await bert.until(lambda: bert.sequence(ANNA) == 1)
    progress = bert.context.progress[peer_of(ANNA)]
    bert.context.links.closed(old)
    assert not progress.replicating
    new, _ = await connect(bert, anna)
    assert [session.link for session in bert.gossip._sessions.values()] in ([], [new])
    await anna.store.author.publish({"type": "post", "text": "second"})
    await bert.until(lambda: bert.sequence(ANNA) == 2)
    assert [session.link for session in bert.gossip._sessions.values()] == [new]
    await anna.until(lambda: len(anna.gossip._sessions) == 1)
    assert not old.closed.done()
    assert (progress.received, bert.context.progress[peer_of(ANNA)].received) == (1, 1)


@pytest.mark.parametrize("links", [[(0, 1), (1, 2)], [(1, 0), (1, 2)], [(0, 1), (1, 2), (2, 0)]])
async def test_three_machines_carry_everybodys_feed_to_everybody(make: Make, links: list[tuple[int, int]]) -> None:
    machines = [make(number, [ANNA, BERT, CARL]) for number in (1, 2, 3)]
    for number, machine in enumerate(machines, start=1):
        await fill(machine, number)
    for one, other in links:
        await connect(machines[one], machines[other])
    for machine in machines:
        await machine.until(lambda machine=machine: all(machine.sequence(f) == 40 for f in (ANNA, BERT, CARL)))  # type: ignore[misc]


async def test_following_while_connected_fetches_and_unfollowing_stops(make: Make) -> None:
    anna, bert = make(1, [CARL]), make(2)
    await fill(anna, 3)
    await connect(bert, anna)
    bert.wanted.replace([BERT, CARL])
    await bert.until(lambda: bert.sequence(CARL) == 40)
    bert.wanted.replace([BERT])
    await anna.store.ingest.add(raws(feed_of(3, 41)), "test")
    await anna.until(lambda: anna.sequence(CARL) == 41)
    assert bert.sequence(CARL) == 40


async def test_when_the_source_leaves_another_goes_on(make: Make) -> None:
    sources = [make(number, [CARL]) for number in (1, 2)]
    fresh = make(4, [CARL])
    links = [(await connect(fresh, source))[0] for source in sources]
    await fill(sources[0], 3)
    await fresh.until(lambda: fresh.sequence(CARL) > 0)
    await links[0].close("gone")
    await fill(sources[1], 3)
    await fresh.until(lambda: fresh.sequence(CARL) == 40)


async def test_our_own_messages_leave_only_when_they_are_on_the_disk(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna, bert = make(1), make(2, [ANNA])
    hold, loop, real = asyncio.Event(), asyncio.get_running_loop(), anna.store.database.sync

    def slow_sync() -> None:
        asyncio.run_coroutine_threadsafe(hold.wait(), loop).result(10)
        real()

    monkeypatch.setattr(anna.store.database, "sync", slow_sync)
    await connect(bert, anna)
    await anna.store.author.publish({"type": "post", "text": "now"})
    history = bert.context.links.live()[0].source("createHistoryStream", {"id": ANNA, "live": False})
    assert [message async for message in history] == []
    assert bert.sequence(ANNA) == 0
    hold.set()
    await bert.until(lambda: bert.sequence(ANNA) == 1)


async def test_neither_notes_nor_messages_run_ahead_of_the_disk(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = make(1)
    for number in range(5):
        await ours.store.author.publish({"type": "post", "text": str(number)})
    await ours.store.author.synced(5)
    hold, loop = asyncio.Event(), asyncio.get_running_loop()
    monkeypatch.setattr(
        ours.store.database, "sync", lambda: asyncio.run_coroutine_threadsafe(hold.wait(), loop).result(10)
    )
    await ours.store.author.publish({"type": "post", "text": "not yet"})
    _, duplex = await replicating(ours, make(9, ebt=False))
    assert await first_note(duplex) == {ANNA: 10}
    await duplex.send({ANNA: 0, BERT: 0})
    heard = [await first_note(duplex) for _ in range(6)]
    assert [value["sequence"] for value in heard if "sequence" in value] == [1, 2, 3, 4, 5]
    assert {BERT: -1} in heard
    await duplex.send({CARL: 0})
    assert await first_note(duplex) == {CARL: -1}
    hold.set()
    assert (await first_note(duplex))["sequence"] == 6


FOLLOW_NINE = {"type": "contact", "contact": keys_of(9).id, "following": True}


async def test_a_friend_who_claims_more_of_our_feed_than_we_have_freezes_us(make: Make) -> None:
    ours = make(1)
    await ours.store.author.publish(FOLLOW_NINE)
    _, duplex = await replicating(ours, make(9, ebt=False))
    await duplex.send({ANNA: 80})
    await ours.until(lambda: ours.store.author.frozen is not None)
    with pytest.raises(AuthorFault, match="40"):
        await ours.store.author.publish({"type": "post"})


async def test_a_restored_backup_freezes_and_is_made_whole(make: Make) -> None:
    whole, friend = make(1), make(9, [ANNA])
    for number in range(9):
        await whole.store.author.publish(FOLLOW_NINE if number == 2 else {"type": "post", "text": str(number)})
    await connect(whole, friend)
    await friend.until(lambda: friend.sequence(ANNA) == 9)
    for link in whole.context.links.live():
        await link.close("dies")
    old = make(1, imported=True)
    backup = [message.raw for message in whole.store.log.read_feed(ANNA)[:5]]
    await old.store.ingest.add(backup, "backup")
    assert old.store.author.frozen is not None
    await connect(friend, old)
    await old.until(lambda: old.store.author.frozen is None)
    assert (await old.store.author.publish({"type": "post", "text": "on"})).sequence == 10
    await friend.until(lambda: friend.sequence(ANNA) == 10)
    assert friend.store.forks.all() == []


async def test_a_block_that_arrives_stops_serving_on_the_live_link_and_an_unblock_goes_on(make: Make) -> None:
    ours, feed, head = make(1, [CARL]), list[bytes](), None
    for number, blocking in enumerate((None, True, False)):
        content: Json = {"type": "contact", "contact": keys_of(9).id, "blocking": blocking}
        value = create(
            keys_of(3),
            {"type": "post", "text": "first"} if blocking is None else content,
            previous=head.id if head else None,
            sequence=number + 1,
            timestamp_ms=1_600_000_000_000 + number,
        )
        head = validate.check(head, value).head
        feed.append(compact(value))
    await ours.store.ingest.add(feed[:1], "test")
    _, duplex = await replicating(ours, make(9, ebt=False))
    assert await first_note(duplex) == {ANNA: 1, CARL: 2}
    await duplex.send({CARL: 2})
    await ours.until(lambda: any(s.serves for s in ours.gossip.replicator._sessions.values()))
    await ours.store.ingest.add(feed[1:2], "test")
    assert await first_note(duplex) == {CARL: -1}
    await ours.store.ingest.add(feed[2:], "test")
    assert await first_note(duplex) == {CARL: 4}
    assert [(await first_note(duplex))["sequence"] for _ in range(2)] == [2, 3]


async def test_a_fork_stops_that_feed_only(make: Make) -> None:
    anna, bert = make(1, [CARL]), make(2, [CARL, ANNA])
    await fill(bert, 3)
    await anna.store.ingest.add(raws(feed_of(3, 41, " other", 20)), "test")
    await connect(bert, anna)
    await bert.until(lambda: CARL in bert.store.forks)
    await fill(anna, 1)
    await bert.until(lambda: bert.sequence(ANNA) == 40)
    assert [message.raw for message in bert.store.log.read_feed(CARL)] == raws(feed_of(3))
    assert not bert.context.links.live()[0].closed.done()


async def test_a_second_link_with_the_same_peer_replicates_when_the_first_ends(make: Make) -> None:
    anna, bert = make(1), make(2, [ANNA])
    first, _ = await connect(bert, anna)
    await anna.store.author.publish({"type": "post", "text": "one"})
    await bert.until(lambda: bert.sequence(ANNA) == 1)
    await connect(bert, anna)
    await first.close("duplicate")
    await anna.store.author.publish({"type": "post", "text": "two"})
    await bert.until(lambda: bert.sequence(ANNA) == 2)


# --- a remote of our own making ---


async def replicating(ours: Machine, theirs: Machine) -> tuple[Link, Duplex]:
    """The remote's end of a link and of the replication that it opened, after our first notes."""
    link, end = await connect(theirs, ours)
    del end
    duplex = link.duplex("ebt.replicate", {"version": 3, "format": "classic"})
    return link, duplex


async def first_note(duplex: Duplex) -> Json:
    async with asyncio.timeout(5):
        async for value in duplex:
            return value
    raise AssertionError("the stream ended")


async def test_the_acceptor_speaks_first_like_a_javascript_one(make: Make) -> None:
    ours = make(1, [CARL])
    _, duplex = await replicating(ours, make(9, ebt=False))
    assert await first_note(duplex) == {ANNA: 1, CARL: 1}


async def test_a_legacy_dialler_gives_no_format(make: Make) -> None:
    link, _ = await connect(make(9, ebt=False), make(1))
    assert await first_note(link.duplex("ebt.replicate", {"version": 3})) == {ANNA: 1}


@pytest.mark.parametrize("options", [[], [None], [{"version": 2}], [{"version": 3, "format": "bendy"}]])
async def test_other_versions_are_refused(make: Make, options: list[Json]) -> None:
    link, _ = await connect(make(9, ebt=False), make(1))
    with pytest.raises(RemoteCallError, match="version: 3"):
        await first_note(link.duplex("ebt.replicate", *options))


async def test_an_empty_clock_is_sent_all_the_same(make: Make) -> None:
    ours = make(1)
    ours.wanted.replace([])
    _, duplex = await replicating(ours, make(9, ebt=False))
    assert await first_note(duplex) == {}


async def test_messages_flow_raw_both_ways(make: Make) -> None:
    ours = make(1, [BERT, CARL])
    await fill(ours, 2)
    _, duplex = await replicating(ours, make(9, ebt=False))
    notes = await duplex.read_batch()
    assert [item.value for item in notes] == [{ANNA: 1, BERT: 80, CARL: 1}]
    await duplex.send({BERT: 60, CARL: 80})
    await duplex.send_encoded(raws(feed_of(3)[:5]))
    got: list[bytes] = []
    while len(got) < 10:
        got += [item.body for item in await duplex.read_batch() if b"signature" in item.body]
    assert got == raws(feed_of(2)[30:])
    await ours.until(lambda: ours.sequence(CARL) == 5)


async def test_a_clock_with_more_around_it_is_understood(make: Make) -> None:
    ours = make(1, [BERT])
    await fill(ours, 2)
    _, duplex = await replicating(ours, make(9, ebt=False))
    await duplex.send({"clock": {BERT: 78}, "something": "new"})
    assert await first_note(duplex) == {ANNA: 1, BERT: 80}
    assert await first_note(duplex) == feed_of(2)[39].value


@pytest.mark.parametrize(
    "frame",
    [5, "text", None, [], b"bytes", RawJson(b'{"previous"'), {"author": CARL, "sequence": 1}, RawJson(b"{nonsense")],
    ids=repr,
)
async def test_rubbish_ends_the_link_and_nothing_else(make: Make, frame: Any) -> None:
    ours = make(1, [CARL])
    link, duplex = await replicating(ours, make(9, ebt=False))
    await duplex.send(frame)
    async with asyncio.timeout(5):
        await link.closed
    await fill(ours, 3)
    assert ours.sequence(CARL) == 40


async def test_a_bad_signature_ends_the_link_and_another_peer_brings_the_rest(make: Make) -> None:
    ours, honest = make(1, [CARL]), make(2, [CARL])
    link, duplex = await replicating(ours, make(9, ebt=False))
    await duplex.send({CARL: 81})
    await duplex.send_encoded([*raws(feed_of(3)[:5]), break_signature(feed_of(3)[5])])
    await duplex.send_encoded(raws(feed_of(3)[6:7]))
    async with asyncio.timeout(5):
        assert "signature" in await our_end(ours).closed
        await link.closed
    assert ours.sequence(CARL) == 5
    await fill(honest, 3)
    await connect(ours, honest)
    await ours.until(lambda: ours.sequence(CARL) == 40)


def our_end(machine: Machine) -> Link:
    (link,) = machine.context.links.live()
    return link


async def test_a_feed_that_nobody_wants_is_not_stored(make: Make) -> None:
    ours = make(1)
    _, duplex = await replicating(ours, make(9, ebt=False))
    await duplex.send_encoded(raws(feed_of(3)))
    await duplex.send({CARL: 80})
    notes = await first_note(duplex)
    while CARL not in notes:
        notes |= await first_note(duplex)
    assert notes == {ANNA: 1, CARL: -1}
    await ours.store.ingest.settle(CARL)
    assert ours.store.log.count() == 0


async def test_a_peer_that_only_reads_slowly_does_not_fill_our_memory(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender waits while the link is congested: it does not read the whole log into it."""
    ours = make(1, [BERT])
    for start in range(0, 40, 20):
        await ours.store.ingest.add(raws(feed_of(2)[start : start + 20]), "test")
    reads = 0
    real = ours.store.log.read_feed

    def counted(*args: Any) -> Any:
        nonlocal reads
        reads += 1
        return real(*args)

    monkeypatch.setattr(ours.store.log, "read_feed", counted)
    _, duplex = await replicating(ours, make(9, ebt=False))
    await duplex.send({BERT: 0})
    await ours.until(lambda: reads == 1)
    await duplex.end()
    assert reads == 1


# --- ping ---


async def test_pings_are_answered_with_our_time(make: Make) -> None:
    link, _ = await connect(make(9, ebt=False), make(1))
    duplex = link.duplex("gossip.ping", {"timeout": 300_000})
    for _ in range(2):
        await duplex.send(1_795_329_570_617)
        answer = await first_note(duplex)
        assert type(answer) is int
        assert answer > 1_600_000_000_000
    await duplex.end()


async def test_who_pings_once_and_then_waits_is_pinged(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """As npm pull-ping does, which would end a quiet link for want of our turn."""
    monkeypatch.setattr(gossip_module, "PING_TIMEOUT_MS", 40)
    link, _ = await connect(make(9, ebt=False), make(1))
    duplex = link.duplex("gossip.ping", {"timeout": 40})
    await duplex.send(1)
    assert type(await first_note(duplex)) is int
    assert type(await first_note(duplex)) is int
    await duplex.send(2)  # the answer to that ping: no time comes back for it, but the next ping does
    assert type(await first_note(duplex)) is int
    await duplex.end()


async def test_the_dialler_pings_and_ends_a_link_that_does_not_answer(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Json] = []
    silent = make(9, ebt=False)

    class Mute:
        name, version = "mute", "1.0.0"
        manifest, permissions = {"gossip.ping": "duplex"}, {"remote": ["gossip"]}

        def init(self, _context: object) -> dict[str, Any]:
            return {"gossip.ping": self.ping}

        async def ping(self, _link: Link, duplex: Duplex, options: Json) -> None:
            heard.append(options)
            while batch := await duplex.read_batch():
                heard.extend(item.value for item in batch)

    silent.registry.add(Mute())  # type: ignore[arg-type]
    monkeypatch.setattr(gossip_module, "PING_TIMEOUT_MS", 100)
    link, _ = await connect(make(1), silent)
    async with asyncio.timeout(5):
        assert "ping" in await link.closed
    assert heard[0] == {"timeout": 100}
    assert type(heard[1]) is int


async def test_two_of_ours_keep_pinging(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip_module, "PING_TIMEOUT_MS", 40)
    one, other = make(1), make(2)
    link, _ = await connect(one, other)
    before = other.store.clock.now_ms
    await one.until(lambda: other.store.clock.now_ms > before + 5)
    assert not link.closed.done()


async def test_a_link_that_ends_at_once_leaves_nothing(make: Make) -> None:
    one, other = make(1), make(2)
    link, _ = await connect(one, other)
    await link.close("enough")
    with pytest.raises(LinkClosed):
        link.duplex("ebt.replicate")
    await one.until(lambda: not one.context.progress)
    await other.until(lambda: not other.context.progress)
