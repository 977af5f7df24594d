"""The rig itself: two stock JavaScript peers, and the npm signalhub, before ours is measured against them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import aiohttp
import pytest

from tests.interop.jspeer import JsPeer
from tests.interop.npmhub import NpmHub
from tests.interop.processes import LineProcess, RigFailure

pytestmark = pytest.mark.js


async def test_an_old_and_a_new_peer_replicate(node_packages: Path, tmp_path: Path) -> None:
    network_key = os.urandom(32)
    old, new = await asyncio.gather(
        JsPeer.start(tmp_path / "old", kind="legacy", name="old", network_key=network_key),
        JsPeer.start(tmp_path / "new", kind="modern8", name="new", network_key=network_key),
    )
    async with old, new:
        await old.follow(new.id)
        await new.follow(old.id)
        assert await old.publish_many(49) == 50
        assert await old.connect(new.ws_address) == new.id
        await asyncio.gather(old.reached({new.id: 1}), new.reached({old.id: 50}))
        assert await new.ids(old.id) == await old.ids(old.id)
        live = await old.publish({"type": "post", "text": "live"})
        await new.reached({old.id: 51})
        assert (await new.ids(old.id))[-1] == live["key"]
        assert (await new.hops())[old.id] == 1


async def test_another_network_is_refused(node_packages: Path, tmp_path: Path) -> None:
    one, other = await asyncio.gather(
        JsPeer.start(tmp_path / "one", network_key=os.urandom(32)),
        JsPeer.start(tmp_path / "other", network_key=os.urandom(32)),
    )
    async with one, other:
        with pytest.raises(RigFailure):
            await one.connect(other.address)
        assert await one.peers() == []


async def test_a_seed_is_an_identity_and_a_folder_keeps_the_feed(node_packages: Path, tmp_path: Path) -> None:
    seed = bytes(range(32))
    first = await JsPeer.start(tmp_path, seed=seed)
    async with first:
        await first.publish_many(3)
        await first.close()
    async with await JsPeer.start(tmp_path, seed=seed) as second:
        assert second.id == first.id
        assert await second.clock() == {first.id: 3}


async def test_failures_carry_the_words_of_the_process(node_packages: Path, tmp_path: Path) -> None:
    peer = await JsPeer.start(tmp_path / "peer")
    async with peer:
        with pytest.raises(RigFailure, match="no command nonsense"):
            await peer.command("nonsense")
        with pytest.raises(RigFailure, match="within"):
            await peer.command("reached", clock={peer.id: 9}, timeout_s=0.2)
        await peer.kill()
        with pytest.raises(RigFailure):
            await peer.clock()
    process = await LineProcess.start("it", ["node", "-e", "console.error('my last words'); process.exit(3)"])
    with pytest.raises(RigFailure, match=r"exit code 3[\s\S]*my last words"):
        await process.read_line(10.0)
    await process.stop()


async def test_the_npm_signalhub_carries_a_message(node_packages: Path) -> None:
    async with (
        await NpmHub.start() as hub,
        aiohttp.ClientSession() as session,
        session.get(f"{hub.url}/v1/app/channel") as subscription,
    ):
        async with session.post(f"{hub.url}/v1/app/channel", data='{"a":1}') as posted:
            assert posted.status == 200
        line = await asyncio.wait_for(subscription.content.readline(), 5)
        assert line == b'data: {"a":1}\n'


async def test_two_processes_replicate_over_webrtc_swarm(node_packages: Path, tmp_path: Path) -> None:
    async with await NpmHub.start() as hub:
        swarm = {"hubs": [hub.url], "app": "rig"}
        # One after the other: webrtc-swarm has no rule for two offers that cross.
        async with (
            await JsPeer.start(tmp_path / "writer", name="writer", swarm=swarm) as writer,
            await JsPeer.start(tmp_path / "reader", name="reader", swarm=swarm) as reader,
        ):
            await reader.follow(writer.id)
            await writer.publish_many(20)
            await reader.reached({writer.id: 20})
            assert await reader.ids(writer.id) == await writer.ids(writer.id)
