"""What strangers can try at a whole peer, beside its replication: rpc, blobs that are none, the owner's questions."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from ssb_rtc.errors import RemoteCallError
from ssb_rtc.feeds.message import create
from ssb_rtc.types import JsonObject
from ssb_rtc.wire.manifest import Kind, Manifest
from tests.e2e.hostile import Refuses, Victim, attacker_id, attacker_keys, calling, linked, victim
from tests.e2e.processes import eventually
from tests.e2e.test_hostile_replication import holds, replicating, send

FIRST_SYNC = 200_000
"""More messages than a peer fetches without a question."""
OPEN_TO_STRANGERS = {
    "whoami",
    "manifest",
    "createHistoryStream",
    "ebt.replicate",
    "gossip.ping",
    "blobs.get",
    "blobs.getSlice",
    "blobs.has",
    "blobs.createWants",
    "peers.goodbye",
    "peers.tell",
    "welcome.use",
    "hubs.tell",
    "introductions.pass",
    "introductions.take",
    "inboxes.tell",
}
NAMES_OF_NOTHING: list[Any] = [
    ["__proto__", "x"], ["constructor"], ["toString"], ["whoami", ""], [""], [], ["blobs"], ["whoami", "__proto__"],
    ["a.b"], ["rtc.status"], ["x"] * 1_000, ["\ud800"], [["publish"]], "publish", None, 5, {"publish": 1},
]  # fmt: skip


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """One peer with an open port, which takes all the attacks of this file."""
    with victim(tmp_path_factory.mktemp("hostile") / "peer", "--net", "0") as running:
        yield running


async def test_strangers_get_no_further_than_the_few_methods_that_are_theirs(peer: Victim) -> None:
    async with peer.watched(), linked(peer) as link:
        manifest = Manifest.from_json(await link.call("manifest"))
        refused = set()
        for name in manifest:
            dotted = ".".join(name)
            try:
                if manifest.kind_of(name) in (Kind.ASYNC, Kind.SYNC):
                    await link.call(dotted)
                elif dotted not in OPEN_TO_STRANGERS:
                    async with asyncio.timeout(5):
                        await link.duplex(dotted).read_batch()
            except RemoteCallError as refusal:
                if "is not in list of allowed methods" in str(refusal):
                    refused.add(dotted)
        assert {".".join(name) for name in manifest} - refused == OPEN_TO_STRANGERS


async def test_names_of_nothing_are_refused(peer: Victim) -> None:
    async with peer.watched():
        for name in NAMES_OF_NOTHING:
            async with calling(peer) as caller:
                await caller.shake()
                await caller.packet(1, {"name": name, "args": [], "type": "async"})
                heard = b""
                async with asyncio.timeout(5):
                    while data := await caller.reader.read(1 << 16):  # a refusal, or a link that ends
                        heard += caller.codec.open(data)
                        if b"not in list" in heard or b'"Error"' in heard:
                            break
                assert b'"id"' not in heard


async def test_a_stranger_s_clock_does_not_count_in_the_first_sync(peer: Victim) -> None:
    friend, far = attacker_keys(), attacker_id()
    content: JsonObject = {"type": "contact", "contact": far, "following": True}
    follows = create(friend, content, previous=None, sequence=1, timestamp_ms=1_700_000_000_000)
    await peer.follow(friend.id)
    async with peer.watched():
        async with replicating(peer, friend) as (_, duplex):
            await send(duplex, {friend.id: 2}, follows)
            await holds(peer, friend, 1)
        async with replicating(peer) as (link, lying):
            await send(lying, {far: 2**31 - 2})
            assert await link.call("whoami") == {"id": peer.id}
            async with replicating(peer, friend) as (_, duplex):
                await send(duplex, {friend.id: 2, far: 2 * FIRST_SYNC})

                async def asked() -> Any:
                    return (await peer.ask("sync.status"))["question"]

                question = await eventually("the question", asked, limit_s=20)
        assert (question["messages"], question["feeds"]) == (FIRST_SYNC, 1)
        await peer.ask("sync.accept")


async def test_wrong_blobs_for_strangers_do_not_fill_the_owner_s_log(peer: Victim) -> None:
    blobs = [f"&{base64.b64encode(os.urandom(32)).decode()}.sha256" for _ in range(100)]
    served: list[str] = []

    def saying(number: int) -> Refuses:
        async def tell(_link: Any, *_args: Any) -> AsyncIterator[JsonObject]:
            yield dict.fromkeys(blobs, number)
            await asyncio.get_running_loop().create_future()

        async def wrong(_link: Any, options: Any, *_args: Any) -> AsyncIterator[bytes]:
            served.append(options["key"])
            yield bytes(1_000)

        return Refuses({"blobs.createWants": tell, "blobs.get": wrong})

    async with peer.watched():
        said = len(peer.stderr)
        async with linked(peer, router=saying(-1)), linked(peer, router=saying(1_000)):

            async def all_served() -> bool:
                return len(set(served)) == len(blobs)

            await eventually("asking for every blob", all_served, limit_s=20)
        assert len(peer.stderr[said:].splitlines()) < 10
