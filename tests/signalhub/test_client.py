"""The client of one hub: against a good one, and against those that do as they like."""

from __future__ import annotations

import asyncio
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssb_rtc.errors import ConnectFailed, MisuseError, TransportFault
from ssb_rtc.hub.limits import HubLimits
from ssb_rtc.hub.rates import Rate
from ssb_rtc.hub.server import HubServer, serve
from ssb_rtc.signalhub.client import ClientLimits, HubClient, HubRefused, open_session, shown
from ssb_rtc.types import HubUrl
from ssb_rtc.wire import sse
from tests.signalhub.rogue import STREAM, Handler, endlessly, rogue, saying
from tests.transport.certificates import write_certificate

FEED = "@/+//////////////////////////////////////////g=.ed25519"
LIMIT_S = 5.0
SHORT = ClientLimits(connect_s=1.0, confirm_s=0.3, silence_s=0.3, post_s=0.3, reason_s=0.2)


@dataclass
class Ear:
    """What a subscription heard, and how it was lost."""

    heard: list[str] = field(default_factory=list)
    lost: list[TransportFault] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_message(self, text: str) -> None:
        self.heard.append(text)
        self.changed.set()

    def on_lost(self, fault: TransportFault) -> None:
        self.lost.append(fault)
        self.changed.set()

    async def until(self, *, heard: int = 0, lost: int = 0) -> None:
        async with asyncio.timeout(LIMIT_S):
            while len(self.heard) < heard or len(self.lost) < lost:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as opened:
        yield opened


@pytest.fixture
async def hub() -> AsyncIterator[HubServer]:
    server = await serve("127.0.0.1", 0)
    yield server
    await server.close()


async def test_what_is_posted_is_heard_on_every_channel_raw(hub: HubServer, session: aiohttp.ClientSession) -> None:
    client, ear = HubClient(HubUrl(hub.url), "app", session), Ear()
    await client.subscribe(["all", FEED], ear.on_message, ear.on_lost)
    assert client.subscribed
    assert hub.subscribers == 2
    await client.broadcast("all", '{"n":1}')
    await client.broadcast(FEED, '{"n":"é😀"}')
    await client.broadcast("nobody", '{"n":3}')
    await client.broadcast("all", "x" * 65535)
    await ear.until(heard=3)
    assert ear.heard == ['{"n":1}', '{"n":"é😀"}', "x" * 65535]
    await client.close()
    await client.close()
    assert (client.subscribed, ear.lost) == (False, [])


async def test_the_end_of_the_stream_is_told_once(hub: HubServer, session: aiohttp.ClientSession) -> None:
    client, ear = HubClient(HubUrl(hub.url), "app", session), Ear()
    await client.subscribe(["all"], ear.on_message, ear.on_lost)
    await hub.close()
    await ear.until(lost=1)
    assert str(ear.lost[0]) == f"the hub {hub.url} ended the stream"
    await client.close()
    assert len(ear.lost) == 1


async def test_a_lost_client_may_subscribe_again(hub: HubServer, session: aiohttp.ClientSession) -> None:
    async with rogue(saying(STREAM)) as url:
        client, ear = HubClient(url, "app", session), Ear()
        for count in (1, 2):
            await client.subscribe(["all"], ear.on_message, ear.on_lost)
            await ear.until(lost=count)


@pytest.mark.parametrize("body", ["a\nb", "a\rb", "x" * 65536, "é" * 32768])
async def test_what_a_hub_would_not_carry_is_not_sent(body: str, session: aiohttp.ClientSession) -> None:
    with pytest.raises(MisuseError):
        await HubClient(HubUrl("http://127.0.0.1:1"), "app", session).broadcast("all", body)


