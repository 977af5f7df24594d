"""A fresh peer fetches 1,000 feeds of 50 messages over TCP: from one peer, and from five at once that hold the same.

    python -m bench.bench_many_feeds [--feeds 1000] [--messages 50] [--sources 5] [--rounds 3] [--json]

The sources are processes of their own, the reader is this one. The two ways take turns; medians. Redundancy is what
arrived (taken, held already, or out of order) over what was needed. Everybody checks every signature; nobody calls
fsync for messages of others.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.bench_replicate import Spawner
from ssb_rtc.config import Settings
from ssb_rtc.feeds.canonical import compact
from ssb_rtc.feeds.keys import Keys, keys_from_seed
from ssb_rtc.feeds.message import create, message_id
from ssb_rtc.peer import Peer
from ssb_rtc.storage.folder import database_path, secret_path
from ssb_rtc.storage.identity import create_identity
from ssb_rtc.storage.intake import Intake
from ssb_rtc.types import FeedId, JsonObject

TEXT = "The quick brown fox jumps over the lazy dog, and again. " * 9
"""Makes messages of about 830 bytes."""
PEER_SEED = 2**40
RUN_LIMIT_S = 600.0


@dataclass(frozen=True)
class Sample:
    """One run: what the reader needed, and how many messages came for each that it needed."""

    sources: int
    seconds: float
    messages_s: float
    reader_cpu_s: float
    redundancy: float
    shares: list[int]


def authors(feeds: int) -> list[Keys]:
    """Who wrote the feeds."""
    return [keys_from_seed(number.to_bytes(32, "big")) for number in range(1, feeds + 1)]


def feed(keys: Keys, messages: int) -> list[bytes]:
    """One signed feed."""
    made: list[bytes] = []
    previous = None
    for sequence in range(1, messages + 1):
        content = {"type": "post", "text": f"{TEXT}{sequence}"}
        value = create(keys, content, previous=previous, sequence=sequence, timestamp_ms=1_600_000_000_000 + sequence)
        previous = message_id(value)
        made.append(compact(value))
    return made


async def fill(folder: Path, number: int, feeds: int, messages: int) -> None:
    """The folder of a peer that holds all feeds."""
    folder.mkdir()
    create_identity(secret_path(folder), keys_from_seed((PEER_SEED + number).to_bytes(32, "big")))
    async with Peer(folder, Settings(), online=False) as peer:
        for keys in authors(feeds):
            await peer.context.ingest.add(feed(keys, messages), "the bench")


def copy(source: Path, folder: Path, number: int) -> None:
    """The same for another identity."""
    folder.mkdir()
    create_identity(secret_path(folder), keys_from_seed((PEER_SEED + number).to_bytes(32, "big")))
    shutil.copy(database_path(source), database_path(folder))


class Reader:
    """A fresh peer that counts what arrives."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.intakes: list[Intake] = []
        ingest = peer.context.ingest
        make, self.committed = ingest.intake, asyncio.Event()

        def intake(*arguments: Any, **options: Any) -> Intake:
            self.intakes.append(make(*arguments, **options))
            return self.intakes[-1]

        ingest.intake = intake  # type: ignore[method-assign]
        ingest.subscribe(lambda _stored: self.committed.set())

    async def holds(self, messages: int) -> None:
        """Waits until that many messages of others are committed."""
        while self.peer.context.log.count() < messages:
            self.committed.clear()
            await self.committed.wait()


@asynccontextmanager
async def fresh(folder: Path, follows: list[FeedId]) -> AsyncIterator[Reader]:
    """A reader that follows these feeds."""
    async with Peer(folder, Settings(net=0), online=False) as peer:
        for author in follows:
            await peer.publish({"type": "contact", "contact": author, "following": True})
        reader = Reader(peer)
        await peer.start()
        yield reader


