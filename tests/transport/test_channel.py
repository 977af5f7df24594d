"""The contract of a data channel, for both WebRTC libraries and for each pair of them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import random
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import aioice.ice
import pytest

from ssb_rtc.errors import ConnectFailed, FrameInvalid, LinkClosed, SignalInvalid
from ssb_rtc.transport import channel, channel_stream
from ssb_rtc.transport.base import ReadQueue
from ssb_rtc.transport.channel import Backend
from ssb_rtc.transport.channel_stream import MESSAGE_BYTES, ChannelStream, DataPort
from ssb_rtc.transport.ice import IceConfig, candidate_lines, parse_candidate, parse_stun, parse_turn
from ssb_rtc.wire.swarm import Signal, parse_signal, signal_to_json
from tests.transport.channels import BACKENDS, LOOPBACK, PAIRS, Pair, backend, opened_pair, read_exactly, trickling
from tests.transport.linking import within

pairs = pytest.mark.parametrize(("offerer", "answerer"), PAIRS)
same = pytest.mark.parametrize("name", list(BACKENDS))


def split_candidates(sdp: str) -> tuple[str, list[str]]:
    """The description without its candidates, and the candidates."""
    lines = sdp.split("\r\n")
    candidates = [line[2:] for line in lines if line.startswith("a=candidate")]
    rest = [line for line in lines if not line.startswith(("a=candidate", "a=end-of-candidates"))]
    return "\r\n".join(rest), candidates


@pairs
async def test_bytes_arrive_whole_and_in_order_both_ways(offerer: str, answerer: str) -> None:
    sizes = [1, 100, MESSAGE_BYTES, MESSAGE_BYTES + 1, 5 * MESSAGE_BYTES + 7]
    data = random.Random(1).randbytes(sum(sizes))
    async with opened_pair(offerer, answerer) as (a, b):
        for writer, reader in ((a, b), (b, a)):
            offset = 0
            for size in sizes:
                writer.write(data[offset : offset + size])
                offset += size
            assert await read_exactly(reader, len(data)) == data
        assert (a.transport, b.transport) == ("rtc", "rtc")


@pairs
async def test_big_writes_travel_as_messages_of_16_kib(
    offerer: str, answerer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened_pair(offerer, answerer) as (a, _):
        sizes: list[int] = []
        push = ReadQueue.push

        def note(queue: ReadQueue, message: bytes) -> None:
            sizes.append(len(message))
            push(queue, message)

        monkeypatch.setattr(ReadQueue, "push", note)
        a.write(b"x" * (MESSAGE_BYTES * 3 + 5))
        await within(5, lambda: sum(sizes) == MESSAGE_BYTES * 3 + 5)
        assert sizes == [MESSAGE_BYTES] * 3 + [5]


@pairs
async def test_candidates_may_trickle_and_come_before_the_description(offerer: str, answerer: str) -> None:
    early: list[str] = []

    def candidates_first(signal: Signal, deliver: Callable[[Signal], None]) -> None:
        if signal.kind != "offer":
            deliver(signal)
            return
        stripped, lines = split_candidates(signal.sdp)
        early.extend(lines)
        for line in lines:
            deliver(Signal("candidate", candidate=line, sdp_mid="0", sdp_m_line_index=0))
        asyncio.get_running_loop().call_later(0.05, deliver, Signal("offer", sdp=stripped))

    pair = Pair(offerer, answerer, path=candidates_first)
    try:
        a, b = await pair.opened()
        a.write(b"hello")
        assert await b.read() == b"hello"
        wanted = {(parse_candidate(line).address, parse_candidate(line).port) for line in early}
        assert wanted
        await within(5, lambda: pair.b._remote._seen >= wanted)
    finally:
        await pair.close()


@same
async def test_both_spellings_of_a_candidate_serve_and_so_does_the_end_of_the_list(name: str) -> None:
    def respelled(signal: Signal, deliver: Callable[[Signal], None]) -> None:
        if signal.kind != "answer":
            deliver(signal)
            return
        stripped, lines = split_candidates(signal.sdp)
        deliver(Signal("answer", sdp=stripped))
        for number, line in enumerate(lines):
            inner = {"candidate": line, "sdpMLineIndex": 0, "sdpMid": "0" if number else None}
            message = {"candidate": inner} if number % 2 else {"type": "candidate", "candidate": inner}
            parsed = parse_signal(message)
            assert parsed is not None
            deliver(parsed)
        deliver(Signal("candidate", candidate=""))

    async with opened_pair(name, name, path=respelled) as (a, b):
        a.write(b"hello")
        assert await b.read() == b"hello"


@pytest.mark.parametrize(
    "config", [dataclasses.replace(LOOPBACK, gather_wait_s=5), trickling()], ids=["gathers", "trickles"]
)
async def test_wrtc_tells_each_candidate_once_in_the_description_or_by_itself(config: IceConfig) -> None:
    pair = Pair("wrtc", "wrtc", config=config)
    await pair.opened()
    await pair.close()
    signals = [signal for side, signal in pair.sent if side == "a"]
    assert [signal.kind for signal in signals].count("offer") == 1
    assert signals[0].kind == "offer"
    told = [*candidate_lines(signals[0].sdp), *(signal.candidate for signal in signals if signal.candidate)]
    places = [(parse_candidate(line).address, parse_candidate(line).port) for line in told]
    assert places
    assert len(places) == len(set(places)), "told once"
    assert all(parse_candidate(line).protocol == "udp" for line in told)
    if config.gather_wait_s:
        assert len(signals) == 1, "one message through the hub suffices where nothing is slow"


@pairs
async def test_what_was_written_before_a_close_arrives_and_then_the_end(
    offerer: str, answerer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_stream, "SEND_HIGH_BYTES", 300_000)
    data = random.Random(2).randbytes(600_000)
    async with opened_pair(offerer, answerer) as (a, b):
        a.write(data)
        closing = asyncio.create_task(a.close())
        assert await read_exactly(b, len(data)) == data
        async with asyncio.timeout(3):
            assert await b.read() == b""
            await closing
            with pytest.raises(LinkClosed):
                await a.read()
        b.write(b"into the void")
        with pytest.raises(LinkClosed):
            await b.drain()


@pairs
async def test_an_abort_is_seen_at_the_other_side_at_once(offerer: str, answerer: str) -> None:
    async with opened_pair(offerer, answerer) as (a, b):
        a.abort("no more of this")
        with pytest.raises(LinkClosed, match="no more of this"):
            await a.read()
        async with asyncio.timeout(3):
            assert await b.read() == b""


@pairs
async def test_a_writer_waits_for_the_way_and_its_memory_stays_bounded(
    offerer: str, answerer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_stream, "SEND_HIGH_BYTES", 384 * 1024)
    total = 1_200_000 // 65536 * 65536
    async with opened_pair(offerer, answerer) as (a, b):
        most = waits = 0

        async def write() -> None:
            nonlocal most, waits
            for _ in range(total // 65536):
                a.write(b"x" * 65536)
                most = max(most, len(a._waiting) + a._port.queued_bytes)
                if a.congested:
                    waits += 1
                    await a.drain()

        writing = asyncio.create_task(write())
        assert len(await read_exactly(b, total)) == total
        await writing
        assert waits > 0
        assert most <= 384 * 1024 + 2 * 65536


@same
async def test_a_sender_that_floods_a_slow_reader_loses_the_channel(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_stream, "RECEIVE_MAX_BYTES", 200_000)
    async with opened_pair(name, name) as (a, b):
        a.write(b"x" * 500_000)
        await within(5, lambda: b._closed_because is not None)
        with pytest.raises(FrameInvalid, match="not read yet"):
            await b.read()
        await within(3, lambda: a._closed_because is not None)


@same
async def test_text_on_the_channel_is_a_fault(name: str) -> None:
    async with opened_pair(name, name) as (a, b):
        a._port.send("text")  # type: ignore[arg-type]
        with pytest.raises(FrameInvalid, match="text"):
            await b.read()


@pairs
async def test_nothing_is_left_after_ten_connections(offerer: str, answerer: str) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no /proc/self/fd on this platform")
    tasks = asyncio.all_tasks()
    # The libraries keep some threads and pipes from their first connection on.
    async with opened_pair(offerer, answerer):
        pass
    before = descriptors()
    for _ in range(10):
        async with opened_pair(offerer, answerer) as (a, b):
            a.write(b"hello")
            assert await b.read() == b"hello"
    await within(3, lambda: descriptors() <= before)
    assert asyncio.all_tasks() == tasks


@same
async def test_an_attempt_that_is_given_up_leaves_nothing(name: str) -> None:
    tasks = asyncio.all_tasks()
    for _ in range(3):
        pair = Pair(name, name, path=lambda signal, deliver: None)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await pair.a.opened()
        await pair.close()
        with pytest.raises(LinkClosed):
            await pair.a.opened()
    assert asyncio.all_tasks() == tasks


@same
@pytest.mark.parametrize("sdp", ["", "nonsense", "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"])
async def test_an_offer_that_makes_no_sense_fails_the_attempt_as_the_remotes_fault(name: str, sdp: str) -> None:
    answerer = backend(name).create(LOOPBACK, initiator=False, on_signal=lambda _: None)
    answerer.start()
    answerer.signal(Signal("offer", sdp=sdp))
    with pytest.raises(SignalInvalid):
        async with asyncio.timeout(5):
            await answerer.opened()
    await answerer.close()


@same
async def test_candidates_that_make_no_sense_are_passed_over(name: str) -> None:
    def spoiled(signal: Signal, deliver: Callable[[Signal], None]) -> None:
        deliver(signal)
        for line in ("candidate:nonsense", "candidate:1 1 udp 1 224.0.0.1 9 typ host", "x" * 5000):
            deliver(Signal("candidate", candidate=line, sdp_mid="0", sdp_m_line_index=0))
        deliver(Signal("candidate", candidate="candidate:1 1 udp 1 127.0.0.1 9 typ host", sdp_mid="7"))

    async with opened_pair(name, name, path=spoiled) as (a, b):
        a.write(b"hello")
        assert await b.read() == b"hello"


async def test_a_way_that_does_not_exist_fails_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair("wrtc", "wrtc")
    await within(5, lambda: pair.a._described)
    pair.a._connection_state("failed")
    with pytest.raises(ConnectFailed, match="no route"):
        await pair.a.opened()
    await pair.close()


async def test_a_process_that_vanishes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.timeout(40):
        makers = {name: backend(name) for name in BACKENDS}
        monkeypatch.setattr(channel, "DISCONNECTED_GRACE_S", 0.5)
        monkeypatch.setattr(aioice.ice, "CONSENT_INTERVAL", 0.3)
        reasons = await asyncio.gather(*(vanish(maker) for maker in makers.values()))
    for reason in reasons:
        assert "vanished" in reason


async def vanish(maker: Backend) -> str:
    """Connects with another process, kills it, and returns what its stream says then."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("vanishing.py")),
        maker.name,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None
    answerer = maker.create(
        LOOPBACK,
        initiator=False,
        on_signal=lambda signal: stdin.write(f"{json.dumps(signal_to_json(signal))}\n".encode()),
    )
    answerer.start()
    try:
        while not answerer._opened.done():
            offered = parse_signal(json.loads(await stdout.readline()))
            assert offered is not None
            answerer.signal(offered)
            if offered.kind == "offer":
                break
        stream = await answerer.opened()
        assert await stream.read() == b"here I am"
        process.kill()
        with pytest.raises(LinkClosed) as caught:
            await stream.read()
        return str(caught.value)
    finally:
        await answerer.close()
        if process.returncode is None:
            process.kill()
        await process.communicate()


