"""The table of links: a check closes those that are dead, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ssb_rtc.manager.state import Route
from ssb_rtc.runtime import links
from ssb_rtc.runtime.links import LinkTable
from ssb_rtc.transport.link import Duplex, Link, open_link
from ssb_rtc.transport.memory import stream_pair
from tests.transport.linking import ALICE, BOB, NETWORK_KEY, Table, peer_id

LIMIT_S = 5.0


class _Nobody:
    def opened(self, link: Link) -> None: ...

    def closed(self, link: Link) -> None: ...


@asynccontextmanager
async def _linked(bob: Table) -> AsyncIterator[tuple[LinkTable, Link]]:
    """Alice's table with one link, to Bob; and that link."""
    table = LinkTable(ALICE, NETWORK_KEY, Table(), _Nobody(), lambda _: True, lambda _: False)
    a_end, b_end = stream_pair()
    accepting = asyncio.create_task(open_link(b_end, keys=BOB, network_key=NETWORK_KEY, remote=None, router=bob))
    await table.outbound(a_end, peer_id(BOB), Route("address", "memory"), 1)
    theirs = await accepting
    link = table.get(1)
    assert link is not None
    try:
        yield table, link
    finally:
        await table.close("the test is over")
        await theirs.close()


async def _pong(_link: Link, duplex: Duplex, *_args: Any) -> None:
    async for _ in duplex:
        await duplex.send(1)


async def _silence(_link: Link, duplex: Duplex, *_args: Any) -> None:
    await asyncio.Event().wait()


async def test_a_link_that_answers_a_ping_stays() -> None:
    async with _linked(Table({"gossip.ping": _pong})) as (table, link):
        async with asyncio.timeout(LIMIT_S):
            await table.check(1)
        assert not link.closed.done()


async def test_a_peer_that_knows_no_ping_has_answered_too() -> None:
    async with _linked(Table()) as (table, link):
        async with asyncio.timeout(LIMIT_S):
            await table.check(1)
        assert not link.closed.done()


async def test_a_link_that_stays_silent_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "PING_LIMIT_S", 0.1)
    async with _linked(Table({"gossip.ping": _silence})) as (table, link):
        async with asyncio.timeout(LIMIT_S):
            await table.check(1)
        assert link.closed.result() == "it did not answer a ping"


async def test_the_check_of_a_link_that_is_gone_is_nothing() -> None:
    async with _linked(Table()) as (table, _link):
        await table.check(7)
