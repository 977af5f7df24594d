"""A process that talks in lines: read with limits, its last words kept for the failure message, dead with its test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

STDERR_LINES_MAX = 60
END_LIMIT_S = 2.0
LINE_BYTES_MAX = 64 * 1024 * 1024


class RigFailure(AssertionError):
    """The process beside the test died, was silent for too long or said no; the message carries its last words."""


class LineProcess:
    """A child process whose standard output is read line by line."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES_MAX)
        self._reading = asyncio.create_task(self._read_stderr())

    @classmethod
    async def start(
        cls, name: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> LineProcess:
        """Starts it in a process group of its own, so that whatever it starts dies with it."""
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
        return cls(name, process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._stderr.append(line.decode(errors="replace").rstrip())

    def last_words(self) -> str:
        """What it wrote to standard error, its last lines."""
        return "\n".join(self._stderr) or "(nothing on standard error)"

    def failure(self, what: str) -> RigFailure:
        return RigFailure(f"{self.name}: {what}\n{self.last_words()}")

    async def read_line(self, timeout_s: float) -> str:
        """The next line; RigFailure when the process ended or the time is over."""
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), timeout_s)
        except TimeoutError:
            raise self.failure(f"silent for {timeout_s} s") from None
        if not line:
            # Its exit and its last words may still be on their way.
            await asyncio.wait([self._reading, asyncio.ensure_future(self._process.wait())], timeout=END_LIMIT_S)
            raise self.failure(f"ended (exit code {self._process.returncode})")
        return line.decode().rstrip("\n")

    async def write_line(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise self.failure("does not listen any more") from None

    async def wait(self, timeout_s: float) -> int:
        """Its exit code."""
        try:
            return await asyncio.wait_for(self._process.wait(), timeout_s)
        except TimeoutError:
            raise self.failure(f"still runs after {timeout_s} s") from None

    async def stop(self, *, grace_s: float = 2.0) -> None:
        """Ends it and its group: politely, then not; may be called twice."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            if not self.alive:
                break
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.killpg(self._process.pid, how)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), grace_s)
        await self._process.wait()
        self._reading.cancel()
        await asyncio.wait([self._reading])
        # Closes the pipes now: a transport that is collected after the loop has ended warns.
        transport = getattr(self._process, "_transport", None)
        if transport is not None:
            transport.close()
