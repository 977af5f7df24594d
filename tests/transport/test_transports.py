"""What every transport must give, and what is special about each."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import pytest

from ssb_rtc.errors import ConfigFault, ConnectFailed, LinkClosed, ListenFailed, MisuseError
from ssb_rtc.transport import sockets
from ssb_rtc.transport.base import Listener, OnStream, Stream, Transport
from ssb_rtc.transport.memory import MemoryTransport
from ssb_rtc.transport.multiserver import Multiserver, reachable
from ssb_rtc.transport.net import NetTransport, join_host_port, split_host_port
from ssb_rtc.transport.sockets import SocketStream
from ssb_rtc.transport.unix import UnixTransport
from ssb_rtc.transport.ws import WsTransport
from ssb_rtc.wire.address import parse
from tests.transport.certificates import secure_transport
from tests.transport.linking import ALICE, within
from tests.transport.meeting import RtcPlace


class Place(Protocol):
    """A listener's side and a dialler's side of one transport."""

    async def listen(self, on_stream: OnStream) -> Listener: ...
    async def connect(self) -> Stream: ...
    async def close(self) -> None: ...


class SimplePlace:
    """Both sides are one transport object."""

    def __init__(self, transport: Transport, where: str) -> None:
        self.transport = transport
        self.where = where

    async def listen(self, on_stream: OnStream) -> Listener:
        listener = await self.transport.listen(self.where, on_stream)
        if self.transport.name in ("net", "ws", "wss"):
            self.where = listener.addresses[0].partition(":")[2]
        return listener

    async def connect(self) -> Stream:
        return await self.transport.connect(self.where)

    async def close(self) -> None:
        await self.transport.close()


@pytest.fixture(params=["net", "ws", "wss", "unix", "memory", "rtc"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    places: dict[str, Callable[[], Place]] = {
        "net": lambda: SimplePlace(NetTransport(), "127.0.0.1:0"),
        "ws": lambda: SimplePlace(WsTransport(), "127.0.0.1:0"),
        "wss": lambda: SimplePlace(secure_transport(tmp_path), "127.0.0.1:0"),
        "unix": lambda: SimplePlace(UnixTransport(), str(tmp_path / "socket")),
        "memory": lambda: SimplePlace(MemoryTransport(), "here"),
        "rtc": RtcPlace,
    }
    made = places[request.param]()
    yield made
    await made.close()


@contextlib.asynccontextmanager
async def connected(place: Place) -> AsyncIterator[tuple[Stream, Stream]]:
    """A dialled stream and the accepted one."""
    accepted: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()

    async def on_stream(stream: Stream) -> None:
        accepted.set_result(stream)

    listener = await place.listen(on_stream)
    ours = await place.connect()
    async with asyncio.timeout(5):
        theirs = await accepted
    try:
        yield ours, theirs
    finally:
        await asyncio.gather(ours.close(), theirs.close())
        await listener.close()


async def read_all(stream: Stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await stream.read()
        assert more
        data += more
    return data


async def test_bytes_go_both_ways_and_the_end_is_seen(place: Place) -> None:
    async with connected(place) as (ours, theirs):
        assert ours.transport == theirs.transport
        assert ours.description
        ours.write(b"a" * 100_000)
        ours.write(b"b")
        assert await read_all(theirs, 100_001) == b"a" * 100_000 + b"b"
        theirs.write(b"back")
        assert await ours.read() == b"back"
        theirs.write(b"last words")
        await theirs.close()
        async with asyncio.timeout(3):
            assert await read_all(ours, 10) == b"last words"
            assert await ours.read() == b""
            assert await ours.read() == b""
        with pytest.raises(LinkClosed):
            await theirs.read()


async def test_an_abort_ends_the_readers_on_both_sides(place: Place) -> None:
    async with connected(place) as (ours, theirs):
        reading = asyncio.create_task(theirs.read())
        await asyncio.sleep(0)
        ours.abort("enough")
        with pytest.raises(LinkClosed, match="enough"):
            await ours.read()
        async with asyncio.timeout(3):
            with contextlib.suppress(LinkClosed):
                assert await reading == b""


async def test_a_reader_that_is_slow_stops_the_writer(place: Place) -> None:
    if isinstance(place, RtcPlace):
        return  # WebRTC libraries have no receive back-pressure; test_window.py has what links do about it
    async with connected(place) as (ours, _):
        written = 0
        async with asyncio.timeout(5):
            while not ours.congested:
                ours.write(b"x" * 65536)
                written += 65536
                await asyncio.sleep(0)
        waiting = asyncio.create_task(ours.drain())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        assert written < 32 * 2**20
        ours.abort()
        with pytest.raises(LinkClosed):
            await waiting


async def test_a_writer_goes_on_when_the_reader_does(place: Place) -> None:
    async with connected(place) as (ours, theirs):
        total = 12 * 2**20 if ours.transport != "rtc" else 2**20

        async def write() -> None:
            for _ in range(total // 65536):
                ours.write(b"x" * 65536)
                if ours.congested:
                    await ours.drain()

        writing = asyncio.create_task(write())
        # The reader begins only when nothing more fits, where the transport pushes back at all.
        await within(5, lambda: ours.congested or writing.done())
        await asyncio.sleep(0.05)
        async with asyncio.timeout(10):
            assert len(await read_all(theirs, total)) == total
            await writing


async def test_listeners_start_and_stop_while_streams_live_on(place: Place) -> None:
    async with connected(place) as (ours, theirs):
        # `connected` has its own listener; it is stopped here and started again.
        if isinstance(place, SimplePlace):
            await place.transport.close()
            with pytest.raises(ConnectFailed):
                await place.connect()
        ours.write(b"still here")
        assert await theirs.read() == b"still here"
    async with connected(place) as (ours, theirs):
        ours.write(b"and again")
        assert await theirs.read() == b"and again"


async def test_two_readers_at_once_are_a_mistake(place: Place) -> None:
    async with connected(place) as (ours, _):
        first = asyncio.create_task(ours.read())
        await asyncio.sleep(0)
        with pytest.raises(MisuseError):
            await ours.read()
        first.cancel()


async def test_nothing_is_left_behind(place: Place) -> None:
    tasks = asyncio.all_tasks()
    descriptors = [Path("/proc/self/fd"), Path("/dev/fd")]
    folder = next(folder for folder in descriptors if folder.is_dir())
    async with connected(place):
        pass
    before = len(list(folder.iterdir()))
    for _ in range(5):
        async with connected(place) as (ours, theirs):
            ours.write(b"x")
            await theirs.read()
    await within(3, lambda: len(list(folder.iterdir())) <= before)
    await within(1, lambda: asyncio.all_tasks() <= tasks)


async def test_a_server_that_fails_is_reported_and_its_stream_closed(place: Place) -> None:
    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["message"]))

    async def on_stream(stream: Stream) -> None:
        raise RuntimeError("a defect")

    listener = await place.listen(on_stream)
    stream = await place.connect()
    async with asyncio.timeout(3):
        with contextlib.suppress(LinkClosed):
            assert await stream.read() == b""
    await within(1, lambda: len(reported) == 1)
    await stream.close()
    await listener.close()


# --- net ----------------------------------------------------------------------------------------------------------


async def nobody(stream: Stream) -> None:
    await stream.close()


def raw(stream: Stream) -> socket.socket:
    assert isinstance(stream, SocketStream)
    assert stream._socket is not None
    found = stream._socket.get_extra_info("socket")
    assert found is not None
    return found  # type: ignore[no-any-return]


async def test_tcp_sends_small_packets_at_once() -> None:
    async with connected(SimplePlace(NetTransport(), "127.0.0.1:0")) as (ours, theirs):
        for stream in (ours, theirs):
            assert raw(stream).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert raw(stream).getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="this platform has no TCP_QUICKACK")
async def test_quick_acknowledgements_are_armed_again_after_each_read() -> None:
    async with connected(SimplePlace(NetTransport(), "127.0.0.1:0")) as (ours, theirs):
        raw(theirs).setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        ours.write(b"x")
        await theirs.read()
        assert raw(theirs).getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK)


async def test_a_port_that_is_taken_gives_a_sentence_and_a_remedy() -> None:
    transport = NetTransport()
    first = await transport.listen("127.0.0.1:0", nobody)
    where = first.addresses[0].removeprefix("net:")
    with pytest.raises(ListenFailed, match="another program listens there"):
        await transport.listen(where, nobody)
    await transport.close()
    await transport.close()


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("192.0.2.77:0", "no such address"),
        ("no-such-host.invalid:0", "name is not known"),
        ("x" * 70 + ":0", "no address of this machine|name is not known"),
    ],
)
async def test_places_that_can_not_be_listened_on(where: str, says: str) -> None:
    with pytest.raises(ListenFailed, match=says):
        await NetTransport().listen(where, nobody)


async def test_a_port_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_server", refuse)
    with pytest.raises(ListenFailed, match="ports below 1024"):
        await NetTransport().listen("127.0.0.1:80", nobody)


async def test_connections_that_fail_say_why() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ConnectFailed, match="nobody listens there"):
            await NetTransport().connect(f"127.0.0.1:{port}")
    with pytest.raises(ConnectFailed, match="name is not known"):
        await NetTransport().connect("no-such-host.invalid:1")


async def test_a_connection_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", hang)
    with pytest.raises(ConnectFailed, match=r"no answer from 192\.0\.2\.1 port 9 within 0\.05 s"):
        await NetTransport(connect_limit_s=0.05).connect("192.0.2.1:9")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("a.b:1", "a.b", 1), ("[::1]:2", "::1", 2), ("::1:3", "::1", 3), ("1.2.3.4:0", "1.2.3.4", 0)],
)
def test_host_and_port_come_apart(text: str, host: str, port: int) -> None:
    assert split_host_port(text) == (host, port)
    assert split_host_port(join_host_port(host, port)) == (host, port)


@pytest.mark.parametrize("text", ["", "host", ":1", "host:", "host:x", "host:65536", "host:-1", "host:١"])
def test_what_is_no_host_and_port(text: str) -> None:
    with pytest.raises(MisuseError):
        split_host_port(text)


async def test_a_connection_that_is_reset_says_that_it_broke() -> None:
    async with connected(SimplePlace(NetTransport(), "127.0.0.1:0")) as (ours, theirs):
        linger_zero = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        raw(ours).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
        ours.abort()
        with pytest.raises(LinkClosed, match="broke: connection reset"):
            await theirs.read()


async def test_a_close_whose_bytes_nobody_takes_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "CLOSE_LIMIT_S", 0.1)
    async with connected(SimplePlace(NetTransport(), "127.0.0.1:0")) as (ours, _):
        async with asyncio.timeout(5):
            while not ours.congested:
                ours.write(b"x" * 65536)
                await asyncio.sleep(0)
        async with asyncio.timeout(2):
            await ours.close()


# --- unix ---------------------------------------------------------------------------------------------------------


async def test_the_socket_is_ours_alone_from_its_first_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "socket"
    modes: list[tuple[str, int]] = []
    listen = socket.socket.listen

    def note(self: socket.socket, *args: int) -> None:
        modes.extend((entry.name, stat.S_IMODE(entry.lstat().st_mode)) for entry in tmp_path.iterdir())
        listen(self, *args)

    monkeypatch.setattr(socket.socket, "listen", note)
    old = os.umask(0)
    try:
        listener = await UnixTransport().listen(str(path), nobody)
    finally:
        os.umask(old)
    assert modes
    assert {mode for _, mode in modes} == {0o600}, "the mode is set before anybody can connect"
    assert all(name != "socket" for name, _ in modes)
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["socket"]
    await listener.close()
    assert not path.exists()


async def test_a_socket_that_a_killed_peer_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(ConnectFailed, match="is the peer running"):
        await UnixTransport().connect(str(path))
    async with connected(SimplePlace(UnixTransport(), str(path))) as (ours, theirs):
        ours.write(b"x")
        assert await theirs.read() == b"x"
    assert not path.exists()


async def test_a_path_that_is_too_long_for_the_kernel_works_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120) / ("y" * 120)
    folder.mkdir(parents=True)
    async with connected(SimplePlace(UnixTransport(), str(folder / "socket"))) as (ours, theirs):
        ours.write(b"x")
        assert await theirs.read() == b"x"
        assert [entry.name for entry in folder.iterdir()] == ["socket"]
        with pytest.raises(ListenFailed, match="another peer listens"):
            await UnixTransport().listen(str(folder / "socket"), nobody)
    assert not list(folder.iterdir())


async def test_a_socket_that_somebody_listens_on_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    closed: list[Stream] = []

    async def on_stream(stream: Stream) -> None:
        await stream.close()
        closed.append(stream)

    transport = UnixTransport()
    await transport.listen(path, on_stream)
    with pytest.raises(ListenFailed, match="another peer listens"):
        await UnixTransport().listen(path, nobody)
    (await transport.connect(path)).abort()
    await within(2, lambda: len(closed) == 2)
    await transport.close()
    assert not list(tmp_path.iterdir())


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    path.write_text("my diary")
    with pytest.raises(ListenFailed, match="no socket"):
        await UnixTransport().listen(str(path), nobody)
    assert path.read_text() == "my diary"


async def test_a_closed_listener_does_not_remove_its_successors_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    first = await UnixTransport().listen(str(path), nobody)
    path.unlink()
    second = await UnixTransport().listen(str(path), nobody)
    await first.close()
    assert path.exists()
    await second.close()


async def test_places_where_no_socket_can_be(tmp_path: Path) -> None:
    with pytest.raises(ListenFailed, match="no such file"):
        await UnixTransport().listen(str(tmp_path / "missing" / "socket"), nobody)
    with pytest.raises(ListenFailed, match="too long"):
        await UnixTransport().listen(str(tmp_path / ("x" * 260)), nobody)
    with pytest.raises(ConnectFailed, match="is the peer running"):
        await UnixTransport().connect(str(tmp_path / "nothing"))
    assert not list(tmp_path.iterdir())


# --- memory and multiserver ---------------------------------------------------------------------------------------


async def test_a_name_in_memory_has_one_listener() -> None:
    transport = MemoryTransport()
    listener = await transport.listen("x", nobody)
    with pytest.raises(ListenFailed, match="another name"):
        await transport.listen("x", nobody)
    await listener.close()
    with pytest.raises(ConnectFailed, match="nobody listens"):
        await transport.connect("x")


async def test_multiserver_gives_addresses_that_it_can_connect_to() -> None:
    arrived: list[Stream] = []

    async def on_stream(stream: Stream) -> None:
        arrived.append(stream)

    server = Multiserver(ALICE.public)
    listener = await server.listen("net:127.0.0.1:0", on_stream)
    [address] = server.addresses()
    assert parse(address)[0].key == ALICE.public
    stream = await server.connect(f"net:127.0.0.1:9~shs:{ALICE.id[1:45]};{address}".replace(":9~", f":{free_port()}~"))
    await within(2, lambda: len(arrived) == 1)
    await stream.close()
    await arrived[0].close()
    await listener.close()
    assert server.addresses() == []
    with pytest.raises(ConnectFailed, match="nobody listens"):
        await server.connect(address)


async def test_multiserver_serves_unix_sockets_and_rtc(tmp_path: Path) -> None:
    arrived: list[Stream] = []

    async def on_stream(stream: Stream) -> None:
        arrived.append(stream)

    place = RtcPlace()
    server = Multiserver(ALICE.public, [UnixTransport(), place.dialler], allow_http=["127.0.0.1"])
    await server.listen(f"unix:{tmp_path / 'socket'}", on_stream)
    there = await place.listen(on_stream)
    streams = [await server.connect(server.addresses()[0]), await server.connect(there.addresses[0])]
    assert [stream.transport for stream in streams] == ["unix", "rtc"]
    await within(2, lambda: len(arrived) == 2)
    await server.close()
    await asyncio.gather(*(stream.close() for stream in streams + arrived))
    await place.close()


@pytest.mark.parametrize("where", ["", "net", "net:", "ftp:x", "rtc:hub"])
async def test_multiserver_says_what_it_can_not_listen_on(where: str) -> None:
    with pytest.raises(MisuseError):
        await Multiserver(ALICE.public).listen(where, nobody)


async def test_multiserver_says_what_it_can_not_connect_to() -> None:
    server = Multiserver(ALICE.public)
    with pytest.raises(ConfigFault):
        await server.connect("nonsense address")
    with pytest.raises(ConnectFailed, match="no ws transport"):
        await Multiserver(ALICE.public, [NetTransport()]).connect("ws://example.com:80")
    with pytest.raises(ConnectFailed, match="no rtc transport"):
        await server.connect(f"rtc:example.com~shs:{ALICE.id[1:45]}")


def test_a_wildcard_becomes_an_address_of_this_machine() -> None:
    assert reachable("192.0.2.9") == "192.0.2.9"
    assert reachable("example.com") == "example.com"
    assert reachable("0.0.0.0") not in ("", "0.0.0.0")
    assert reachable("::") not in ("", "::")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
