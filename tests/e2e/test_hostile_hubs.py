"""What hubs can do to a peer: talk nonsense, say nothing, lie, flood. It lives, stays small, and meets its friends.

Lies are told in the swarm dialect here, where anybody can say anything; tests/e2e/test_sealed_hubs.py has the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc.config import MAIN_NETWORK_KEY
from ssb_rtc.types import HubUrl, Json
from ssb_rtc.wire.hub_url import SWARM
from ssb_rtc.wire.swarm import app_name
from tests.e2e.hostile import LyingHub, Victim, attacker_id, lying_hub, victim
from tests.e2e.processes import eventually
from tests.signalhub.rogue import STREAM, Handler, endlessly, rogue, saying

APP = app_name(MAIN_NETWORK_KEY)


@pytest.fixture(scope="module")
def friend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """A good peer that runs a good hub too."""
    with victim(tmp_path_factory.mktemp("friend") / "peer", "--with-hub", "0") as running:
        asyncio.run(running.ask("rtc.addHub", swarm(good_hub(running))))
        yield running


@pytest.fixture(scope="module")
def peer(friend: Victim, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """The peer under attack; it is linked to its friend, whom it met on the good hub. It uses that in both dialects."""
    hub = good_hub(friend)
    with victim(tmp_path_factory.mktemp("hostile") / "peer", "--hub", hub, "--hub", swarm(hub)) as running:
        asyncio.run(running.meets(friend))
        yield running


def good_hub(friend: Victim) -> HubUrl:
    """Where the friend's hub is."""
    return HubUrl(friend.ready["hubs"][0]["url"])


def swarm(hub: HubUrl) -> HubUrl:
    """The same hub, spoken to in the plain dialect."""
    return HubUrl(SWARM + hub)


@asynccontextmanager
async def meeting_on(peer: Victim, *hubs: HubUrl) -> AsyncIterator[None]:
    """The peer uses these hubs too, for a while."""
    for hub in hubs:
        await peer.ask("rtc.addHub", hub)
    try:
        yield
    finally:
        for hub in hubs:
            await peer.ask("rtc.removeHub", hub)


async def subscribed(hub: LyingHub) -> None:
    """Waits until somebody listens there."""

    async def look() -> bool:
        return bool(hub.listeners)

    await eventually("a subscription", look, limit_s=10, pause_s=0.02)


@asynccontextmanager
async def undisturbed(peer: Victim, friend: Victim) -> AsyncIterator[None]:
    """The link between the two lives through what happens inside."""
    await peer.meets(friend)
    kinds: list[str] = []

    def note(action: Json) -> None:
        if action["kind"] != "REMOTE_PEER_LINK_ENDED" or action["peer"] == friend.id:
            kinds.append(action["kind"])

    async def follow() -> None:
        async with peer.local() as link:
            async for step in link.source("rtc.trace"):
                note(step["action"])

    async def followed() -> bool:
        await peer.ask("rtc.disconnect", attacker_id())
        return bool(kinds)

    following = asyncio.create_task(follow())
    try:
        await eventually("the trace being followed", followed, limit_s=5, pause_s=0.02)
        yield
        rows = {row["id"]: row["state"] for row in (await peer.ask("rtc.status"))["peers"]}
        assert rows[friend.id] == "CONNECTED"
    finally:
        following.cancel()
        await asyncio.wait([following])
    assert "REMOTE_PEER_LINK_ENDED" not in kinds


# --- nonsense -----------------------------------------------------------------------------------------------------


