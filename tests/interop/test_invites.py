"""Invites to and from the legacy JavaScript peer, as its ssb-invite makes and takes them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc import Peer
from ssb_rtc.config import Settings
from ssb_rtc.types import FeedId
from tests.interop.jspeer import require_node
from tests.interop.processes import LineProcess

pytestmark = pytest.mark.js

SCRIPT = Path(__file__).with_name("invites.cjs")
NETWORK_KEY = b"invites between two worlds......"
LIMIT_S = 60.0


class Legacy:
    """A legacy peer that invites and is invited."""

    def __init__(self, process: LineProcess, peer_id: str) -> None:
        self._process = process
        self.id = peer_id

    async def ask(self, cmd: str, **arguments: Any) -> Any:
        await self._process.write_line(json.dumps({"cmd": cmd, **arguments}))
        answer = json.loads(await self._process.read_line(LIMIT_S))
        if "error" in answer:
            raise self._process.failure(answer["error"])
        return answer["result"]


@pytest.fixture
async def legacy(tmp_path: Path) -> AsyncIterator[Legacy]:
    node = require_node("legacy")
    folder = tmp_path / "legacy"
    folder.mkdir()
    options = {"path": str(folder), "caps": base64.b64encode(NETWORK_KEY).decode()}
    process = await LineProcess.start("legacy", [node, str(SCRIPT), json.dumps(options)])
    try:
        yield Legacy(process, json.loads(await process.read_line(LIMIT_S))["id"])
    finally:
        await process.stop()


def our_peer(folder: Path) -> Peer:
    return Peer(folder, Settings(net=0, ws=0, network_key=NETWORK_KEY))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("modern", [False, True], ids=["net", "ws"])
async def test_we_accept_an_invite_of_theirs(legacy: Legacy, tmp_path: Path, modern: bool) -> None:
    code = await legacy.ask("create", options={"uses": 1, "modern": modern, "note": "welcome"})
    assert code.startswith("ws://" if modern else "127.0.0.1:")
    async with our_peer(tmp_path / "ours") as peer, peer.local_link() as link:
        accepted = await link.call("invite.accept", code)
        assert (accepted["id"], accepted["connected"]) == (legacy.id, True)
        [contact] = await legacy.ask("contacts")
        assert contact == {"type": "contact", "contact": peer.id, "following": True, "pub": True, "note": "welcome"}
        # Each follows the other now, so their message comes to us.
        await until(lambda: len(peer.ids_by_feed().get(FeedId(legacy.id), [])) == 1)


@pytest.mark.parametrize("modern", [False, True], ids=["legacy code", "multiserver code"])
async def test_they_accept_an_invite_of_ours(legacy: Legacy, tmp_path: Path, modern: bool) -> None:
    async with our_peer(tmp_path / "ours") as peer, peer.local_link() as link:
        code = await link.call("invite.create", {"external": "127.0.0.1", "modern": modern})
        await legacy.ask("accept", code=code)
        [contact] = [contact async for contact in link.source("createLogStream", {"author": peer.id})]
        assert contact["value"]["content"] == {
            "type": "contact", "contact": legacy.id, "following": True, "pub": True,
        }  # fmt: skip
        [theirs] = await legacy.ask("contacts")
        assert (theirs["contact"], theirs["following"]) == (peer.id, True)
        [record] = await link.call("invite.list")
        assert (record["used"], record["usable"]) == (1, False)