class StunServer(asyncio.DatagramProtocol):
    """Tells everybody the same public address (RFC 8489: Binding, XOR-MAPPED-ADDRESS)."""

    ADDRESS = ("203.0.113.9", 4242)
    COOKIE = 0x2112A442

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        host, port = self.ADDRESS
        mapped = struct.unpack("!I", socket.inet_aton(host))[0] ^ self.COOKIE
        attribute = struct.pack("!HHBBHI", 0x20, 8, 0, 1, port ^ (self.COOKIE >> 16), mapped)
        self.transport.sendto(struct.pack("!HHI", 0x101, len(attribute), self.COOKIE) + data[8:20] + attribute, addr)


@same
async def test_a_stun_server_is_asked_for_our_public_address(name: str) -> None:
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        StunServer, local_addr=("127.0.0.1", 0)
    )
    port = server.transport.get_extra_info("sockname")[1]
    config = dataclasses.replace(LOOPBACK, stun=(parse_stun(f"127.0.0.1:{port}"),))
    pair = Pair(name, name, config=config)
    await pair.opened()
    await within(5, lambda: "srflx" in pair.a._local_kinds and "srflx" in pair.b._remote.kinds)
    told = [line for side, signal in pair.sent for line in [*candidate_lines(signal.sdp), signal.candidate]]
    assert any(StunServer.ADDRESS[0] in line.split(" ") for line in told)
    await pair.close()
    transport.close()


