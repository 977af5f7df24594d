"""The table of links: a check closes those that are dead, and no others; plugins know of one link a peer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ssb_rtc.manager import actions as a
from ssb_rtc.manager.state import Route
from ssb_rtc.runtime import links
from ssb_rtc.runtime.links import LinkTable
from ssb_rtc.transport.link import Duplex, Link, open_link
from ssb_rtc.transport.memory import stream_pair
from tests.transport.linking import ALICE, BOB, NETWORK_KEY, Table, peer_id

LIMIT_S = 5.0


class _Plugins:
    """Write down what they hear, and whether the link was open still."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Link, bool]] = []

    def opened(self, link: Link) -> None:
        self.heard.append(("opened", link, not link.closed.done()))

    def closed(self, link: Link) -> None:
        self.heard.append(("closed", link, not link.closed.done()))


async def _link(table: LinkTable, bob: Table) -> Link:
    """One more link of a table, to Bob."""
    a_end, b_end = stream_pair()
    accepting = asyncio.create_task(open_link(b_end, keys=BOB, network_key=NETWORK_KEY, remote=None, router=bob))
    await table.meet(a_end, peer_id(BOB), Route("address", "memory"), 1, client=True, began=True)
    await accepting
    return list(table._links.values())[-1]


@asynccontextmanager
async def _linked(bob: Table, actions: list[a.Action] | None = None) -> AsyncIterator[tuple[LinkTable, Link]]:
    """Alice's table with one link, to Bob; and that link."""

    def dispatch(action: a.Action) -> bool:
        if actions is not None:
            actions.append(action)
        return True

    table = LinkTable(ALICE, NETWORK_KEY, Table(), _Plugins(), dispatch, lambda _: False)
    link = await _link(table, bob)
    try:
        yield table, link
    finally:
        await table.close("the test is over")


async def _pong(_link: Link, duplex: Duplex, *_args: Any) -> None:
    async for _ in duplex:
        await duplex.send(1)


async def _silence(_link: Link, duplex: Duplex, *_args: Any) -> None:
    await asyncio.Event().wait()


async def test_a_link_that_answers_a_ping_stays() -> None:
    actions: list[a.Action] = []
    async with _linked(Table({"gossip.ping": _pong}), actions) as (table, link):
        async with asyncio.timeout(LIMIT_S):
            await table.check(1)
        assert not link.closed.done()
        (answer,) = [action for action in actions if isinstance(action, a.LinkDidAnswer)]
        assert (answer.peer, answer.link) == (peer_id(BOB), 1)
        assert 0 < answer.rtt_s < LIMIT_S


async def test_a_peer_that_knows_no_ping_has_answered_too() -> None:
    actions: list[a.Action] = []
    async with _linked(Table(), actions) as (table, link):
        async with asyncio.timeout(LIMIT_S):
            await table.check(1)
        assert not link.closed.done()
        assert isinstance(actions[-1], a.LinkDidAnswer)


async def test_a_link_that_stays_silent_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "PING_LIMIT_S", 0.1)
    async with _linked(Table({"gossip.ping": _silence})) as (table, link):
        async with asyncio.timeout(LIMIT_S):
            await table.check(1)
        assert link.closed.result() == "it did not answer a ping"


async def test_a_link_over_which_something_comes_stays_whether_or_not_a_ping_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "PING_LIMIT_S", 0.1)
    pinged = asyncio.Event()

    async def ping(_link: Link, duplex: Duplex, *_args: Any) -> None:
        pinged.set()
        await asyncio.Event().wait()

    async def bulk(_link: Link, *_args: Any) -> AsyncIterator[str]:
        await pinged.wait()
        yield "a message"
        await asyncio.Event().wait()

    actions: list[a.Action] = []
    async with _linked(Table({"gossip.ping": ping, "bulk": bulk}), actions) as (table, link):
        incoming = link.source("bulk")
        async with asyncio.timeout(LIMIT_S):
            await table.check(1)
            assert [item.value for item in await incoming.read_batch()] == ["a message"]
        assert not link.closed.done()
        assert not any(isinstance(action, a.LinkDidAnswer) for action in actions)


async def test_the_check_of_a_link_that_is_gone_is_nothing() -> None:
    async with _linked(Table()) as (table, _link):
        await table.check(7)


async def test_plugins_know_of_one_link_a_peer_and_of_its_end_at_once() -> None:
    bob, actions = Table(), list[a.Action]()
    async with _linked(bob, actions) as (table, first):
        plugins = table._hears
        assert isinstance(plugins, _Plugins)
        assert plugins.heard == [], "no plugin hears of a link before it is used"
        table.use(1)
        second = await _link(table, bob)
        assert table.used(peer_id(BOB)) == 1
        goodbye = table.disconnect(1, "duplicate")
        table.use(2)
        assert plugins.heard == [("opened", first, True), ("closed", first, True), ("opened", second, True)]
        assert table.used(peer_id(BOB)) == 2
        assert goodbye is not None
        await goodbye
        assert first.closed.result() == "duplicate"
        assert len(plugins.heard) == 3
        assert [action.link for action in actions if isinstance(action, a.RemotePeerLinkEnded)] == [1]
        await second.close("enough")
        await asyncio.sleep(0)
        assert plugins.heard[3:] == [("closed", second, False)]
        assert table.used(peer_id(BOB)) is None


async def test_a_link_that_is_used_takes_the_place_of_another_that_was_not_given_up() -> None:
    bob = Table()
    async with _linked(bob) as (table, first):
        plugins = table._hears
        assert isinstance(plugins, _Plugins)
        table.use(1)
        second = await _link(table, bob)
        table.use(2)
        assert [(what, link) for what, link, _ in plugins.heard] == [
            ("opened", first), ("closed", first), ("opened", second),
        ]  # fmt: skip


async def test_a_link_that_is_gone_is_neither_used_nor_parted_from() -> None:
    async with _linked(Table()) as (table, link):
        plugins = table._hears
        assert isinstance(plugins, _Plugins)
        await link.close("gone")
        table.use(1)
        table.use(7)
        assert table.disconnect(7, "nobody") is None
        assert plugins.heard == []


async def test_a_remote_that_knows_none_of_our_calls_is_told_nothing_more() -> None:
    calls: list[str] = []

    class Counting(Table):
        def find(self, name: tuple[str, ...], kind: Any, link: Link) -> Any:
            calls.append(".".join(name))
            return super().find(name, kind, link)

    async with _linked(Counting()) as (table, link):
        for _ in range(3):
            await table.tell(1, only_link=True, downloading=False)
        goodbye = table.disconnect(1, "enough")
        assert goodbye is not None
        async with asyncio.timeout(LIMIT_S):
            await goodbye
        assert calls == ["peers.tell"]
        assert link.closed.result() == "enough"
