"""What a link costs: handshakes, the box stream, calls; ours beside the JavaScript stack's, in turns, over loopback.

    python bench/bench_link.py [--rounds 5] [--json]

Client and server are processes of their own. Handshakes: connect, prove both sides, close. Box stream: bytes down
behind a handshake. Calls: muxrpc async calls that echo a number. JavaScript's multiserver sets no TCP_NODELAY, which
makes its calls crawl; "nodelay" is what it reaches with it on both ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssb_rtc.feeds.keys import keys_from_seed
from ssb_rtc.transport.base import Stream
from ssb_rtc.transport.link import Caller, Handler, Link, open_link
from ssb_rtc.transport.net import NetTransport
from ssb_rtc.transport.secure import shake_hands
from ssb_rtc.types import Json, peer_of
from ssb_rtc.wire.rpc import Kind

PACKAGES = Path(__file__).resolve().parent.parent / ".node" / "node_modules"
JS = Path(__file__).with_name("link.cjs")
NETWORK_KEY = bytes(32)
SERVER, CLIENT = keys_from_seed(b"s" * 32), keys_from_seed(b"c" * 32)
CHUNK_BYTES = 65_536
HANDSHAKE_LIMIT_S = 30.0
RUN_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Work:
    """One thing that is measured."""

    name: str
    kind: str
    count: int
    at_once: int
    per: int
    unit: str
    js: tuple[str, ...]
    """How JavaScript runs it: "stock", "nodelay"."""


WORKS = (
    Work("handshakes, one after another", "handshake", 300, 1, 1, "/s", ("stock",)),
    Work("handshakes, 16 at once", "handshake", 600, 16, 1, "/s", ("stock",)),
    Work("box stream down", "bytes", 256 << 20, 1, 1_000_000, "MB/s", ("stock",)),
    Work("calls, one after another", "rpc", 3_000, 1, 1, "/s", ("nodelay",)),
    Work("calls, 32 in flight", "rpc", 20_000, 32, 1, "/s", ("nodelay",)),
)


# --- ours ---------------------------------------------------------------------------------------------------------


class _Echo:
    def find(self, _name: tuple[str, ...], _kind: Kind, _link: Link) -> Handler:
        async def echo(_link: Link, value: Json) -> Json:
            return value

        return echo


async def serve(kind: str, size: int) -> None:
    """The server's process: until its input ends."""

    async def on_stream(stream: Stream) -> None:
        if kind == "rpc":
            await open_link(stream, keys=SERVER, network_key=NETWORK_KEY, remote=None, router=_Echo())
            return
        agreed = await shake_hands(stream, SERVER, NETWORK_KEY, None, lambda _peer: Caller.PEER, HANDSHAKE_LIMIT_S)
        chunk = bytes(CHUNK_BYTES)
        for _ in range(size // CHUNK_BYTES if kind == "bytes" else 0):
            stream.write(agreed.codec.seal(chunk))
            await stream.drain()
        while await stream.read():
            pass
        await stream.close()

    listener = await NetTransport().listen("127.0.0.1:0", on_stream)
    print(json.dumps({"port": int(listener.addresses[0].rpartition(":")[2])}), flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def run(work: Work, port: int) -> float:
    """The client's process: the seconds that the work took."""
    net = NetTransport()

    async def connect() -> Stream:
        return await net.connect(f"127.0.0.1:{port}")

    async def shake() -> None:
        stream = await connect()
        await shake_hands(stream, CLIENT, NETWORK_KEY, peer_of(SERVER.id), lambda _peer: Caller.PEER, HANDSHAKE_LIMIT_S)
        stream.abort()

    if work.kind == "handshake":
        return await _in_turn(work, shake)
    if work.kind == "bytes":
        stream = await connect()
        agreed = await shake_hands(
            stream, CLIENT, NETWORK_KEY, peer_of(SERVER.id), lambda _peer: Caller.PEER, HANDSHAKE_LIMIT_S
        )
        began, left = time.perf_counter(), work.count - len(agreed.codec.open(agreed.rest))
        while left > 0:
            left -= len(agreed.codec.open(await stream.read()))
        return time.perf_counter() - began
    link = await open_link(
        await connect(), keys=CLIENT, network_key=NETWORK_KEY, remote=peer_of(SERVER.id), dialled=True, router=_Echo()
    )
    await link.call("echo", 0)

    async def call() -> None:
        await link.call("echo", work.count)

    return await _in_turn(work, call)


async def _in_turn(work: Work, once: Callable[[], Awaitable[None]]) -> float:
    left = work.count

    async def lane() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await once()

    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(work.at_once)))
    return time.perf_counter() - began


# --- both ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _server(command: list[str]) -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(RUN_LIMIT_S):
            yield int(json.loads(await process.stdout.readline())["port"])
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _client(command: list[str]) -> float:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return float(json.loads(out)["seconds"])


async def measure(work: Work, side: str) -> float:
    """One run: how many a second."""
    if side == "ours":
        server = [sys.executable, __file__, "--serve", work.kind, str(work.count)]
        client = [sys.executable, __file__, "--run", str(WORKS.index(work))]
    else:
        start = [shutil.which("node") or "node", str(JS), str(PACKAGES)]
        nodelay = "1" if side == "nodelay" else "0"
        server = [*start, "server", work.kind, nodelay, str(work.count)]
        client = [*start, "client", work.kind, nodelay]
    async with _server(server) as port:
        extra = [str(port)] if side == "ours" else [str(port), str(work.count), str(work.at_once)]
        seconds = await _client([*client, *extra])
    return work.count / work.per / seconds


async def bench(rounds: int) -> list[dict[str, Any]]:
    """All works, both sides in turns."""
    js = PACKAGES.is_dir() and shutil.which("node") is not None
    found = []
    for work in WORKS:
        sides = ("ours", *(work.js if js else ()))
        samples: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(rounds):
            for side in sides:
                samples[side].append(await measure(work, side))
        found.append({"work": work.name, "unit": work.unit, "samples": samples})
    return found


def show(found: list[dict[str, Any]]) -> None:
    """The table: medians, least to most, ratio."""
    for row in found:
        medians = {side: statistics.median(samples) for side, samples in row["samples"].items()}
        for side, samples in row["samples"].items():
            ratio = "" if side == "ours" else f"   ours to it: {medians['ours'] / medians[side]:.2f}"
            name = side if side == "ours" else f"JavaScript ({side})"
            print(
                f"{row['work']:32} {name:22} {medians[side]:>10,.0f} {row['unit']:5}"
                f" ({min(samples):,.0f} to {max(samples):,.0f}){ratio}"
            )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print every sample")
    parser.add_argument("--serve", nargs=2, metavar=("WORK", "BYTES"), help=argparse.SUPPRESS)
    parser.add_argument("--run", nargs=2, type=int, metavar=("WORK", "PORT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve(arguments.serve[0], int(arguments.serve[1])))
    elif arguments.run:
        print(json.dumps({"seconds": asyncio.run(run(WORKS[arguments.run[0]], arguments.run[1]))}))
    else:
        found = asyncio.run(bench(arguments.rounds))
        print(json.dumps(found)) if arguments.json else show(found)


if __name__ == "__main__":
    main()
