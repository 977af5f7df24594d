"""Real processes of ours for tests: the command line, peers, hubs. Each wait has a limit; nothing outlives its test."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON value."""
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """Of a process of ours: nothing of whoever runs the tests, and `extra`."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SSB_RTC_") or k == "SSB_RTC_SHARED"}
    # The network of whoever runs the tests may have peers of its own, and their home a settings file.
    return {**clean, "PYTHONWARNINGS": "error", "SSB_RTC_LAN": "no", "SSB_RTC_CONFIG": "", **(extra or {})}


async def run(
    *words: str,
    stdin: bytes = b"",
    env: dict[str, str] | None = None,
    prefix: Sequence[str] = (),
    limit_s: float = LIMIT_S,
) -> Done:
    """One command of ours, to its end."""
    process = await asyncio.create_subprocess_exec(
        *prefix,
        sys.executable,
        "-m",
        "ssb_rtc.cli",
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(env),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limit_s):
            out, err = await process.communicate(stdin)
    except BaseException:
        # The whole group: a demo has processes of its own, which hold our pipes open.
        os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()
        raise
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


async def run_ok(*words: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Done:
    """As `run`, and it must succeed."""
    done = await run(*words, stdin=stdin, env=env)
    assert done.code == 0, f"ssb-rtc {' '.join(words)} exited with {done.code}:\n{done.err}"
    return done


class Running:
    """A long-running command that has printed its first JSON line."""

    def __init__(self, process: asyncio.subprocess.Process, ready: Any, errors: Path) -> None:
        self.process = process
        self.ready = ready
        self._errors = errors

    @property
    def stderr(self) -> str:
        """What it has said so far on standard error."""
        return self._errors.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()

    async def end(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(LIMIT_S):
            return await self.process.wait()


@asynccontextmanager
async def running(
    folder: Path, *words: str, env: dict[str, str] | None = None, prefix: Sequence[str] = ()
) -> AsyncIterator[Running]:
    """A long-running command with --json; `folder` takes its standard error."""
    folder.mkdir(parents=True, exist_ok=True)
    errors = folder / f"stderr-{len(list(folder.glob('stderr-*')))}.txt"
    with errors.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            *prefix,
            sys.executable,
            "-m",
            "ssb_rtc.cli",
            *words,
            "--json",
            stdout=asyncio.subprocess.PIPE,
            stderr=sink,
            env=environment(env),
            limit=1 << 22,
        )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(LIMIT_S):
            line = await process.stdout.readline()
        if not line:
            raise AssertionError(f"ssb-rtc {' '.join(words)} ended at its start: {errors.read_text()}")
        yield Running(process, json.loads(line), errors)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(10):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def status(path: Path, *, prefix: Sequence[str] = ()) -> Any:
    """`ssb-rtc status --json`."""
    done = await run("status", "--json", "--path", str(path), prefix=prefix)
    assert done.code == 0, done.err
    return done.json


async def eventually(
    what: str, look: Callable[[], Awaitable[Any]], *, limit_s: float = LIMIT_S, pause_s: float = 0.1
) -> Any:
    """The first true answer of `look`, which is asked again and again; fails with its last answer after the limit."""
    answer: Any = None
    try:
        async with asyncio.timeout(limit_s):
            while True:
                answer = await look()
                if answer:
                    return answer
                await asyncio.sleep(pause_s)
    except TimeoutError:
        raise AssertionError(f"{what} did not happen within {limit_s} s; last seen: {answer!r}") from None


async def holds(path: Path, feeds: dict[str, int], *, limit_s: float = LIMIT_S) -> None:
    """Waits until the peer of `path` holds at least these sequences."""

    async def look() -> bool:
        held = (await status(path))["feeds"]
        return all(held.get(feed, 0) >= sequence for feed, sequence in feeds.items())

    await eventually(f"{path.name} holding {feeds}", look, limit_s=limit_s)


async def connected(path: Path, peer: str, *, prefix: Sequence[str] = (), limit_s: float = LIMIT_S) -> Any:
    """Waits until the peer of `path` is linked to `peer`; gives that row of its status."""

    async def look() -> Any:
        rows = (await status(path, prefix=prefix))["peers"]
        return next((row for row in rows if row["id"] == peer and row["state"] == "CONNECTED"), None)

    return await eventually(f"{path.name} connected to {peer}", look, limit_s=limit_s)
