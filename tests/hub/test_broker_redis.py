"""Several hubs on a real Redis: what is shared, what is lost, what is noticed, and what comes back."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from ssb_rtc.errors import ConfigFault
from ssb_rtc.hub.broker_redis import RedisBroker
from ssb_rtc.hub.limits import BrokerTimes
from ssb_rtc.hub.server import HubServer
from tests.e2e.processes import running as running_process
from tests.hub.redis_server import RedisServer, Relay, redis_server
from tests.hub.sockets import Raw, connected, get, post, post_bytes, running, subscribed

QUICK = BrokerTimes(connect_s=1.0, answer_s=0.5, beat_s=0.05, silent_s=0.4, back_off_s=0.1)
SHORT = BrokerTimes(connect_s=0.2, answer_s=0.2, beat_s=0.05, silent_s=0.2, back_off_s=60.0)
LIMIT_S = 15.0


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with redis_server(tmp_path) as server:
        yield server


@asynccontextmanager
async def hub_on(*urls: str, times: BrokerTimes = QUICK) -> AsyncIterator[HubServer]:
    async with running(broker=RedisBroker(urls, times)) as hub:
        yield hub


async def becomes(wanted: object, look: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while look() != wanted:
            await asyncio.sleep(0.01)


async def status_of(port: int, path: bytes = b"/healthz") -> bytes:
    return (await get(port, path))[0][9:12]


async def status_becomes(port: int, wanted: bytes) -> None:
    async with asyncio.timeout(LIMIT_S):
        while await status_of(port) != wanted:
            await asyncio.sleep(0.02)


async def hears(raw: Raw, *bodies: bytes) -> None:
    assert [await raw.chunk() for _ in bodies] == [b"data: " + body + b"\n\n" for body in bodies]


async def test_two_processes_share_channels_and_live_through_the_death_of_redis(
    redis: RedisServer, tmp_path: Path
) -> None:
    words = ("hub", "serve", "--port", "0", "--broker", redis.url, "--broker-back-off-s", "0.2", "--log", "json")
    async with (
        running_process(tmp_path / "a", *words) as one,
        running_process(tmp_path / "b", *words) as two,
        subscribed(one.ready["port"], b"/v1/app/a,b") as raw_one,
        subscribed(two.ready["port"], b"/v1/app/a") as raw_two,
    ):
        ports = one.ready["port"], two.ready["port"]
        async with connected(ports[0]) as poster:
            await poster.send(b"".join(post_bytes(b"/v1/app/a", b"%d" % number) for number in range(200)))
            for _ in range(200):
                assert (await poster.answer())[0].startswith(b"HTTP/1.1 200 OK")
        numbers = [b"%d" % number for number in range(200)]
        await hears(raw_one, *numbers)
        await hears(raw_two, *numbers)
        assert (await post(ports[1], b"/v1/app/b", b"only one"))[9:12] == b"200"
        await hears(raw_one, b"only one")

        await redis.kill()
        for port in ports:
            await status_becomes(port, b"503")
            head = await post(port, b"/v1/app/a", b"lost")
            assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"Retry-After: 5\r\n" in head
            assert await status_of(port, b"/v1/app/c") == b"503"

        await redis.start()
        for port in ports:
            await status_becomes(port, b"200")
        assert (await post(ports[1], b"/v1/app/a", b"again"))[9:12] == b"200"
        await hears(raw_one, b"again")
        await hears(raw_two, b"again")
        assert await one.end() == 0
    assert '"event":"broker away"' in one.stderr
    assert "lost" not in one.stderr


async def test_a_channel_is_subscribed_to_once_however_many_listen(redis: RedisServer) -> None:
    async with hub_on(redis.url) as one, hub_on(redis.url) as two, AsyncExitStack() as stack:
        raws = [await stack.enter_async_context(subscribed(one.port, b"/v1/app/a")) for _ in range(3)]
        raws.append(await stack.enter_async_context(subscribed(one.port, b"/v1/app/a,a,b")))
        assert await redis.upstream(b"app/a") == 1
        raws.append(await stack.enter_async_context(subscribed(two.port, b"/v1/app/a")))
        assert await redis.upstream(b"app/a") == 2
        await post(two.port, b"/v1/app/a", b"hello")
        for raw in raws:
            await hears(raw, b"hello")
        await hears(raws[3], b"hello")
        for raw in raws[:4]:
            raw.writer.transport.abort()
        async with asyncio.timeout(LIMIT_S):
            while await redis.channels() != {b"app/a"} or await redis.upstream(b"app/a") != 1:
                await asyncio.sleep(0.01)


async def test_a_frozen_redis_is_noticed_and_taken_back(redis: RedisServer) -> None:
    async with hub_on(redis.url) as hub, subscribed(hub.port, b"/v1/app/a") as raw:
        redis.freeze()
        since_s = time.monotonic()
        heads = await asyncio.gather(post(hub.port, b"/v1/app/a", b"lost"), get(hub.port, b"/v1/app/new"))
        assert heads[0][9:12] == b"503"
        assert heads[1][0][9:12] == b"503"
        await status_becomes(hub.port, b"503")
        assert time.monotonic() - since_s < 5
        redis.thaw()
        await status_becomes(hub.port, b"200")
        assert (await post(hub.port, b"/v1/app/a", b"again"))[9:12] == b"200"
        # The frozen one had taken the lost post from the kernel's buffer: it may be heard late, and once.
        heard = await raw.chunk()
        if heard != b"data: again\n\n":
            assert heard == b"data: lost\n\n"
            await hears(raw, b"again")


async def test_a_subscription_that_died_in_silence_is_noticed_by_the_heartbeat(redis: RedisServer) -> None:
    relay = Relay(redis)
    await relay.start()
    try:
        async with hub_on(relay.url) as hub, subscribed(hub.port, b"/v1/app/a") as raw:
            assert relay.count == 2
            relay.silence(0)
            # Posts are still taken: nothing but the heartbeat can tell.
            assert (await post(hub.port, b"/v1/app/a", b"lost"))[9:12] == b"200"
            await becomes(True, lambda: relay.count >= 4)
            await status_becomes(hub.port, b"200")
            await post(hub.port, b"/v1/app/a", b"again")
            await hears(raw, b"again")
    finally:
        await relay.stop()


async def test_instances_share_the_channels_and_fail_alone(tmp_path: Path) -> None:
    names = [b"c%d" % number for number in range(20)]
    async with (
        redis_server(tmp_path, "one") as one,
        redis_server(tmp_path, "two") as two,
        hub_on(one.url, two.url) as hub,
        hub_on(one.url, two.url) as other,
        subscribed(hub.port, b"/v1/app/" + b",".join(names)) as raw,
    ):
        first, second = await one.channels(), await two.channels()
        assert first
        assert second
        assert first | second == {b"app/" + name for name in names}
        assert not first & second
        for name in names:
            assert (await post(other.port, b"/v1/app/" + name, name))[9:12] == b"200"
        assert {await raw.chunk() for _ in names} == {b"data: " + name + b"\n\n" for name in names}
        await two.kill()
        await status_becomes(other.port, b"503")
        _, body = await get(other.port, b"/healthz")
        assert str(two.socket).encode() in body
        assert str(one.socket).encode() not in body
        by_shard = {(await post(other.port, b"/v1/" + name, b"x"))[9:12] for name in second}
        assert by_shard == {b"503"}
        alive = sorted(first)[0]
        assert (await post(other.port, b"/v1/" + alive, b"alive"))[9:12] == b"200"
        await hears(raw, b"alive")
        assert await status_of(hub.port, b"/v1/app/" + b",".join(names)) == b"503"


async def test_whatever_came_and_went_the_upstream_subscriptions_are_those_of_now(redis: RedisServer) -> None:
    chance = random.Random(7)
    async with hub_on(redis.url) as hub, AsyncExitStack() as stack:
        open_now: list[tuple[set[bytes], Raw]] = []
        for _ in range(120):
            if open_now and chance.random() < 0.5:
                _, raw = open_now.pop(chance.randrange(len(open_now)))
                raw.writer.transport.abort()
                continue
            names = [b"%d" % chance.randrange(6) for _ in range(chance.randint(1, 3))]
            raw = await stack.enter_async_context(connected(hub.port))
            await raw.send(b"GET /v1/x/" + b",".join(names) + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            open_now.append(({b"x/" + name for name in names}, raw))
        for _, raw in open_now:
            assert (await raw.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        wanted = set().union(*(names for names, _ in open_now))
        async with asyncio.timeout(LIMIT_S):
            while await redis.channels() != wanted:
                await asyncio.sleep(0.01)


async def test_a_redis_that_is_not_there_yet(tmp_path: Path) -> None:
    async with redis_server(tmp_path) as redis:
        await redis.kill()
        async with hub_on(redis.url) as hub:
            assert await status_of(hub.port) == b"503"
            await redis.start()
            await status_becomes(hub.port, b"200")


async def test_a_password_is_used_and_a_wrong_one_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with redis_server(tmp_path, "redis", "--requirepass", "sesame") as redis:
        for word, status in (("sesame", b"200"), ("wrong", b"503")):
            async with hub_on(f"unix://:{word}@{redis.socket}") as hub:
                assert await status_of(hub.port) == status
    said = [record for record in caplog.records if record.message == "broker away"]
    assert len(said) == 1
    assert "password" in said[0].__dict__["fields"]["why"]
    assert "wrong" not in str(said[0].__dict__["fields"])


async def test_what_no_hub_would_have_taken_is_not_handed_on(redis: RedisServer) -> None:
    async with hub_on(redis.url) as hub, subscribed(hub.port, b"/v1/app/a") as raw:
        for body in (b"one\n\ndata: two", b"x" * 65536, b"good"):
            await redis.ask("PUBLISH", b"ssb-rtc-hub:app/a", body)
        await hears(raw, b"good")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"+OK\r\n" * 99,
        b":1\r\n" * 99,
        b"*1\r\n$3\r\nabc\r\n" * 99,
        b"-ERR no\r\n" * 99,
        b"*3\r\n+subscribe\r\n:1\r\n:1\r\n" * 9,
        b"*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n:1\r\n" * 99,
        b"\x00\xff" * 99,
    ],
)
async def test_what_is_no_redis_is_told_and_harms_nobody(answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        await reader.read(1 << 20)
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    try:
        async with hub_on(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", times=SHORT) as hub:
            assert (await post(hub.port, b"/v1/app/a", b"x"))[9:12] == b"503"
            assert await status_of(hub.port) == b"503"
    finally:
        server.close()
    said = [record.message for record in caplog.records if record.name == "ssb_rtc.hub"]
    assert said == ["broker away"]


@pytest.mark.parametrize("url", ["http://x", "redis://x:nonsense", "127.0.0.1:6379", ""])
def test_an_address_that_is_none_is_a_clear_sentence(url: str) -> None:
    with pytest.raises(ConfigFault, match="--broker takes an address like redis://"):
        RedisBroker([url])