async def fetch(folder: Path, addresses: list[str], feeds: int, messages: int) -> Sample:
    """One run: from the first dial until all is committed."""
    needed = feeds * messages
    async with fresh(folder, [keys.id for keys in authors(feeds)]) as reader:
        own = reader.peer.context.log.count()
        began, cpu_before_s = time.perf_counter(), time.process_time()
        connecting = [asyncio.create_task(reader.peer.connect(address)) for address in addresses]
        async with asyncio.timeout(RUN_LIMIT_S):
            await reader.holds(own + needed)
        seconds, used_s = time.perf_counter() - began, time.process_time() - cpu_before_s
        await asyncio.gather(*connecting)
        await asyncio.sleep(0.5)  # what is still on its way is redundant
        arrived = sum(i.accepted + i.duplicates + i.gaps for i in reader.intakes)
        shares = [i.accepted for i in reader.intakes]
    return Sample(len(addresses), seconds, needed / seconds, used_s, arrived / needed, shares)


async def measure(options: argparse.Namespace) -> JsonObject:
    """All rounds, one source and several in turns."""
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="ssb-rtc-bench-") as name:
        folder = Path(name)
        async with AsyncExitStack() as stack:
            await fill(folder / "source-0", 0, options.feeds, options.messages)
            addresses = []
            spawner = Spawner(options.verbose)
            for number in range(options.sources):
                path = folder / f"source-{number}"
                if number:
                    copy(folder / "source-0", path, number)
                source = await stack.enter_async_context(spawner.ours(f"source {number}", path))
                addresses.append((await source.command("listen"))[0])
            for turn in range(options.rounds):
                for count in dict.fromkeys((1, options.sources)):
                    reader = folder / f"reader-{turn}-{count}"
                    samples.append(await fetch(reader, addresses[:count], options.feeds, options.messages))
                    await asyncio.to_thread(shutil.rmtree, reader)
    return {
        "bench": "many_feeds",
        "feeds": options.feeds,
        "messages_a_feed": options.messages,
        "samples": [asdict(sample) for sample in samples],
        "medians": [medians([s for s in samples if s.sources == n]) for n in dict.fromkeys((1, options.sources))],
    }


def medians(samples: list[Sample]) -> JsonObject:
    """The middle of each figure."""
    return {
        "sources": samples[0].sources,
        "seconds": round(statistics.median(s.seconds for s in samples), 2),
        "messages_s": round(statistics.median(s.messages_s for s in samples)),
        "reader_cpu_s": round(statistics.median(s.reader_cpu_s for s in samples), 2),
        "redundancy": round(statistics.median(s.redundancy for s in samples), 3),
        "redundancy_most": round(max(s.redundancy for s in samples), 3),
    }


def table(found: JsonObject) -> str:
    """For people."""
    lines = [
        f"a fresh peer fetches {found['feeds']} feeds of {found['messages_a_feed']} messages, medians",
        "{:>8}{:>9}{:>12}{:>14}{:>12}{:>8}".format(
            "sources", "seconds", "messages/s", "reader CPU s", "redundancy", "most"
        ),
    ]
    lines += [
        f"{m['sources']:8}{m['seconds']:9.2f}{m['messages_s']:12,}{m['reader_cpu_s']:14.2f}{m['redundancy']:12.3f}"
        f"{m['redundancy_most']:8.3f}"
        for m in found["medians"]
    ]
    lines.append(f"shares of the last round: {found['samples'][-1]['shares']}")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--feeds", type=int, default=1_000)
    parser.add_argument("--messages", type=int, default=50)
    parser.add_argument("--sources", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--verbose", action="store_true", help="show what the peers write to standard error")
    options = parser.parse_args()
    if min(options.feeds, options.messages, options.sources, options.rounds) < 1:
        parser.error("all numbers are at least 1")
    found = asyncio.run(measure(options))
    print(json.dumps(found) if options.json else table(found))


if __name__ == "__main__":
    main()
