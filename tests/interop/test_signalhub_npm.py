"""npm signalhub 4.9.0 against ours: its client on our hub, our client on its hub, and the same bytes from both hubs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc.hub.limits import HubLimits
from ssb_rtc.hub.rates import Rate
from ssb_rtc.hub.server import HubServer, serve
from ssb_rtc.signalhub.client import HubClient, open_session
from ssb_rtc.types import HubUrl
from tests.hub.sockets import HOST, LIMIT_S, Raw, connected, post_bytes, subscribed
from tests.interop.jspeer import require_node
from tests.interop.npmhub import NpmHub
from tests.interop.processes import LineProcess

pytestmark = pytest.mark.js

CLIENT = Path(__file__).resolve().parent / "hub_client.cjs"
FEED = "@/+//////////////////////////////////////////g=.ed25519"
SILENCE_S = 0.2


class NpmClient:
    """The client of npm signalhub as a process."""

    def __init__(self, process: LineProcess) -> None:
        self._process = process

    async def tell(self, what: str, **more: object) -> None:
        await self._process.write_line(json.dumps({"do": what, **more}))

    async def hears(self) -> dict[str, Any]:
        heard: dict[str, Any] = json.loads(await self._process.read_line(LIMIT_S))
        return heard


@asynccontextmanager
async def npm_client(packages: Path) -> AsyncIterator[NpmClient]:
    process = await LineProcess.start("npm signalhub client", [require_node(), str(CLIENT), str(packages)])
    try:
        client = NpmClient(process)
        assert await client.hears() == {"event": "ready"}
        yield client
    finally:
        await process.stop(grace_s=0.5)


@pytest.fixture
async def ours() -> AsyncIterator[HubServer]:
    hub = await serve("127.0.0.1", 0)
    yield hub
    await hub.close()


@pytest.fixture
async def theirs(node_packages: Path) -> AsyncIterator[NpmHub]:
    async with await NpmHub.start() as hub:
        yield hub


async def test_their_client_on_our_hub(node_packages: Path, ours: HubServer) -> None:
    async with npm_client(node_packages) as client:
        # A trailing slash in the hub's address, as people write it.
        await client.tell("hub", name="h", app="app", urls=[ours.url + "/"])
        await client.tell("subscribe", name="h", channels="one", **{"as": "single"})
        assert await client.hears() == {"as": "single", "event": "open"}
        await client.tell("subscribe", name="h", channels=["two", FEED, "three/"], **{"as": "several"})
        assert await client.hears() == {"as": "several", "event": "open"}
        assert ours.subscribers == 4
        for channel, ear in (("one", "single"), ("two", "several"), (FEED, "several"), ("three/", "several")):
            message = {"to": channel, "text": "é😀\n\u2028"}
            await client.tell("broadcast", name="h", channel=channel, message=message)
            heard = [await client.hears() for _ in range(2)]
            assert {"as": ear, "event": "data", "data": message} in heard
            assert {"event": "sent", "error": None} in heard
        await client.tell("broadcast", name="h", channel="nobody", message={})
        assert await client.hears() == {"event": "sent", "error": None}
        await client.tell("close", name="h")
        heard = [await client.hears() for _ in range(3)]
        assert {"event": "closed"} in heard
        async with asyncio.timeout(LIMIT_S):
            while ours.subscribers:
                await asyncio.sleep(0.01)


async def test_a_refusal_with_its_reason_is_one_to_their_client_and_no_event(node_packages: Path) -> None:
    limits = HubLimits(loopback_exempt=False, address_rate=Rate(0.1, 1, 1e6, 1e6), channels_per_subscriber_max=2)
    hub = await serve("127.0.0.1", 0, limits)
    async with npm_client(node_packages) as client:
        await client.tell("hub", name="h", app="app", urls=[hub.url])
        for error in (None, "Bad status: 429"):
            await client.tell("broadcast", name="h", channel="a", message={})
            assert await client.hears() == {"event": "sent", "error": error}
        await client.tell("subscribe", name="h", channels=["a", "b", "c"], **{"as": "x"})
        # It takes any answer for a stream; its own next one shows that nothing was heard of this.
        assert await client.hears() == {"as": "x", "event": "open"}
        await client.tell("subscribe", name="h", channels=["a"], **{"as": "y"})
        assert await client.hears() == {"as": "y", "event": "open"}
    await hub.close()


async def test_their_client_over_two_hubs_of_ours_and_theirs(
    node_packages: Path, ours: HubServer, theirs: NpmHub
) -> None:
    async with npm_client(node_packages) as client:
        await client.tell("hub", name="h", app="app", urls=[ours.url, theirs.url])
        await client.tell("subscribe", name="h", channels="one", **{"as": "x"})
        assert [await client.hears() for _ in range(2)] == [{"as": "x", "event": "open"}] * 2
        await client.tell("broadcast", name="h", channel="one", message={"n": 1})
        heard = [await client.hears() for _ in range(3)]
        assert heard.count({"as": "x", "event": "data", "data": {"n": 1}}) == 2


async def test_our_client_on_their_hub(theirs: NpmHub) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with open_session() as session:
        client = HubClient(HubUrl(theirs.url), "ssb-rtc-1-0badcafe", session)
        await client.subscribe(["all", FEED], heard.put_nowait, lambda fault: lost.set_result(str(fault)))
        sent = ['{"n":1}', '{"text":"é😀"}', "x" * 65535]
        for channel, body in zip(["all", FEED, FEED], sent, strict=True):
            await client.broadcast(channel, body)
        await client.broadcast("nobody", "{}")
        async with asyncio.timeout(LIMIT_S):
            assert [await heard.get() for _ in sent] == sent
            await theirs.stop()
            assert theirs.url in await lost
        await client.close()


def request(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    return line + b"\r\n" + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


X = b"Host: x"
THREE = b"Content-Length: 3"
REQUESTS = [
    request(b"GET / HTTP/1.1", X),
    request(b"GET / HTTP/1.1", X, b"Connection: close"),
    request(b"GET / HTTP/1.0"),
    request(b"GET / HTTP/1.0", b"Connection: keep-alive"),
    request(b"HEAD / HTTP/1.1", X),
    request(b"HEAD / HTTP/1.0"),
    request(b"POST / HTTP/1.1", X, THREE, body=b"abc"),
    request(b"DELETE / HTTP/1.1", X),
    request(b"GET /?x HTTP/1.1", X),
    request(b"GET / HTTP/1.1", X, X),
    request(b"GET /v1/app/a HTTP/1.1", X),
    request(b"GET /v1/app/a,b HTTP/1.0"),
    request(b"GET /v1/app/a HTTP/1.1", X, b"Connection: close"),
    request(b"GET /v1/app/a HTTP/1.1", X, THREE, body=b"abc"),
    request(b"GET /v1/ HTTP/1.1", X),
    request(b"GET /v1/app HTTP/1.1", X),
    request(b"HEAD /v1/app/a HTTP/1.1", X),
    request(b"PUT /v1/app/a HTTP/1.1", X, THREE, body=b"abc"),
    request(b"DELETE /v1/app/a HTTP/1.0"),
    request(b"GET /v1 HTTP/1.1", X),
    request(b"GET /v2/app/a HTTP/1.1", X, b"Connection: close"),
    request(b"GET /nowhere HTTP/1.0"),
    request(b"GET /metrics HTTP/1.1", X),
    request(b"GET / HTTP/1.1", X, b"Accept: */*"),
    request(b"GET http://x/v1/app/a HTTP/1.1", X),
    request(b"OPTIONS /v1/app/a HTTP/1.1", X, b"Origin: http://y", b"Access-Control-Request-Headers: X-Foo"),
    request(b"OPTIONS * HTTP/1.1", X),
    request(b"OPTIONS / HTTP/1.0"),
    request(b"POST /v1/app/a HTTP/1.1", X, THREE, body=b"abc"),
    request(b"POST /v1/app/a HTTP/1.1", X, THREE, b"Origin: http://y", body=b"abc"),
    request(b"POST /v1/app/a HTTP/1.1", X, THREE, b"Connection: close", body=b"abc"),
    request(b"POST /v1/app/a HTTP/1.0", THREE, body=b"abc"),
    request(b"POST /v1/app/a HTTP/1.0", THREE, b"Connection: keep-alive", body=b"abc"),
    request(b"POST /v1/app/a HTTP/1.1", X),
    request(b"POST /v1/app/a HTTP/1.1", X, b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\r\n"),
    request(b"POST /v1/app/a HTTP/1.1", X, b"Expect: 100-continue", THREE, body=b"abc"),
    request(b"POST /v1/app/a HTTP/1.1", X, b"Expect: 100-continue", THREE),
    request(b"POST /v1/app/a HTTP/1.1", X, b"Expect: else", THREE, body=b"abc"),
    request(b"POST /v1/app/a HTTP/1.1", X, THREE, body=b"ab"),
    request(b"POST /v1/app/a HTTP/1.1", X, THREE, THREE, body=b"abc"),
    request(b"POST /v1/app/a HTTP/1.1", X, b"Content-Length: -3", body=b"abc"),
    request(b"POST /v1/app/a HTTP/1.1", X, THREE, b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\r\n"),
    request(b"POST /v1/app/a HTTP/1.1", X, b"Transfer-Encoding: gzip", body=b"abc"),
    request(b"POST /v1/app/a HTTP/1.1", X, b"Content-Length: 65536", body=b"x" * 65536),
    request(b"POST /v1/app/a HTTP/1.1", X, THREE, body=b"abc") * 3 + request(b"GET / HTTP/1.1", X),
    request(b"PUT /x HTTP/1.1", X, THREE, body=b"abc") + request(b"GET / HTTP/1.1", X),
    request(b"GET / HTTP/1.1", X, b"Connection: close") + request(b"GET / HTTP/1.1", X),
    request(b"GET / HTTP/1.1", X, b"Connection: Upgrade", b"Upgrade: websocket"),
    request(b"GET / HTTP/1.1", X, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
    request(b"CONNECT x:1 HTTP/1.1", X),
    request(b"GET / HTTP/1.1"),
    request(b"GET / HTTP/2.0", X),
    request(b"GET / HTTP/3.7", X),
    request(b"FOO / HTTP/1.1", X),
    request(b"GET / HTTP/1.1", X, b"Y: " + b"y" * 20_000),
    request(b"GET /\xc3\xa9 HTTP/1.1", X),
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"\r\n\r\n" + request(b"GET / HTTP/1.1", X),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x00\x01\x02 nonsense\r\n\r\n",
    b"GET / HT",
    b"",
]


async def answer_of(port: int, data: bytes) -> bytes:
    """All that comes back, the sending side being closed once the answer is there."""
    async with connected(port) as raw:
        raw.writer.write(data)
        try:
            async with asyncio.timeout(SILENCE_S):
                first = await raw.reader.read(65536)
        except TimeoutError:
            first = b""
        except ConnectionError:
            return b""
        if raw.writer.can_write_eof():
            try:
                raw.writer.write_eof()
            except OSError:
                return first
        return first + await raw.rest()


def comparable(answer: bytes) -> bytes:
    """Without the date, and without the hub's name and version and what their length changes."""
    answer = re.sub(rb"Date: [^\r]*\r\n", b"Date: _\r\n", answer)
    answer = re.sub(rb'("name"|"version"): "[^"]*"', rb"\1: _", answer)
    return re.sub(rb'\r\n[0-9a-f]+\r\n\{\n  "name"', rb'\r\n_\r\n{\n  "name"', answer)


