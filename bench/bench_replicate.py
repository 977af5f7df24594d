"""A fresh peer catches up one feed: ours over TCP and over WebRTC, beside the stock JavaScript peer over TCP.

    python bench/bench_replicate.py [--messages 10000] [--rounds 3] [--modes js-net ours-net ours-rtc] [--json]

Writer and reader are processes of their own; the modes take turns, so that a machine that slows down slows all of them,
and the medians count. Time runs from the link until the reader holds the last message: committed to SQLite for ours, in
the log of ssb-db2 for JavaScript (looked for every 50 ms, and written out within 250 ms). JavaScript's first message
comes 0.3 to 0.4 s after its link; that counts. Nobody calls fsync for messages of others, and everybody checks every
signature. Over WebRTC the two meet on a signalhub of ours.
Needs Linux (/proc) for memory and CPU time, and Node with the packages of tests/interop for JavaScript's side.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ssb_rtc.config import Settings
from ssb_rtc.feeds.canonical import compact
from ssb_rtc.feeds.keys import keys_from_seed
from ssb_rtc.feeds.message import create, message_id
from ssb_rtc.peer import Peer
from ssb_rtc.plugins.importing import Importer
from ssb_rtc.storage.folder import secret_path
from ssb_rtc.storage.identity import create_identity
from ssb_rtc.transport.link import Link
from ssb_rtc.types import FeedId, JsonObject

ROOT = Path(__file__).resolve().parent.parent
JS_PEER = ROOT / "tests" / "interop" / "peer.cjs"
NODE_MODULES = ROOT / ".node" / "node_modules"
AUTHOR_SEED = b"bench: who wrote all these posts"
MESSAGE_BYTES = 830
JS_PUBLISHES_AT_ONCE = 10_000
START_LIMIT_S = 60.0
RUN_LIMIT_S = 300.0
LINE_BYTES_MAX = 1 << 22
MIB = 1024 * 1024


@dataclass(frozen=True)
class Sample:
    """One run: what the reader needed."""

    mode: str
    seconds: float
    messages_s: float
    cpu_s: float
    peak_rss_mib: float


# --- a child process that answers commands: peer.cjs, or this file with --worker --------------------------------------


class Child:
    """Sends a JSON command a line, and takes a JSON answer a line."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.pid = process.pid
        self.ready: JsonObject = {}
        self._process = process

    async def command(self, cmd: str, **arguments: Any) -> Any:
        """The answer to a command; ends the bench when it is an error or does not come."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(json.dumps({"n": 0, "cmd": cmd, **arguments}).encode() + b"\n")
        answer = await self.line(RUN_LIMIT_S)
        if not answer["ok"]:
            raise SystemExit(f"{self.name}: {cmd} failed: {answer['error']}")
        return answer["result"]

    async def line(self, limit_s: float) -> Any:
        """The next line of its output."""
        stdout = self._process.stdout
        assert stdout is not None
        async with asyncio.timeout(limit_s):
            line = await stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended; run it with --verbose to see why")
        return json.loads(line)

    async def end(self) -> None:
        """Politely, then not."""
        for how in (self._process.terminate, self._process.kill):
            if self._process.returncode is None:
                how()
                try:
                    async with asyncio.timeout(5):
                        await self._process.wait()
                except TimeoutError:
                    continue


@asynccontextmanager
async def running(name: str, *argv: str, verbose: bool) -> AsyncIterator[Child]:
    """A child that has said that it is ready."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=None if verbose else asyncio.subprocess.DEVNULL,
        limit=LINE_BYTES_MAX,
    )
    child = Child(name, process)
    try:
        child.ready = await child.line(START_LIMIT_S)
        yield child
    finally:
        await child.end()


class Spawner:
    """Starts the children of one bench."""

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose
        self._node = shutil.which("node") or "node"

    def ours(self, name: str, folder: Path, hub: str | None = None) -> Any:
        """A peer of ours; with a hub it meets there, else it listens on TCP."""
        options = json.dumps({"path": str(folder), "hub": hub})
        return running(name, sys.executable, __file__, "--worker", options, verbose=self._verbose)

    def js(self, name: str, folder: Path, seed: bytes | None = None) -> Any:
        """A JavaScript peer, listening on TCP; without a seed it makes an identity of its own."""
        options = {"path": str(folder)}
        if seed is not None:
            options["seed"] = base64.b64encode(seed).decode()
        return running(name, self._node, str(JS_PEER), json.dumps(options), verbose=self._verbose)

    def hub(self) -> Any:
        """A signalhub of ours."""
        words = ("hub", "serve", "--port", "0", "--json")
        return running("hub", sys.executable, "-m", "ssb_rtc.cli", *words, verbose=self._verbose)


# --- a peer of ours in a process of its own -------------------------------------------------------------------------


