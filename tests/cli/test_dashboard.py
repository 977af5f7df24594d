"""`ssb-rtc dashboard`, and the dashboard of `ssb-rtc start`, as a user meets them."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ssb_rtc.cli.commands import build_parser
from ssb_rtc.config import load
from ssb_rtc.errors import ConfigFault
from tests.e2e.processes import LIMIT_S, run, running


async def enter(url: str) -> Any:
    """Opens an address as the page does; the settings that the dashboard shows then."""
    origin, _, token = url.partition("/#token=")
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
        async with client.post(f"{origin}/api/session", json={"token": token}) as answer:
            assert answer.status == 200, await answer.text()
            word = (await answer.json())["csrf"]
        async with client.get(f"{origin}/api/settings", headers={"X-CSRF": word}) as answer:
            assert answer.status == 200
            return {row["name"]: row for row in await answer.json()}


async def test_start_serves_a_dashboard_and_its_address_opens_once(tmp_path: Path) -> None:
    path = ("--path", str(tmp_path / "amy"))
    async with running(tmp_path, "start", *path, "--hops", "1") as peer:
        shown = await enter(peer.ready["dashboard"])
        assert (shown["hops"]["source"], shown["lan"]["source"], shown["net"]["source"]) == (
            "flag", "environment", "default",
        )  # fmt: skip
        fresh = await run("dashboard", *path)
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#token=[\w-]{40,}\n", fresh.out)
        assert fresh.out.strip() != peer.ready["dashboard"]
        await enter(fresh.out.strip())
        assert await peer.end() == 0
        assert "token" not in peer.stderr
    assert (await run("dashboard", *path)).code == 3


async def test_a_peer_without_a_dashboard_says_how_to_get_one(tmp_path: Path) -> None:
    path = ("--path", str(tmp_path / "amy"))
    async with running(tmp_path, "start", *path, env={"SSB_RTC_DASHBOARD": "no"}) as peer:
        assert peer.ready["dashboard"] is None
        done = await run("dashboard", *path)
        assert (done.code, "without `--dashboard no`" in done.err) == (2, True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = await run("start", *path, "--dashboard", str(taken.getsockname()[1]))
    assert (done.code, "Choose another --dashboard PORT" in done.err) == (4, True)


async def test_the_word_that_opens_it_is_printed_on_a_terminal_only(tmp_path: Path) -> None:
    async def started(stderr: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ssb_rtc.cli", "start", "--path", str(tmp_path / "amy"), "--no-lan"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=stderr,
        )

    async def said(reader: asyncio.StreamReader) -> bytes:
        async with asyncio.timeout(LIMIT_S):
            told = b""
            while b"dashboard" not in told or not told.endswith(b"\n"):
                told += await reader.read(1)
            return told

    process = await started(asyncio.subprocess.PIPE)
    assert process.stderr is not None
    told = await said(process.stderr)
    assert b"`ssb-rtc dashboard --path %s/amy` prints what opens it" % str(tmp_path).encode() in told
    assert b"token" not in told
    process.terminate()
    await process.communicate()

    ours, theirs = pty.openpty()
    process = await started(theirs)
    os.close(theirs)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), terminal)
        assert b"/#token=" in await said(reader)
        process.terminate()
        await process.wait()
        transport.close()


def test_the_setting() -> None:
    assert load({}, {}).dashboard == 0
    assert load({"dashboard": "no"}, {}).dashboard is None
    assert load({}, {"SSB_RTC_DASHBOARD": "8099"}).dashboard == 8099
    with pytest.raises(ConfigFault, match="--dashboard takes a whole number from 0 to 65535, or no, not 'lan'"):
        load({"dashboard": "lan"}, {})
    assert build_parser().parse_args(["start", "--dashboard", "no"]).dashboard == "no"
