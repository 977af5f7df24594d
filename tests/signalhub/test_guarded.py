"""Hubs that we know from others alone: a question to real sockets, and where a connection may not lead.

Each attack on whoever believes others is a test: names that lead into our network, at once or the second time they are
looked up, redirects, answers without end, and what is no hub.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp.abc import ResolveResult

from ssb_rtc.errors import ConnectFailed, TransportFault
from ssb_rtc.hub.server import serve
from ssb_rtc.signalhub import guarded
from ssb_rtc.signalhub.client import HubClient, open_session
from ssb_rtc.signalhub.guarded import ANSWER_LIMIT_BYTES, GuardedResolver, NotAsked, ask, check_public, is_hub_status
from ssb_rtc.types import HubUrl

STATUS = b'{\n  "name": "signalhub",\n  "version": "4.9.0",\n  "subscribers": 0\n}\n'


class Server:
    """A server that answers every request with the same bytes, and writes the requests down."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.written_bytes = 0
        self.port = 0
        self.serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            for start in range(0, len(self.answer), 65_536):
                writer.write(self.answer[start : start + 65_536])
                self.written_bytes += 65_536
                await writer.drain()
            while not self.answer:  # it says nothing
                await asyncio.Event().wait()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def answering(body: bytes, *, status: str = "200 OK", more: str = "") -> AsyncIterator[Server]:
    head = f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode()
    server = Server(head + body)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server
        for task in server.serving:
            task.cancel()
        await asyncio.gather(*server.serving)