async def _never(_head: bytes, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _cut_soon(_head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(STREAM)
    await writer.drain()
    await asyncio.sleep(0.2)


def _endless_answer_to_posts(head: bytes, writer: asyncio.StreamWriter) -> Any:
    if head.startswith(b"GET"):
        return saying(STREAM, stay=True)(head, writer)
    return endlessly(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000)(head, writer)


def _slowly(start: bytes, more: bytes, pause_s: float) -> Handler:
    async def handler(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return handler


OK = b"HTTP/1.1 200 OK\r\n"
EVENTS = OK + b"Content-Type: text/event-stream\r\n"
NONSENSE: dict[str, Handler] = {
    "garbage": saying(os.urandom(5_000)),
    "nothing": saying(b""),
    "never answers": _never,
    "HTML": saying(OK + b"Content-Type: text/html\r\n\r\n<html>" + b"x" * 50_000),
    "500": saying(b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno"),
    "429": saying(b"HTTP/1.1 429 Slow\r\nRetry-After: 99999999999\r\nContent-Length: 0\r\n\r\n"),
    "continues for ever": _slowly(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0.05),
    "an endless header": _slowly(OK, b"X-Y: " + b"z" * 4_000 + b"\r\n", 0.01),
    "an endless header line": _slowly(OK + b"X: ", b"z" * 4_000, 0.01),
    "a giant length": saying(EVENTS + b"Content-Length: 99999999999999999999\r\n\r\ndata: x\n\n", stay=True),
    "a negative length": saying(EVENTS + b"Content-Length: -1\r\n\r\n", stay=True),
    "bad chunks": saying(EVENTS + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nfffffffffffffffffffff\r\nx", stay=True),
    "packed": saying(EVENTS + b"Content-Encoding: gzip\r\n\r\n" + os.urandom(1_000), stay=True),
    "an endless line": endlessly(STREAM, b"data: " + b"x" * 10_000),
    "an endless event": endlessly(STREAM, b"data: " + b"x" * 100 + b"\n"),
    "endless events": endlessly(STREAM, b'data: {"type":"connect","from":"@x"}\n\n' * 100),
    "endless comments": endlessly(STREAM, b":\n" * 1_000),
    "binary events": endlessly(STREAM, b"data: " + os.urandom(500).replace(b"\n", b"") + b"\r\n\r"),
    "deep events": _slowly(STREAM, b"data: " + b"[" * 60_000 + b"\n\n", 0.05),
    "cuts at once": _cut_soon,
    "an endless answer to posts": _endless_answer_to_posts,
}


async def test_hubs_that_answer_nonsense(peer: Victim, friend: Victim) -> None:
    """All at once, beside the good hub; where one of them redirects to is never asked."""
    asked: Counter[str] = Counter()
    elsewhere = 0

    def counted(name: str, handler: Handler) -> Handler:
        async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
            asked[name] += 1
            await handler(head, writer)

        return serve

    async def trap(_head: bytes, _writer: asyncio.StreamWriter) -> None:
        nonlocal elsewhere
        elsewhere += 1

    async with peer.watched(), AsyncExitStack() as stack:
        target = await stack.enter_async_context(rogue(trap))
        moved = saying(f"HTTP/1.1 302 Found\r\nLocation: {target}/v1/x\r\nContent-Length: 0\r\n\r\n".encode())
        hubs = [
            await stack.enter_async_context(rogue(counted(name, handler)))
            for name, handler in {**NONSENSE, "elsewhere": moved}.items()
        ]
        async with meeting_on(peer, *hubs), undisturbed(peer, friend):
            await asyncio.sleep(3)
            assert set(asked) == {*NONSENSE, "elsewhere"}
            rows = {row["url"]: row for row in await peer.ask("rtc.hubs")}
            assert all(len(row["error"] or "") <= 200 for row in rows.values())
            assert not any("\n" in (row["error"] or "") for row in rows.values())
    assert elsewhere == 0


# --- lies ---------------------------------------------------------------------------------------------------------


async def template(hub: LyingHub) -> str:
    """A real session description: the offer that the peer makes to somebody who says that it is there."""
    caller = attacker_id()
    await hub.say({"type": "connect", "from": caller})

    async def offer() -> Any:
        return next((body for to, body in hub.posted if to == caller and body["signal"]["type"] == "offer"), None)

    return str((await eventually("an offer", offer, limit_s=10, pause_s=0.02))["signal"]["sdp"])


def offer_from(sender: str, sdp: Json, session: Json = "s") -> Json:
    """A forged offer."""
    return {"from": sender, "session": session, "signal": {"type": "offer", "sdp": sdp}}


def bare(sdp: str) -> str:
    """The description without its candidates."""
    return "\r\n".join(line for line in sdp.split("\r\n") if "candidate" not in line)


async def test_frames_that_are_no_signals(peer: Victim, friend: Victim) -> None:
    me = attacker_id()
    candidate = {"candidate": "candidate:1 1 udp 1 127.0.0.1 9 typ host", "sdpMLineIndex": 0, "sdpMid": "0"}
    signals: list[Json] = [
        None, [], {}, {"type": "offer"}, {"type": "offer", "sdp": 1}, {"type": "offer", "sdp": ""},
        {"type": "offer", "sdp": "x" * 20_000}, {"type": "answer", "sdp": "v=0"}, {"type": "renegotiate"},
        {"type": ["offer"]}, {"candidate": None}, {"candidate": {"candidate": ["x"]}}, {"candidate": candidate},
        {"type": "candidate", "candidate": {**candidate, "sdpMLineIndex": -1}}, {"type": "candidate"},
        {"type": "candidate", "candidate": {**candidate, "sdpMid": "x" * 100}}, {"transceiverRequest": {}},
    ]  # fmt: skip
    messages: list[Json] = [
        None, 1, "x", [], {}, {"from": me}, {"type": "connect"}, {"type": "connect", "from": "@nobody"},
        {"type": "connect", "from": [me]}, {"type": "leave", "from": me}, {"type": "connect", "from": peer.id},
        *({"from": me, "signal": signal} for signal in signals),
        *({"from": peer.id, "signal": signal} for signal in signals),
        *({"from": friend.id, "signal": signal, "session": session} for signal in signals for session in ("", "x", 1)),
    ]  # fmt: skip
    frames = [
        b"data: " + json.dumps(offer_from(me, "v=0\r\n")).encode()[:40] + b"\ndata: injected\n\n",
        b'data: {"type":"connect",\ndata: "from":"@x"}\n\nevent: x\nid: 7\nretry: 1\n\n',
        b"data: {\xff\xfe\n\ndata:\n\n\n\n:x\r\rdata: \x00\r\n\r\n",
        b'data: {"from":' * 3_000 + b"\n\n",
    ]
    async with lying_hub() as hub, peer.watched(), undisturbed(peer, friend), meeting_on(peer, swarm(hub.url)):
        await subscribed(hub)
        for frame in frames:
            await hub.say_raw(frame)
        await hub.say(*messages)
        assert "m=application" in await template(hub)


async def test_forged_offers_with_garbage_descriptions(peer: Victim, friend: Victim) -> None:
    """From many names, the friend's too. None of them keeps the next one from being looked at."""
    async with lying_hub() as hub, peer.watched(), undisturbed(peer, friend), meeting_on(peer, swarm(hub.url)):
        await subscribed(hub)
        good = await template(hub)
        lines = good.split("\r\n")
        spoilt = [
            "v=0", "m=application", good.replace("m=application", "m=video"), good + good, good[: len(good) // 2],
            good.replace("sctp-port:5000", "sctp-port:99999999999"), good.replace("ufrag:", "ufrag:" + "x" * 400),
            good.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 zz:"), good.replace("a=ice-pwd", "a=nothing"),
            good.replace("max-message-size:", "max-message-size:-"), good.replace("\r\n", "\n\n"), "\x00" * 500,
            good + "a=candidate:" + "9 " * 200 + "\r\n", good + "a=mid:1\r\n" * 200, "\r\n".join(reversed(lines)),
            good + "a=\ud800\r\n", good.replace("UDP/DTLS/SCTP", "RTP/AVP"), good.replace("45", "\uffff"),
        ]  # fmt: skip
        for number, sdp in enumerate(spoilt):
            await hub.say(offer_from(attacker_id(), sdp), offer_from(friend.id, sdp, f"g{number}"))
            await asyncio.sleep(0.03)
        await hub.say(
            *({"from": friend.id, "session": "x", "signal": {"type": "answer", "sdp": sdp}} for sdp in spoilt)
        )
        caller, heard = attacker_id(), list[tuple[str, Json]]()
        async with spying(good_hub(friend), [caller], heard):

            async def answered() -> bool:
                await post(good_hub(friend), peer.id, offer_from(caller, good, os.urandom(8).hex()))
                return bool(heard)

            await eventually("an answer to a good offer over the good hub", answered, limit_s=10, pause_s=0.2)


async def test_candidates_that_point_at_others_are_not_tried(peer: Victim, friend: Victim) -> None:
    """Multicast, link-local, names: nothing is sent there. To a candidate that is allowed something is."""
    group = "239.255.77.77"
    with contextlib.ExitStack() as stack:
        allowed, forbidden = (stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2))
        for listener in (allowed, forbidden):
            listener.setblocking(False)
            listener.bind(("0.0.0.0", 0))
        everywhere = struct.pack("4s4s", socket.inet_aton(group), socket.inet_aton("0.0.0.0"))
        with contextlib.suppress(OSError):
            forbidden.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, everywhere)
        bad_port, port = forbidden.getsockname()[1], allowed.getsockname()[1]
        bad = [group, "224.0.0.1", "169.254.1.1", "0.0.0.0", "255.255.255.255", "localhost", "a.local", "::", "ff02::1"]
        places = [(address, bad_port) for address in bad] + [("127.0.0.1", port)]
        lines = [f"candidate:{n} 1 udp 2122260223 {where} {at} typ host" for n, (where, at) in enumerate(places)]
        lines.append(f"candidate:77 1 tcp 1518280447 127.0.0.1 {bad_port} typ host tcptype passive")
        async with lying_hub() as hub, peer.watched(), undisturbed(peer, friend), meeting_on(peer, swarm(hub.url)):
            await subscribed(hub)
            sdp = bare(await template(hub))
            inside, beside = attacker_id(), attacker_id()
            await hub.say(offer_from(inside, sdp + "".join(f"a={line}\r\n" for line in lines), "in"))
            await hub.say(offer_from(beside, sdp, "by"))
            for line in lines:
                signal = {"type": "candidate", "candidate": {"candidate": line, "sdpMid": "0", "sdpMLineIndex": 0}}
                await hub.say({"from": beside, "session": "by", "signal": signal})

            async def tried() -> bool:
                with contextlib.suppress(BlockingIOError):
                    return bool(allowed.recv(2_000))
                return False

            await eventually("a packet to the allowed candidate", tried, limit_s=10)
            await asyncio.sleep(0.5)
            with pytest.raises(BlockingIOError):
                forbidden.recv(2_000)


async def test_a_forged_goodbye_of_a_friend_ends_no_link(peer: Victim, friend: Victim) -> None:
    async with lying_hub() as hub, peer.watched(), undisturbed(peer, friend), meeting_on(peer, swarm(hub.url)):
        await subscribed(hub)
        for _ in range(3):
            for kind in ("connect", "leave", "leave"):
                await hub.say({"type": kind, "from": friend.id})
                await post(good_hub(friend), "all", {"type": kind, "from": friend.id})
        await template(hub)


async def post(hub: HubUrl, channel: str, message: Json) -> None:
    """Says something on a good hub, as anybody may."""
    body = json.dumps(message).encode()
    port = int(hub.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /v1/{APP}/{channel} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    assert b" 200 " in await reader.readline()
    writer.close()


FAKES = 10_000


async def test_a_flood_of_announcements_and_offers(peer: Victim, friend: Victim, tmp_path: Path) -> None:
    """10,000 ids that nobody holds: the table stays small, and a newcomer on the good hub is met all the same."""
    async with lying_hub() as hub, peer.watched(), undisturbed(peer, friend), meeting_on(peer, swarm(hub.url)):
        await subscribed(hub)
        sdp = await template(hub)
        announcements = [{"type": "connect", "from": attacker_id()} for _ in range(FAKES)]

        async def full() -> bool:
            return len(await peer.ask("rtc.peers", {"all": True})) == 1_000

        async def flood() -> None:
            for first in itertools.cycle(range(0, FAKES, 50)):
                await hub.say(*announcements[first : first + 50], offer_from(attacker_id(), sdp))
                await asyncio.sleep(0.05)

        flooding = asyncio.create_task(flood())
        try:
            await eventually("the table being full", full)
            with victim(tmp_path / "newcomer", "--hub", good_hub(friend)) as newcomer:
                await peer.meets(newcomer)
                assert not flooding.done()
            assert 900 < len(await peer.ask("rtc.peers", {"all": True})) <= 1_000
        finally:
            flooding.cancel()
            await asyncio.wait([flooding])


async def test_replayed_signals_of_a_friend(peer: Victim, friend: Victim, tmp_path: Path) -> None:
    """Everything that two peers told each other until they were linked, said again, on both hubs, twice."""
    spied: list[tuple[str, Json]] = []
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(lying_hub())
        await stack.enter_async_context(peer.watched())
        await stack.enter_async_context(meeting_on(peer, swarm(hub.url)))
        await stack.enter_async_context(spying(good_hub(friend), ["all", peer.id], spied))
        await subscribed(hub)
        with victim(tmp_path / "third", "--hub", swarm(good_hub(friend))) as third:
            await stack.enter_async_context(spying(good_hub(friend), [third.id], spied))
            # Ours announces itself to nobody in this dialect, but anybody may do it in its name.
            await post(good_hub(friend), "all", {"type": "connect", "from": third.id})
            async with undisturbed(peer, third):
                said = [(to, body) for to, body in spied if body["from"] in (third.id, peer.id)]
                assert {"offer", "answer"} & {body.get("signal", {}).get("type") for _, body in said}
                for change in ({"session": "another"}, {"again": 1}):
                    for to, body in said:
                        await post(good_hub(friend), to, {**body, **change})
                        await hub.say({**body, **change})
                await asyncio.sleep(1)


@asynccontextmanager
async def spying(hub: HubUrl, channels: list[str], heard: list[tuple[str, Json]]) -> AsyncIterator[None]:
    """Listens on channels of a good hub, as anybody may."""
    spies = [asyncio.create_task(_spy(hub, channel, heard)) for channel in channels]
    try:
        yield
    finally:
        for spy in spies:
            spy.cancel()
        await asyncio.wait(spies)


async def _spy(hub: HubUrl, channel: str, heard: list[tuple[str, Json]]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(hub.rpartition(":")[2]))
    writer.write(f"GET /v1/{APP}/{channel} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    try:
        while line := await reader.readline():
            if line.startswith(b"data: "):
                heard.append((channel, json.loads(line[6:])))
    finally:
        writer.close()
