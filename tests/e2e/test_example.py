"""The example application, as two people run it: two processes, linked over TCP on this machine."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.e2e.processes import LIMIT_S

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "notebook.py"


class Notebook:
    """One running notebook: what is typed into it, and what it has printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self._in, self._out = process, process.stdin, process.stdout

    def type(self, line: str) -> None:
        self._in.write(line.encode() + b"\n")

    async def prints(self, beginning: str) -> str:
        """The next line that begins so."""
        seen = []
        try:
            async with asyncio.timeout(LIMIT_S):
                while line := (await self._out.readline()).decode():
                    if line.startswith(beginning):
                        return line.strip()
                    seen.append(line)
        except TimeoutError:
            pass
        raise AssertionError(f"it never printed {beginning!r}, but: {''.join(seen)}")

    async def list(self, count: int) -> list[str]:
        self.type("list")
        return [await self.prints(f"{number}. ") for number in range(1, count + 1)]

    async def end(self) -> int:
        self._in.close()
        async with asyncio.timeout(LIMIT_S):
            return await self.process.wait()


@asynccontextmanager
async def notebook(folder: Path, *words: str) -> AsyncIterator[Notebook]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SSB_RTC_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROGRAM),
        str(folder),
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**clean, "PYTHONWARNINGS": "error"},
    )
    try:
        yield Notebook(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_two_people_share_a_notebook(tmp_path: Path) -> None:
    async with notebook(tmp_path / "alice", "--net", "0") as alice:
        _, _, alice_id, address = (await alice.prints("I am")).split()
        alice.type("add milk")
        await alice.prints(f"  {alice_id[:6]} wrote: milk")
        async with notebook(tmp_path / "bob", "--join", address) as bob:
            bob_id = (await bob.prints("I am")).split()[2]
            alice.type(f"follow {bob_id}")
            await bob.prints(f"  {alice_id[:6]} wrote: milk")
            bob.type("add bread")
            await alice.prints(f"  {bob_id[:6]} wrote: bread")
            alice.type("edit 2 rye bread")
            await bob.prints(f"  {alice_id[:6]} wrote: rye bread")
            assert await alice.list(2) == await bob.list(2) == ["1. milk", "2. rye bread"]
            bob.type("edit 3 nothing")
            await bob.prints("that did not work: ")
            assert await bob.end() == 0
        async with notebook(tmp_path / "bob") as again:  # nobody else is there
            await again.prints(f"  {alice_id[:6]} wrote: rye bread")
            assert await again.list(2) == ["1. milk", "2. rye bread"]
            assert await again.end() == 0
        assert await alice.end() == 0
