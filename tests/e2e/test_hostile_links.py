"""Links of one key, opened and ended at bad moments: replication goes on over one of them, and nobody makes us spin."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from ssb_rtc.config import MAIN_NETWORK_KEY
from ssb_rtc.errors import SsbRtcError
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.transport.base import Stream
from ssb_rtc.transport.link import Duplex, Link, open_link
from ssb_rtc.transport.net import NetTransport
from ssb_rtc.types import Json
from ssb_rtc.wire.address import net_address
from tests.e2e.hostile import Refuses, Victim, attacker_keys, linked, victim
from tests.e2e.processes import eventually
from tests.e2e.test_hostile_replication import feed, send, wanted

LENGTH = 200
LIMIT_S = 5.0


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """One peer with an open port, which takes all the attacks of this file."""
    with victim(tmp_path_factory.mktemp("hostile") / "peer", "--net", "0") as running:
        yield running


async def _asked_from(duplex: Duplex, keys: Keys) -> int:
    """The sequence after which the peer asks for this feed."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            for item in await duplex.read_batch():
                note = item.value.get(keys.id) if isinstance(item.value, dict) else None
                if isinstance(note, int) and note >= 0 and not note & 1:
                    return note >> 1


async def _one_more(peer: Victim, keys: Keys) -> tuple[Stream, Link, Duplex]:
    stream = await NetTransport().connect(f"127.0.0.1:{peer.port}")
    link = await open_link(
        stream, keys=keys, network_key=MAIN_NETWORK_KEY, remote=peer.id, dialled=True, router=Refuses()
    )
    duplex = link.duplex("ebt.replicate", {"version": 3, "format": "classic"})
    await send(duplex, {keys.id: 2 * LENGTH})
    return stream, link, duplex


async def test_links_that_are_replaced_and_cut_at_any_moment_lose_no_message(peer: Victim) -> None:
    keys, chance = await wanted(peer), random.Random(3)
    messages = feed(keys, LENGTH)
    async with peer.watched(), AsyncExitStack() as links:
        before: Stream | None = None
        for _ in range(15):
            stream, link, duplex = await _one_more(peer, keys)
            links.push_async_callback(link.close)
            after = await _asked_from(duplex, keys)
            await send(duplex, *messages[after : after + chance.randrange(1, 12)])
            match chance.randrange(4):
                case 0:
                    stream.abort("without a word")
                case 1:
                    with contextlib.suppress(SsbRtcError):
                        await link.call("peers.goodbye", {"reason": "duplicate"}, timeout_s=LIMIT_S)
                    await link.close()
                case 2 if before is not None:
                    before.abort("the older one")
            before = stream
        _, link, duplex = await _one_more(peer, keys)
        links.push_async_callback(link.close)
        await send(duplex, *messages[await _asked_from(duplex, keys) :])

        async def complete() -> bool:
            return await peer.holds(keys.id) == LENGTH

        await eventually("holding all of the feed", complete, limit_s=LIMIT_S)


class _Deaf(Refuses):
    """Knows gossip.ping, and never answers."""

    def __init__(self) -> None:
        super().__init__({"gossip.ping": self._silence})

    @staticmethod
    async def _silence(_link: Link, _duplex: Duplex, *_args: Any) -> None:
        await asyncio.Event().wait()


async def test_second_links_that_answer_no_ping_don_t_disturb_the_one_that_replicates(peer: Victim) -> None:
    keys = await wanted(peer)
    messages = feed(keys, 20)

    async def holds(count: int) -> None:
        async def held() -> bool:
            return await peer.holds(keys.id) == count

        await eventually(f"holding {count} messages", held, limit_s=LIMIT_S)

    async with peer.watched(), AsyncExitStack() as links, linked(peer, keys, _Deaf()) as first:
        duplex = first.duplex("ebt.replicate", {"version": 3, "format": "classic"})
        await send(duplex, {keys.id: 40})
        await send(duplex, *messages[await _asked_from(duplex, keys) : 10])
        await holds(10)
        seconds = [await links.enter_async_context(linked(peer, keys, _Deaf())) for _ in range(20)]
        await send(duplex, *messages[10:])
        await holds(20)
        assert not first.closed.done()

        async def all_but_one_closed() -> bool:
            return sum(not link.closed.done() for link in seconds) <= 1

        await eventually("closing second links", all_but_one_closed, limit_s=LIMIT_S)


async def test_who_says_goodbye_until_now_is_not_dialled_without_a_pause(peer: Victim) -> None:
    keys, dials = attacker_keys(), 0

    async def serve(stream: Stream) -> None:
        nonlocal dials
        dials += 1
        link = await open_link(
            stream, keys=keys, network_key=MAIN_NETWORK_KEY, remote=None, dialled=False, router=Refuses()
        )
        said: dict[str, Json] = {"reason": "come back", "notBefore": 0}
        with contextlib.suppress(SsbRtcError):
            await link.call("peers.goodbye", said, timeout_s=LIMIT_S)
        await link.close()

    listener = await NetTransport().listen("127.0.0.1:0", serve)
    try:
        port = int(listener.addresses[0].rpartition(":")[2])
        await peer.ask("rtc.connect", net_address("127.0.0.1", port, keys.public))
        await asyncio.sleep(1.0)  # hundreds of dials, where a goodbye could call the next one at once
        assert dials == 1
    finally:
        await listener.close()
