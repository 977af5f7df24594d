"""A command of ours on a terminal of its own: what it draws, and keys that are pressed."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.e2e.processes import LIMIT_S, environment

COLOUR = re.compile(r"\x1b\[(?:\d+;)*[34]\d(?:;\d+)*m")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """The side of whoever sits before it."""

    def __init__(self, ours: int, process: asyncio.subprocess.Process) -> None:
        self._ours, self.process = ours, process
        self.raw = ""

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    @property
    def text(self) -> str:
        """What was drawn so far, without colours and movements."""
        return _CONTROL.sub("", self.raw)

    @property
    def echoes(self) -> bool:
        """Whether typed characters show, as they do in a shell."""
        return bool(termios.tcgetattr(self._ours)[3] & termios.ECHO)

    def forget(self) -> None:
        """From now on only what comes anew counts."""
        self.raw = ""

    async def shows(self, text: str) -> None:
        """Waits until this was drawn."""
        try:
            async with asyncio.timeout(LIMIT_S):
                while text not in self.text:
                    await self._read()
        except TimeoutError:
            raise AssertionError(f"{text!r} was never drawn, but: {self.text[-2000:]}") from None

    async def end(self) -> int:
        """What it exits with by itself."""
        async with asyncio.timeout(LIMIT_S):
            while self.process.returncode is None:
                await self._read()
            return self.process.returncode

    async def _read(self) -> None:
        try:
            self.raw += os.read(self._ours, 1 << 16).decode(errors="replace")
        except BlockingIOError:
            await asyncio.sleep(0.02)


@asynccontextmanager
async def terminal(
    *words: str, env: dict[str, str] | None = None, columns: int = 100, lines: int = 24
) -> AsyncIterator[Terminal]:
    """The command with its standard streams on a new terminal, as its foreground process."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    os.set_blocking(ours, False)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _TAKE_TERMINAL, sys.executable, "-m", "ssb_rtc.cli", *words),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment(env), "TERM": "xterm-256color"},
        start_new_session=True,
    )
    try:
        yield Terminal(ours, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(theirs)
        os.close(ours)


_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
"""The first process of a new session has no terminal until it takes one."""
