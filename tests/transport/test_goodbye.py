"""Two sides that close at the same time: each one's goodbye is what the other waits for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ssb_rtc.testing import Swarm, Way
from ssb_rtc.transport import rpc_link


@pytest.mark.parametrize("way", ["memory", "loopback"])
async def test_both_sides_close_at_once_without_waiting_for_the_limit(
    tmp_path: Path, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc_link, "GOODBYE_LIMIT_S", 3600.0)
    async with Swarm(tmp_path, way=way) as swarm:
        ann, ben = await swarm.peers("ann", "ben")
        await swarm.connect("line")
        links = [ann.rpc(ben.id), ben.rpc(ann.id)]
        async with asyncio.timeout(30):
            await asyncio.gather(*(link.close("enough") for link in links))


async def test_programs_that_share_a_loop_end_at_once(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_link, "GOODBYE_LIMIT_S", 3600.0)
    peers = await swarm.peers("ann", "ben", "cleo")
    await swarm.connect("full")
    async with asyncio.timeout(30):
        await asyncio.gather(*(swarm.stop(peer) for peer in peers))