@pytest.mark.parametrize("channel", ["", "a,b", "a?b", "a#b", "a b", "a\nb", "é", "%61"])
async def test_names_that_a_path_can_t_hold_are_refused(channel: str, session: aiohttp.ClientSession) -> None:
    client = HubClient(HubUrl("http://127.0.0.1:1"), "app", session)
    with pytest.raises(MisuseError):
        await client.broadcast(channel, "x")
    with pytest.raises(MisuseError):
        await client.subscribe([channel], print, print)
    with pytest.raises(MisuseError):
        HubClient(HubUrl("http://127.0.0.1:1"), channel or "a/b", session)


async def test_no_hub_there(session: aiohttp.ClientSession) -> None:
    client = HubClient(HubUrl("http://127.0.0.1:1"), "app", session)
    with pytest.raises(ConnectFailed, match=r"the hub http://127\.0\.0\.1:1 can't be reached: nobody listens there"):
        await client.subscribe(["all"], print, print)
    with pytest.raises(ConnectFailed, match="can't be reached"):
        await client.broadcast("all", "x")


async def test_the_name_of_a_hub_is_wrong(session: aiohttp.ClientSession) -> None:
    client = HubClient(HubUrl("https://hub.invalid"), "app", session)
    with pytest.raises(ConnectFailed, match="the name is not known, or this machine is offline"):
        await client.subscribe(["all"], print, print)


