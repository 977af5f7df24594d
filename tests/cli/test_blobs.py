"""`ssb-rtc blobs`, as a user runs it: with the folder alone, and between two running peers."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.e2e.processes import run, run_ok, running

ABSENT = "&" + "A" * 43 + "=.sha256"


async def test_add_and_get_need_no_running_peer_and_mistakes_get_a_sentence(tmp_path: Path) -> None:
    path = ["--path", str(tmp_path / "peer")]
    await run_ok("init", *path)
    data = os.urandom(300_000)
    added = (await run_ok("blobs", "add", "-", "--json", *path, stdin=data)).json
    assert added["size"] == len(data)
    got = await run_ok("blobs", "get", added["id"], "-o", str(tmp_path / "out"), "--json", *path)
    assert got.json == {"id": added["id"], "size": len(data), "file": str(tmp_path / "out")}
    assert (tmp_path / "out").read_bytes() == data
    await run_ok("blobs", "rm", added["id"], *path)
    absent = await run("blobs", "get", ABSENT, "-o", str(tmp_path / "none"), *path)
    assert (absent.code, (tmp_path / "none").exists()) == (1, False)
    assert "blobs want" in absent.err
    mistakes = await asyncio.gather(
        run("blobs", "get", "nonsense", *path), run("blobs", "add", str(tmp_path / "nothing"), "--path", "/nowhere"),
        run("blobs", "push", *path),
    )  # fmt: skip
    assert [done.code for done in mistakes] == [2, 4, 2]
    assert all(done.err.startswith("ssb-rtc: ") and "Traceback" not in done.err for done in mistakes)
    big = await run("blobs", "add", "-", "--max", "100000", *path, stdin=data)
    assert (big.code, "fewer than 100000 bytes" in big.err) == (2, True)


async def test_one_running_peer_wants_what_the_other_adds(tmp_path: Path) -> None:
    one, two = ["--path", str(tmp_path / "one")], ["--path", str(tmp_path / "two")]
    await asyncio.gather(run_ok("init", *one), run_ok("init", *two))
    async with (
        running(tmp_path / "logs-1", "start", *one, "--net", "0") as first,
        running(tmp_path / "logs-2", "start", *two) as second,
    ):
        await run_ok("connect", first.ready["addresses"][0], *two)
        blob = (await run_ok("blobs", "add", "-", *one, stdin=b"a picture")).out.strip()
        wanted, late = await asyncio.gather(
            run("blobs", "want", blob, "--timeout", "30", "--json", *two),
            run("blobs", "want", ABSENT, "--timeout", "0.2", *two),
        )
        assert wanted.json == {"id": blob, "size": 9}
        assert (late.code, "stays wanted" in late.err) == (1, True)
        held, listed, pushed = await asyncio.gather(
            run("blobs", "has", blob, "--json", *two), run("blobs", "ls", *two), run("blobs", "push", blob, *one)
        )
        assert held.json == {"id": blob, "has": True, "size": 9}
        assert blob in listed.out
        assert pushed.code == 0
        assert "Traceback" not in first.stderr + second.stderr
