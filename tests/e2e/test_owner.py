"""What the owner of a running peer asks on the command line: why, what happens, what happened; pins, private hubs."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.e2e.processes import LIMIT_S, connected, holds, run, run_ok, running


async def test_why_trace_private_hubs_and_a_replay(tmp_path: Path) -> None:
    logs, ann, ben = tmp_path / "logs", tmp_path / "ann", tmp_path / "ben"
    trace = tmp_path / "trace.jsonl"
    at = ("--path", str(ben))
    own = (await run_ok("init", "--json", "--path", str(ann))).json["id"]
    for number in range(3):
        await run_ok("publish", str(number), "--path", str(ann))
    await run_ok("init", *at)
    await run_ok("follow", own, *at)
    async with (
        running(logs, "hub", "serve", "--port", "0") as hub,
        running(logs, "start", "--path", str(ann), "--hub", hub.ready["url"]),
        running(logs, "start", *at, "--hub", hub.ready["url"], "--trace", str(trace)) as second,
    ):
        await connected(ben, own)
        await holds(ben, {own: 3})
        why = await run_ok("peers", "--why", own[:10], *at)
        assert why.out.startswith(f"{own} is CONNECTED\n  because ")
        assert "\n  next " in why.out
        told = (await run_ok("peers", "--why", own, "--json", *at)).json
        assert list(told) == ["subject", "state", "because", "terms", "next", "timeline"]
        assert (await run("peers", "--why", "@nobody", *at)).code == 2
        assert " is CONNECTED\n" in (await run_ok("hubs", "--why", hub.ready["url"], *at)).out
        added = await run_ok("hubs", "add", "https://private.invalid", "--private", *at)
        assert "it is kept, and not connected yet: the hub https://private.invalid can't be reached" in added.out
        assert f"`ssb-rtc hubs --why https://private.invalid --path {ben}`" in added.out
        listed = (await run_ok("hubs", "--json", *at)).json
        assert {hub["url"]: hub["private"] for hub in listed}["https://private.invalid"] is True
        following = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ssb_rtc.cli", "trace", "--json", *at), stdout=asyncio.subprocess.PIPE
        )
        assert following.stdout is not None
        try:
            async with asyncio.timeout(LIMIT_S):
                first = json.loads(await following.stdout.readline())  # the tick comes at the latest
            assert first["action"]["kind"]
            assert isinstance(first["effects"], list)
            assert "for now: `ssb-rtc peers --why" in (await run_ok("disconnect", own[:8], *at)).out
            assert "it is not known here" in (await run_ok("disconnect", f"@{'A' * 43}=.ed25519", *at)).out
            assert await second.end() == 0
            async with asyncio.timeout(LIMIT_S):
                await following.stdout.read()
                assert await following.wait() == 3  # no peer runs any more
        finally:
            if following.returncode is None:
                following.kill()
                await following.wait()
    assert (await run_ok("trace", "--replay", str(trace))).out.endswith(" steps: the same effects\n")
    replayed = (await run_ok("trace", "--replay", str(trace), "--json")).json
    assert (replayed["same"], replayed["mismatches"]) == (True, [])
    # A trace that tells of effects that never were is found out.
    lines = trace.read_bytes().splitlines(keepends=True)
    forged = [line.replace(b'"effects":[{', b'"effects":[],"was":[{') for line in lines]
    trace.write_bytes(b"".join(forged))
    different = await run("trace", "--replay", str(trace))
    assert different.code == 1
    assert "other effects than recorded" in different.out
    assert (await run("trace", "--replay", str(tmp_path / "absent"))).code == 2
    assert (await run("hubs", "--why", "https://private.invalid", *at)).code == 3
    listed = (await run_ok("hubs", "--json", *at)).json
    assert [(hub["url"], hub["source"], hub["private"]) for hub in listed] == [
        ("https://private.invalid", "user", True)
    ]


async def test_a_pinned_peer_is_linked_again_after_a_restart(tmp_path: Path) -> None:
    logs, ann, ben = tmp_path / "logs", tmp_path / "ann", tmp_path / "ben"
    at = ("--path", str(ben))
    async with running(logs, "start", "--path", str(ann), "--net", "0") as first:
        async with running(logs, "start", *at):
            await run_ok("connect", "--pin", first.ready["addresses"][0], *at)
        async with running(logs, "start", *at):
            await connected(ben, first.ready["id"])
            (row,) = (await run_ok("peers", "--json", *at)).json
            assert row["pinned"] is True
            await run_ok("disconnect", first.ready["id"], *at)
            (row,) = (await run_ok("peers", "--all", "--json", *at)).json
            assert (row["pinned"], row["state"]) == (False, "DISCONNECTED")


async def test_flags_that_do_not_go_together(tmp_path: Path) -> None:
    at = ("--path", str(tmp_path))
    await run_ok("init", *at)
    for words in (("hubs", "--private"), ("hubs", "add", "https://a.invalid", "--why", "https://a.invalid")):
        done = await run(*words, *at)
        assert done.code == 2
        assert "--private goes with" in done.err or "--why stands alone" in done.err