class Worker:
    """Answers the commands of the bench with the same words as peer.cjs."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._linked = asyncio.Event()
        self._committed = asyncio.Event()
        peer.context.links.on_link(self._on_link)
        peer.context.ingest.subscribe(lambda _stored: self._committed.set())

    def _on_link(self, _link: Link) -> None:
        self._linked.set()

    async def listen(self) -> list[str]:
        """Goes online; its addresses so far."""
        await self._peer.start()
        return list(self._peer.status()["addresses"])

    async def connect(self, address: str) -> None:
        """Dials over TCP."""
        await self._peer.start()
        await self._peer.connect(address)

    async def meet(self) -> None:
        """Goes online on its hub, and waits for the first link."""
        await self._peer.start()
        await self._linked.wait()

    async def reached(self, clock: dict[FeedId, int]) -> None:
        """Waits until these messages are committed."""
        heads = self._peer.context.log.heads()
        while any(feed not in heads or heads[feed].sequence < n for feed, n in clock.items()):
            self._committed.clear()
            await self._committed.wait()


async def work(options: JsonObject) -> None:
    """The process: one JSON answer for each command, until its input ends."""
    lines = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    hub = options["hub"]
    settings = Settings(hub=(hub,)) if hub else Settings(net=0)
    async with Peer(Path(options["path"]), settings, online=False) as peer:
        worker = Worker(peer)
        commands: dict[str, Callable[..., Awaitable[Any]]] = {
            "listen": worker.listen,
            "connect": worker.connect,
            "meet": worker.meet,
            "reached": worker.reached,
        }
        print(json.dumps({"id": peer.keys.id}), flush=True)
        while line := await lines.readline():
            command = json.loads(line)
            number, name = command.pop("n"), command.pop("cmd")
            result = await commands[name](**command)
            print(json.dumps({"n": number, "ok": True, "result": result}), flush=True)


# --- what is copied --------------------------------------------------------------------------------------------------


def text_of_posts() -> str:
    """The text that makes a post of MESSAGE_BYTES of it, as peer.cjs writes posts: text, blank, number."""
    text = "The quick brown fox jumps over the lazy dog, and again. " * 20
    spare = len(compact(post(text, None, 1))) + 4 - MESSAGE_BYTES
    return text[:-spare]


def post(text: str, previous: Any, sequence: int) -> JsonObject:
    """One signed message of the author."""
    content = {"type": "post", "text": f"{text} {sequence}"}
    keys = keys_from_seed(AUTHOR_SEED)
    timestamp_ms = 1514517067954 + sequence
    return create(keys, content, previous=previous, sequence=sequence, timestamp_ms=timestamp_ms)


async def fill_ours(folder: Path, messages: int) -> FeedId:
    """The folder of a peer of ours that has written all these posts."""
    text, previous, lines = text_of_posts(), None, []
    for sequence in range(1, messages + 1):
        value = post(text, previous, sequence)
        previous = message_id(value)
        lines.append(compact(value))
    folder.mkdir()
    keys = keys_from_seed(AUTHOR_SEED)
    create_identity(secret_path(folder), keys)
    async with Peer(folder, Settings(), online=False) as peer:
        importer = Importer(peer.context)
        await importer.feed(b"\n".join(lines))
        await importer.finish()
    summary = importer.summary()
    if summary["imported"] != messages:
        raise SystemExit(f"our writer could not be filled: {summary}")
    return keys.id


async def fill_js(spawner: Spawner, folder: Path, messages: int) -> FeedId:
    """The same for a JavaScript peer."""
    async with spawner.js("JavaScript writer", folder, AUTHOR_SEED) as writer:
        text = text_of_posts()
        for start in range(0, messages, JS_PUBLISHES_AT_ONCE):
            await writer.command("publishMany", count=min(JS_PUBLISHES_AT_ONCE, messages - start), text=text)
        await writer.command("close")
        return FeedId(writer.ready["id"])


# --- the runs --------------------------------------------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_rss_mib(pid: int) -> float:
    """The most memory that a process ever had resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / MIB
    raise SystemExit("/proc has no VmHWM here")