async def test_both_hubs_answer_alike(ours: HubServer, theirs: NpmHub) -> None:
    at_once = asyncio.Semaphore(8)

    async def ask(data: bytes) -> None:
        async with at_once:
            ours_says, theirs_says = await answer_of(ours.port, data), await answer_of(theirs.port, data)
        # The count of subscribers depends on what else is asked meanwhile.
        counted = [re.sub(rb'"subscribers": \d+', b"_", comparable(said)) for said in (ours_says, theirs_says)]
        assert counted[0] == counted[1], data[:200]

    await asyncio.gather(*map(ask, REQUESTS))


POSTS = [
    (b"app/a", b'{"n":1}'),
    (b"app/b", "é😀\u2028".encode()),
    (b"app/a", b""),
    (b"app/c/", b"slash"),
    (b"app/c", b"no slash"),
    (b"app/a,b", b"literal comma"),
    (b"app/a?query", b"query"),
    (b"app/%61", b"escaped"),
    (b"app/" + FEED.encode(), b"feed"),
    (b"app/dup", b"twice"),
    (b"app/", b"empty"),
    (b"app", b"nobody"),
    (b"other/a", b"nobody"),
    (b"app/a", b"\xff\xfe\xe2\x82 \xed\xa0\x80 \xf0\x9f\x98"),
    (b"app/a", b"\xef\xbb\xbfbom\x00\x7f"),
    (b"app/a", b"x" * 65535),
    (b"app/a", b"data: x"),
]
LISTENERS = [b"app/a,b,c/", b"app/c", b"app", b"app/dup,dup", b"app/%61", b"app/all," + FEED.encode()]
MARK = b"the end"


