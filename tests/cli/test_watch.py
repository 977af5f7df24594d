"""`ssb-rtc status --watch` on a terminal and on a pipe, and what other commands do with colours."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import AsyncExitStack
from pathlib import Path

from rich.console import Console

from ssb_rtc import Peer, Settings
from ssb_rtc.cli.watch_view import Look, line, screen
from tests.cli.terminal import COLOUR, terminal
from tests.e2e.processes import LIMIT_S, run, run_ok, running

ALONE = Settings(lan=False)


async def test_watching_on_a_terminal_shows_what_changes_until_q(tmp_path: Path) -> None:
    path = ["--path", str(tmp_path)]
    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(Peer(tmp_path, ALONE))
        async with terminal("status", "--watch", *path) as seen:
            await seen.shows(f"id        {peer.id}")
            await seen.shows("no hub: add one")
            assert COLOUR.search(seen.raw)
            seen.forget()
            peer.controls.add_hub("http://127.0.0.1:9")
            await seen.shows("http://127.0.0.1:9")
            seen.press("q")
            assert await seen.end() == 0
            assert seen.echoes
            assert "\x1b[?1049l" in seen.raw, "the screen from before is back"
        async with (
            terminal("status", "--watch", *path, env={"NO_COLOR": "1"}) as plain,
            terminal("status", "--watch", *path) as orphan,
        ):
            await plain.shows("http://127.0.0.1:9")
            assert not COLOUR.search(plain.raw)
            plain.press("\x03")  # Ctrl-C
            assert await plain.end() == 0
            await orphan.shows(peer.id)
            await stack.aclose()
            assert await orphan.end() == 3, orphan.text
            assert "the peer has ended" in orphan.text


async def test_what_a_hub_says_is_no_markup(tmp_path: Path) -> None:
    """A hub that says [/x] ended the command with a traceback, and others could colour it and put links in it."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"[/x] [link=https://evil.example]hello[/link]\r\n\r\n")
        writer.close()

    hub = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{hub.sockets[0].getsockname()[1]}"
    async with (
        hub,
        Peer(tmp_path, Settings(lan=False, hub=(url,))),
        terminal("status", "--watch", "--path", str(tmp_path)) as seen,
    ):
        await seen.shows("can't be re")
        seen.press("q")
        assert await seen.end() == 0


async def test_watching_on_a_pipe_prints_a_line_for_each_change(tmp_path: Path) -> None:
    path = ["--path", str(tmp_path / "peer")]
    async with Peer(path[1], ALONE) as peer, running(tmp_path, "status", "--watch", *path) as watching:
        assert (watching.ready["messages"], watching.ready["progress"]["missing"]) == (0, 0)
        await peer.publish({"type": "post", "text": "hello"})
        assert watching.process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            assert json.loads(await watching.process.stdout.readline())["messages"] == 1
    assert (await run("status", "--watch", *path)).code == 3


async def test_waiting_for_what_linked_peers_have(tmp_path: Path) -> None:
    path = ["--path", str(tmp_path / "ours")]
    async with Peer(path[1], ALONE) as ours, Peer(tmp_path / "theirs", Settings(lan=False, net=0)) as theirs:
        await ours.follow(theirs.id)
        await theirs.publish({"type": "post", "text": "hello"})
        alone = await run("sync", "--wait", "--timeout", "0.2", *path)
        assert (alone.code, "no peer is linked" in alone.out) == (1, True)
        await ours.connect(theirs.addresses[0])
        waited = await run_ok("sync", "--wait", "--timeout", "20", *path)
        assert "all is here that linked peers have" in waited.out
        assert ours.status()["feeds"][theirs.id] == 1
    assert (await run("sync", "--timeout", "1", *path)).code == 2


async def test_no_command_colours_what_goes_into_a_pipe(tmp_path: Path) -> None:
    path = ["--path", str(tmp_path / "peer")]
    await run_ok("init", *path)
    for words in (["status"], ["index"], ["--help"], ["simulate", "--list"]):
        done = await run_ok(*words, *(path if words[0] in {"status", "index"} else []))
        assert "\x1b" not in done.out + done.err, words


async def test_a_simulation_shows_how_far_it_is_on_a_terminal() -> None:
    async with terminal("simulate", "--seeds", "2", "--peers", "4") as seen:
        await seen.shows("calm, seeds")
        await seen.shows("2 seeds from 1 on: none failed")
        assert await seen.end() == 0


def _look(peers: int, *, missing: int = 0) -> Look:
    ids = [f"@{number:043}=.ed25519" for number in range(peers)]
    status = {"id": ids[0], "messages": 30, "feeds": {ids[0]: 30}, "addresses": [], "warnings": ["\x1b[2Jbad"]}
    rows = [
        {"id": each, "state": "DISCONNECTED", "transport": None, "reason": "it \x1b]0;x\x07 waits", "pinned": False}
        for each in ids
    ]
    rows[-1] |= {"state": "CONNECTED", "transport": "rtc"}
    hubs = [{"url": "https://hub.example.org", "state": "CONNECTED", "error": None}]
    indexes = {"start": 0, "current": 10, "target": 30}
    feeds = [{"id": ids[1], "have": 10, "missing": missing}, {"id": ids[0], "have": 30, "missing": 0}]
    progress = {"feeds": feeds, "total": {"feeds": 1, "messages": 30, "missing": missing}}
    return Look(1.0, status, rows, hubs, progress, indexes)


def test_a_thousand_peers_fit_the_screen_and_nothing_of_theirs_steers_it() -> None:
    look = _look(1_000, missing=70)
    for width, height in ((80, 24), (200, 60), (40, 10)):
        console = Console(width=width, height=height, force_terminal=True, color_system=None)
        with console.capture() as captured:
            console.print(screen(look, width, height))
        text = captured.get()
        plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
        assert "\x1b" not in plain
        assert "\x07" not in plain
        assert len(plain.splitlines()) <= max(height, 16)
        assert "(1 linked in all)" in plain
        assert "@0000" in plain
        assert "10 of 80" in plain, "the feed that lacks something has a bar of its own"
        assert "70 to come" in plain or width < 80
    assert line(look).startswith(
        "hubs 1 of 1, linked 1 of 1000 (1 rtc), 30 messages in 1 feeds, 70 to fetch, warning: "
    )
