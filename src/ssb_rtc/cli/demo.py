"""`ssb-rtc demo`: a hub and two peers as processes of their own meet, connect over WebRTC and gossip a feed."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ssb_rtc import peer
from ssb_rtc.cli import flags, output
from ssb_rtc.cli.interrupt import interrupted
from ssb_rtc.cli.reading import chunks_of
from ssb_rtc.cli.settings_file import VARIABLE
from ssb_rtc.config import SETTINGS, Settings
from ssb_rtc.errors import MisuseError, SsbRtcError, TransportFault
from ssb_rtc.feeds.message import message_id
from ssb_rtc.plugins.importing import import_file
from ssb_rtc.transport.link import Link
from ssb_rtc.types import FeedId, JsonObject, MsgId
from ssb_rtc.wire.address import normalise_hub

START_LIMIT_S = 20.0
POLL_S = 0.02
Say = Callable[[str], None]

MESSAGES_MAX = 1_000_000
OF_ONE_PEER = frozenset(s.variable for s in SETTINGS if s.name in {"net", "ws", "with_hub", "hops"})
"""Variables that the demo's two peers don't take over: they would get into each other's way, or fetch nothing."""
FILLER = "The quick brown fox jumps over the lazy dog. " * 12


def demo(arguments: argparse.Namespace) -> int:
    """Run the demo; returns 0 only when the second peer holds, verified, everything that the first one serves."""
    if not 1 <= arguments.messages <= MESSAGES_MAX:
        raise MisuseError(f"--messages takes a number from 1 to {MESSAGES_MAX}")
    if not 0 < arguments.timeout < float("inf"):
        raise MisuseError("--timeout takes a number of seconds above 0")
    settings = flags.settings_of(arguments)
    if arguments.meet_on is not None:
        normalise_hub(arguments.meet_on, allow_http=settings.allow_http)
    return asyncio.run(_run(arguments, settings))


async def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    def say(text: str) -> None:
        if not arguments.json:
            print(text, flush=True)

    with tempfile.TemporaryDirectory(prefix="ssb-rtc-demo-") as folder:
        async with interrupted() as stop, AsyncExitStack() as stack:
            work = asyncio.create_task(_meet(arguments, settings, Path(folder), stack, say))
            interrupt = asyncio.create_task(stop.wait())
            await asyncio.wait({work, interrupt}, return_when=asyncio.FIRST_COMPLETED)
            interrupt.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
                return 130
            result, reader = work.result()
            if arguments.json:
                output.print_json(result.as_json())
            else:
                say(result.sentence())
            if not arguments.once:
                say("Both peers stay up; what happens to them shows here. End it with Ctrl-C.")
                await _watch(reader, stop, say, as_json=arguments.json)
            return 0 if result.verified else 1


@dataclass(frozen=True, slots=True)
class Result:
    """What the demo measured."""

    transport: str
    messages: int
    verified: bool
    seconds: float
    time_to_connect_s: float

    def as_json(self) -> JsonObject:
        return {
            "transport": self.transport,
            "messages": self.messages,
            "verified": self.verified,
            "seconds": round(self.seconds, 3),
            "messages_per_s": round(self.messages / self.seconds, 1) if self.seconds > 0 else None,
            "time_to_connect_s": round(self.time_to_connect_s, 3),
        }

    def sentence(self) -> str:
        verdict = "every id was recomputed and agrees" if self.verified else "THE IDS DO NOT AGREE"
        return (
            f"B holds {self.messages} messages of A's, received over {self.transport} in {self.seconds:.2f} s "
            f"({self.messages / self.seconds:,.0f}/s), linked {self.time_to_connect_s:.2f} s after start; {verdict}."
        )


async def _meet(
    arguments: argparse.Namespace, settings: Settings, folder: Path, stack: AsyncExitStack, say: Say
) -> tuple[Result, Link]:
    """Start everything and wait until B holds what A holds."""
    hub = arguments.meet_on or (await _start_hub(stack, say))
    a, b = folder / "a", folder / "b"
    served = await _fill(arguments, settings, a, say)
    # Over the local network, others could come in between.
    meeting = ["--hub", hub, "--no-lan", "--json", "--rtc-backend", settings.rtc_backend]
    status_a = await stack.enter_async_context(_process("start", "--path", str(a), *meeting))
    say(f"A runs: {status_a['id']}")
    await _follow(b, settings, served)
    started_s = time.monotonic()
    status_b = await stack.enter_async_context(_process("start", "--path", str(b), *meeting))
    say(f"B runs: {status_b['id']}, and follows {'A' if len(served) == 1 else f'{len(served)} feeds that A serves'}")
    reader = await stack.enter_async_context(_link(b))
    try:
        async with asyncio.timeout(arguments.timeout):
            link = await _wait_for_link(reader, status_a["id"])
            connected_s = time.monotonic()
            say(f"B is linked to A over {link['transport']}, {connected_s - started_s:.2f} s after its start")
            await _wait_for_messages(reader, served, quiet=arguments.json)
            done_s = time.monotonic()
    except TimeoutError:
        raise TransportFault(await _why_not(reader)) from None
    verified, transport = await _verify(reader, served, status_a["id"])
    count = sum(len(ids) for ids in served.values())
    return Result(transport, count, verified, done_s - connected_s, connected_s - started_s), reader


