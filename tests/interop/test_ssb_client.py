"""npm ssb-client 4.9 against our running peer: over the unix socket, and over net with our own key."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc import Peer
from ssb_rtc.config import MAIN_NETWORK_KEY, Settings
from ssb_rtc.storage import folder as files
from tests.interop.jspeer import require_node
from tests.interop.processes import LineProcess

pytestmark = pytest.mark.js

SCRIPT = Path(__file__).with_name("ssb_client.cjs")
LIMIT_S = 60.0
FRIEND = "@" + base64.b64encode(b"f" * 32).decode() + ".ed25519"
REFUSED = "method:{} is not in list of allowed methods"


async def as_client(remote: str, calls: Sequence[dict[str, Any]], secret: Path | None = None) -> list[Any]:
    """Runs these calls in a fresh ssb-client; one {"value"} or {"error"} each. Without a secret it is a stranger."""
    options = {
        "remote": remote,
        "secret": None if secret is None else str(secret),
        "caps": base64.b64encode(MAIN_NETWORK_KEY).decode(),
        "calls": list(calls),
    }
    process = await LineProcess.start("ssb-client", [require_node(), str(SCRIPT), json.dumps(options)])
    try:
        answer = json.loads(await process.read_line(LIMIT_S))
    finally:
        await process.stop()
    results: list[Any] = answer["results"]
    return results


def asked(name: str, *args: Any, kind: str = "async") -> dict[str, Any]:
    return {"name": name, "args": list(args), "kind": kind}


@pytest.mark.parametrize("way", ["unix", "net", "ws"])
async def test_ssb_client_does_what_the_owner_may_do(node_packages: Path, tmp_path: Path, way: str) -> None:
    async with Peer(tmp_path, Settings(net=0, ws=0)) as peer:
        remote = next(
            each
            for each in (*peer.addresses, f"unix:{files.socket_path(tmp_path)}~noauth")
            if each.startswith(f"{way}:")
        )
        calls = [
            asked("whoami"),
            asked("publish", {"type": "post", "text": "from JavaScript"}),
            asked("friends.follow", FRIEND, {"state": True}),
            asked("friends.hops", {}),
            asked("createLogStream", {"limit": 10}, kind="source"),
            asked("createHistoryStream", {"id": peer.id}, kind="source"),
            asked("blobs.add", "a blob of bytes", kind="add"),
            asked("getAddress", "device"),
        ]
        whoami, published, followed, hops, log, history, added, address = await values(remote, calls, peer)
        assert whoami == {"id": peer.id}
        assert published["value"]["content"] == {"type": "post", "text": "from JavaScript"}
        assert followed
        assert hops == {peer.id: 0, FRIEND: 1}
        mine = [published["key"], peer.ids_by_feed()[peer.id][1]]
        assert [message["key"] for message in log] == mine
        assert [message["key"] for message in history] == mine
        assert address.split(";") == peer.addresses
        got, has, message = await values(
            remote, [asked("blobs.get", added, kind="source"), asked("blobs.has", added), asked("get", mine[0])], peer
        )
        assert "".join(got) == "a blob of bytes"
        assert has is True
        assert message == published["value"]


async def values(remote: str, calls: Sequence[dict[str, Any]], peer: Peer) -> list[Any]:
    """What the owner's calls gave; every one has to succeed."""
    results = await as_client(remote, calls, files.secret_path(peer.folder))
    assert all("value" in each for each in results), list(zip(calls, results, strict=True))
    return [each["value"] for each in results]


async def test_a_stranger_gets_replication_and_nothing_of_the_owner(node_packages: Path, tmp_path: Path) -> None:
    async with Peer(tmp_path, Settings(net=0)) as peer:
        await peer.publish({"type": "post", "text": "for everybody"})
        [address] = peer.addresses
        post = {"type": "post", "text": "forged"}
        whoami, history, published, log, status = await as_client(
            address,
            [
                asked("whoami"),
                asked("createHistoryStream", {"id": peer.id}, kind="source"),
                asked("publish", post),
                asked("createLogStream", kind="source"),
                asked("rtc.status"),
            ],
        )
        assert whoami["value"] == {"id": peer.id}
        assert [message["value"]["content"]["text"] for message in history["value"]] == ["for everybody"]
        assert published["error"] == REFUSED.format("publish")
        assert log["error"] == REFUSED.format("createLogStream")
        assert status["error"] == REFUSED.format("rtc,status")
        assert len(peer.ids_by_feed()[peer.id]) == 1


async def test_ssb_keys_reads_our_secret_and_we_read_its(node_packages: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    async with Peer(ours, online=False) as peer:
        mine = peer.id
    program = (
        "const keys = require(process.argv[1] + '/node_modules/ssb-keys');"
        "const ours = keys.loadSync(process.argv[2]);"
        "const theirs = keys.createSync(process.argv[3]);"
        "const signed = keys.signObj(ours, {a: 1});"
        "console.log(JSON.stringify([ours.id, theirs.id, keys.verifyObj(ours, signed)]))"
    )
    words = [require_node(), "-e", program, str(node_packages), str(files.secret_path(ours)), str(theirs)]
    process = await LineProcess.start("ssb-keys", words)
    try:
        read, made, verified = json.loads(await process.read_line(LIMIT_S))
    finally:
        await process.stop()
    assert (read, verified) == (mine, True)
    taken = await asyncio.to_thread(files.take_over, tmp_path / "taken", theirs)
    assert taken.id == made
