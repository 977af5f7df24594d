"""Killed without warning in the middle of its work, then opened again: nothing that was acknowledged is gone."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ssb_rtc.feeds import validate
from ssb_rtc.storage.database import open_database
from ssb_rtc.storage.log import Log
from tests.storage.feedmaker import Store, feed_of, keys_of, raws

WORKER = """
import asyncio, sys
from pathlib import Path
from tests.storage.feedmaker import Store, feed_of, keys_of, raws

async def publish(store):
    number = 0
    while True:
        stored = await store.author.publish({"type": "post", "text": "x" * 300, "number": number})
        number += 1
        print("own", stored.sequence, stored.key, flush=True)

async def ingest(store):
    for number in range(2, 60):
        for start in range(0, 40, 8):
            await store.ingest.add(raws(feed_of(number)[start:start + 8]), "test")
            print("other", number, start + 8, flush=True)

async def main():
    store = Store(Path(sys.argv[1]), keys_of(1))
    await asyncio.gather(publish(store), ingest(store))

asyncio.run(main())
"""


@pytest.mark.parametrize("after_lines", [1, 40, 250])
async def test_killed_in_the_middle(tmp_path: Path, after_lines: int) -> None:
    path = tmp_path / "db"
    acknowledged: list[list[str]] = []
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent.parent,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            acknowledged.append(line.split())
            if len(acknowledged) == after_lines:
                process.send_signal(signal.SIGKILL)
                break
        acknowledged += [line.split() for line in process.stdout if line.endswith("\n")]
    own = [line for line in acknowledged if line[0] == "own"]
    log = Log(open_database(path, create=False))
    assert log.database.query("PRAGMA integrity_check") == [("ok",)]
    for _, sequence, key in own:
        stored = log.at(keys_of(1).id, int(sequence))
        assert stored is not None
        assert stored.key == key
    for number in {int(line[1]) for line in acknowledged if line[0] == "other"}:
        last = max(int(line[2]) for line in acknowledged if line[:2] == ["other", str(number)])
        assert [s.raw for s in log.read_feed(keys_of(number).id, 0, last)] == raws(feed_of(number)[:last])
    for feed, head in log.heads().items():
        at = None
        for stored in log.read_feed(feed):
            at = validate.check(at, stored.value()).head
        assert at == head
    log.database.close()

    store = Store(path, keys_of(1))
    before = store.log.head(keys_of(1).id)
    published = await store.author.publish({"type": "post", "text": "after"})
    assert published.value()["previous"] == (before.id if before else None)
    assert store.forks.all() == []
    await store.close()
