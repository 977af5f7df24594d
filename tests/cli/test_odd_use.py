"""What people do to a command that no manual shows: closed and full streams, odd bytes, an interrupt in the middle."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
import signal
import sys
import termios
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ssb_rtc.feeds.keys import keys_from_seed
from ssb_rtc.feeds.message import create
from tests.e2e.processes import LIMIT_S, eventually, run, run_ok, running

REMEDY = "leave it open, or name a file instead of -"


def through_shell(redirection: str) -> Sequence[str]:
    return ("sh", "-c", f'exec "$@" {redirection}', "sh")


@asynccontextmanager
async def importing(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`import -` that has read the first bytes of its input, and waits for more."""
    theirs, ours = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ssb_rtc.cli", "import", "-", "--path", str(folder)),
        stdin=theirs,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        os.write(ours, b"\n\n\n")

        async def was_read() -> bool:
            return fcntl.ioctl(theirs, termios.FIONREAD, bytes(4)) == bytes(4)

        await eventually("the input being read", was_read, pause_s=0.02)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(theirs)
        os.close(ours)


async def end_of(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """The exit code and standard error of a process whose standard input stays open."""
    assert process.stderr is not None
    async with asyncio.timeout(LIMIT_S):
        err = await process.stderr.read()
        return await process.wait(), err.decode()


async def test_closed_streams(tmp_path: Path) -> None:
    path = ["--path", str(tmp_path / "peer")]
    await run_ok("init", *path)
    for words in (["publish", "-"], ["import", "-"], ["validate", "-"]):
        done = await run(*words, *(path if words[0] != "validate" else []), prefix=through_shell("<&-"))
        assert (done.code, done.err) == (2, f"ssb-rtc: standard input is closed: {REMEDY}\n"), words
    assert (await run("hubs", *path, prefix=through_shell(">&- 2>&-"))).code == 0
    assert (await run_ok("status", "--json", *path)).json["messages"] == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
async def test_an_output_that_is_full(tmp_path: Path) -> None:
    path = ["--path", str(tmp_path / "peer")]
    await run_ok("init", *path)
    for words in (["whoami"], ["status", "--json"]):
        done = await run(*words, *path, prefix=through_shell(">/dev/full"))
        said = "ssb-rtc: No space left on device: make room, or write somewhere else\n"
        assert (done.code, done.err) == (4, said), words


async def test_an_interrupt_ends_an_import_that_waits_for_input(tmp_path: Path) -> None:
    folder = tmp_path / "peer"
    await run_ok("init", "--path", str(folder))
    async with importing(folder) as process:
        process.send_signal(signal.SIGINT)
        code, err = await end_of(process)
    assert code == 130
    assert "Traceback" not in err


async def test_a_peer_that_dies_during_an_import(tmp_path: Path) -> None:
    folder = tmp_path / "peer"
    async with running(tmp_path, "start", "--path", str(folder)) as peer, importing(folder) as process:
        peer.kill()
        code, err = await end_of(process)
    assert code == 1
    assert err.startswith("ssb-rtc: ")
    assert "`ssb-rtc start` runs it again" in err
    assert "Traceback" not in err


async def test_wrong_input(tmp_path: Path) -> None:
    path = ["--path", str(tmp_path / "a path with ☃")]
    await run_ok("init", *path)
    for words, stdin, said in (
        (["publish", "-", *path], b"caf\xe9!", "not UTF-8"),
        (["publish", "-", *path], b"x" * (1 << 21), "more than"),
        (["log", "--limit", "-1", *path], b"", "--limit"),
        (["whoami", "--path", "~nobody-of-this-name/x"], b"", "--path"),
        (["start", "--relay-only", *path], b"", "--relay-only"),
        (["start", "--stun", "host:99999", *path], b"", "--stun"),
        (["start", "--turn", "turn:host", *path], b"", "--turn"),
        (["hub", "serve", "--host", ""], b"", "--host"),
        (["demo", "--timeout", "nan"], b"", "--timeout"),
        (["demo", "--hub", "::::"], b"", "hub"),
        (["demo", "--import", "-"], b"\n", "no message"),
    ):
        done = await run(*words, stdin=stdin)
        assert done.code == 2, (words, done)
        assert said in done.err, (words, done)
        assert "Traceback" not in done.err, (words, done)
    needs_peer = await run("peers", *path)
    assert f"--path '{path[1]}'" in needs_peer.err


async def test_a_message_from_a_time_that_no_calendar_has(tmp_path: Path) -> None:
    path = ["--path", str(tmp_path / "peer")]
    await run_ok("init", *path)
    content = {"type": "post", "text": "hello"}
    message = create(keys_from_seed(bytes(32)), content, previous=None, sequence=1, timestamp_ms=1e300)
    await run_ok("import", "-", *path, stdin=json.dumps(message).encode())
    assert "hello" in (await run_ok("log", *path)).out


async def test_a_script_that_the_terminal_lacks_ends_no_command(tmp_path: Path) -> None:
    """One post with a smiley kept everything that came after it from being read, where the locale is not UTF-8."""
    path = ["--path", str(tmp_path / "peer")]
    await run_ok("init", *path)
    for text in ("first \N{SNOWMAN}", "second"):
        await run_ok("publish", "-", *path, stdin=text.encode())
    for encoding in ("ascii", "latin-1"):
        done = await run_ok("log", *path, env={"PYTHONIOENCODING": encoding})
        assert "first \\u2603" in done.out
        assert "second" in done.out


async def test_the_demo_is_none_of_the_environments_business() -> None:
    """A key to sign with holds for the demo's peers too; a port, or fetching nobody's feed, does not."""
    environment = {
        "SSB_RTC_HMAC_KEY": base64.b64encode(bytes(32)).decode(),
        "SSB_RTC_HOPS": "0",
        "SSB_RTC_NET": "1",
        "SSB_RTC_WITH_HUB": "1",
    }
    done = await run_ok("demo", "--once", "--json", "--messages", "3", env=environment)
    assert done.json["verified"] is True
