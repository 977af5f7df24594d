"""A hub whose broker takes its time: answers keep their order, and nothing is said before it is true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssb_rtc.hub.clients import Proxies
from ssb_rtc.hub.limits import HubLimits
from ssb_rtc.hub.server import MANY_READERS
from tests.hub.brokers import SlowBroker
from tests.hub.sockets import HOST, LIMIT_S, Wire, connected, get, post_bytes, running, without_date

GET = b"GET /v1/app/a,b HTTP/1.1\r\n" + HOST + b"\r\n"
STATUS = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"


async def test_a_post_is_answered_when_the_broker_took_it() -> None:
    broker = SlowBroker()
    async with running(broker=broker) as hub, connected(hub.port) as poster:
        for taken, status in ((True, b"200"), (False, b"503")):
            await poster.send(post_bytes(b"/v1/app/a", b"hello"))
            assert await broker.post() == (b"app/a", b"hello")
            assert hub.counts.posts == 0 or not taken
            broker.settle(taken)
            head, _ = await poster.answer()
            assert head[9:12] == status
            assert (b"Retry-After: 5" in head) != taken
        assert (hub.counts.posts, hub.counts.posts_failed) == (1, 1)


async def test_what_follows_a_post_on_its_connection_waits_for_its_turn() -> None:
    broker = SlowBroker()
    async with running(broker=broker) as hub, connected(hub.port) as raw:
        await raw.send(
            post_bytes(b"/v1/x/1", b"1")
            + STATUS
            + post_bytes(b"/v1/x/2", b"2", b"Expect: 100-continue\r\n")
            + post_bytes(b"/v1/x/3", b"\n")
            + post_bytes(b"/v1/x/4", b"4")
            + GET
        )
        for number in (b"1", b"2", b"4"):
            assert await broker.post() == (b"x/" + number, number)
            assert len(broker.posts) == 1
            assert not broker.subscriptions
            broker.settle(number != b"2")
        assert list(await broker.subscription()) == [b"app/a", b"app/b"]
        broker.confirm(True)
        heads = [(await raw.until(b"\r\n\r\n"))[9:12] for _ in range(2)]
        assert heads == [b"200", b"200"]
        assert b'"subscribers": 0' in b"".join([await raw.chunk(), await raw.until(b"0\r\n\r\n")])
        assert (await raw.until(b"\r\n\r\n"))[9:12] == b"100"
        heads = [(await raw.answer())[0][9:12] for _ in range(3)]
        assert heads == [b"503", b"400", b"200"]
        assert (await raw.until(b"\r\n\r\n"))[9:12] == b"200"
        broker.hears(b"app/b", b"event")
        assert await raw.chunk() == b"data: event\n\n"


async def test_rubbish_behind_a_post_is_answered_after_it() -> None:
    broker = SlowBroker()
    async with running(broker=broker) as hub, connected(hub.port) as raw:
        await raw.send(post_bytes(b"/v1/x/1", b"1") + b"rubbish\r\n\r\n")
        await broker.post()
        broker.settle(True)
        answers = await raw.rest()
        assert answers.startswith(b"HTTP/1.1 200 OK")
        assert answers.endswith(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


async def test_a_connection_with_a_post_at_the_broker_is_not_read_on() -> None:
    broker = SlowBroker()
    async with running(broker=broker) as hub, connected(hub.port) as raw:
        raw.writer.transport.set_write_buffer_limits(high=2**30)
        raw.writer.write(post_bytes(b"/v1/x/1", b"x" * 60_000) * 400)
        await broker.post()
        assert not await drained(raw.writer)
        for _ in range(400):
            await broker.post()
            broker.settle(True)
        for _ in range(400):
            assert (await raw.answer())[0].startswith(b"HTTP/1.1 200 OK")


async def drained(writer: asyncio.StreamWriter) -> bool:
    writer.transport.set_write_buffer_limits(high=0)
    try:
        async with asyncio.timeout(0.3):
            await writer.drain()
    except TimeoutError:
        return False
    finally:
        writer.transport.set_write_buffer_limits(high=2**30)
    return True


async def test_headers_come_with_the_confirmation_and_not_before() -> None:
    broker = SlowBroker()
    async with running(broker=broker) as hub, connected(hub.port) as raw:
        await raw.send(GET)
        await broker.subscription()
        broker.hears(b"app/a", b"too early")
        assert hub.subscribers == 0
        broker.confirm(True)
        assert (await raw.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        assert hub.subscribers == 2
        broker.hears(b"app/a", b"in time")
        assert await raw.chunk() == b"data: in time\n\n"
    assert broker.given_up == [[b"app/a", b"app/b"]]
    assert broker.ended


@pytest.mark.parametrize("away", [False, True])
async def test_a_subscription_that_does_not_hold_is_refused(away: bool) -> None:
    broker = SlowBroker()
    async with running(broker=broker) as hub, connected(hub.port) as raw:
        broker.trouble = "gone fishing" if away else None
        await raw.send(GET)
        if not away:
            await broker.subscription()
            broker.confirm(False)
        head = await raw.rest()
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"Retry-After: 5\r\n" in head
        assert broker.given_up == ([] if away else [[b"app/a", b"app/b"]])
        assert hub.counts.subscriptions_refused == 1


async def test_posts_are_refused_while_the_broker_is_away() -> None:
    broker = SlowBroker()
    broker.trouble = "gone fishing"
    async with running(broker=broker) as hub, connected(hub.port) as raw:
        await raw.send(post_bytes(b"/v1/x/1", b"1"))
        head, reason = await raw.answer()
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"Retry-After: 5\r\n" in head
        assert reason.startswith(b"the hub's processes can't reach each other now: ")
        assert await get(hub.port, b"/healthz") == (
            (await get(hub.port, b"/healthz"))[0],
            b'{"status":"gone fishing"}\n',
        )


async def test_the_page_for_people_says_what_is_wrong_and_to_strangers_not_where() -> None:
    broker = SlowBroker()
    broker.trouble = "redis://10.0.0.7 <does not> answer"
    stranger, browser = b"X-Forwarded-For: 192.0.2.1\r\n", b"Accept: text/html\r\n"
    async with running(broker=broker, proxies=Proxies(["127.0.0.1"])) as hub:
        _, page = await get(hub.port, b"/", browser)
        assert b"In trouble: redis://10.0.0.7 &lt;does not&gt; answer." in page
        for path, headers in ((b"/", browser), (b"/healthz", b"")):
            _, page = await get(hub.port, path, headers + stranger)
            assert b"the broker is away" in page
            assert b"10.0.0.7" not in page


async def test_who_leaves_before_the_confirmation_is_forgotten() -> None:
    broker = SlowBroker()
    async with running(broker=broker) as hub:
        async with connected(hub.port) as raw:
            await raw.send(GET)
            await broker.subscription()
        async with asyncio.timeout(LIMIT_S):
            while hub.connections:
                await asyncio.sleep(0)
        assert broker.given_up == [[b"app/a", b"app/b"]]
        broker.confirm(True)
        await asyncio.sleep(0)
        assert hub.subscribers == 0
        assert len(broker.given_up) == 1


async def test_those_who_wait_count_as_subscribers() -> None:
    broker = SlowBroker()
    async with running(HubLimits(subscribers_max=3), broker=broker) as hub, connected(hub.port) as first:
        await first.send(GET)
        await broker.subscription()
        head, _ = await get(hub.port, b"/v1/app/a,b")
        assert b"Retry-After: 30" in head
        broker.confirm(True)
        await first.until(b"\r\n\r\n")


async def test_a_client_that_leaves_with_a_post_in_flight_harms_nobody() -> None:
    broker = SlowBroker()
    async with running(broker=broker) as hub:
        async with connected(hub.port) as raw:
            await raw.send(post_bytes(b"/v1/x/1", b"1") + post_bytes(b"/v1/x/2", b"2") + STATUS)
            await broker.post()
            raw.writer.transport.abort()
        # Not being read, it is seen to be gone when its answer is due.
        broker.settle(True)
        async with asyncio.timeout(LIMIT_S):
            while hub.connections:
                if broker.posts:
                    broker.settle(True)
                await asyncio.sleep(0)


async def test_the_broker_s_time_is_not_the_client_s() -> None:
    """No time-out runs while the broker is asked; the one of what follows begins anew."""
    broker = SlowBroker()
    limits = HubLimits(header_s=0.2, body_s=0.05, keep_alive_s=0.05, sweep_s=0.01)
    async with running(limits, broker=broker) as hub, connected(hub.port) as raw, connected(hub.port) as listener:
        begun_s = hub.now_s
        await raw.send(post_bytes(b"/v1/x/1", b"1") + b"GET / HTTP/1.1\r\n")
        await broker.post()
        await listener.send(GET)
        await broker.subscription()
        async with asyncio.timeout(LIMIT_S):
            while hub.now_s < begun_s + 0.4:
                await asyncio.sleep(0.01)
        broker.settle(True)
        assert (await raw.answer())[0].startswith(b"HTTP/1.1 200 OK")
        await raw.send(HOST + b"\r\n")
        assert (await raw.answer())[0].startswith(b"HTTP/1.1 200 OK")
        broker.confirm(True)
        assert (await listener.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("drains", [False, True])
async def test_the_end_waits_for_a_post_at_the_broker(drains: bool) -> None:
    broker = SlowBroker()
    async with running(HubLimits(drain_s=0.1), broker=broker) as hub, connected(hub.port) as raw:
        await raw.send(post_bytes(b"/v1/x/1", b"1") + STATUS)
        await broker.post()
        port = hub.port
        end = asyncio.create_task(hub.drain() if drains else hub.close())
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", port)
        broker.settle(True)
        answers = await raw.rest()
        assert answers.startswith(b"HTTP/1.1 200 OK")
        assert (b"Connection: close" in answers) == drains
        await end


REQUESTS = [
    post_bytes(b"/v1/x/a", b"fine"),
    post_bytes(b"/v1/x/b", b"not\nfine"),
    post_bytes(b"/v1/x/c", b"fine", b"Expect: 100-continue\r\n"),
    post_bytes(b"/v1/x/d", b"last", b"Connection: close\r\n"),
    b"POST /v1/x/e HTTP/1.0\r\nContent-Length: 3\r\n\r\nold",
    STATUS,
    b"PUT /x HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc",
    b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"rubbish\r\n\r\n",
    GET,
]


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=8),
    st.lists(st.integers(1, 60), max_size=20),
    st.integers(),
)
def test_answers_are_those_of_a_quick_broker_in_the_same_order(
    requests: list[bytes], cuts: list[int], seed: int
) -> None:
    async def answers_of(broker: SlowBroker | None) -> bytes:
        async with running(broker=broker) as hub:
            wire, data, patience = Wire(hub), b"".join(requests), seed
            pieces = [*cuts, len(data)]
            for _ in range(1000):
                if data and not wire.paused and not wire.ended:
                    size = pieces.pop(0)
                    wire.connection.data_received(data[:size])
                    data = data[size:]
                patience = patience * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
                if broker is not None and patience >> 63:
                    if broker.posts:
                        broker.settle(True)
                    if broker.subscriptions:
                        broker.confirm(True)
                await asyncio.sleep(0)
                owed = broker is not None and (broker.posts or broker.subscriptions)
                if (not data or wire.ended) and not owed:
                    break
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            answered = without_date(wire.written)
            if not wire.ended:
                wire.close()
            await asyncio.sleep(0)
            assert (hub.subscribers, hub.connections) == (0, 0)
            return answered

    assert asyncio.run(answers_of(SlowBroker())) == asyncio.run(answers_of(None))


class GatheringBroker(SlowBroker):
    gather_s = 0.2


async def test_what_many_hear_is_gathered() -> None:
    broker = GatheringBroker()
    async with running(broker=broker) as hub:
        wires = [Wire(hub) for _ in range(MANY_READERS)]
        for wire in wires:
            wire.connection.data_received(GET.replace(b"a,b", b"a"))
            broker.confirm(True)
        last = wires[-1]
        await turns_until(lambda: hub.subscribers == MANY_READERS)
        # Nobody waits before it is known that many listen.
        broker.hears(b"app/a", b"first")
        await turns_until(lambda: b"first" in last.written)
        writes = last.writes
        for number in range(3):
            broker.hears(b"app/a", b"number %d" % number)
            await asyncio.sleep(0)
        await turns_until(lambda: b"number 2" in last.written)
        assert last.writes == writes + 1
        for wire in wires:
            wire.abort()


async def turns_until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not done():
            await asyncio.sleep(0)
