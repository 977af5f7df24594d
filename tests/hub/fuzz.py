"""Strangers that send random and mutated requests to a hub process, beside one honest pair that must notice nothing."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from pathlib import Path

from tests.e2e.processes import Running
from tests.hub.sockets import HOST, LIMIT_S, Raw, connected, get, post, post_bytes, subscribed
from tests.mutations import mutated

AT_ONCE = 16
GROWTH_KIB_MAX = 20_000

WHOLE = [
    b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Accept: text/html\r\n\r\n",
    b"GET /v1/fuzz/a,b,c HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /v1/fuzz/a HTTP/1.0\r\n\r\n",
    post_bytes(b"/v1/fuzz/a", b'{"from":"@x"}'),
    post_bytes(b"/v1/fuzz/b", b"x" * 70_000),
    post_bytes(b"/v1/fuzz/c", b"y" * 3_000, b"Expect: 100-continue\r\n"),
    b"POST /v1/fuzz/a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"OPTIONS /v1/fuzz/a HTTP/1.1\r\n" + HOST + b"\r\n",
    b"PUT /x HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc",
    b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b'X-Forwarded-For: 192.0.2.1, ::1\r\nForwarded: for="[2001:db8::1]:1"\r\n',
]


PIECES = (b"\r\n", b"\n", b"\r\n\r\n", b":", b" ", b"\x00", b"-1", b"9" * 30)


def requests(chance: random.Random) -> bytes:
    """A few requests, some of them mutated."""
    return mutated(b"".join(chance.choice(WHOLE) for _ in range(chance.randint(1, 5))), chance, PIECES)


async def stranger(port: int, chance: random.Random) -> None:
    """One connection, which may read or not, and end in any way."""
    with suppress(OSError):
        async with connected(port) as raw:
            if chance.random() < 0.2:
                raw.stop_reading()
            data = requests(chance)
            while data and not raw.writer.transport.is_closing():
                size = chance.choice((1, 50, 1000, len(data)))
                raw.writer.write(data[:size])
                data = data[size:]
                await asyncio.sleep(0)
            match chance.randrange(4):
                case 0:
                    raw.writer.transport.abort()
                case 1:
                    raw.writer.write_eof()
                    async with asyncio.timeout(0.2):
                        await raw.reader.read(65536)
                case _:
                    async with asyncio.timeout(0.02):
                        await raw.reader.read(65536)


async def fuzz(hub: Running, *, seconds: float, seed: int) -> int:
    """Let strangers come for so long; asserts that the hub is whole afterwards. Returns how many came."""
    port, chance, came = hub.ready["port"], random.Random(seed), 0
    end_s = time.monotonic() + seconds
    early = (0, 0)
    async with subscribed(port, b"/v1/honest/a") as listener:
        while time.monotonic() < end_s:
            async with asyncio.TaskGroup() as strangers:
                for _ in range(AT_ONCE):
                    strangers.create_task(stranger(port, random.Random(chance.random())))
            came += AT_ONCE
            await honest(port, listener, b"%d" % came)
            if not early[1] and end_s - time.monotonic() < seconds * 0.8:
                early = await held(hub)
        async with asyncio.timeout(LIMIT_S * 4):
            while b'"subscribers": 1\n' not in (await get(port, b"/"))[1]:
                await asyncio.sleep(0.1)
            while (late := await held(hub))[1] > early[1] + AT_ONCE:
                await asyncio.sleep(0.1)
        await honest(port, listener, b"the last")
    assert late[0] - early[0] < GROWTH_KIB_MAX, f"{early[0]} KiB grew to {late[0]} KiB after {came} strangers"
    for sign in ("Traceback", '"level":"error"', '"level":"warning"'):
        assert sign not in hub.stderr, hub.stderr[-4000:]
    return came


async def honest(port: int, listener: Raw, body: bytes) -> None:
    """A post is answered and heard."""
    assert (await post(port, b"/v1/honest/a", body)).startswith(b"HTTP/1.1 200 OK")
    while (heard := await listener.chunk()).startswith(b":"):
        pass
    assert heard == b"data: " + body + b"\n\n"


async def held(hub: Running) -> tuple[int, int]:
    """Its memory in KiB, and its descriptors."""
    proc = Path(f"/proc/{hub.process.pid}")
    resident = next(line for line in (proc / "status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(resident.split()[1]), len(list((proc / "fd").iterdir()))
