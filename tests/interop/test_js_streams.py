"""The streams over the log: our answers beside those of ssb-server (ssb-db 19) and ssb-db2, over the same messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc import Peer
from ssb_rtc.errors import RemoteCallError
from ssb_rtc.transport.link import Link
from tests.interop.jspeer import require_node
from tests.interop.processes import LineProcess
from tests.storage.feedmaker import keys_of, linking_feed, raws

pytestmark = pytest.mark.js

SCRIPT = Path(__file__).with_name("streams.cjs")
LIMIT_S = 60.0
ONCE = {"get", "getLatest", "latestSequence", "getVectorClock"}
ANNA, BERT, CARL = (keys_of(number).id for number in (1, 2, 3))
MESSAGES = [*linking_feed(1)[:20], *linking_feed(2)[:40], *linking_feed(1)[20:]]
TARGET, LAST = linking_feed(1)[4].key, linking_feed(1)[-1].key

LEGACY: list[tuple[Any, ...]] = [
    ("createLogStream",),
    ("createLogStream", {"limit": 7}),
    ("createLogStream", {"reverse": True, "values": False, "limit": 7}),
    ("createLogStream", {"keys": False, "limit": 7}),
    ("createUserStream", {"id": ANNA}),
    ("createUserStream", {"id": ANNA, "gt": 3, "lt": 6, "values": False}),
    ("createUserStream", {"id": ANNA, "gte": 3, "lte": 6, "keys": False}),
    ("createUserStream", {"id": ANNA, "gt": 50, "reverse": True, "limit": 4, "values": False}),
    ("createUserStream", {"id": CARL}),
    ("messagesByType", "vote"),
    ("messagesByType", {"type": "contact", "values": False, "reverse": True, "limit": 3}),
    ("messagesByType", {"type": "absent"}),
    ("latestSequence", ANNA),
    ("latestSequence", CARL),
    ("getVectorClock",),
    ("getLatest", BERT),
    ("get", LAST),
    ("get", {"id": LAST, "meta": True}),
    ("get", "%" + "A" * 43 + "=.sha256"),
]
UNORDERED: list[tuple[Any, ...]] = [
    ("links", {"dest": TARGET}),
    ("links", {"dest": TARGET, "rel": "branch"}),
    ("links", {"source": ANNA, "dest": CARL, "values": True}),
    ("links", {"source": BERT, "dest": "&"}),
    ("links", {"source": "@", "dest": "%", "rel": "vote"}),
    ("links", {"dest": TARGET, "keys": False}),
    ("links", {"rel": "mentions"}),
    ("links", {"dest": TARGET, "meta": False, "keys": False, "values": True}),
    ("latest",),
]
MODERN_UNORDERED: list[tuple[Any, ...]] = [
    ("createLogStream",),
    ("createLogStream", {"values": False}),
    ("createLogStream", {"keys": False}),
    ("getVectorClock",),
    ("get", LAST),
    ("get", {"id": LAST, "meta": True}),
    ("get", "%" + "A" * 43 + "=.sha256"),
]
"""ssb-db2 gives the log by claimed time."""


async def theirs(set_: str, folder: Path, calls: Sequence[Sequence[Any]]) -> list[Any]:
    """What the JavaScript stack answers."""
    options = json.dumps({"set": set_, "path": str(folder)})
    process = await LineProcess.start(f"{set_} streams", [require_node(), str(SCRIPT), options])
    try:
        await process.write_line(json.dumps([message.value for message in MESSAGES]))
        await process.write_line(json.dumps(calls))
        answers: list[Any] = json.loads(await process.read_line(LIMIT_S))
        return answers
    finally:
        await process.stop()


async def ours(folder: Path, calls: Sequence[Sequence[Any]]) -> list[Any]:
    """The same of ours."""
    async with Peer(folder, online=False) as peer, peer.local_link() as link:
        for some in (MESSAGES[:20], MESSAGES[20:60], MESSAGES[60:]):
            await peer.context.ingest.add(raws(some), "test")
        return [await answer(link, name, *args) for name, *args in calls]


async def answer(link: Link, name: str, *args: Any) -> Any:
    try:
        if name in ONCE:
            return await link.call(name, *args)
        return [item async for item in link.source(name, *args)]
    except RemoteCallError as error:
        return {"error": str(error)}


def comparable(found: Any, *, ordered: bool) -> Any:
    """Without the times of arrival and the words of errors."""
    if isinstance(found, list):
        items = [comparable(item, ordered=ordered) for item in found]
        return items if ordered else sorted(items, key=json.dumps)
    if isinstance(found, dict) and "error" in found:
        return "an error"
    if isinstance(found, dict) and {"key", "value", "timestamp"} <= found.keys():
        return {name: value for name, value in found.items() if name in {"key", "value"}}
    return found


async def test_as_ssb_server_does(node_packages: Path, tmp_path: Path) -> None:
    calls = [*LEGACY, *UNORDERED]
    them, us = await theirs("legacy", tmp_path / "js", calls), await ours(tmp_path / "ours", calls)
    for call, one, other in zip(calls, them, us, strict=True):
        ordered = call in LEGACY
        assert comparable(other, ordered=ordered) == comparable(one, ordered=ordered), call


async def test_as_ssb_db2_does(node_packages: Path, tmp_path: Path) -> None:
    them = await theirs("modern", tmp_path / "js", MODERN_UNORDERED)
    us = await ours(tmp_path / "ours", MODERN_UNORDERED)
    for call, one, other in zip(MODERN_UNORDERED, them, us, strict=True):
        assert comparable(other, ordered=False) == comparable(one, ordered=False), call
