"""Follows and blocks beside ssb-friends: the same graph, the same hops, and what a block does to a link."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc.config import Settings
from ssb_rtc.errors import ConnectFailed
from ssb_rtc.feeds import validate
from ssb_rtc.feeds.hops import HopsFrom
from ssb_rtc.feeds.keys import Keys, keys_from_seed
from ssb_rtc.feeds.message import create
from ssb_rtc.feeds.validate import Checked
from ssb_rtc.peer import Peer
from ssb_rtc.storage.folder import secret_path
from ssb_rtc.storage.identity import create_identity
from ssb_rtc.types import FeedId
from tests.interop.jspeer import JsPeer, require_node
from tests.interop.processes import RigFailure

pytestmark = pytest.mark.js

FRIENDS = Path(__file__).with_name("friends.cjs")
LIMIT_S = 60.0
EDGES = 400
HOPS = 3
CONTENTS: list[dict[str, Any]] = [
    *[{"following": True}] * 4,
    {"following": False},
    {"following": "yes"},
    {"blocking": True},
    {"blocking": False},
    {"flagged": {"reason": "spam"}},
    {"following": True, "blocking": True},
    {"following": False, "blocking": True},
]


def contacts(people: list[Keys], seed: int) -> list[Checked]:
    """Signed contact messages, as random as a small town."""
    chance = random.Random(seed)
    heads: dict[str, validate.Head] = {}
    made: list[Checked] = []
    for at in range(EDGES):
        one, other = chance.sample(people, 2)
        content = {"type": "contact", "contact": other.id, **chance.choice(CONTENTS)}
        head = heads.get(one.id)
        value = create(
            one,
            content,
            previous=head.id if head else None,
            sequence=head.sequence + 1 if head else 1,
            timestamp_ms=1_600_000_000_000 + at,
        )
        made.append(validate.check(head, value))
        heads[one.id] = made[-1].head
    return made


async def test_the_same_messages_make_the_same_graph_and_the_same_hops(node_packages: Path, tmp_path: Path) -> None:
    seeds = [bytes([number]) * 32 for number in range(1, 61)]
    people = [keys_from_seed(seed) for seed in seeds]
    messages = contacts(people, seed=5)
    (tmp_path / "messages.jsonl").write_text("\n".join(json.dumps(message.value) for message in messages))
    asked: list[dict[str, Any]] = [{"start": one.id, "max": most} for one in people[:20] for most in (1, 2, 3, 4)]
    asked += [{"start": one.id, "max": 2, "reverse": True} for one in people[:20]] + [{"max": 9}]
    options = {
        "path": str(tmp_path / "js"),
        "messages": str(tmp_path / "messages.jsonl"),
        "seed": base64.b64encode(seeds[0]).decode(),
        "hops": HOPS,
        "asked": asked,
    }
    process = await asyncio.create_subprocess_exec(
        require_node(), str(FRIENDS), json.dumps(options), stdout=asyncio.subprocess.PIPE, limit=1 << 24
    )
    async with asyncio.timeout(LIMIT_S):
        answer, _ = await process.communicate()
    assert process.returncode == 0
    theirs = json.loads(answer)

    ours = tmp_path / "ours"
    ours.mkdir()
    create_identity(secret_path(ours), people[0])
    await _as_theirs(ours, theirs, asked, messages, people[0])
    await _as_theirs(ours, theirs, asked, [], people[0])  # and from the disk again


async def _as_theirs(
    folder: Path, theirs: dict[str, Any], asked: list[dict[str, Any]], messages: list[Checked], own: Keys
) -> None:
    async with Peer(folder, Settings(hops=HOPS), online=False) as peer, peer.local_link() as link:
        assert peer.id == own.id
        kept = HopsFrom(peer.context.log.graph, own.id, HOPS)
        await peer.context.ingest.add([message.raw for message in messages], "test")
        assert await link.call("friends.graph") == theirs["graph"]
        assert await link.call("friends.hops") == theirs["own"] == kept.values
        for question, answer in zip(asked, theirs["hops"], strict=True):
            assert await link.call("friends.hops", question) == answer, question
        assert set(theirs["own"].values()) >= {0, 1, 2, 3, -2, -3}


async def test_a_block_on_either_side_ends_the_link_and_replication(node_packages: Path, tmp_path: Path) -> None:
    network_key = os.urandom(32)
    async with AsyncExitStack() as stack:
        js = await stack.enter_async_context(await JsPeer.start(tmp_path / "js", network_key=network_key))
        ours = await stack.enter_async_context(Peer(tmp_path / "ours", Settings(net=0, network_key=network_key)))
        js_id = FeedId(js.id)
        await ours.friends.follow(js_id)
        await js.follow(ours.id)
        await js.connect(ours.addresses[0])
        await js.reached({ours.id: 1})
        await _until(lambda: js_id in ours.context.log.heads())

        await ours.friends.block(js_id)
        await js.parted(ours.id)
        with pytest.raises(RigFailure):
            await js.connect(ours.addresses[0])
        held = ours.context.log.heads()[js_id].sequence
        await js.publish({"type": "post", "text": "not for you"})
        assert await ours.limits.purge(js_id) == held

        await ours.friends.unblock(js_id)
        await ours.friends.follow(js_id)
        await js.connect(ours.addresses[0])
        await _until(lambda: js_id in ours.context.log.heads() and ours.context.log.heads()[js_id].sequence == held + 1)

        await js.block(ours.id)
        await js.parted(ours.id)
        await _until(lambda: not ours.context.links.live())
        with pytest.raises(ConnectFailed):
            await ours.connect(js.address)
        known = (await js.clock())[ours.id]
        await ours.publish({"type": "post", "text": "not for them"})
        assert (await js.clock())[ours.id] == known


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.02)