async def _start_hub(stack: AsyncExitStack, say: Say) -> str:
    answer = await stack.enter_async_context(
        _process("hub", "serve", "--port", "0", "--log-level", "warning", "--json")
    )
    say(f"a signalhub runs at {answer['url']}")
    return str(answer["url"])


@asynccontextmanager
async def _process(*words: str) -> AsyncIterator[JsonObject]:
    """A process of ours; gives the JSON line that it prints when it listens, and ends it in the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ssb_rtc.cli",
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 22,
        env={**{name: value for name, value in os.environ.items() if name not in OF_ONE_PEER}, VARIABLE: ""},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_LIMIT_S):
            line = await process.stdout.readline()
        if not line:
            raise TransportFault(
                f"`ssb-rtc {' '.join(words)}` ended with code {await process.wait()} at its start: see above why"
            )
        yield json.loads(line)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(5):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


@asynccontextmanager
async def _link(folder: Path) -> AsyncIterator[Link]:
    link = await peer.connect_local(folder)
    try:
        yield link
    finally:
        await link.close()


async def _fill(arguments: argparse.Namespace, settings: Settings, folder: Path, say: Say) -> dict[FeedId, list[MsgId]]:
    """Give A its messages before it runs; gives the ids that B must end with, by feed."""
    async with peer.Peer(folder, settings, online=False) as a:
        if arguments.source is None:
            with output.progress("writing messages", total=arguments.messages, quiet=arguments.json) as show:
                for number in range(1, arguments.messages + 1):
                    await a.publish({"type": "post", "text": f"message {number} of the demo. {FILLER}"})
                    show(number)
        else:
            with output.open_input(arguments.source) as source:
                summary = await import_file(a.context, chunks_of(source))
            if summary["refused_count"]:
                first = summary["refused"][0]
                raise MisuseError(f"{arguments.source}, line {first['line']}: {first['error']}")
        served = a.ids_by_feed()
    if not served:
        raise MisuseError(f"{arguments.source} holds no message; `ssb-rtc export` writes such a file")
    say(f"A holds {sum(len(ids) for ids in served.values())} messages")
    return served


async def _follow(folder: Path, settings: Settings, served: dict[FeedId, list[MsgId]]) -> None:
    async with peer.Peer(folder, settings, online=False) as b:
        for feed in served:
            await b.publish({"type": "contact", "contact": feed, "following": True})


async def _wait_for_link(reader: Link, remote: str) -> JsonObject:
    while True:
        for linked in (await reader.call("rtc.status"))["peers"]:
            if linked["id"] == remote and linked["state"] == "CONNECTED":
                return dict(linked)
        await asyncio.sleep(POLL_S)


async def _wait_for_messages(reader: Link, served: dict[FeedId, list[MsgId]], *, quiet: bool) -> None:
    total = sum(len(ids) for ids in served.values())
    with output.progress("gossiping", total=total, quiet=quiet) as show:
        while True:
            feeds = (await reader.call("rtc.status"))["feeds"]
            held = sum(min(feeds.get(feed, 0), len(ids)) for feed, ids in served.items())
            show(held)
            if held == total:
                return
            await asyncio.sleep(POLL_S)


async def _verify(reader: Link, served: dict[FeedId, list[MsgId]], remote: str) -> tuple[bool, str]:
    """Recompute each id from what B stores; and read the transport from B's live link, which must still be up."""
    held: dict[str, list[MsgId]] = {feed: [] for feed in served}
    async for message in reader.source("createLogStream", {"live": False}):
        author = message["value"]["author"]
        if author in held:
            held[author].append(message_id(message["value"]))
    linked = [p for p in (await reader.call("rtc.status"))["peers"] if p["id"] == remote and p["state"] == "CONNECTED"]
    return held == served and bool(linked), linked[0]["transport"] if linked else "none"


async def _why_not(reader: Link) -> str:
    """A sentence on how far B came, for when the time is up."""
    try:
        status = await reader.call("rtc.status")
        known = await reader.call("rtc.peers", {"all": True})
    except SsbRtcError as fault:
        return f"the time is up, and B does not answer: {fault}"
    hubs = ", ".join(f"{hub['url']} {hub['state']}" for hub in status["hubs"])
    peers = "; ".join(f"{p['id']} {p['state']}: {p['reason']}" for p in known) or "no peer was heard"
    return f"the time is up. B holds {status['messages']} messages; hubs: {hubs}; peers: {peers}"


async def _watch(reader: Link, stop: asyncio.Event, say: Say, *, as_json: bool) -> None:
    async def follow() -> None:
        async for event in reader.source("rtc.trace", {"live": True}):
            if as_json:
                output.print_json(event)
            else:
                say(
                    f"B  {event['action']['kind']}"
                    + "".join(f"\n     -> {e['kind']}: {e['reason']}" for e in event["effects"])
                )

    watching, stopping = asyncio.create_task(follow()), asyncio.create_task(stop.wait())
    await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (watching, stopping):
        task.cancel()
    await asyncio.wait({watching, stopping})
    if not watching.cancelled():
        watching.result()
