"""The hub over real sockets: channels, bodies, HTTP's corners, limits, and a close that loses nothing."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import re
import socket

import pytest

from ssb_rtc.errors import ListenFailed, MisuseError
from ssb_rtc.hub import refusals
from ssb_rtc.hub.clients import Proxies
from ssb_rtc.hub.limits import HubLimits
from ssb_rtc.hub.rates import Rate
from ssb_rtc.hub.server import HubServer, serve
from tests.hub.sockets import HOST, LIMIT_S, Wire, connected, get, post, post_bytes, running, subscribed

FEED = b"@/+//////////////////////////////////////////g=.ed25519"


MARKS = {b"/v1/app": b"/v1/app/", b"/v1/": b"/v1//"}
"""The channels that a subscription means where its path alone does not name them."""


async def eventually_counts(hub: HubServer, subscribers: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while hub.subscribers != subscribers:
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("listen", "to", "heard"),
    [
        (b"/v1/app/a", b"/v1/app/a", 1),
        (b"/v1/app/a", b"/v1/other/a", 0),
        (b"/v1/app/a,b", b"/v1/app/b", 1),
        (b"/v1/app/a,b", b"/v1/app/a,b", 0),
        (b"/v1/app/dup,dup", b"/v1/app/dup", 2),
        (b"/v1/app/c/", b"/v1/app/c/", 1),
        (b"/v1/app/c/", b"/v1/app/c", 0),
        (b"/v1/app", b"/v1/app/", 1),
        (b"/v1/app", b"/v1/app", 0),
        (b"/v1/", b"/v1//", 1),
        (b"/v1/app/a?token=1", b"/v1/app/a?token=2", 1),
        (b"/v1/app/%61", b"/v1/app/a", 0),
        (b"/v1/app/%61", b"/v1/app/%61", 1),
        (b"/v1/app/all," + FEED, b"/v1/app/" + FEED, 1),
    ],
)
async def test_who_hears_what(listen: bytes, to: bytes, heard: int) -> None:
    async with running() as hub, subscribed(hub.port, listen) as raw:
        assert (await post(hub.port, to, b"hello")).startswith(b"HTTP/1.1 200 OK")
        await post(hub.port, MARKS.get(listen) or listen.partition(b"?")[0].split(b",")[0], b"mark")
        got = [await raw.chunk()]
        while b"mark" not in got[-1]:
            got.append(await raw.chunk())
        if listen == b"/v1/app/dup,dup":
            assert await raw.chunk() == got[-1]
        assert got[:-1] == [b"data: hello\n\n"] * heard


async def test_nothing_comes_before_the_first_event_and_every_post_is_a_chunk() -> None:
    async with running() as hub, subscribed(hub.port, b"/v1/app/a") as raw, connected(hub.port) as poster:
        await poster.send(b"".join(post_bytes(b"/v1/app/a", b"%d" % number) for number in range(100)))
        assert [await raw.chunk() for _ in range(100)] == [b"data: %d\n\n" % number for number in range(100)]
        for _ in range(100):
            head, body = await poster.answer()
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert body == b""


async def test_a_subscriber_hears_nothing_from_before_and_all_from_after() -> None:
    async with running() as hub, connected(hub.port) as raw:
        get = b"GET /v1/app/a HTTP/1.1\r\n" + HOST + b"\r\n"
        await raw.send(post_bytes(b"/v1/app/a", b"early") + get)
        assert (await raw.answer())[0].startswith(b"HTTP/1.1 200 OK")
        await raw.until(b"\r\n\r\n")
        await post(hub.port, b"/v1/app/a", b"late")
        assert await raw.chunk() == b"data: late\n\n"


async def test_who_comes_after_a_post_in_the_same_moment_does_not_hear_it() -> None:
    async with running() as hub:
        listener, poster, latecomer = (Wire(hub) for _ in range(3))
        get = b"GET /v1/app/a HTTP/1.1\r\n" + HOST + b"\r\n"
        listener.connection.data_received(get)
        poster.connection.data_received(post_bytes(b"/v1/app/a", b"early"))
        latecomer.connection.data_received(get)
        await asyncio.sleep(0)
        assert listener.written.endswith(b"data: early\n\n\r\n")
        assert poster.written.startswith(b"HTTP/1.1 200 OK")
        assert latecomer.written.endswith(b"\r\n\r\n")
        assert b"early" not in latecomer.written


async def test_posts_of_one_moment_are_one_write_and_answered_after_it() -> None:
    async with running() as hub:
        wires = [Wire(hub) for _ in range(4)]
        wires[0].connection.data_received(b"GET /v1/app/a HTTP/1.1\r\n" + HOST + b"\r\n")
        for poster in wires[1:]:
            poster.connection.data_received(post_bytes(b"/v1/app/a", b"x"))
        assert [wire.writes for wire in wires] == [1, 0, 0, 0]
        await asyncio.sleep(0)
        assert [wire.writes for wire in wires] == [2, 1, 1, 1]
        assert wires[0].written.endswith(b"9\r\ndata: x\n\n\r\n" * 3)


async def test_several_channels_in_one_stream_keep_the_order_of_the_posts() -> None:
    async with running() as hub, subscribed(hub.port, b"/v1/app/a,b") as raw, connected(hub.port) as poster:
        order = [b"a", b"b", b"b", b"a", b"b"]
        await poster.send(b"".join(post_bytes(b"/v1/app/" + c, b"%d" % n) for n, c in enumerate(order)))
        assert [await raw.chunk() for _ in order] == [b"data: %d\n\n" % number for number in range(5)]


@pytest.mark.parametrize("body", [b"a\nb", b"a\rb", b"\n", b'{"x":1}\n\ndata: injected'])
async def test_a_line_break_is_refused_and_reaches_nobody(body: bytes) -> None:
    async with running() as hub, subscribed(hub.port, b"/v1/app/a") as raw, connected(hub.port) as poster:
        await poster.send(post_bytes(b"/v1/app/a", body))
        head, reason = await poster.answer()
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\nAccess-Control-Allow-Origin: *\r\n")
        assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in head
        assert reason.startswith(b"a body with a line break would be read as several events")
        await poster.send(post_bytes(b"/v1/app/a", b"mark"))
        assert await raw.chunk() == b"data: mark\n\n"


@pytest.mark.parametrize(
    ("body", "heard"),
    [
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"\xe2\x82", "\ufffd"),
        ("\ufeffé€😀".encode(), "\ufeffé€😀"),
        (b"\x00\x7f", "\x00\x7f"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
    ],
)
async def test_bodies_are_handed_on_as_text(body: bytes, heard: str) -> None:
    async with running() as hub, subscribed(hub.port, b"/v1/app/a") as raw:
        await post(hub.port, b"/v1/app/a", body)
        assert (await raw.chunk()).decode() == f"data: {heard}\n\n"


@pytest.mark.parametrize("size", [65536, 65537, 200_000])
async def test_64_kib_is_cut_without_an_answer(size: int) -> None:
    async with running() as hub, connected(hub.port) as raw:
        raw.writer.write(post_bytes(b"/v1/app/a", b"x" * size))
        assert await raw.rest() == b""


async def test_one_byte_less_passes_also_in_chunks() -> None:
    async with running() as hub, subscribed(hub.port, b"/v1/app/a") as raw, connected(hub.port) as poster:
        await poster.send(b"POST /v1/app/a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
        for part in (b"x" * 65000, b"y" * 535):
            await poster.send(b"%x\r\n%b\r\n" % (len(part), part))
        await poster.send(b"0\r\n\r\n")
        assert await raw.chunk() == b"data: " + b"x" * 65000 + b"y" * 535 + b"\n\n"


async def test_http_1_0_gets_a_plain_stream_and_a_close() -> None:
    async with running() as hub, subscribed(hub.port, b"/v1/app/a,a", b"1.0") as raw, connected(hub.port) as poster:
        await poster.send(b"POST /v1/app/a HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi")
        answer = await poster.rest()
        assert b"Connection: close\r\n" in answer
        assert b"Content-Length" not in answer
        assert await raw.until(b"hi\n\ndata: hi\n\n") == b"data: hi\n\ndata: hi\n\n"


async def test_answers_of_a_pipeline_keep_their_order() -> None:
    async with running() as hub, connected(hub.port) as raw:
        await raw.send(
            post_bytes(b"/v1/a/b", b"1")
            + b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
            + post_bytes(b"/v1/a/b", b"\n")
            + b"PUT /x HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc"
            + post_bytes(b"/v1/a/b", b"2", b"Connection: close\r\n")
            + b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
        )  # fmt: skip
        statuses = re.findall(rb"HTTP/1.1 (\d+)", await raw.rest())
        assert statuses == [b"200", b"200", b"400", b"404", b"200"]


@pytest.mark.parametrize(
    "upgrade", [b"", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"], ids=["", "upgrade"]
)
@pytest.mark.parametrize("method", [b"POST", b"PUT"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("step", [1, 1000])
async def test_a_body_is_no_request_whatever_its_head_asks_for(
    upgrade: bytes, method: bytes, chunked: bool, step: int
) -> None:
    inner = b"GET / HTTP/1.1\r\n" + HOST + b"X-Forwarded-For: 127.0.0.1\r\n\r\n"
    framing = (
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(inner)
        if chunked
        else b"Content-Length: %d\r\n\r\n" % len(inner)
    )
    head = method + b" /v1/app/a HTTP/1.1\r\n" + HOST + b"X-Forwarded-For: 192.0.2.1\r\n" + upgrade + framing
    data = head + inner + (b"\r\n0\r\n\r\n" if chunked else b"")
    async with running(proxies=Proxies(["127.0.0.1"])) as hub, connected(hub.port) as raw:
        for start in range(0, len(data), step):
            await raw.send(data[start : start + step])
        await raw.send(post_bytes(b"/v1/app/a", b"ok", b"Connection: close\r\n"))
        statuses = re.findall(rb"HTTP/1.1 (\d+)", await raw.rest())
        # As an event it would be several lines.
        assert statuses == [b"400" if method == b"POST" else b"404", b"200"]


async def test_a_post_that_asks_for_an_upgrade_is_heard() -> None:
    asks = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    async with running() as hub, subscribed(hub.port, b"/v1/app/a") as raw, connected(hub.port) as poster:
        await poster.send(post_bytes(b"/v1/app/a", b"one", asks) + post_bytes(b"/v1/app/a", b"two"))
        assert [await raw.chunk() for _ in range(2)] == [b"data: one\n\n", b"data: two\n\n"]
        await poster.send(post_bytes(b"/v1/app/a", b"last", b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n"))
        assert (await poster.rest()).count(b"HTTP/1.1 200 OK") == 3


@pytest.mark.parametrize("step", [1, 7])
async def test_requests_may_come_in_pieces(step: int) -> None:
    async with running() as hub, subscribed(hub.port, b"/v1/app/a") as raw, connected(hub.port) as poster:
        data = post_bytes(b"/v1/app/a", b"piece by piece")
        for start in range(0, len(data), step):
            await poster.send(data[start : start + step])
            await asyncio.sleep(0)
        assert await raw.chunk() == b"data: piece by piece\n\n"


async def test_the_status_counts_subscriptions() -> None:
    async with running() as hub, connected(hub.port) as raw:
        async with subscribed(hub.port, b"/v1/app/a,b,b"), subscribed(hub.port, b"/v1/app/a"):
            await raw.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
            assert json.loads((await raw.answer())[1]) == {
                "name": "ssb-rtc hub",
                "version": importlib.metadata.version("ssb-rtc"),
                "subscribers": 4,
            }
        await eventually_counts(hub, 0)


async def test_heartbeats_come_per_channel() -> None:
    async with running(HubLimits(heartbeat_s=0.05, sweep_s=0.02)) as hub, subscribed(hub.port, b"/v1/app/a,b") as raw:
        assert [await raw.chunk() for _ in range(2)] == [b":heartbeat signal\n\n"] * 2


async def test_a_head_that_is_too_large_is_refused() -> None:
    async with running() as hub:
        for head in (
            b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000,
            b"GET /" + b"x" * 20_000,
            b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % number for number in range(3000)),
        ):
            async with connected(hub.port) as raw:
                raw.writer.write(head)
                assert await raw.rest() == b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        (b"", b""),
        (b"GET / HT", b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"),
        (post_bytes(b"/v1/a/b", b"abc")[:-1], b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"),
    ],
)
async def test_who_dawdles_is_closed(sent: bytes, got: bytes) -> None:
    async with running(HubLimits(header_s=0.1, body_s=0.1, sweep_s=0.02)) as hub, connected(hub.port) as raw:
        await raw.send(sent)
        assert await raw.rest() == got


async def test_an_idle_connection_is_closed_and_a_subscriber_is_not() -> None:
    limits = HubLimits(header_s=0.1, body_s=0.1, sweep_s=0.02, keep_alive_s=0.1)
    async with running(limits) as hub, subscribed(hub.port, b"/v1/app/a") as listener, connected(hub.port) as raw:
        await raw.send(post_bytes(b"/v1/x/y", b"1"))
        assert (await raw.answer())[0].startswith(b"HTTP/1.1 200 OK")
        assert await raw.rest() == b""
        await post(hub.port, b"/v1/app/a", b"still here")
        assert await listener.chunk() == b"data: still here\n\n"


async def test_a_full_hub_says_so() -> None:
    async with running(HubLimits(subscribers_max=2)) as hub, subscribed(hub.port, b"/v1/app/a,b"):
        async with connected(hub.port) as raw:
            await raw.send(b"GET /v1/app/a HTTP/1.1\r\n" + HOST + b"\r\n")
            got = await raw.rest()
            assert got.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"\r\nRetry-After: 30\r\n" in got
            assert b"Access-Control-Allow-Origin: *" in got
            assert got.endswith(
                b"\r\n\r\nthe hub has 2 subscribers, as many as it takes; try again in 30 s, or another hub\n"
            )
        assert (await post(hub.port, b"/v1/app/a", b"posts still pass")).startswith(b"HTTP/1.1 200")


async def test_too_many_channels_in_one_request_are_no_matter_of_time() -> None:
    limits = HubLimits(channels_per_subscriber_max=2, subscriptions_per_address_max=1, loopback_exempt=False)
    async with running(limits) as hub:
        head, reason = await get(hub.port, b"/v1/app/a,b,c")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"Retry-After" not in head
        assert reason == b"more than 2 channels in one request: ask for them in several\n"


async def test_a_refusal_of_head_has_no_body() -> None:
    limits = HubLimits(loopback_exempt=False, address_requests_s=0.1, address_requests_burst=1)
    async with running(limits) as hub:
        await get(hub.port, b"/")
        head, reason = await get(hub.port, b"/", method=b"HEAD")
        assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert reason == b""


def test_no_refusal_is_an_event_to_npm_s_client() -> None:
    limits = HubLimits()
    refused = [
        refusals.LINE_BREAK,
        refusals.ENDING,
        refusals.BROKER_AWAY,
        refusals.too_many_requests(limits, 1),
        refusals.too_many_posts(1),
        refusals.too_many_channels(limits),
        refusals.too_many_connections(limits),
        refusals.too_many_subscriptions(limits),
        refusals.full("the hub has 3 channels"),
    ]
    for refusal in refused:
        # It takes the body of any answer for a stream: lines without a field of an event are nothing to it.
        assert re.fullmatch(r"(?!data|event|id|retry|:)[\x20-\x7e]{20,200}", refusal.sentence)
        assert (refusal.retry_after_s is None) == (refusal.status[:3] == b"400")


@pytest.mark.parametrize(("kept_s", "told_s"), [(6.0, 5), (60.0, 59), (1.5, 0), (0.5, 0)])
async def test_how_long_an_idle_connection_is_kept_is_told(kept_s: float, told_s: int) -> None:
    async with running(HubLimits(keep_alive_s=kept_s)) as hub, connected(hub.port) as raw:
        await raw.send(post_bytes(b"/v1/app/a", b"x"))
        assert b"\r\nKeep-Alive: timeout=%d\r\n" % told_s in (await raw.answer())[0]


async def test_too_many_connections_are_closed_at_once() -> None:
    limits = HubLimits(connections_max=1)
    async with running(limits) as hub, subscribed(hub.port, b"/v1/app/a"), connected(hub.port) as raw:
        assert await raw.rest() == b""


async def test_too_many_connections_from_one_address_are_closed() -> None:
    limits = HubLimits(connections_per_address_max=1, loopback_exempt=False)
    async with running(limits) as hub:
        async with subscribed(hub.port, b"/v1/app/a"), connected(hub.port) as raw:
            assert await raw.rest() == b""
        await eventually_counts(hub, 0)
        async with subscribed(hub.port, b"/v1/app/a"):
            pass


async def test_one_client_does_not_take_all_subscriptions() -> None:
    limits = HubLimits(subscriptions_per_address_max=5, loopback_exempt=False)
    async with running(limits) as hub:
        async with subscribed(hub.port, b"/v1/app/a,b,c"), connected(hub.port) as raw:
            await raw.send(b"GET /v1/app/a,b,c HTTP/1.1\r\n" + HOST + b"\r\n")
            got = await raw.rest()
            assert got.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"\r\n\r\nyour address has as many subscriptions as one gets (5): close some; " in got
            async with subscribed(hub.port, b"/v1/app/d,e"):
                assert hub.subscribers == 5
        await eventually_counts(hub, 0)
        async with subscribed(hub.port, b"/v1/app/a,b,c,d,e"):
            pass


async def test_a_pipeline_beyond_a_client_s_rate_is_cut() -> None:
    limits = HubLimits(loopback_exempt=False, address_requests_s=0.1, address_requests_burst=3)
    async with running(limits) as hub, connected(hub.port) as raw:
        await raw.send((b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * 2000)
        got = await raw.rest()
        lines = [line[9:12] for line in got.split(b"\r\n") if line.startswith(b"HTTP/")]
        assert lines == [b"200", b"200", b"200", b"429"]
        assert got.endswith(
            b"\r\n\r\ntoo many requests from your address, which has 0.1 a second, each channel for itself: "
            b"try again in 10 s\n"
        )
        assert b"\r\nRetry-After: 10\r\n" in got
        assert hub.counts.requests_limited == 1


async def test_too_many_posts_are_told_when_to_come_back() -> None:
    limits = HubLimits(loopback_exempt=False, address_rate=Rate(0.1, 2, 1e6, 1e6))
    async with running(limits) as hub, subscribed(hub.port, b"/v1/app/a") as raw, connected(hub.port) as poster:
        said = []
        for number in range(3):
            await poster.send(post_bytes(b"/v1/app/a", b"%d" % number))
            said.append(await poster.answer())
        assert [head[9:12] for head, _ in said] == [b"200", b"200", b"429"]
        assert b"\r\nRetry-After: 10\r\n" in said[2][0]
        assert said[2][1] == b"too many messages from your address, or to this channel: try again in 10 s\n"
        assert [await raw.chunk() for _ in range(2)] == [b"data: 0\n\n", b"data: 1\n\n"]


async def test_loopback_is_exempt_unless_told_otherwise() -> None:
    limits = HubLimits(address_rate=Rate(0.1, 1, 1e6, 1e6), connections_per_address_max=1)
    async with running(limits) as hub, connected(hub.port) as one, connected(hub.port) as two:
        for raw in (one, two, one, two):
            await raw.send(post_bytes(b"/v1/app/a", b"x"))
            assert (await raw.answer())[0].startswith(b"HTTP/1.1 200")


async def test_closing_delivers_answers_and_ends_the_streams() -> None:
    hub = await serve("127.0.0.1", 0)
    port = hub.port
    async with subscribed(port, b"/v1/app/a") as raw, connected(port) as poster, connected(port):
        await poster.send(post_bytes(b"/v1/app/a", b"last words"))
        assert await raw.chunk() == b"data: last words\n\n"
        await hub.close()
        assert await raw.rest() == b"0\r\n\r\n"
        assert (await poster.rest()).startswith(b"HTTP/1.1 200 OK")
    await hub.close()
    assert hub.connections == 0
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_closing_does_not_wait_for_a_stuck_reader() -> None:
    hub = await serve("127.0.0.1", 0, HubLimits(close_s=0.2, reader_buffer_bytes=2**30))
    async with subscribed(hub.port, b"/v1/app/a") as stuck, connected(hub.port) as poster:
        stuck.stop_reading()
        for _ in range(200):
            await poster.send(post_bytes(b"/v1/app/a", b"x" * 60_000))
            await poster.answer()
        async with asyncio.timeout(LIMIT_S):
            await hub.close()
        assert hub.connections == 0


async def test_a_port_in_use_is_a_clear_sentence() -> None:
    async with running() as hub:
        with pytest.raises(ListenFailed, match=f"port {hub.port} on 127.0.0.1 is taken by another program"):
            await serve("127.0.0.1", hub.port)


@pytest.mark.parametrize(
    ("host", "port", "sentence"),
    [
        ("127.0.0.1", 70_000, "70000 is no port"),
        ("192.0.2.1", 0, "192.0.2.1 is no address of this machine"),
        ("no.such.host.invalid", 0, "no.such.host.invalid port 0 can't be listened on"),
    ],
)
async def test_an_address_that_can_t_be_listened_on_is_a_clear_sentence(host: str, port: int, sentence: str) -> None:
    with pytest.raises(ListenFailed, match=sentence):
        await serve(host, port)


async def test_a_hub_starts_once() -> None:
    hub = HubServer()
    await hub.close()
    with pytest.raises(MisuseError):
        await hub.start("127.0.0.1", 0)
    with pytest.raises(MisuseError):
        _ = hub.port


async def test_the_url_of_an_ipv6_address_has_brackets() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        hub = await serve("::1", 0)
    except ListenFailed:
        pytest.skip("this machine has no IPv6 loopback")
    assert hub.url == f"http://[::1]:{hub.port}"
    await hub.close()
