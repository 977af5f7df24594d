"""The two subscriptions on a hub: the new one stands before the old one is given up, and a loss is told once."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from ssb_rtc.errors import TransportFault
from ssb_rtc.hub.server import HubServer, serve
from ssb_rtc.signalhub.client import HubClient
from ssb_rtc.signalhub.streams import HubStreams
from ssb_rtc.types import HubUrl
from tests.signalhub.rogue import STREAM, rogue

LIMIT_S = 15.0


class Listening:
    """Streams on a hub, and what came of them."""

    def __init__(self, hub: str, session: aiohttp.ClientSession) -> None:
        self.heard: list[tuple[str, str]] = []
        self.lost: list[TransportFault] = []
        self.made = 0
        self._hub, self._session, self._changed = HubUrl(hub), session, asyncio.Event()
        self.streams = HubStreams(self.client, self._take, self._lose)

    def client(self) -> HubClient:
        self.made += 1
        return HubClient(self._hub, "app", self._session)

    def _take(self, name: str, text: str) -> None:
        self.heard.append((name, text))
        self._changed.set()

    def _lose(self, fault: TransportFault) -> None:
        self.lost.append(fault)
        self._changed.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(LIMIT_S):
            while len(self.heard) + len(self.lost) < count:
                self._changed.clear()
                await self._changed.wait()


async def test_each_stream_says_which_it_is(server: HubServer, session: aiohttp.ClientSession) -> None:
    own = Listening(server.url, session)
    await own.streams.subscribe({"own": ["a", "b"], "open": ["c"]})
    for channel in "cab":
        await own.streams.broadcast(channel, f'"{channel}"')
    await own.until(3)
    assert sorted(own.heard) == [("open", '"c"'), ("own", '"a"'), ("own", '"b"')]
    await own.streams.close()


async def test_what_did_not_change_stays_and_nothing_is_lost_in_between(
    server: HubServer, session: aiohttp.ClientSession
) -> None:
    own = Listening(server.url, session)
    await own.streams.subscribe({"own": ["a"], "open": ["c"]})
    made = own.made
    await own.streams.subscribe({"own": ["a"], "open": ["c"]})
    assert own.made == made
    saying = asyncio.create_task(say(own, "a", 40))
    for number in range(5):
        await own.streams.subscribe({"own": ["a", str(number)], "open": ["c"]})
    await saying
    assert own.made == made + 5
    await own.until(40)
    assert {text for _, text in own.heard} == {str(number) for number in range(40)}
    await own.streams.subscribe({"own": ["a"], "open": []})
    await own.streams.broadcast("c", '"gone"')
    await own.streams.broadcast("a", '"last"')
    async with asyncio.timeout(LIMIT_S):
        while own.heard[-1] != ("own", '"last"'):
            await asyncio.sleep(0.01)
    assert ("open", '"gone"') not in own.heard
    await own.streams.close()


async def say(own: Listening, channel: str, count: int) -> None:
    for number in range(count):
        await own.streams.broadcast(channel, str(number))


async def test_a_hub_that_refuses_a_new_subscription_changes_nothing(session: aiohttp.ClientSession) -> None:
    async def only_a(head: bytes, writer: asyncio.StreamWriter) -> None:
        if b"/a " not in head:
            writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
            return
        writer.write(STREAM + b"data: 1\n\n")
        await asyncio.Event().wait()

    async with rogue(only_a) as url:
        own = Listening(url, session)
        await own.streams.subscribe({"own": ["a"], "open": []})
        with pytest.raises(TransportFault):
            await own.streams.subscribe({"own": ["a"], "open": ["c"]})
        await own.until(1)
        assert (own.heard, own.lost) == ([("own", "1")], [])
        await own.streams.close()


async def test_a_loss_is_told_once_and_never_after_closing(session: aiohttp.ClientSession) -> None:
    server = await serve("127.0.0.1", 0)
    own, closed = Listening(server.url, session), Listening(server.url, session)
    for listening in (own, closed):
        await listening.streams.subscribe({"own": ["a"], "open": ["c"]})
    await closed.streams.close()
    await server.close()
    await own.until(1)
    await own.streams.close()
    assert (len(own.lost), closed.lost) == (1, [])
