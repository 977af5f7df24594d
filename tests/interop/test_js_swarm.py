"""A stock JavaScript peer in Node that meets ours with webrtc-swarm: they replicate over WebRTC, whoever dials."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.interop.jspeer import JsPeer
from tests.interop.meeting import SWARM_APP, HubKind, hub_of, meet_and_replicate, our_peer_on

pytestmark = [pytest.mark.js, pytest.mark.timeout(120)]


@pytest.mark.parametrize(("kind", "dialler"), [("our hub", "theirs"), ("npm hub", "ours")])
async def test_replicates_both_ways_and_live(node_packages: Path, tmp_path: Path, kind: HubKind, dialler: str) -> None:
    they_dial = dialler == "theirs"
    async with (
        hub_of(kind, tmp_path / "hub") as hub,
        our_peer_on(hub, tmp_path / "ours") as ours,
        await JsPeer.start(
            tmp_path / "js", swarm={"hubs": [hub], "app": SWARM_APP, "quiet": they_dial, "config": {"iceServers": []}}
        ) as theirs,
    ):
        await meet_and_replicate(hub, ours, theirs, they_dial=they_dial)
        await theirs.disconnect(ours.id)
        await asyncio.gather(ours.parted(theirs.id), theirs.parted(ours.id))
