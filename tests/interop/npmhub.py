"""The npm signalhub as a process beside the test."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.interop.jspeer import require_node
from tests.interop.processes import LineProcess

SIGNALHUB = Path(__file__).resolve().parents[2] / ".node" / "node_modules" / "signalhub" / "bin.js"
START_LIMIT_S = 15.0


class NpmHub:
    """One npm signalhub 4.9.0. Made by `start`; use it as an async context manager."""

    def __init__(self, process: LineProcess, host: str, port: int) -> None:
        self._process = process
        self.host = host
        self.port = port
        self.url = f"http://{host}:{port}"

    @classmethod
    async def start(
        cls, *, host: str = "127.0.0.1", port: int = 0, argv_prefix: Sequence[str] = (), max_broadcasts: int = 0
    ) -> NpmHub:
        """Listens on `port`, 0 for a free one. `argv_prefix` puts it elsewhere, for one in a network namespace."""
        argv = [*argv_prefix, require_node(), str(SIGNALHUB), "listen", "--quiet", f"--port={port}", f"--host={host}"]
        process = await LineProcess.start("npm signalhub", [*argv, f"--max-broadcasts={max_broadcasts}"])
        try:
            line = await process.read_line(START_LIMIT_S)
            found = re.fullmatch(r"signalhub listening on port (\d+)", line)
            if found is None:
                raise process.failure(f"unexpected first line {line!r}")
            return cls(process, host, int(found[1]))
        except BaseException:
            await process.stop()
            raise

    async def __aenter__(self) -> NpmHub:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Ends it at once, cutting every subscriber; may be called twice."""
        await self._process.stop(grace_s=0.5)