@same
async def test_relay_only_tells_no_address_of_this_machine(name: str) -> None:
    config = IceConfig(allow_loopback=True, relay_only=True, turn=(parse_turn("turn:u:p@127.0.0.1:9"),))
    pair = Pair(name, name, config=config)
    if name == "wrtc":
        await within(5, lambda: pair.sent)
        assert not any(candidate_lines(signal.sdp) or signal.candidate for _, signal in pair.sent)
        assert "no relay" in pair.a.failure or "sent no address" in pair.a.failure
    else:
        # This library gathers first, and fails when the server does not answer.
        with pytest.raises((ConnectFailed, TimeoutError)):
            async with asyncio.timeout(0.3):
                await pair.a.opened()
        assert not pair.sent
    await pair.close()


class Port(DataPort):
    """A data channel that takes so many messages and no more."""

    def __init__(self, takes: int) -> None:
        self.sent: list[bytes] = []
        self._takes = takes

    def send(self, message: bytes) -> None:
        if len(self.sent) == self._takes:
            raise LinkClosed("the data channel takes no more")
        self.sent.append(message)

    @property
    def queued_bytes(self) -> int:
        return 0

    async def close(self) -> None:
        return


@pytest.mark.parametrize("pieces", [1, 7])
async def test_a_channel_that_closes_while_it_is_written_to_ends_the_stream(pieces: int) -> None:
    closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    port = Port(takes=2)
    stream = ChannelStream(port, "here", lambda: closing)
    for _ in range(pieces):
        stream.write(b"x" * (7 * MESSAGE_BYTES // pieces))
    assert [len(message) for message in port.sent] == [MESSAGE_BYTES] * 2
    with pytest.raises(LinkClosed, match="takes no more"):
        await stream.read()
    with pytest.raises(LinkClosed, match="takes no more"):
        await stream.drain()
    assert stream.queued_bytes == 0


async def test_what_arrives_in_tiny_pieces_is_held_in_few() -> None:
    queue = ReadQueue(1 << 20)
    for _ in range(100_000):
        queue.push(b"x")
    queue.push(b"y" * 5_000)
    assert len(queue._chunks) < 500
    assert await queue.take() == b"x" * 100_000 + b"y" * 5_000
