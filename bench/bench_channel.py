"""How fast bytes go over a data channel, and messages over a link: ours beside the bare library, in turns.

    python bench/bench_channel.py [--backend wrtc|aiortc] [--mib 64] [--rounds 5] [--json]

Channel: MIB MiB in messages of 16 KiB from one process to another; "raw" uses wrtc alone with its own flow control,
"ours" a Stream over the chosen backend. The figure to hold is the ratio of the medians, ours to raw: at least 0.8.
Link: 830 B JSON bodies through a muxrpc source (secret handshake and box stream on), over TCP and over a data channel.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import webrtc

from ssb_rtc.feeds.keys import keys_from_seed
from ssb_rtc.transport.base import Stream
from ssb_rtc.transport.channel_stream import MESSAGE_BYTES, SEND_HIGH_BYTES, SEND_LOW_BYTES
from ssb_rtc.transport.ice import IceConfig
from ssb_rtc.transport.link import Handler, Link, open_link
from ssb_rtc.transport.net import NetTransport
from ssb_rtc.transport.rtc import backend_named
from ssb_rtc.types import Json, peer_of
from ssb_rtc.wire.rpc import Kind, RawJson
from ssb_rtc.wire.swarm import Signal, parse_signal, signal_to_json

AIM_RATIO = 0.8
ROUND_LIMIT_S = 120.0
BODY = RawJson(b'{"padding":"' + b"x" * 817 + b'"}')
NETWORK_KEY = bytes(32)
SENDER = keys_from_seed(b"s" * 32)
KEPT: list[asyncio.Task[None]] = []
"""Tasks that run as long as their process."""
RECEIVER = keys_from_seed(b"r" * 32)


# --- what one process does ----------------------------------------------------------------------------------------


def say(what: str, value: Any) -> None:
    """One line to the parent."""
    print(json.dumps([what, value]), flush=True)


async def lines() -> AsyncIterator[Any]:
    """What the parent passes on from the other process."""
    reader = asyncio.StreamReader(limit=2**20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


async def raw_channel(sends: bool) -> tuple[Any, Any]:
    """A connection and an open data channel of the bare library."""
    webrtc.allow_loopback()
    connection = webrtc.RTCPeerConnection()
    opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    gathered = asyncio.Event()
    connection.on("icecandidate", lambda event: gathered.set() if event.candidate is None else None)

    def watch(channel: Any) -> None:
        if channel.ready_state == webrtc.RTCDataChannelState.open:
            opened.set_result(channel)
        else:
            channel.on("open", lambda _: opened.set_result(channel))

    connection.on("datachannel", lambda event: watch(event.channel))
    if sends:
        watch(connection.create_data_channel("raw"))
        await connection.set_local_description(await connection.create_offer())
        await gathered.wait()
        say("signal", connection.local_description.sdp)
    async for sdp in lines():
        if sends:
            await connection.set_remote_description(webrtc.RTCSessionDescriptionInit("answer", sdp))
        else:
            await connection.set_remote_description(webrtc.RTCSessionDescriptionInit("offer", sdp))
            await connection.set_local_description(await connection.create_answer())
            await gathered.wait()
            say("signal", connection.local_description.sdp)
        break
    return connection, await opened


async def raw_worker(sends: bool, size: int) -> None:
    """Sends or counts over the bare library."""
    connection, channel = await raw_channel(sends)
    done = asyncio.Event()
    if sends:
        low = asyncio.Event()
        channel.buffered_amount_low_threshold = SEND_LOW_BYTES
        channel.on("bufferedamountlow", lambda _: low.set())
        channel.on("close", lambda _: done.set())
        message = bytes(MESSAGE_BYTES)
        for _ in range(size // MESSAGE_BYTES):
            channel.send(message)
            if channel.buffered_amount >= SEND_HIGH_BYTES:
                low.clear()
                await low.wait()
        await done.wait()
    else:
        got, began = 0, 0.0

        def on_message(event: Any) -> None:
            nonlocal got, began
            began = began or time.perf_counter()
            got += len(event.data)
            if got >= size:
                say("seconds", time.perf_counter() - began)
                done.set()

        channel.on("message", on_message)
        await done.wait()
        channel.close()
        await asyncio.sleep(0.1)
    connection.close()


async def stream_to(sends: bool, backend: str) -> Stream:
    """An open stream over one of our backends."""
    channel = backend_named(backend).create(
        IceConfig(allow_loopback=True), initiator=sends, on_signal=lambda signal: say("signal", signal_to_json(signal))
    )
    channel.start()

    async def take() -> None:
        async for value in lines():
            signal = parse_signal(value)
            assert isinstance(signal, Signal)
            channel.signal(signal)

    KEPT.append(asyncio.create_task(take()))
    return await channel.opened()


async def stream_worker(sends: bool, size: int, backend: str) -> None:
    """Sends or counts over our stream."""
    stream = await stream_to(sends, backend)
    if sends:
        message = bytes(MESSAGE_BYTES)
        for _ in range(size // MESSAGE_BYTES):
            stream.write(message)
            if stream.congested:
                await stream.drain()
        while await stream.read():
            pass
    else:
        got, began = 0, 0.0
        while got < size:
            got += len(await stream.read())
            began = began or time.perf_counter()
        say("seconds", time.perf_counter() - began)
    await stream.close()


class Source:
    """A router with one source."""

    def __init__(self, count: int) -> None:
        self._count = count

    def find(self, name: tuple[str, ...], kind: Kind, link: Link) -> Handler:
        del name, kind, link

        async def bodies(_link: Link) -> AsyncIterator[Json]:
            for _ in range(self._count):
                yield BODY

        return bodies


async def link_worker(sends: bool, count: int, over: str) -> None:
    """Serves or reads a source of 830 B bodies over a link."""
    server = NetTransport()
    if over == "rtc":
        stream = await stream_to(sends, "wrtc")
    elif sends:
        accepted: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()

        async def on_stream(arrived: Stream) -> None:
            accepted.set_result(arrived)

        listener = await server.listen("127.0.0.1:0", on_stream)
        say("signal", listener.addresses[0].removeprefix("net:"))
        stream = await accepted
    else:
        async for where in lines():
            stream = await server.connect(where)
            break
    if sends:
        link = await open_link(stream, keys=SENDER, network_key=NETWORK_KEY, remote=None, router=Source(count))
        await link.closed
    else:
        link = await open_link(
            stream,
            keys=RECEIVER,
            network_key=NETWORK_KEY,
            remote=peer_of(SENDER.id),
            dialled=True,
            router=Source(0),
        )
        began, cpu, got = time.perf_counter(), time.process_time(), 0
        source = link.source("bodies")
        while batch := await source.read_batch():
            got += len(batch)
        assert got == count
        say("seconds", time.perf_counter() - began)
        say("cpu", time.process_time() - cpu)
    await link.close()


# --- the parent ---------------------------------------------------------------------------------------------------


async def run_pair(mode: str, amount: int, backend: str) -> dict[str, float]:
    """Two processes of one mode; returns what the receiver measured."""
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            "--worker",
            f"{mode}:{role}:{amount}:{backend}",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**20,
        )
        for role in ("send", "receive")
    ]
    measured: dict[str, float] = {}
    cpu_before_s = children_cpu_s()

    async def relay(own: int) -> None:
        stdout, stdin = processes[own].stdout, processes[1 - own].stdin
        assert stdout is not None
        assert stdin is not None
        while line := await stdout.readline():
            what, value = json.loads(line)
            if what == "signal":
                stdin.write(json.dumps(value).encode() + b"\n")
            else:
                measured[what] = value

    try:
        async with asyncio.timeout(ROUND_LIMIT_S):
            await asyncio.gather(relay(0), relay(1))
            await asyncio.gather(*(process.wait() for process in processes))
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if "seconds" not in measured:
        raise SystemExit(f"the {mode} round brought no figure")
    measured["cpu_of_both"] = children_cpu_s() - cpu_before_s
    return measured


def children_cpu_s() -> float:
    """The CPU time of all ended children, which a busy machine disturbs less than the clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def worker(text: str) -> None:
    """The command line of a child."""
    mode, role, amount, backend = text.split(":")
    sends, size = role == "send", int(amount)
    if mode == "raw":
        asyncio.run(raw_worker(sends, size))
    elif mode == "ours":
        asyncio.run(stream_worker(sends, size, backend))
    else:
        asyncio.run(link_worker(sends, size, mode.removeprefix("link-")))


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All rounds, raw and ours in turns."""
    size = arguments.mib * 2**20
    speed: dict[str, list[float]] = {"raw": [], "ours": []}
    cpu: dict[str, list[float]] = {"raw": [], "ours": []}
    links: dict[str, list[float]] = {"net": [], "rtc": []}
    link_cpu: dict[str, list[float]] = {"net": [], "rtc": []}
    for _ in range(arguments.rounds):
        for mode, figures in speed.items():
            found = await run_pair(mode, size, arguments.backend)
            figures.append(arguments.mib / found["seconds"])
            cpu[mode].append(found["cpu_of_both"])
        for over, figures in links.items():
            found = await run_pair(f"link-{over}", arguments.messages, "wrtc")
            figures.append(arguments.messages / found["seconds"])
            link_cpu[over].append(found["cpu"] / arguments.messages * 1e6)
    return {
        "backend": arguments.backend,
        "mib": arguments.mib,
        "rounds": arguments.rounds,
        "raw_mib_s": [round(x, 1) for x in speed["raw"]],
        "ours_mib_s": [round(x, 1) for x in speed["ours"]],
        "raw_median_mib_s": round(statistics.median(speed["raw"]), 1),
        "ours_median_mib_s": round(statistics.median(speed["ours"]), 1),
        "ratio": round(statistics.median(speed["ours"]) / statistics.median(speed["raw"]), 2),
        "cpu_ratio": round(statistics.median(cpu["raw"]) / statistics.median(cpu["ours"]), 2),
        "aim_ratio": AIM_RATIO,
        "link_messages_s": {over: round(statistics.median(figures)) for over, figures in links.items()},
        "link_receiver_cpu_us": {over: round(statistics.median(figures), 1) for over, figures in link_cpu.items()},
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backend", choices=["wrtc", "aiortc"], default="wrtc")
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker)
        return
    found = asyncio.run(measure(arguments))
    if arguments.json:
        print(json.dumps(found))
        return
    print(f"channel, {found['mib']} MiB in 16 KiB messages, medians of {found['rounds']}:")
    print(f"  raw wrtc      {found['raw_median_mib_s']:>8} MiB/s   {found['raw_mib_s']}")
    print(f"  ours, {found['backend']:<8}{found['ours_median_mib_s']:>8} MiB/s   {found['ours_mib_s']}")
    print(f"  ratio         {found['ratio']:>8}         by the clock (aim: at least {AIM_RATIO})")
    print(f"  ratio         {found['cpu_ratio']:>8}         by CPU time of both processes")
    for over, rate in found["link_messages_s"].items():
        cpu = found["link_receiver_cpu_us"][over]
        print(f"link over {over}: {rate} messages/s of 830 B, receiver's CPU {cpu} us a message")


if __name__ == "__main__":
    main()