async def test_a_hub_whose_certificate_nobody_here_trusts(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*write_certificate(tmp_path))
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        client = HubClient(HubUrl(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"), "app", session)
        with pytest.raises(ConnectFailed, match=r"its certificate is not valid here \(self-signed certificate\)$"):
            await client.subscribe(["all"], print, print)


async def test_a_hub_that_speaks_http_where_https_was_asked_for(session: aiohttp.ClientSession) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        client = HubClient(HubUrl(f"https://127.0.0.1:{port}"), "app", session)
        with pytest.raises(ConnectFailed, match="nobody there speaks https"):
            await client.subscribe(["all"], print, print)


async def test_a_hub_that_dies_in_the_middle(session: aiohttp.ClientSession) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + b"1\r\n\n\r\n")
        writer.close()

    lost: asyncio.Future[TransportFault] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        client = HubClient(HubUrl(f"http://127.0.0.1:{port}"), "app", session)
        await client.subscribe(["all"], print, lost.set_result)
        async with asyncio.timeout(10):
            assert str(await lost) == f"the stream of the hub http://127.0.0.1:{port} broke: it ended in the middle"
        await client.close()


ANSWERS: list[tuple[bytes, str]] = [
    (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>",
        "there is no signalhub at .*: it answers with text/html",
    ),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "it answers with no type"),
    (b"HTTP/1.1 200 OK\r\nContent-Type: a\x1b[2J\xff\xc2\x9b\r\n\r\n", r"it answers with a \[2j  $"),
    (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", r"there is no signalhub at .* \(status 404\)"),
    (b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", r"refuses \(status 500\)"),
    (b"HTTP/1.1 204 None\r\n\r\n", r"refuses \(status 204\)"),
    (b"HTTP/1.1 302 Go\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n", "sends us elsewhere"),
    (b"HTTP/1.1 301 Go\r\nContent-Length: 0\r\n\r\n", "sends us elsewhere"),
    (b"HTTP/1.1 429 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", "has had too much from us"),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "refuses|can't be reached"),
    (STREAM.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"), "packs its stream"),
    (b"", "can't be reached"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "can't be reached"),
    (b"\x00\xff\x00\xff\r\n\r\n", "can't be reached"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "can't be reached"),
    (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000 + b"\r\n", "can't be reached"),
]


@pytest.mark.parametrize(("answer", "sentence"), ANSWERS)
async def test_an_answer_that_is_no_hub_s_is_a_clear_fault(
    answer: bytes, sentence: str, session: aiohttp.ClientSession
) -> None:
    async with rogue(saying(answer)) as url:
        client = HubClient(url, "app", session)
        with pytest.raises(TransportFault, match=sentence) as caught:
            await client.subscribe(["all"], print, print)
        assert len(str(caught.value)) < 300
        assert str(caught.value).isprintable(), "it steers no terminal, and can be encoded"
        await client.close()


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [(b"7", 7.0), (b"999999", 3600.0), (b"-1", None), (b"soon", None), ("١".encode(), None), (b"9" * 4000, None)],
)
async def test_too_much_says_when_to_come_back(
    header: bytes, wait_s: float | None, session: aiohttp.ClientSession
) -> None:
    answer = b"HTTP/1.1 429 No\r\nRetry-After: " + header + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with rogue(saying(answer)) as url:
        client = HubClient(url, "app", session)
        for attempt in (client.subscribe(["all"], print, print), client.broadcast("all", "x")):
            with pytest.raises(HubRefused) as caught:
                await attempt
            assert (caught.value.status, caught.value.retry_after_s) == (429, wait_s)


async def test_our_own_hub_s_limit_reaches_the_caller(session: aiohttp.ClientSession) -> None:
    server = await serve("127.0.0.1", 0, HubLimits(loopback_exempt=False, address_rate=Rate(0.1, 1, 1e6, 1e6)))
    client = HubClient(HubUrl(server.url), "app", session)
    await client.broadcast("all", "1")
    with pytest.raises(HubRefused) as caught:
        await client.broadcast("all", "2")
    assert caught.value.retry_after_s == 10.0
    reason = "too many messages from your address, or to this channel: try again in 10 s"
    assert str(caught.value) == f'the hub {server.url} has had too much from us; it says: "{reason}"'
    with pytest.raises(
        HubRefused, match=r'refuses \(status 400\); it says: "more than 64 channels in one request: ask '
    ):
        await client.subscribe([f"c{number}" for number in range(65)], print, print)
    await server.close()


PLAIN = b"HTTP/1.1 503 No\r\nContent-Type: text/plain\r\nRetry-After: 7\r\n"


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (
            saying(PLAIN + b"Content-Length: 23\r\n\r\n full\x1b[2J \xff\n\xe2\x80\xae of  it "),
            '; it says: "full [2J \ufffd of it"',
        ),
        (saying(PLAIN + b"\r\n", stay=True), ""),
        (saying(PLAIN + b"Content-Length: 9\r\n\r\nhalf"), '; it says: "half"'),
        (saying(PLAIN + b"Content-Length: 2\r\n\r\n\n\n"), ""),
        (saying(PLAIN.replace(b"plain", b"html") + b"Content-Length: 4\r\n\r\n<h1>"), ""),
        (endlessly(PLAIN + b"\r\n", b"x" * 1000), f'; it says: "{"x" * 200}"'),
    ],
    ids=["steers a terminal", "never comes", "half", "blank", "a page", "endless"],
)
async def test_the_reason_of_a_refusal_is_told_as_far_as_it_is_one(
    handler: Handler, reason: str, session: aiohttp.ClientSession
) -> None:
    async with rogue(handler, bodies=True) as url:
        client = HubClient(url, "app", session, limits=SHORT)
        for attempt in (client.subscribe(["all"], print, print), client.broadcast("all", "x")):
            with pytest.raises(HubRefused) as caught:
                await attempt
            assert str(caught.value) == f"the hub {url} refuses (status 503){reason}"
            assert (caught.value.status, caught.value.retry_after_s) == (503, 7.0)


@pytest.mark.parametrize(
    "handler",
    [
        saying(stay=True),
        saying(b"HTTP/1.1 200 OK\r\nContent-Ty", stay=True),
        endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    ],
    ids=["nothing", "half a head", "patience for ever"],
)
async def test_no_answer_is_a_fault_after_the_limit(handler: Handler, session: aiohttp.ClientSession) -> None:
    async with rogue(handler) as url:
        client = HubClient(url, "app", session, limits=SHORT)
        with pytest.raises(ConnectFailed):
            await client.subscribe(["all"], print, print)
        with pytest.raises(ConnectFailed):
            await client.broadcast("all", "x")


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ((), "has been silent for 0.3 s"),
        ((b"data: half an event",), "has been silent for 0.3 s"),
        ((b"id: 1\nretry: 5\n",), "has been silent for 0.3 s"),
    ],
)
async def test_silence_is_death(parts: tuple[bytes, ...], sentence: str, session: aiohttp.ClientSession) -> None:
    async with rogue(saying(STREAM, *parts, stay=True)) as url:
        client, ear = HubClient(url, "app", session, limits=SHORT), Ear()
        await client.subscribe(["all"], ear.on_message, ear.on_lost)
        await ear.until(lost=1)
        assert sentence in str(ear.lost[0])