async def streams_of(port: int, version: bytes) -> list[bytes]:
    """What each listener hears of the posts, byte for byte."""
    async with connected(port) as poster:

        async def listen(path: bytes) -> bytes:
            async with subscribed(port, b"/v1/" + path, version) as raw:
                listening.release()
                await posted.wait()
                return await heard_until(raw, MARK)

        listening, posted = asyncio.Semaphore(0), asyncio.Event()
        tasks = [asyncio.create_task(listen(path)) for path in LISTENERS]
        for _ in LISTENERS:
            await listening.acquire()
        ends = [(b"app/" + c, MARK) for c in (b"a", b"c", b"", b"dup", b"%61", b"all")]
        for path, body in POSTS + ends:
            await poster.send(post_bytes(b"/v1/" + path, body))
            assert (await poster.answer())[0].startswith(b"HTTP/1.1 200 OK")
        posted.set()
        return await asyncio.gather(*tasks)


async def heard_until(raw: Raw, mark: bytes) -> bytes:
    return await raw.until(mark + b"\n\n")


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_both_hubs_carry_alike(ours: HubServer, theirs: NpmHub, version: bytes) -> None:
    assert await streams_of(ours.port, version) == await streams_of(theirs.port, version)


async def test_both_hubs_count_alike(ours: HubServer, theirs: NpmHub) -> None:
    counts = []
    for port in (ours.port, theirs.port):
        async with subscribed(port, b"/v1/app/a,b,b"), subscribed(port, b"/v1/app"), connected(port) as raw:
            await raw.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
            counts.append(json.loads((await raw.answer())[1]))
    assert [count["subscribers"] for count in counts] == [4, 4]
    assert list(counts[0]) == list(counts[1])


async def test_health_and_a_page_for_browsers_are_where_we_differ(ours: HubServer, theirs: NpmHub) -> None:
    for data, differs in (
        (request(b"GET /healthz HTTP/1.0"), b"404"),
        (request(b"GET / HTTP/1.1", X, b"Accept: text/html"), b"application/json"),
    ):
        ours_says, theirs_says = await answer_of(ours.port, data), await answer_of(theirs.port, data)
        assert differs in theirs_says
        assert differs not in ours_says
        assert ours_says.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: ")
        assert b"Access-Control-Allow-Origin: *" in theirs_says


async def test_a_line_break_is_where_we_differ(ours: HubServer, theirs: NpmHub) -> None:
    statuses = []
    for port in (ours.port, theirs.port):
        async with connected(port) as raw:
            await raw.send(post_bytes(b"/v1/app/a", b"one\n\ndata: two"))
            statuses.append((await raw.answer())[0][9:12])
    assert statuses == [b"400", b"200"]
