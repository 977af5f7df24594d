"""As a person does it: start, invite a friend, see the friend's post; with processes, and what is said on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from tests.cli.terminal import terminal
from tests.e2e.processes import LIMIT_S, Running, connected, eventually, holds, run, run_ok, running, status

EXIT_LIMIT_S = 6.0


async def greeting(process: asyncio.subprocess.Process) -> str:
    """What `start` says until it has said what to do next."""
    assert process.stderr is not None
    said = ""
    async with asyncio.timeout(LIMIT_S):
        while "next: " not in said:
            line = await process.stderr.readline()
            assert line, said
            said += line.decode()
    return said


async def test_start_needs_no_flag(tmp_path: Path) -> None:
    """Nor anything else: a home and an empty environment will do."""
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {"SSB_RTC_LAN": "no", "PYTHONWARNINGS": "error"}
    words = (sys.executable, "-m", "ssb_rtc.cli", "start")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*words, env=environment, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        said = await greeting(process)
        [secret] = tmp_path.rglob("secret")
        assert f"its key is in {secret}: keep a copy" in said
        assert f"its files are in {secret.parent}" in said
        assert "add one with `ssb-rtc hubs add https://...`" in said
        assert "now: " in said
        second = await run("start", "--path", str(secret.parent))
        assert (second.code, second.out) == (4, "")
        assert f"a peer runs on {secret.parent} already" in second.err
        assert f"`ssb-rtc status --path {secret.parent}`" in second.err
        nowhere = await run("share", "--path", str(secret.parent))
        assert (nowhere.code, nowhere.out) == (2, "")
        assert "ssb-rtc hubs add https://..." in nowhere.err
        assert await ended(process, signal.SIGINT) == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process: asyncio.subprocess.Process, number: int) -> int:
    """Its exit code; it has to go soon."""
    since_s = time.monotonic()
    process.send_signal(number)
    async with asyncio.timeout(LIMIT_S):
        code = await process.wait()
    assert time.monotonic() - since_s < EXIT_LIMIT_S
    return code


async def test_a_code_a_friend_and_the_friend_s_post(tmp_path: Path) -> None:
    """The friend has nothing yet but the code, and uses it before it starts anything."""
    ann, ben = (("--path", str(tmp_path / name)) for name in ("ann", "ben"))
    hidden = ("--strangers-max", "0")
    async with running(tmp_path / "hub", "hub", "serve", "--port", "0") as hub:
        url = hub.ready["url"]
        async with running(tmp_path / "log-ann", "start", *ann, *hidden) as first:
            assert f"{url} is connected" in (await run_ok("hubs", "add", url, *ann)).out
            await run_ok("publish", "hello", *ann)
            made = await run_ok("share", "--note", "Ben", "--svg", str(tmp_path / "code.svg"), *ann)
            code = made.out.strip()
            assert code.startswith("ssbjoin1")
            assert "ssb-rtc join CODE" in made.err
            assert "nobody elsewhere can use it" in made.err, "the hub is on this machine"
            assert (tmp_path / "code.svg").read_text().startswith("<?xml")
            kept = await run_ok("join", code, *ben)
            assert "is kept" in kept.out
            assert "keep a copy in a safe place" in kept.err, "an identity was made"
            [waiting] = (await run_ok("join", "--json", *ben)).json
            assert (waiting["id"], waiting["state"]) == (first.ready["id"], "stored")
            async with running(tmp_path / "log-ben", "start", *ben, *hidden) as second:
                await holds(tmp_path / "ben", {first.ready["id"]: 2})
                await run_ok("publish", "hello Ann", *ben)
                await holds(tmp_path / "ann", {second.ready["id"]: 2})
                assert (await connected(tmp_path / "ann", second.ready["id"]))["transport"] == "rtc"
                assert (await status(tmp_path / "ann"))["following"] == [second.ready["id"]]
                assert "Ben" in (await run_ok("share", "list", *ann)).out
                await is_over(ben)
                for each in (first, second):
                    await leaves_soon(each)


async def test_who_sits_before_the_peer_hears_of_codes_that_worked(tmp_path: Path) -> None:
    ann, ben = (("--path", str(tmp_path / name)) for name in ("ann", "ben"))
    async with (
        running(tmp_path / "hub", "hub", "serve", "--port", "0") as hub,
        terminal("start", *ann, "--hub", hub.ready["url"]) as hers,
    ):
        await hers.shows("next: ")
        code = (await run_ok("share", "--note", "Ben", *ann)).out.strip()
        await run_ok("join", code, *ben)
        async with terminal("start", *ben) as his:
            await hers.shows("(Ben): you follow it")
            await his.shows("worked: you follow each other now")


async def is_over(path: tuple[str, ...]) -> None:
    async def look() -> bool:
        return bool((await run_ok("join", "--json", *path)).json == [])

    await eventually("the invitation being over", look)


async def leaves_soon(each: Running) -> None:
    assert await ended(each.process, signal.SIGINT) == 0


async def test_join_tells_how_it_goes(tmp_path: Path) -> None:
    ann, ben = (("--path", str(tmp_path / name)) for name in ("ann", "ben"))
    async with (
        running(tmp_path / "hub", "hub", "serve", "--port", "0") as hub,
        running(tmp_path / "log-ben", "start", *ben) as second,
    ):
        async with running(tmp_path / "log-ann", "start", *ann, "--hub", hub.ready["url"]) as first:
            codes = [(await run_ok("share", "--json", *ann)).json for _ in range(2)]
            done = await run_ok("join", "-", *ben, stdin=codes[0]["code"].upper().encode() + b"\n")
            assert f"Done: {first.ready['id']} and we follow each other now" in done.out
            await run_ok("share", "revoke", codes[1]["id"], *ann)
        assert second.ready["id"] != first.ready["id"]
        later = await run_ok("join", codes[1]["code"], *ben, "--wait", "0.1")
        assert "was not met yet" in later.out
        assert (await run_ok("join", "--forget", first.ready["id"], *ben)).out == ""