async def test_a_drip_that_says_nothing_is_silence(session: aiohttp.ClientSession) -> None:
    async def dripping(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM)
        while True:
            writer.write(b"id: 1\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with rogue(dripping) as url:
        client, ear = HubClient(url, "app", session, limits=SHORT), Ear()
        await client.subscribe(["all"], ear.on_message, ear.on_lost)
        await ear.until(lost=1)
        assert "has been silent" in str(ear.lost[0])


async def test_heartbeats_keep_a_quiet_stream_alive(session: aiohttp.ClientSession) -> None:
    async def beating(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM)
        for _ in range(12):
            writer.write(b":heartbeat signal\n\n")
            await writer.drain()
            await asyncio.sleep(0.05)
        writer.write(b"data: end\n\n")
        await writer.drain()
        await asyncio.Event().wait()

    async with rogue(beating) as url:
        client, ear = HubClient(url, "app", session, limits=SHORT), Ear()
        await client.subscribe(["all"], ear.on_message, ear.on_lost)
        await ear.until(heard=1)
        assert ear.lost == []
        await client.close()


@pytest.mark.parametrize(
    "more",
    [b"x" * 65536, b"data: " + b"x" * 65530, b"data: x\n" * 8192],
    ids=["no newline", "data without newline", "an event without end"],
)
async def test_endless_data_ends_the_stream_and_takes_no_memory(more: bytes, session: aiohttp.ClientSession) -> None:
    async with rogue(endlessly(STREAM, more)) as url:
        client, ear = HubClient(url, "app", session), Ear()
        tracemalloc.start()
        try:
            await client.subscribe(["all"], ear.on_message, ear.on_lost)
            await ear.until(lost=1)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert "sends what is no event stream" in str(ear.lost[0])
        assert peak_bytes < 8 * 1024 * 1024


@pytest.mark.parametrize(
    ("start", "more"),
    [(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000), (b"HTTP/1.1 200 OK\r\nX: ", b"y" * 65536), (b"", b"\r\n" * 1000)],
    ids=["headers", "one header", "empty lines"],
)
async def test_an_endless_head_takes_no_memory(start: bytes, more: bytes, session: aiohttp.ClientSession) -> None:
    async with rogue(endlessly(start, more)) as url:
        client = HubClient(url, "app", session, limits=ClientLimits(confirm_s=1.0))
        tracemalloc.start()
        try:
            with pytest.raises(ConnectFailed):
                await client.subscribe(["all"], print, print)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak_bytes < 16 * 1024 * 1024


async def test_a_flood_is_read_at_the_budget_s_rate(session: aiohttp.ClientSession) -> None:
    limits = ClientLimits(read_rate_bytes_s=64 * 1024, read_burst_bytes=128 * 1024)
    async with rogue(endlessly(STREAM, b"data: 12345678\n\n" * 4096)) as url:
        client, ear = HubClient(url, "app", session, limits=limits), Ear()
        await client.subscribe(["all"], ear.on_message, ear.on_lost)
        await asyncio.sleep(0.5)
        await client.close()
        # The burst, half a second of the rate, and what one read may bring above it; unbridled it is many times that.
        assert len(ear.heard) * 16 <= 1024 * 1024


async def test_a_flood_of_empty_lines_is_read_slower(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsers: list[sse.Parser] = []

    class Watched(sse.Parser):
        def __init__(self, limit_bytes: int) -> None:
            super().__init__(limit_bytes)
            parsers.append(self)

    monkeypatch.setattr(sse, "Parser", Watched)
    async with rogue(endlessly(STREAM, b":\n" * 8192)) as url:
        limits = ClientLimits(read_rate_bytes_s=64 * 1024, read_burst_bytes=128 * 1024)
        hub, ear = HubClient(url, "app", session, limits=limits), Ear()
        await hub.subscribe(["all"], ear.on_message, ear.on_lost)
        await asyncio.sleep(0.5)
        await hub.close()
    # 128 KiB and half a second of 64 KiB, at 66 bytes a line, and what one read may bring above it.
    assert 1_000 < parsers[0].lines < 20_000


async def test_an_answer_that_never_ends_does_not_hold_a_post(session: aiohttp.ClientSession) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"
    async with rogue(endlessly(answer, b"x" * 65536)) as url, asyncio.timeout(LIMIT_S):
        await HubClient(url, "app", session).broadcast("all", "x")


async def test_frames_that_were_injected_are_only_texts(session: aiohttp.ClientSession) -> None:
    frames = b'data: {"a":1}\r\n\r\nevent: x\rdata: two\ndata: lines\n\ndata\n\nid: 5\n\ndata: \xff\n\n'
    async with rogue(saying(STREAM, *(frames[i : i + 3] for i in range(0, len(frames), 3)))) as url:
        client, ear = HubClient(url, "app", session), Ear()
        await client.subscribe(["all"], ear.on_message, ear.on_lost)
        await ear.until(lost=1)
        assert ear.heard == ['{"a":1}', "two\nlines", "", "\ufffd"]


async def test_a_packed_bomb_is_not_unpacked(session: aiohttp.ClientSession) -> None:
    bomb = zlib.compress(b"data: x\n\n" * 1_000_000)
    head = STREAM.replace(b"\r\n\r\n", b"\r\nContent-Encoding: deflate\r\n\r\n")
    async with rogue(saying(head, bomb)) as url:
        with pytest.raises(TransportFault, match="packs its stream"):
            await HubClient(url, "app", session).subscribe(["all"], print, print)


async def test_closing_while_the_hub_thinks_gives_the_attempt_up(session: aiohttp.ClientSession) -> None:
    asked = asyncio.Event()

    async def thinking(head: bytes, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with rogue(thinking) as url, asyncio.timeout(LIMIT_S):
        client = HubClient(url, "app", session)
        attempt = asyncio.create_task(client.subscribe(["all"], print, print))
        await asked.wait()
        with pytest.raises(MisuseError):
            await client.subscribe(["all"], print, print)
        await client.close()
        with pytest.raises(ConnectFailed, match="given up"):
            await attempt
        with pytest.raises(MisuseError):
            await client.subscribe(["all"], print, print)


async def test_cancelling_the_attempt_cancels_it(session: aiohttp.ClientSession) -> None:
    async with rogue(saying(stay=True)) as url, asyncio.timeout(LIMIT_S):
        client = HubClient(url, "app", session)
        attempt = asyncio.create_task(client.subscribe(["all"], print, print))
        await asyncio.sleep(0.05)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        await client.close()


def test_a_password_is_not_shown() -> None:
    assert shown(HubUrl("https://ann:secret@hub.example.com:8443/x")) == "https://hub.example.com:8443/x"
    assert shown(HubUrl("http://127.0.0.1:80")) == "http://127.0.0.1:80"


HTTP = st.sampled_from([STREAM, b"data: x\n\n", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n"])


@settings(max_examples=40)
@given(st.lists(st.one_of(st.binary(max_size=60), HTTP), max_size=6))
def test_whatever_a_hub_says_only_faults_of_ours_come_out(parts: list[bytes]) -> None:
    async def run() -> None:
        async with open_session() as opened, rogue(saying(*parts)) as url:
            client, ear = HubClient(url, "app", opened, limits=SHORT), Ear()
            try:
                await client.subscribe(["all"], ear.on_message, ear.on_lost)
            except TransportFault:
                return
            await ear.until(lost=1)

    asyncio.run(run())
