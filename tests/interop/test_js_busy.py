"""A stock JavaScript peer that offers to a full peer of ours is never told `busy`, which simple-peer would choke on."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc import Peer, Settings
from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.signalhub.client import HubClient, open_session
from ssb_rtc.testing import keys_of
from ssb_rtc.types import FeedId, HubUrl, peer_of
from ssb_rtc.wire import swarm
from tests.interop.jspeer import JsPeer
from tests.interop.npmhub import NpmHub
from tests.runtime.watching import LIMIT_S, Watched

pytestmark = pytest.mark.js


async def test_a_javascript_peer_never_hears_that_we_are_busy(node_packages: Path, tmp_path: Path) -> None:
    network_key = os.urandom(32)
    app, settings = swarm.app_name(network_key), Settings(net=0, network_key=network_key, peers_max=1)
    stranger = peer_of(keys_of("stranger").id)
    async with (
        await NpmHub.start() as hub,
        await JsPeer.start(tmp_path / "js", network_key=network_key, swarm={"hubs": [hub.url], "app": app}) as js,
        Peer(tmp_path / "friend", settings) as friend,
        Peer(tmp_path / "full", settings) as full,
        open_session() as session,
    ):
        await full.follow(friend.id)
        await full.connect(friend.addresses[0])
        own, theirs, watched = peer_of(full.id), peer_of(FeedId(js.id)), Watched(full)
        said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        listener = HubClient(HubUrl(hub.url), app, session)
        await listener.subscribe(
            [swarm.inbox(theirs), swarm.inbox(stranger)],
            lambda text: said.put_nowait(json.loads(text)),
            lambda _: None,
        )
        full.controls.add_hub(f"swarm+{hub.url}", allow_http=("127.0.0.1",))
        await watched.heard(a.HubConnectionSucceeded)
        # Ours never says so by itself, because every hearer offers.
        await HubClient(HubUrl(hub.url), app, session).broadcast(swarm.ALL, swarm.format_connect(own))
        offered = await watched.heard(a.RemotePeerDidOffer)
        refused = await watched.heard(e.RefuseOffer)
        assert (offered.peer, refused.peer, refused.session) == (theirs, theirs, offered.session)
        # One that names its session hears nothing either. What comes last shows that all before it has been heard.
        offer = swarm.format_signal(stranger, "s1", swarm.Signal("offer", sdp="v=0"))
        client = HubClient(HubUrl(hub.url), app, session)
        await client.broadcast(swarm.inbox(own), offer)
        await watched.heard(e.RefuseOffer, 2)
        await client.broadcast(swarm.inbox(theirs), swarm.format_connect(stranger))
        async with asyncio.timeout(LIMIT_S):
            while (heard := await said.get()).get("from") != stranger:
                assert heard["from"] != own
        assert said.empty()
        assert watched.state.linked == (peer_of(friend.id),)
        assert await js.clock() == {}
        assert "TypeError" not in js.last_words()
        await listener.close()
