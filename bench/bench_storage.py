"""The log with a million messages: opening it and asking it; and publishing one after another, beside ssb-db2.

    python bench/bench_storage.py [--messages 1000000] [--publish 5000] [--rounds 3] [--json] [--only log | publish]

The log is made by writing rows, without signatures: what is measured does not look at them. 1,000 authors, runs of 50
messages of one author, 830 bytes each; three of four are posts, and every fifth links to one of 50 messages that many
talk about. Questions are asked of a log whose file the system has in memory, each to 200 authors or 50 targets.

Publishing: one message after another, each awaited, of 830 bytes; ours returns when killing the process can't lose the
message (it is in SQLite's write-ahead log), ssb-db2's `db.publish` when it is in the log's memory. Both sync in groups
in the background. A process of its own for each round; they take turns. Needs Node with the packages of tests/interop
for JavaScript's side.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from ssb_rtc.config import Settings
from ssb_rtc.feeds.canonical import compact
from ssb_rtc.feeds.refs import feed_id, msg_id
from ssb_rtc.peer import Peer
from ssb_rtc.storage import folder as files
from ssb_rtc.storage.database import open_database
from ssb_rtc.storage.index_links import LinkIndex
from ssb_rtc.storage.indexes import Indexes
from ssb_rtc.storage.log import Log
from ssb_rtc.storage.query import Queries, Query
from ssb_rtc.types import FeedId

ROOT: Final = Path(__file__).resolve().parent.parent
JS_PUBLISHER: Final = Path(__file__).with_name("publish.cjs")
AUTHORS: Final = 1_000
RUN_OF_ONE: Final = 50
ROWS_AT_ONCE: Final = 10_000
TEXT: Final = "The quick brown fox jumps over the lazy dog, and again. " * 20
TYPES: Final = ("post", "post", "post", "vote")
TARGETS: Final = [msg_id(sha256(b"target %d" % number).digest()) for number in range(50)]


def author(number: int) -> FeedId:
    """One of the AUTHORS."""
    return feed_id(sha256(b"author %d" % number).digest())


# --- a great log -----------------------------------------------------------------------------------------------------


def fill(path: Path, messages: int, show: Callable[[int], None]) -> None:
    """Writes the rows of a log; `show` is told how many there are."""
    database = open_database(path, create=True)
    connection = database.connection
    sequences = [0] * AUTHORS
    with database.transaction():
        connection.executemany("INSERT INTO types(id, name) VALUES (?, ?)", [(1, "post"), (2, "vote")])
        rows = [(number + 1, author(number)) for number in range(AUTHORS)]
        connection.executemany("INSERT INTO authors(id, feed) VALUES (?, ?)", rows)
    for start in range(0, messages, ROWS_AT_ONCE):
        rows = [message_row(at, sequences) for at in range(start, min(messages, start + ROWS_AT_ONCE))]
        with database.transaction():
            connection.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        show(start + len(rows))
    with database.transaction():
        connection.execute(
            "UPDATE authors SET head_sequence = m.sequence, head_key = m.key, head_timestamp = 0 FROM messages AS m"
            " JOIN (SELECT max(rowid) AS newest FROM messages GROUP BY author) ON m.rowid = newest"
            " WHERE authors.id = m.author"
        )
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def message_row(at: int, sequences: list[int]) -> tuple[Any, ...]:
    """The row of message `at` (from 0) of the log."""
    number = at // RUN_OF_ONE * 7919 % AUTHORS
    sequences[number] += 1
    key = sha256(b"%d" % at).digest()
    content: dict[str, Any] = {"type": TYPES[at % len(TYPES)], "text": TEXT[:420]}
    if at % 5 == 0:
        content["root"] = TARGETS[at // 5 % len(TARGETS)]
    value = {
        "previous": None if sequences[number] == 1 else msg_id(key),
        "sequence": sequences[number],
        "author": author(number),
        "timestamp": 1514517067954 + at,
        "hash": "sha256",
        "content": content,
        "signature": "A" * 88 + ".sig.ed25519",
    }
    type_number = 1 + (content["type"] == "vote")
    short = int.from_bytes(key[:8], "big", signed=True)
    return at + 1, number + 1, sequences[number], key, short, type_number, 1700000000000 + at, compact(value)


async def measure_log(messages: int, show: Callable[[str, int], None]) -> dict[str, Any]:
    """Builds, opens and asks."""
    found: dict[str, Any] = {"messages": messages}
    with tempfile.TemporaryDirectory() as folder:
        files.create(Path(folder))
        path = files.database_path(Path(folder))
        fill(path, messages, lambda done: show("writing rows", done))
        found["file_mib"] = round(path.stat().st_size / 2**20)
        openings = []
        for _ in range(5):
            began = time.perf_counter()
            async with Peer(folder, online=False):
                openings.append(time.perf_counter() - began)
        found["opening a peer_ms"] = spread_ms(openings)
        log = Log(open_database(path, create=False))
        indexes = Indexes(log, [LinkIndex()])
        queries = Queries(log, indexes, lambda _listener: lambda: None)
        began = time.perf_counter()
        await indexes.rebuild(progress=lambda done, _total: show("indexing links", done))
        found["indexing_s"] = round(time.perf_counter() - began, 1)
        authors = [author(number * 5) for number in range(min(200, AUTHORS // 5))]
        kinds: dict[str, list[Query]] = {
            "last 100 of an author": [Query(author=feed, newest_first=True) for feed in authors],
            "last 100 posts": [Query(type="post", newest_first=True)] * 50,
            "last 100 votes of an author": [Query(author=feed, type="vote", newest_first=True) for feed in authors],
            "last 100 links to a message": [Query(links_to=target, newest_first=True) for target in TARGETS],
            "first 100 links as root": [Query(links_to=target, rel="root") for target in TARGETS],
        }
        for name, asked in kinds.items():
            took = []
            for query in asked:
                began = time.perf_counter()
                answer = await queries.read(query, limit=100)
                took.append(time.perf_counter() - began)
                assert answer, name
            found[f"{name}_ms"] = spread_ms(took)
        log.database.close()
        found["links_mib"] = round((path.stat().st_size / 2**20) - found["file_mib"])
    return found


def spread_ms(seconds: list[float]) -> dict[str, float]:
    """Median, least and most, in milliseconds."""
    median, low, high = statistics.median(seconds), min(seconds), max(seconds)
    return {"median": round(1000 * median, 2), "least": round(1000 * low, 2), "most": round(1000 * high, 2)}


# --- publishing ------------------------------------------------------------------------------------------------------


async def publish_ours(folder: Path, count: int, warm_up: int) -> float:
    """Seconds for `count` messages, one after another."""
    async with Peer(folder, Settings(), online=False) as peer:
        author = peer.context.author
        content = {"type": "post", "text": TEXT[:450]}
        for _ in range(warm_up):
            await author.publish(content)
        began = time.perf_counter()
        for _ in range(count):
            await author.publish(content)
        return time.perf_counter() - began


def worker(folder: str, count: str, warm_up: str) -> None:
    """This file as a process of its own."""
    seconds = asyncio.run(publish_ours(Path(folder), int(count), int(warm_up)))
    print(json.dumps({"seconds": seconds}))


def measure_publish(count: int, rounds: int, node_modules: Path, show: Callable[[str, int], None]) -> dict[str, Any]:
    """Both in turns."""
    warm_up = min(500, count)
    node = shutil.which("node")
    commands: dict[str, Callable[[str], list[str]]] = {
        "ours": lambda folder: [sys.executable, __file__, "--worker", folder, str(count), str(warm_up)],
    }
    found: dict[str, Any] = {"publishes": count, "rounds": rounds}
    if node is None or not (node_modules / "ssb-db2").is_dir():
        found["missing"] = "Node and the packages of tests/interop: run scripts/install_node.sh"
    else:
        program = [node, str(JS_PUBLISHER), str(node_modules.parent)]
        commands["ssb_db2"] = lambda folder: [*program, folder, str(count), str(warm_up), TEXT[:450]]
    rates: dict[str, list[float]] = {name: [] for name in commands}
    for round_ in range(rounds):
        for name, command in commands.items():
            with tempfile.TemporaryDirectory() as folder:
                done = subprocess.run(command(folder), stdout=subprocess.PIPE, check=True, timeout=300)
                rates[name].append(count / json.loads(done.stdout.splitlines()[-1])["seconds"])
        show("publishing, rounds", round_ + 1)
    found["messages_a_second"] = {
        name: {"median": round(statistics.median(all_)), "least": round(min(all_)), "most": round(max(all_))}
        for name, all_ in rates.items()
    }
    if "ssb_db2" in rates:
        pairs = zip(rates["ours"], rates["ssb_db2"], strict=True)
        found["ratio"] = round(statistics.median(ours / theirs for ours, theirs in pairs), 2)
    return found


# --- the command -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def progress_line() -> Iterator[Callable[[str, int], None]]:
    """One line on a terminal that says how far it is."""

    def show(what: str, done: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{what}: {done:,}\033[K")

    yield show
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")


def lines_of(found: dict[str, Any]) -> Iterator[str]:
    """The table."""
    log, publish = found.get("log"), found.get("publish")
    if log:
        yield f"a log of {log['messages']:,} messages: {log['file_mib']:,} MiB, index of links {log['links_mib']} MiB"
        yield f"  indexing links         {log['indexing_s']:>8} s"
        for name, times in log.items():
            if name.endswith("_ms"):
                what = name.removesuffix("_ms")
                yield f"  {what:<28}{times['median']:>8} ms   ({times['least']} to {times['most']})"
    if publish:
        yield f"{publish['publishes']:,} publishes one after another, median of {publish['rounds']} rounds"
        for name, rate in publish["messages_a_second"].items():
            yield f"  {name:<12}{rate['median']:>8,}/s   ({rate['least']:,} to {rate['most']:,})"
        yield f"  {publish['missing']}" if "missing" in publish else f"  ratio {publish['ratio']}"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--publish", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("log", "publish"))
    parser.add_argument("--node-modules", type=Path, default=ROOT / ".node" / "node_modules")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if min(options.messages, options.publish, options.rounds) < 1:
        parser.error("--messages, --publish and --rounds are at least 1")
    found: dict[str, Any] = {"bench": "storage"}
    with progress_line() as show:
        if options.only != "publish":
            found["log"] = asyncio.run(measure_log(options.messages, show))
        if options.only != "log":
            found["publish"] = measure_publish(options.publish, options.rounds, options.node_modules, show)
    sys.stdout.write(json.dumps(found) + "\n" if options.json else "\n".join(lines_of(found)) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:5])
    else:
        main()
