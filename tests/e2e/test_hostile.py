"""What strangers can do to the open port of a running peer: it lives, answers, leaks nothing, stays small."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from ssb_rtc.config import MAIN_NETWORK_KEY
from ssb_rtc.errors import HandshakeRefused, RemoteCallError
from ssb_rtc.feeds.refs import public_key
from ssb_rtc.transport.secure import BoxCodec
from ssb_rtc.types import peer_of
from ssb_rtc.wire.handshake import CHALLENGE_BYTES, HELLO_BYTES, Client, authenticator
from ssb_rtc.wire.packets import BodyKind, encode_parts
from tests.e2e.hostile import Caller, Victim, answering, attacker_keys, calling, header, linked, victim
from tests.e2e.processes import eventually


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """One peer with an open port, which takes all the attacks on that."""
    with victim(tmp_path_factory.mktemp("hostile") / "peer", "--net", "0") as running:
        yield running


async def decent_caller(peer: Victim) -> None:
    """Somebody decent still gets through."""
    async with asyncio.timeout(5), linked(peer) as link:
        assert await link.call("whoami") == {"id": peer.id}


# --- before the handshake is done ---------------------------------------------------------------------------------


async def test_garbage_instead_of_a_handshake(peer: Victim) -> None:
    chance = random.Random(1)
    noise = [chance.randbytes(size) for size in (1, 63, 64, 65, 112, 1_000, 100_000)]
    texts = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3, b"\x16\x03\x01" + bytes(200), b"\xff" * 64, bytes(64)]
    async with peer.watched():
        for data in (*noise, *texts):
            async with calling(peer) as caller:
                await caller.say(data)
                if len(data) >= CHALLENGE_BYTES:
                    assert await caller.hung_up() == b""
        await decent_caller(peer)


async def test_silent_connections_keep_nobody_out_and_end(peer: Victim) -> None:
    """200 callers say nothing, or half a handshake; a decent one gets in beside them, and their time is limited."""
    async with peer.watched(), asyncio.TaskGroup() as group:
        callers = []
        for number in range(200):
            reader, writer = await asyncio.open_connection("127.0.0.1", peer.port)
            caller = Caller(peer, reader, writer)
            callers.append(caller)
            if number % 2:
                await caller.say(Client(MAIN_NETWORK_KEY, *_pair(), public_key(peer.id), os.urandom(32)).start())
        await decent_caller(peer)
        assert peer.descriptors < 150
        for caller in callers:
            group.create_task(caller.hung_up(12))
    for caller in callers:
        caller.cut()


def _pair() -> tuple[bytes, bytes]:
    keys = attacker_keys()
    return keys.seed, keys.public


async def test_another_network_key_or_peer_key_gets_no_further(peer: Victim) -> None:
    async with peer.watched():
        async with calling(peer) as caller:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await caller.shake(network_key=bytes(32))
        async with calling(peer) as caller:
            with pytest.raises((HandshakeRefused, asyncio.IncompleteReadError, ConnectionError)):
                await caller.shake(wanted=peer_of(attacker_keys().id))
        await decent_caller(peer)


async def test_handshake_packets_cut_or_with_a_bit_turned(peer: Victim) -> None:
    chance = random.Random(2)
    async with peer.watched():
        for packet, size in ((0, CHALLENGE_BYTES), (1, HELLO_BYTES)):
            for place in sorted({0, 31, 32, size - 1, *chance.sample(range(size), 8)}):
                async with calling(peer) as caller:
                    assert not await _shake_with_a_turned_bit(caller, packet, place, 1 << chance.randrange(8))
            for length in (1, size // 2, size - 1):
                async with calling(peer) as caller:
                    await _shake_with_a_cut(caller, packet, length)
        for point in (bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"):
            async with calling(peer) as caller:
                await caller.say(authenticator(point, MAIN_NETWORK_KEY) + point + bytes(HELLO_BYTES))
                assert len(await caller.hung_up()) <= CHALLENGE_BYTES
        await decent_caller(peer)


async def _shake_with_a_turned_bit(caller: Caller, packet: int, place: int, bit: int) -> bool:
    """Whether the other side went on to accept."""
    client = Client(MAIN_NETWORK_KEY, *_pair(), public_key(caller.to.id), os.urandom(32))
    packets = [client.start()]
    if packet == 1:
        await caller.say(packets[0])
        packets.append(client.receive(await caller.reader.readexactly(CHALLENGE_BYTES)))
    spoilt = bytearray(packets[-1])
    spoilt[place] ^= bit
    await caller.say(bytes(spoilt))
    return await caller.hung_up() != b""


async def _shake_with_a_cut(caller: Caller, packet: int, length: int) -> None:
    client = Client(MAIN_NETWORK_KEY, *_pair(), public_key(caller.to.id), os.urandom(32))
    challenge = client.start()
    if packet == 0:
        await caller.say(challenge[:length])
    else:
        await caller.say(challenge)
        await caller.say(client.receive(await caller.reader.readexactly(CHALLENGE_BYTES))[:length])
    caller.writer.write_eof()
    assert await caller.hung_up() == b""


# --- after it -----------------------------------------------------------------------------------------------------


async def test_garbage_in_place_of_boxes(peer: Victim) -> None:
    chance = random.Random(3)
    async with peer.watched():
        for data in (chance.randbytes(33), chance.randbytes(34), chance.randbytes(50_000), bytes(34), b"\xff" * 9_000):
            async with calling(peer) as caller:
                await caller.shake()
                await caller.say(data)
                if len(data) >= 34:
                    await caller.hung_up()
        async with calling(peer) as caller:
            await caller.shake()
            box = caller.codec.seal(b"x")
            await caller.say(box + box)
            await caller.hung_up()
        await decent_caller(peer)


WRONG_PACKETS = [
    header(2, 1 << 30, 1),
    header(10, (1 << 32) - 1, 1),
    header(3, 5, 1) + b"hello",
    header(2, 9, 1) + b"{not JSON",
    header(2, 60_000, 1) + b"[" * 60_000,
    header(10, 60_000, 1) + b'{"a":' * 12_000,
    header(2, 30_000, 1) + b'{"name":["whoami"],"args":[' + b"[" * 29_973,
    header(2, 40, 1) + b'{"name":["whoami"],"args":[]}           ' * 2,
]


async def test_wrong_muxrpc_packets_end_only_their_link(peer: Victim) -> None:
    async with peer.watched():
        for data in WRONG_PACKETS:
            async with calling(peer) as caller:
                await caller.shake()
                await caller.box(data)
                await caller.hung_up()
        await decent_caller(peer)


ODD_OPENINGS: list[Any] = [
    [], None, "whoami", {}, {"name": []}, {"name": [1], "args": []}, {"name": ["whoami"], "args": {}},
    {"name": ["a"] * 9, "args": []}, {"name": ["x" * 129], "args": []}, {"name": ["__proto__"], "args": []},
    {"name": ["ebt", "replicate"], "args": [[[[]]]], "type": "sync"},
    {"name": ["whoami"], "args": [1, 2, 3], "type": "source"}, {"name": "whoami", "args": [{}] * 100},
    {"name": ["createHistoryStream"], "args": [{"id": "@\ud800", "seq": 1e300}], "type": "source"},
    {"name": ["createHistoryStream"], "args": [{"id": {"a": []}, "limit": -1e300}], "type": "source"},
    {"name": ["createHistoryStream"], "args": [None], "type": "source"},
    {"name": ["createHistoryStream"], "args": [], "type": "source"},
    {"name": ["ebt", "replicate"], "args": [None], "type": "duplex"},
    {"name": ["ebt", "replicate"], "args": [{"version": 2}], "type": "duplex"},
    {"name": ["gossip", "ping"], "args": [{"timeout": "x" * 60_000}], "type": "duplex"},
    {"name": ["blobs", "createWants"], "args": ["x"] * 50, "type": "source"},
]  # fmt: skip
ODD_PACKETS = [
    header(2, 4, 0) + b"true",
    header(2, 4, -(2**31)) + b"true",
    header(14, 4, 2**31 - 1) + b"true",
    header(10, 4, -7) + b"true",
    header(0, 5, 3) + b"hello",
    header(1, 5, 4) + b"hello",
    *(
        encode_parts(number, json.dumps(opening).encode(), BodyKind.JSON, stream="type" in (opening or ()), end=False)
        for number, opening in enumerate(ODD_OPENINGS, start=5)
    ),
]


async def test_odd_muxrpc_packets_are_answered_or_ignored(peer: Victim) -> None:
    async with peer.watched(), calling(peer) as caller:
        await caller.shake()
        for data in ODD_PACKETS:
            await caller.box(data)
        await caller.call(1_000, "whoami")
        heard = b""
        async with asyncio.timeout(5):
            while b'"id":"@' not in heard:
                heard += caller.codec.open(await caller.reader.read(1 << 16))
        assert b"internal error" not in heard


LOCAL_ONLY = (
    "publish", "get", "createLogStream", "import",
    "rtc.status", "rtc.peers", "rtc.hubs", "rtc.addHub", "rtc.removeHub", "rtc.connect", "rtc.disconnect", "rtc.trace",
)  # fmt: skip


async def test_local_methods_are_refused_to_strangers(peer: Victim) -> None:
    hubs = await peer.ask("rtc.hubs")
    async with peer.watched(), linked(peer) as link:
        for name in (*LOCAL_ONLY, "rtc", "no.such.method"):
            text = f"method:{name.replace('.', ',')} is not in list of allowed methods"
            with pytest.raises(RemoteCallError) as refused:
                await link.call(name, "http://127.0.0.1:1", {"allowHttp": ["127.0.0.1"]})
            assert refused.value.message == text
            for stream in (link.source(name), link.duplex(name), link.source(name, {"live": True})):
                with pytest.raises(RemoteCallError) as refused:
                    await stream.read_batch()
                assert refused.value.message == text
    assert await peer.ask("rtc.hubs") == hubs


async def test_thousands_of_calls_whose_answers_are_not_read(peer: Victim) -> None:
    """They stop at the caller: unread answers, echoes of late ends and pongs don't pile up here."""
    late_end = encode_parts(9, b'"' + b"x" * 4_000 + b'"', BodyKind.JSON, stream=True, end=True)
    whoami = encode_parts(9, b'{"name":["whoami"],"args":[]}', BodyKind.JSON, stream=False, end=False)
    ping = encode_parts(
        1, b'{"name":["gossip","ping"],"args":[{}],"type":"duplex"}', BodyKind.JSON, stream=True, end=False
    )
    pings = encode_parts(1, b"1", BodyKind.JSON, stream=True, end=False)
    floods = ((b"", late_end, 25_000), (b"", whoami, 60_000), (ping, pings, 600_000))
    async with peer.watched(growth_max_kib=50 * 1024):
        for first, packet, count in floods:
            async with calling(peer) as caller:
                await caller.shake()
                await caller.box(first) if first else None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.5):
                        for _ in range(count // 500):
                            await caller.box(packet * 500)
                await decent_caller(peer)


async def test_thousands_of_open_streams(peer: Victim) -> None:
    """History streams of a long feed, pings and wants, with large arguments, by a caller that reads nothing."""
    for _ in range(60):
        await peer.ask("publish", {"type": "post", "text": "x" * 7_000})
    history: dict[str, Any] = {"name": ["createHistoryStream"], "args": [{"id": peer.id, "live": True}]}
    large = {"name": ["gossip", "ping"], "args": [[{}] * 15_000]}
    wants = {"name": ["blobs", "createWants"], "args": []}
    async with peer.watched():
        for opening, kind, count in ((history, "source", 6_000), (large, "duplex", 500), (wants, "source", 13_000)):
            body = json.dumps({**opening, "type": kind}, separators=(",", ":")).encode()
            async with calling(peer) as caller:
                await caller.shake()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(2):
                        for first in range(1, count, 100):
                            packets = (
                                encode_parts(n, body, BodyKind.JSON, stream=True, end=False)
                                for n in range(first, first + 100)
                            )
                            await caller.box(b"".join(packets))
                await decent_caller(peer)


def _answer(request: int, body: bytes, *, end: bool = False) -> bytes:
    return header(14 if end else 10, len(body), -request) + body


WRONG_ANSWERS = [
    _answer(1, b"[" * 60_000, end=True) + _answer(2, b"[" * 60_000, end=True),
    _answer(1, b'{"a":' * 10_000) + _answer(2, b"{not JSON"),
    _answer(1, b'{"message":{},"name":7,"stack":[]}', end=True) + _answer(2, b"-1e999", end=True),
    _answer(1, b'{"message":"%s"}' % (b"x" * 100_000), end=True) + _answer(2, b'""', end=True),
    header(2, 4, -1) + b"true" + header(2, 4, -2) + b"true",
    _answer(77, b"{}") + _answer(78, b"true", end=True) + header(2, 2, -79) + b"{}",
    _answer(2, b'{"\\u0000":"\\ud800"}') * 1_000,
    header(10, 1 << 31, -1),
    b"",
]


async def test_a_peer_that_we_dialled_answers_nonsense(peer: Victim) -> None:
    async with peer.watched():
        for data in WRONG_ANSWERS:

            async def script(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, codec: BoxCodec, data: bytes = data
            ) -> None:
                await reader.read(1 << 16)
                writer.write(codec.seal(data) if data else os.urandom(500))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.3):
                        while await reader.read(1 << 16):
                            pass

            async with answering(script) as address:
                assert (await peer.ask("rtc.connect", address))["state"] == "CONNECTED"

                async def over() -> bool:
                    return all(row["state"] == "DISCONNECTED" for row in (await peer.ask("rtc.status"))["peers"])

                await eventually("the end of the link", over, limit_s=5, pause_s=0.02)
