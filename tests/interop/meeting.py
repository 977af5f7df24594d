"""Where peers of npm webrtc-swarm and ours meet in a test: a hub, ours or npm's, and the swarm dialect on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from ssb_rtc.config import MAIN_NETWORK_KEY
from ssb_rtc.signalhub.client import HubClient, open_session
from ssb_rtc.types import HubUrl, PeerId
from ssb_rtc.wire import swarm
from tests.e2e.processes import running
from tests.interop.commands import CommandedPeer
from tests.interop.npmhub import NpmHub
from tests.interop.ourpeer import OurPeer, our_peer

HubKind = Literal["our hub", "npm hub"]

SWARM_APP = swarm.app_name(MAIN_NETWORK_KEY)
"""Under which they meet."""


@asynccontextmanager
async def hub_of(kind: HubKind, folder: Path) -> AsyncIterator[str]:
    """The address of a hub that runs as a process of its own."""
    if kind == "npm hub":
        async with await NpmHub.start() as hub:
            yield hub.url
    else:
        async with running(folder, "hub", "serve", "--port", "0") as process:
            yield process.ready["url"]


@asynccontextmanager
async def our_peer_on(hub: str, folder: Path, *words: str) -> AsyncIterator[OurPeer]:
    """A new peer of ours that meets peers of npm webrtc-swarm on this hub; further `words` for its command line."""
    async with our_peer(folder, "--hub", f"swarm+{hub}", *words) as peer:
        yield peer


async def say_that_it_is_there(hub: str, peer: str) -> None:
    """A `connect` in this peer's name, on which every other peer of the swarm offers. Anybody can say it."""
    async with open_session() as session:
        client = HubClient(HubUrl(hub), SWARM_APP, session)
        await client.broadcast(swarm.ALL, swarm.format_connect(PeerId(peer)))
        await client.close()


async def meet_and_replicate(hub: str, ours: OurPeer, theirs: CommandedPeer, *, they_dial: bool) -> None:
    """Each follows the other; they meet and replicate both ways, live too. `they_dial`: `theirs` is quiet."""
    await asyncio.gather(theirs.publish_many(20), *(ours.publish(f"ours {number} \u2603") for number in range(5)))
    await asyncio.gather(ours.follow(theirs.id), theirs.follow(ours.id))
    if they_dial:
        await say_that_it_is_there(hub, ours.id)
    assert await theirs.met(ours.id) == they_dial
    await ours.meets(theirs.id)
    assert [peer["transport"] for peer in (await ours.call("rtc.status"))["peers"]] == ["rtc"]
    await asyncio.gather(ours.reached({theirs.id: 21}), theirs.reached({ours.id: 6}))
    await asyncio.gather(ours.publish("live"), theirs.publish({"type": "post", "text": "live"}))
    await asyncio.gather(ours.reached({theirs.id: 22}), theirs.reached({ours.id: 7}))
    for feed in (ours.id, theirs.id):
        assert await ours.ids(feed) == await theirs.ids(feed)