class Names:
    """A name server whose answers are told to it, and which counts how often it is asked."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        assert family in (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6)
        await asyncio.sleep(0)
        self.asked.append(host)
        places = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if not places:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        kinds = [socket.AF_INET6 if ":" in place else socket.AF_INET for place in places]
        return [
            ResolveResult(hostname=host, host=place, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for place, kind in zip(places, kinds, strict=True)
        ]


async def test_a_hub_of_ours_says_what_it_is() -> None:
    hub = await serve("127.0.0.1", 0)
    try:
        await ask(HubUrl(hub.url), allow_loopback=True)
        with pytest.raises(TransportFault, match="no public place"):
            await ask(HubUrl(hub.url))
    finally:
        await hub.close()


async def test_one_request_and_no_redirect_and_no_name_of_ours() -> None:
    async with answering(STATUS) as server:
        await ask(HubUrl(f"http://127.0.0.1:{server.port}/some/where"), allow_loopback=True)
        (request,) = server.requests
        assert request.startswith(b"GET /some/where/ HTTP/1.1\r\n")
        assert b"ookie" not in request


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
async def test_a_redirect_is_not_followed(status: str) -> None:
    async with answering(STATUS) as inside, answering(STATUS) as server:
        server.answer = (
            f"HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:{inside.port}/\r\nContent-Length: 0\r\n\r\n".encode()
        )
        with pytest.raises(TransportFault, match="elsewhere"):
            await ask(HubUrl(f"http://127.0.0.1:{server.port}"), allow_loopback=True)
        assert not inside.requests


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", "200 OK"),
        (b"<html>It works!</html>", "200 OK"),
        (b"[]", "200 OK"),
        (b'{"name": "signalhub", "version": "4.9.0"}', "200 OK"),
        (b'{"name": "signalhub", "version": "4.9.0", "subscribers": true}', "200 OK"),
        (b'{"name": "signalhub", "version": "4.9.0", "subscribers": -1}', "200 OK"),
        (b"[" * 4_000, "200 OK"),
        (STATUS, "404 Not Found"),
        (STATUS, "503 Service Unavailable"),
    ],
)
async def test_what_is_no_hub(body: bytes, status: str) -> None:
    async with answering(body, status=status) as server:
        with pytest.raises(TransportFault, match="no signalhub"):
            await ask(HubUrl(f"http://127.0.0.1:{server.port}"), allow_loopback=True)


def test_what_is_one() -> None:
    assert is_hub_status(STATUS)
    assert not is_hub_status(STATUS.replace(b"4.9.0", b"\xff"))


async def test_an_answer_without_end_is_read_up_to_4_kb() -> None:
    async with answering(STATUS[:-3] + b" " * 50_000_000 + b"}") as server:
        with pytest.raises(TransportFault, match="no signalhub"):
            await ask(HubUrl(f"http://127.0.0.1:{server.port}"), allow_loopback=True)
        assert server.written_bytes < 10_000_000, "what the kernel and one read hold, and not 50 MB"
    assert ANSWER_LIMIT_BYTES == 4_096


async def test_a_host_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "PROBE_LIMIT_S", 0.2)
    async with answering(b"") as silent:
        silent.answer = b""
        with pytest.raises(TransportFault, match=r"no answer within 0\.2 s"):
            await ask(HubUrl(f"http://127.0.0.1:{silent.port}"), allow_loopback=True)


async def test_where_nobody_was_asked() -> None:
    with pytest.raises(NotAsked, match="not known"):
        await ask(HubUrl("https://hub.example.org"), lookup=Names([]))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(TransportFault, match="nobody listens there") as caught:
            await ask(HubUrl(f"http://127.0.0.1:{unused.getsockname()[1]}"), allow_loopback=True)
        assert not isinstance(caught.value, NotAsked), "its host was asked"


LOCAL = [
    "127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "::1", "::", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "ff02::1",
]  # fmt: skip


@pytest.mark.parametrize("place", LOCAL)
async def test_a_name_that_leads_into_our_network_is_refused(place: str) -> None:
    for places in ([place], ["9.9.9.9", place]):
        names = Names(places)
        with pytest.raises(TransportFault, match="no public place") as caught:
            await ask(HubUrl("https://hub.example.org"), allow_loopback=True, lookup=names)
        assert not isinstance(caught.value, NotAsked)
        assert names.asked == ["hub.example.org"]


@pytest.mark.parametrize("hub", ["https://10.0.0.1", "https://[fe80::1]", "https://169.254.169.254"])
async def test_an_address_of_our_network_is_refused(hub: str) -> None:
    with pytest.raises(TransportFault, match="no public place"):
        await ask(HubUrl(hub), allow_loopback=True)


async def test_a_name_is_looked_up_once_and_connected_to_where_it_led() -> None:
    """DNS rebinding: the second answer would lead elsewhere. There is none, and the request says the name."""
    async with answering(STATUS) as server, answering(STATUS) as other:
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        await ask(HubUrl(f"http://hub.localhost:{server.port}"), allow_loopback=True, lookup=names)
        assert names.asked == ["hub.localhost"]
        assert f"Host: hub.localhost:{server.port}".encode() in server.requests[0]
        assert not other.requests


def test_a_name_that_leads_to_too_many_places_or_none() -> None:
    for places in ([], ["9.9.9.9"] * 33):
        with pytest.raises(OSError, match="leads to"):
            check_public("hub.example.org", places, allow_loopback=False)


# --- the connections of hubs that were told, later on ---


async def test_each_connection_to_a_hub_that_was_told_is_checked() -> None:
    """It led to a public place when it was asked, and leads into our network when it is connected to."""
    names = Names(["169.254.169.254"])
    resolver = GuardedResolver(lambda host: host == "told.example.org", lambda: True, names)
    session = open_session(resolver)
    try:
        client = HubClient(HubUrl("http://told.example.org:8000"), "app", session)
        with pytest.raises(ConnectFailed, match="no public place"):
            await client.subscribe(["x"], print, print)
        with pytest.raises(ConnectFailed, match="no public place"):
            await client.broadcast("x", "{}")
    finally:
        await session.close()


async def test_a_hub_that_somebody_here_added_may_be_in_our_network() -> None:
    async with answering(STATUS) as server:
        session = open_session(GuardedResolver(lambda _: False, lambda: False, Names(["127.0.0.1"])))
        try:
            async with session.get(f"http://hub.lan:{server.port}/") as response:
                assert response.status == 200
        finally:
            await session.close()


async def test_the_machines_own_resolver() -> None:
    found = await GuardedResolver(lambda _: True, lambda: True).resolve("localhost", 80)
    assert {result["host"] for result in found} <= {"127.0.0.1", "::1"}
    with pytest.raises(OSError, match="no public place"):
        await GuardedResolver(lambda _: True, lambda: False).resolve("localhost", 80)
    await GuardedResolver(lambda _: True, lambda: True).close()


async def test_a_question_leaves_no_connection_open(recwarn: pytest.WarningsRecorder) -> None:
    async with answering(STATUS) as server:
        for _ in range(3):
            await ask(HubUrl(f"http://127.0.0.1:{server.port}"), allow_loopback=True)
        assert len(server.requests) == 3
    assert not [warning for warning in recwarn if issubclass(warning.category, ResourceWarning)]
