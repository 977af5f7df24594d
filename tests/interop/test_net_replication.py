"""Our peer, as a process, replicates with the modern JavaScript stack over net, whoever dials."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.e2e.processes import connected, eventually, holds, run, run_ok, running
from tests.interop.jspeer import JsPeer

pytestmark = pytest.mark.js


@pytest.mark.parametrize("dialler", ["ours", "theirs"])
async def test_replicates_both_ways_and_live(node_packages: Path, tmp_path: Path, dialler: str) -> None:
    path = tmp_path / "ours"
    flag = ["--path", str(path)]
    own = (await run_ok("init", "--json", *flag)).json["id"]
    async with await JsPeer.start(tmp_path / "js") as js:
        await run_ok("follow", js.id, *flag)
        for number in range(5):
            await run_ok("publish", f"ours {number} \u2603", *flag)
        await js.follow(own)
        assert await js.publish_many(49) == 50
        async with running(tmp_path / "logs", "start", *flag, "--net", "0") as ours:
            if dialler == "ours":
                done = await run_ok("connect", js.address, "--json", *flag)
                assert done.json == {"id": js.id, "state": "CONNECTED", "transport": "net"}
            else:
                assert await js.connect(ours.ready["addresses"][0]) == own
                await connected(path, js.id)
            await asyncio.gather(holds(path, {js.id: 50}), js.reached({own: 6}))
            # Live, in both directions, over the same link.
            await js.publish({"type": "post", "text": "live from theirs"})
            await run_ok("publish", "live from ours", *flag)
            await asyncio.gather(holds(path, {js.id: 51}), js.reached({own: 7}))
            theirs = (await run_ok("log", "--json", "--author", js.id, *flag)).json_lines
            assert [message["key"] for message in theirs] == await js.ids(js.id)
            mine = (await run_ok("log", "--json", "--author", own, *flag)).json_lines
            assert [message["key"] for message in mine] == await js.ids(own)
            assert ours.process.returncode is None
            assert "Traceback" not in ours.stderr


async def test_the_own_vectors_are_what_javascript_holds_valid(node_packages: Path, tmp_path: Path) -> None:
    """A JavaScript peer that follows the author of the 20 messages of tests/vectors takes them all from our peer."""
    lines = (Path(__file__).parent.parent / "vectors" / "feed-20.jsonl").read_text().rstrip("\n").split("\n")
    pairs = [json.loads(line) for line in lines]
    author = pairs[0]["value"]["author"]
    flag = ["--path", str(tmp_path / "ours")]
    await run_ok("init", *flag)
    await run_ok("import", "-", *flag, stdin="\n".join(lines).encode())
    async with (
        running(tmp_path / "logs", "start", *flag, "--net", "0") as ours,
        await JsPeer.start(tmp_path / "js") as js,
    ):
        await js.follow(author)
        await js.connect(ours.ready["addresses"][0])
        await js.reached({author: len(pairs)})
        assert await js.ids(author) == [pair["key"] for pair in pairs]


async def test_a_javascript_peer_of_another_network_is_refused(node_packages: Path, tmp_path: Path) -> None:
    flag = ["--path", str(tmp_path / "ours")]
    await run_ok("init", *flag)
    async with (
        running(tmp_path / "logs", "start", *flag, "--net", "0"),
        await JsPeer.start(tmp_path / "js", network_key=bytes(32)) as js,
    ):
        refused = await run("connect", js.address, *flag)
        assert refused.code == 1
        assert "handshake" in refused.err or "refused" in refused.err

        async def nobody() -> bool:
            return await js.peers() == []

        await eventually("the link being gone", nobody)
