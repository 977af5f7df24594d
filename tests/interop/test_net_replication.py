"""From our command line to a JavaScript peer: what it holds valid, and that networks don't mix."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.processes import eventually, run, run_ok, running
from tests.interop.jspeer import JsPeer

pytestmark = pytest.mark.js


async def test_the_own_vectors_are_what_javascript_holds_valid(node_packages: Path, tmp_path: Path) -> None:
    """A JavaScript peer that follows the author of the 20 messages of tests/vectors takes them all from our peer."""
    lines = (Path(__file__).parent.parent / "vectors" / "feed-20.jsonl").read_text().rstrip("\n").split("\n")
    pairs = [json.loads(line) for line in lines]
    author = pairs[0]["value"]["author"]
    flag = ["--path", str(tmp_path / "ours")]
    await run_ok("init", *flag)
    await run_ok("import", "-", *flag, stdin="\n".join(lines).encode())
    async with (
        running(tmp_path / "logs", "start", *flag),
        await JsPeer.start(tmp_path / "js") as js,
    ):
        await js.follow(author)
        done = await run_ok("connect", js.address, "--json", *flag)
        assert done.json == {"id": js.id, "state": "CONNECTED", "transport": "net"}
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
