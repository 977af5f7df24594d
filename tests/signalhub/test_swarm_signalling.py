"""The swarm dialect over several hubs: who hears what, once, in order, and no more than the limits."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import aiohttp
import pytest

from ssb_rtc.errors import MisuseError, TransportFault
from ssb_rtc.hub.server import HubServer, serve
from ssb_rtc.signalhub.client import ClientLimits, HubClient, HubRefused, open_session
from ssb_rtc.signalhub.signalling import (
    Announced,
    HubDown,
    HubUp,
    SignallingEvent,
    SignalReceived,
)
from ssb_rtc.signalhub.swarm_signalling import SwarmLimits, SwarmSignalling
from ssb_rtc.types import HubUrl, PeerId
from ssb_rtc.wire.swarm import ALL, Signal, format_connect
from tests.signalhub.rogue import STREAM, rogue, saying

APP = "ssb-rtc-1-0badcafe"
LIMIT_S = 5.0
OFFER = Signal("offer", sdp="v=0\r\n")


def peer(number: int) -> PeerId:
    """Ids whose base64 is full of slashes and pluses, which a hub must not touch."""
    return PeerId("@" + base64.b64encode(b"\xff\xef" * 15 + b"\xff" + bytes([number])).decode() + ".ed25519")


def candidate(number: int) -> Signal:
    return Signal("candidate", candidate=f"candidate:{number}", sdp_mid="0", sdp_m_line_index=0)


class Party:
    """One speaker of the dialect and what it was told."""

    def __init__(self, number: int, session: aiohttp.ClientSession, limits: SwarmLimits | None = None) -> None:
        self.id = peer(number)
        self.events: list[SignallingEvent] = []
        self.now_s = 1000.0
        self._changed = asyncio.Event()
        self.signalling = SwarmSignalling(
            self.id,
            APP,
            session,
            self._on_event,
            clock=lambda: self.now_s,
            limits=limits,
            client_limits=ClientLimits(connect_s=1.0, confirm_s=1.0, post_s=1.0),
        )

    def _on_event(self, event: SignallingEvent) -> None:
        self.events.append(event)
        self._changed.set()

    async def announce(self, hub: HubUrl) -> None:
        """As JavaScript does; ours never does it in this dialect."""
        await self.signalling._post(hub, ALL, format_connect(self.id))

    async def until(self, right: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not right():
                self._changed.clear()
                await self._changed.wait()

    async def until_counts(self, kind: type[SignallingEvent], count: int) -> list[SignallingEvent]:
        await self.until(lambda: len(self.of(kind)) >= count)
        assert len(self.of(kind)) == count
        return self.of(kind)

    async def until_dropped(self, reason: str, count: int) -> None:
        async with asyncio.timeout(LIMIT_S):
            while self.signalling.dropped.get(reason, 0) < count:
                await asyncio.sleep(0.005)
        assert self.signalling.dropped[reason] == count

    def of(self, kind: type[SignallingEvent]) -> list[SignallingEvent]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as opened:
        yield opened


@pytest.fixture
async def hubs() -> AsyncIterator[list[HubServer]]:
    servers = [await serve("127.0.0.1", 0) for _ in range(2)]
    yield servers
    for server in servers:
        await server.close()


@pytest.fixture
def urls(hubs: list[HubServer]) -> list[HubUrl]:
    return [HubUrl(hub.url) for hub in hubs]


@pytest.fixture
async def parties(session: aiohttp.ClientSession) -> AsyncIterator[list[Party]]:
    made = [Party(number, session) for number in range(3)]
    yield made
    for party in made:
        await party.signalling.close()


async def post(session: aiohttp.ClientSession, hub: HubUrl, channel: str, message: object) -> None:
    body = message if isinstance(message, str) else json.dumps(message)
    await HubClient(hub, APP, session).broadcast(channel, body)


async def test_two_meet(parties: list[Party], urls: list[HubUrl]) -> None:
    ann, bob, _ = parties
    hub = urls[0]
    await ann.signalling.connect(hub)
    await bob.signalling.connect(hub)
    assert ann.events == [HubUp(hub)]
    assert ann.signalling.hubs == {hub}
    await ann.announce(hub)
    assert await bob.until_counts(Announced, 1) == [Announced(hub, ann.id)]
    await bob.signalling.send(hub, ann.id, "s1", OFFER)
    assert await ann.until_counts(SignalReceived, 1) == [SignalReceived(hub, bob.id, "s1", OFFER)]
    assert len(ann.events) == 2
    assert ann.signalling.dropped == {"own": 1}


async def test_a_signal_reaches_only_its_receiver(parties: list[Party], urls: list[HubUrl]) -> None:
    hub = urls[0]
    for party in parties:
        await party.signalling.connect(hub)
    await parties[0].signalling.send(hub, parties[1].id, "s", OFFER)
    await parties[0].announce(hub)
    await parties[2].until_counts(Announced, 1)
    assert parties[2].of(SignalReceived) == []
    await parties[1].until_counts(SignalReceived, 1)


async def test_candidates_never_overtake_their_offer(parties: list[Party], urls: list[HubUrl]) -> None:
    ann, bob, _ = parties
    hub = urls[0]
    await ann.signalling.connect(hub)
    await bob.signalling.connect(hub)
    for session in ("1", "2", "3"):
        signals = [OFFER, *map(candidate, range(6))]
        await asyncio.gather(*(bob.signalling.send(hub, ann.id, session, signal) for signal in signals))
    heard = await ann.until_counts(SignalReceived, 21)
    kinds = [(e.session, e.signal.kind) for e in heard if isinstance(e, SignalReceived)]
    for session in ("1", "2", "3"):
        assert [kind for s, kind in kinds if s == session] == ["offer"] + ["candidate"] * 6
    assert bob.signalling._described == {}


async def test_a_candidate_is_posted_after_its_offer_was_taken(parties: list[Party]) -> None:
    ann, log, offered = parties[0], list[str](), asyncio.Event()

    async def slow(head: bytes, writer: asyncio.StreamWriter) -> None:
        if head.startswith(b"GET"):
            writer.write(STREAM)
            await asyncio.Event().wait()
        log.append("post")
        if len(log) == 1:
            await offered.wait()
            log.append("taken")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async with rogue(slow) as url:
        await ann.signalling.connect(url)
        signals = [OFFER, candidate(1), candidate(2)]
        sending = [asyncio.create_task(ann.signalling.send(url, peer(5), "s", signal)) for signal in signals]
        for _ in range(50):
            await asyncio.sleep(0.002)
        assert log == ["post"]
        offered.set()
        await asyncio.gather(*sending)
        assert log == ["post", "taken", "post", "post"]
        await ann.signalling.close()


async def test_the_same_signal_through_two_hubs_counts_once(parties: list[Party], urls: list[HubUrl]) -> None:
    ann, bob, _ = parties
    for hub in urls:
        await ann.signalling.connect(hub)
        await bob.signalling.connect(hub)
        await bob.signalling.send(hub, ann.id, "s1", OFFER)
    await ann.until_dropped("duplicate", 1)
    assert len(ann.of(SignalReceived)) == 1
    await bob.signalling.send(urls[1], ann.id, "s2", OFFER)
    await ann.until_counts(SignalReceived, 2)
    ann.now_s += 61.0
    await bob.signalling.send(urls[1], ann.id, "s1", OFFER)
    await ann.until_counts(SignalReceived, 3)


async def test_a_hub_that_takes_nothing_is_waited_for_by_no_more_than_the_limits(
    session: aiohttp.ClientSession,
) -> None:
    posts: list[asyncio.StreamWriter] = []

    async def handler(head: bytes, writer: asyncio.StreamWriter) -> None:
        if head.startswith(b"GET"):
            writer.write(STREAM)
        else:
            posts.append(writer)
        await asyncio.Event().wait()

    limits = SwarmLimits(posts_max=2, posts_waiting_max=5)
    async with rogue(handler) as hub:
        ann = Party(0, session, limits)
        await ann.signalling.connect(hub)
        async with asyncio.TaskGroup() as group:
            offers = [group.create_task(_fault(ann.signalling.send(hub, peer(n), "s", OFFER))) for n in range(9)]
            async with asyncio.timeout(LIMIT_S):
                await asyncio.wait(offers[7:])
            assert all("takes nothing: 5 messages wait" in task.result() for task in offers[7:])
            assert len(posts) <= 2
            for task in offers:
                task.cancel()
        await ann.signalling.close()


async def _fault(saying: Coroutine[Any, Any, None]) -> str:
    try:
        await saying
    except TransportFault as fault:
        return str(fault)
    return ""


async def test_an_announcement_counts_for_every_hub(parties: list[Party], urls: list[HubUrl]) -> None:
    ann, bob, _ = parties
    for hub in urls:
        await ann.signalling.connect(hub)
        await bob.signalling.connect(hub)
        await bob.announce(hub)
    assert set(await ann.until_counts(Announced, 2)) == {Announced(hub, bob.id) for hub in urls}


async def test_a_lost_hub_is_told_once_and_the_other_stays(
    parties: list[Party], hubs: list[HubServer], urls: list[HubUrl]
) -> None:
    ann = parties[0]
    for hub in urls:
        await ann.signalling.connect(hub)
    await hubs[0].close()
    down = await ann.until_counts(HubDown, 1)
    assert down == [HubDown(urls[0], f"the hub {urls[0]} ended the stream")]
    assert ann.signalling.hubs == {urls[1]}
    with pytest.raises(TransportFault, match="no subscription"):
        await ann.announce(urls[0])
    await ann.signalling.connect(urls[0])
    down = await ann.until_counts(HubDown, 2)
    assert "can't be reached" in str(down[1])


async def test_a_hub_that_refuses_is_down_with_its_wait(parties: list[Party]) -> None:
    ann = parties[0]
    refusal = b"HTTP/1.1 429 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
    async with rogue(saying(refusal)) as url:
        await ann.signalling.connect(url)
    assert ann.events == [HubDown(url, f"the hub {url} has had too much from us", 7.0)]


async def test_a_refused_post_carries_the_wait_and_leaves_the_hub_up(parties: list[Party]) -> None:
    ann = parties[0]

    async def handler(head: bytes, writer: asyncio.StreamWriter) -> None:
        if head.startswith(b"POST"):
            writer.write(b"HTTP/1.1 429 No\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n")
            return
        writer.write(STREAM)
        await asyncio.Event().wait()

    async with rogue(handler) as url:
        await ann.signalling.connect(url)
        with pytest.raises(HubRefused) as caught:
            await ann.signalling.send(url, peer(9), "s", OFFER)
        assert caught.value.retry_after_s == 9.0
        assert ann.signalling.hubs == {url}
        assert ann.signalling._described == {}
        await ann.signalling.close()
    assert ann.events == [HubUp(url)]


async def test_connecting_twice_is_one_subscription(
    parties: list[Party], hubs: list[HubServer], urls: list[HubUrl]
) -> None:
    ann = parties[0]
    await asyncio.gather(ann.signalling.connect(urls[0]), ann.signalling.connect(urls[0]))
    assert ann.events == [HubUp(urls[0])]
    await ann.signalling.connect(urls[0])
    assert ann.events == [HubUp(urls[0])] * 2
    assert hubs[0].subscribers == 2


async def test_disconnecting_says_nothing_and_frees_the_hub(
    parties: list[Party], hubs: list[HubServer], urls: list[HubUrl]
) -> None:
    ann = parties[0]
    await ann.signalling.connect(urls[0])
    await ann.signalling.disconnect(urls[0])
    await ann.signalling.disconnect(urls[0])
    async with asyncio.timeout(LIMIT_S):
        while hubs[0].subscribers:
            await asyncio.sleep(0)
    assert ann.events == [HubUp(urls[0])]
    assert ann.signalling.hubs == frozenset()


async def test_disconnecting_or_cancelling_while_connecting_says_nothing(parties: list[Party]) -> None:
    ann = parties[0]
    asked = asyncio.Event()

    async def thinking(head: bytes, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with rogue(thinking) as url:
        attempt = asyncio.create_task(ann.signalling.connect(url))
        await asked.wait()
        await ann.signalling.disconnect(url)
        async with asyncio.timeout(LIMIT_S):
            await attempt
        asked.clear()
        attempt = asyncio.create_task(ann.signalling.connect(url))
        await asked.wait()
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        assert ann.events == []
        assert ann.signalling._hubs == {}


async def test_too_many_hubs_are_a_misuse(session: aiohttp.ClientSession, urls: list[HubUrl]) -> None:
    ann = Party(0, session, SwarmLimits(hubs_max=1))
    await ann.signalling.connect(urls[0])
    with pytest.raises(MisuseError):
        await ann.signalling.connect(urls[1])
    await ann.signalling.close()


async def test_what_is_no_signalling_is_counted_and_ignored(
    parties: list[Party], urls: list[HubUrl], session: aiohttp.ClientSession
) -> None:
    ann = parties[0]
    await ann.signalling.connect(urls[0])
    for message in (
        "",
        "not json",
        "[1]",
        "[" * 60_000,
        {"type": "connect", "from": "cjk3x0"},
        {"type": "connect"},
        {"from": peer(5), "signal": {"type": "offer", "sdp": 5}},
    ):
        await post(session, urls[0], "all", message)
    await ann.until_dropped("invalid", 7)
    await post(session, urls[0], "all", {"type": "what", "from": peer(5)})
    await ann.until_dropped("unknown", 1)
    assert ann.events == [HubUp(urls[0])]


async def test_a_talkative_sender_is_cut_and_the_others_are_not(
    session: aiohttp.ClientSession, urls: list[HubUrl]
) -> None:
    limits = SwarmLimits(sender_rate_s=1.0, sender_burst=3.0, announce_rate_s=1.0, announce_burst=2.0)
    ann = Party(0, session, limits)
    await ann.signalling.connect(urls[0])
    for number in range(6):
        await post(session, urls[0], ann.id, {"from": peer(5), "signal": {"type": "offer", "sdp": str(number)}})
    for _ in range(5):
        await post(session, urls[0], "all", {"type": "connect", "from": peer(5)})
    await ann.until_dropped("flood", 6)
    await post(session, urls[0], ann.id, {"from": peer(6), "signal": {"type": "offer", "sdp": "x"}})
    await post(session, urls[0], "all", {"type": "connect", "from": peer(6)})
    await ann.until_counts(SignalReceived, 4)
    await ann.until_counts(Announced, 3)
    ann.now_s += 1.0
    await post(session, urls[0], ann.id, {"from": peer(5), "signal": {"type": "offer", "sdp": "later"}})
    await ann.until_counts(SignalReceived, 5)
    await ann.signalling.close()


async def test_a_hub_s_flood_is_cut_before_it_is_read(session: aiohttp.ClientSession, urls: list[HubUrl]) -> None:
    ann = Party(0, session, SwarmLimits(hub_rate_s=1.0, hub_burst=5.0))
    for url in urls:
        await ann.signalling.connect(url)
    for _ in range(20):
        await post(session, urls[0], "all", "rubbish")
    await ann.until_dropped("flood", 15)
    await post(session, urls[0], "all", {"type": "connect", "from": peer(5)})
    await ann.until_dropped("flood", 16)
    await post(session, urls[1], "all", {"type": "connect", "from": peer(5)})
    assert await ann.until_counts(Announced, 1) == [Announced(urls[1], peer(5))]
    await ann.signalling.close()


async def test_ours_never_announces_itself(parties: list[Party], urls: list[HubUrl]) -> None:
    """Every hearer of a `connect` offers, and glare has no rule."""
    ann, bob, _ = parties
    for party in (ann, bob):
        await party.signalling.connect(urls[0])
    await ann.signalling.announce(urls[0], 5)
    await ann.signalling.send(urls[0], bob.id, "s0", Signal("knock"))
    await ann.signalling.say_busy(urls[0], bob.id, "s0", 60.0)
    await ann.signalling.leave(urls[0])
    await ann.signalling.send(urls[0], bob.id, "s1", OFFER)
    await bob.until_counts(SignalReceived, 1)
    assert len(bob.events) == 2, bob.events
