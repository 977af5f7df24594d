"""Writing past the transport: nothing is lost or out of order, whatever the socket takes, on either event loop."""

from __future__ import annotations

import asyncio
import importlib
import socket

import pytest

from tests.hub.sockets import HOST, LIMIT_S, Raw, connected, post_bytes, running, subscribed

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": importlib.import_module("uvloop").new_event_loop}
LARGE = b"x" * 60_000


@pytest.mark.parametrize("loop", LOOPS)
def test_a_reader_that_falls_behind_and_catches_up_hears_all_in_order(loop: str) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(falls_behind_and_catches_up())


async def falls_behind_and_catches_up() -> None:
    async with running() as hub, connected(hub.port) as poster:
        with socket.socket() as sock:
            sock.setblocking(False)
            running_loop = asyncio.get_running_loop()
            await running_loop.sock_connect(sock, ("127.0.0.1", hub.port))
            await running_loop.sock_sendall(sock, b"GET /v1/app/a HTTP/1.1\r\n" + HOST + b"\r\n")
            head = b""
            async with asyncio.timeout(LIMIT_S):
                while not head.endswith(b"\r\n\r\n"):
                    head += await running_loop.sock_recv(sock, 65536)
            for around in range(2):
                number = 0
                while not hub.behind[0]:
                    assert number < 1000
                    await post(poster, b"%d,%d" % (around, number) + LARGE)
                    number += 1
                got = bytearray()
                async with asyncio.timeout(LIMIT_S):
                    while got.count(b"\n\n") < number:
                        got += await running_loop.sock_recv(sock, 2**20)
                bodies = [b"%d,%d" % (around, n) + LARGE for n in range(number)]
                assert got == b"".join(b"%x\r\ndata: %b\n\n\r\n" % (len(body) + 8, body) for body in bodies)
                # A small one goes past the transport again.
                await post(poster, b"small")
                assert await running_loop.sock_recv(sock, 65536) == b"d\r\ndata: small\n\n\r\n"


@pytest.mark.parametrize("loop", LOOPS)
def test_a_reader_that_reset_its_connection_is_forgotten(loop: str) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(resets())


async def resets() -> None:
    async with running() as hub, connected(hub.port) as poster, subscribed(hub.port, b"/v1/app/a") as other:
        async with subscribed(hub.port, b"/v1/app/a") as gone:
            sock = gone.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            gone.writer.transport.abort()
            await poster.send(b"".join(post_bytes(b"/v1/app/a", b"%d" % number) for number in range(9)))
            assert [await other.chunk() for _ in range(9)] == [b"data: %d\n\n" % number for number in range(9)]
        async with asyncio.timeout(LIMIT_S):
            while hub.subscribers > 1:
                await asyncio.sleep(0)


async def post(poster: Raw, body: bytes) -> None:
    await poster.send(post_bytes(b"/v1/app/a", body))
    assert (await poster.answer())[0].startswith(b"HTTP/1.1 200 OK")