class Bench:
    """The prepared writers, and one method for each mode."""

    def __init__(self, spawner: Spawner, folder: Path, messages: int, stack: AsyncExitStack) -> None:
        self._spawner = spawner
        self._folder = folder
        self._messages = messages
        self._stack = stack
        self._author = FeedId("")
        self._readers = 0
        self._hub = ""

    async def prepare(self, modes: list[str]) -> None:
        """Fills the writers and starts the hub."""
        if "js-net" in modes:
            self._author = await fill_js(self._spawner, self._folder / "js-writer", self._messages)
        if "ours-net" in modes or "ours-rtc" in modes:
            self._author = await fill_ours(self._folder / "writer", self._messages)
        if "ours-rtc" in modes:
            self._hub = (await self._stack.enter_async_context(self._spawner.hub())).ready["url"]

    async def run(self, mode: str) -> Sample:
        """One run of a mode."""
        self._readers += 1
        reader_folder = self._folder / f"reader-{self._readers}"
        try:
            if mode == "js-net":
                return await self._js(reader_folder)
            return await self._ours(mode, reader_folder, self._hub if mode == "ours-rtc" else None)
        finally:
            await asyncio.to_thread(shutil.rmtree, reader_folder, ignore_errors=True)

    async def _ours(self, mode: str, folder: Path, hub: str | None) -> Sample:
        async with Peer(folder, Settings(), online=False) as peer:
            await peer.publish({"type": "contact", "contact": self._author, "following": True})
        async with (
            self._spawner.ours("our writer", self._folder / "writer", hub) as writer,
            self._spawner.ours("our reader", folder, hub) as reader,
        ):
            addresses = await writer.command("listen")
            connect = {"cmd": "meet"} if hub else {"cmd": "connect", "address": addresses[0]}
            return await self._timed(mode, reader, connect)

    async def _js(self, folder: Path) -> Sample:
        async with (
            self._spawner.js("JavaScript writer", self._folder / "js-writer", AUTHOR_SEED) as writer,
            self._spawner.js("JavaScript reader", folder) as reader,
        ):
            await writer.command("reached", clock={self._author: self._messages})
            await reader.command("follow", id=self._author)
            while (await reader.command("hops")).get(self._author) != 1:
                await asyncio.sleep(0.05)
            return await self._timed("js-net", reader, {"cmd": "connect", "address": writer.ready["address"]})

    async def _timed(self, mode: str, reader: Child, connect: dict[str, str]) -> Sample:
        await reader.command(**connect)
        began, cpu_before_s = time.perf_counter(), cpu_s(reader.pid)
        await reader.command("reached", clock={self._author: self._messages})
        seconds, used_s = time.perf_counter() - began, cpu_s(reader.pid) - cpu_before_s
        return Sample(mode, seconds, self._messages / seconds, used_s, peak_rss_mib(reader.pid))


MODES = ("js-net", "ours-net", "ours-rtc")


def what_is_missing() -> str | None:
    """Why JavaScript's side can't run here, or None."""
    if shutil.which("node") is None:
        return "no Node.js: install it (apt-get install nodejs npm)"
    if not (NODE_MODULES / "ssb-db2").is_dir():
        return f"no npm packages in {NODE_MODULES}: make dev installs them"
    return None


async def measure(options: argparse.Namespace) -> JsonObject:
    """All rounds, the modes in turns."""
    missing = what_is_missing() if "js-net" in options.modes else None
    modes = [mode for mode in options.modes if missing is None or mode != "js-net"]
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="ssb-rtc-bench-") as folder:
        async with AsyncExitStack() as stack:
            bench = Bench(Spawner(options.verbose), Path(folder), options.messages, stack)
            await bench.prepare(modes)
            for _ in range(options.rounds):
                samples += [await bench.run(mode) for mode in modes]
    found: JsonObject = {
        "bench": "replicate",
        "messages": options.messages,
        "bytes_a_message": MESSAGE_BYTES,
        "rounds": options.rounds,
        "samples": [asdict(sample) for sample in samples],
        "medians": {mode: medians([s for s in samples if s.mode == mode]) for mode in modes},
    }
    if missing is not None:
        found["missing"] = missing
    elif "js-net" in modes:
        theirs = found["medians"]["js-net"]["messages_s"]
        found["ratio"] = {mode: round(found["medians"][mode]["messages_s"] / theirs, 2) for mode in modes}
    return found


def medians(samples: list[Sample]) -> JsonObject:
    """The middle of each figure, and how far the rates lie apart."""
    rates = [sample.messages_s for sample in samples]
    return {
        "messages_s": round(statistics.median(rates)),
        "messages_s_least": round(min(rates)),
        "messages_s_most": round(max(rates)),
        "cpu_s": round(statistics.median(sample.cpu_s for sample in samples), 2),
        "peak_rss_mib": round(statistics.median(sample.peak_rss_mib for sample in samples)),
    }


def table(found: JsonObject) -> str:
    """The medians for people."""
    titles = ("mode", "messages/s", "least", "most", "CPU s", "peak MiB", "to JavaScript")
    lines = [
        f"a fresh peer catches up {found['messages']} messages of {found['bytes_a_message']} bytes,"
        f" medians of {found['rounds']} rounds; CPU and memory are the reader's",
        "{:10}{:>12}{:>8}{:>8}{:>8}{:>10}{:>15}".format(*titles),
    ]
    for mode, middle in found["medians"].items():
        ratio = found.get("ratio", {}).get(mode)
        lines.append(
            f"{mode:10}{middle['messages_s']:12,}{middle['messages_s_least']:8,}{middle['messages_s_most']:8,}"
            f"{middle['cpu_s']:8.2f}{middle['peak_rss_mib']:10}{f'x{ratio:.2f}' if ratio else '-':>15}"
        )
    if "missing" in found:
        lines.append(f"js-net is left out: {found['missing']}")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--verbose", action="store_true", help="show what the peers write to standard error")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        asyncio.run(work(json.loads(options.worker)))
        return
    if options.messages < 1 or options.rounds < 1:
        parser.error("--messages and --rounds are at least 1")
    found = asyncio.run(measure(options))
    print(json.dumps(found) if options.json else table(found))


if __name__ == "__main__":
    main()
