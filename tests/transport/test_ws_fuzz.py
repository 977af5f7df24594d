"""Whatever arrives on a WebSocket, cut anywhere, ends at worst the stream that it came on."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, cast

from hypothesis import example, given
from hypothesis import strategies as st

from ssb_rtc.errors import SsbRtcError
from ssb_rtc.transport.sockets import AcceptedStreams
from ssb_rtc.transport.ws import WsStream, _Accepted, _Dialled
from ssb_rtc.wire.ws_url import Endpoint

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Socket:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.closing = False

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.closing = True

    abort = close

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, name: str) -> Socket | None:
        return self if name == "socket" else None

    def setsockopt(self, level: int, option: int, value: int) -> None: ...

    def set_write_buffer_limits(self, high: int) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


def attach(stream: WsStream) -> Socket:
    held = Socket()
    stream.connection_made(cast(Any, held))
    return held


def taken(held: Socket) -> bytes:
    data = bytes(held.sent)
    held.sent.clear()
    return data


async def both() -> tuple[WsStream, Socket, WsStream, Socket]:
    """Each side, before the handshake; the client has asked."""

    async def keep(_stream: object) -> None: ...

    dialled = _Dialled(Endpoint(False, "h", 80))
    dialled.opened.add_done_callback(lambda done: done.exception())
    accepted = _Accepted("ws", AcceptedStreams(keep), {})
    return dialled, attach(dialled), accepted, attach(accepted)


async def opened() -> tuple[WsStream, Socket, WsStream, Socket]:
    """Each side, after the handshake."""
    dialled, dialled_socket, accepted, accepted_socket = await both()
    accepted.data_received(taken(dialled_socket))
    dialled.data_received(taken(accepted_socket))
    assert dialled._opened
    assert accepted._opened
    return dialled, dialled_socket, accepted, accepted_socket


def feed(stream: WsStream, held: Socket, pieces: list[bytes]) -> None:
    """As asyncio does: nothing arrives after the close."""
    for piece in pieces:
        if not held.closing:
            stream.data_received(piece)
    stream.connection_lost(None)


def heads(first_line: bytes) -> st.SearchStrategy[bytes]:
    """Nearly a head: lines of it, in any order, with anything in them."""
    names = st.sampled_from(
        [b"Upgrade", b"Connection", b"Sec-WebSocket-Key", b"Sec-WebSocket-Version", b"Sec-WebSocket-Accept", b"Origin",
         b"Sec-WebSocket-Extensions", b"Sec-WebSocket-Protocol", b"Content-Length", b"Transfer-Encoding"]
    )  # fmt: skip
    values = st.sampled_from([b"websocket", b"Upgrade", b"13", b"dGhlIHNhbXBsZSBub25jZQ==", b"chunked"])
    line = st.builds(lambda name, value: name + b": " + value + b"\r\n", names, values | st.binary(max_size=20))
    return st.lists(line, max_size=7).map(lambda lines: first_line + b"".join(lines) + b"\r\n")


JUNK = st.lists(st.binary(max_size=60), max_size=8)


@given(st.one_of(st.binary(max_size=200), heads(b"GET / HTTP/1.1\r\n"), st.just(UPGRADE)), JUNK)
@example(UPGRADE.replace(b": websocket", b": \xff"), [])
@example(UPGRADE.replace(b": 13", b": \xff"), [])
def test_a_listener_survives_what_is_asked(head: bytes, behind: list[bytes]) -> None:
    async def run() -> None:
        _, _, accepted, held = await both()
        feed(accepted, held, [head + b"".join(behind[:1]), *behind[1:]])
        assert len(accepted._head) <= len(head) + 60 * len(behind)

    asyncio.run(run())


@given(st.one_of(st.binary(max_size=200), *(heads(b"HTTP/1.1 %d x\r\n" % status) for status in (101, 404))), JUNK)
def test_a_dialler_survives_what_is_answered(head: bytes, behind: list[bytes]) -> None:
    async def run() -> None:
        dialled, held, _, _ = await both()
        feed(dialled, held, [head + b"".join(behind[:1]), *behind[1:]])
        assert not dialled._opened, "nobody can prove that he got the request"

    asyncio.run(run())


def frames(masked: bool) -> st.SearchStrategy[bytes]:
    """Short frames of every kind, most of them in order."""

    def build(first: int, body: bytes) -> bytes:
        return bytes([first, (0x80 if masked else 0) | len(body)]) + (bytes(4) if masked else b"") + body

    kinds = st.sampled_from([0x82, 0x02, 0x80, 0x00, 0x88, 0x89, 0x8A, 0x81, 0xC2])
    return st.builds(build, kinds, st.binary(max_size=12))


@given(st.booleans(), st.data())
def test_an_open_websocket_survives_any_frames(at_dialled: bool, data: st.DataObject) -> None:
    pieces = data.draw(st.lists(frames(not at_dialled) | st.binary(max_size=30), max_size=10))

    async def run() -> None:
        dialled, dialled_socket, accepted, accepted_socket = await opened()
        stream, held = (dialled, dialled_socket) if at_dialled else (accepted, accepted_socket)
        feed(stream, held, pieces)
        stream.write(b"late")
        try:
            while await stream.read():
                pass
        except SsbRtcError:
            pass

    asyncio.run(run())


@given(st.lists(st.binary(min_size=1, max_size=200) | st.just(b"x" * 70_000), max_size=6), st.booleans(), st.data())
def test_bytes_come_out_as_they_went_in_however_they_are_cut(
    writes: list[bytes], from_dialled: bool, data: st.DataObject
) -> None:
    choose: Callable[[int], list[int]] = lambda size: sorted(data.draw(st.lists(st.integers(0, size), max_size=6)))  # noqa: E731

    async def run() -> None:
        dialled, dialled_socket, accepted, accepted_socket = await opened()
        sender, held, receiver = (
            (dialled, dialled_socket, accepted) if from_dialled else (accepted, accepted_socket, dialled)
        )
        for each in writes:
            sender.write(each)
        wire = taken(held)
        for a, b in itertools.pairwise([0, *choose(len(wire)), len(wire)]):
            receiver.data_received(wire[a:b])
        receiver.connection_lost(None)
        received = b""
        while len(received) < sum(map(len, writes)):
            received += await receiver.read()
        assert received == b"".join(writes)
        sender.connection_lost(None)

    asyncio.run(run())
