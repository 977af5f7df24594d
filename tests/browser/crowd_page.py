"""The dashboard of a peer that knows 1,000 others, as a process beside the test or the bench; see crowded.py."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.interop.processes import LineProcess

START_LIMIT_S: Final = 30.0


@asynccontextmanager
async def crowded(folder: Path, known: int = 1_000) -> AsyncIterator[list[str]]:
    """Addresses that open it, each once."""
    argv = [sys.executable, "-m", "tests.browser.crowded", str(folder), str(known)]
    process = await LineProcess.start("crowded", argv, cwd=Path(__file__).resolve().parents[2])
    try:
        yield json.loads(await process.read_line(START_LIMIT_S))["urls"]
    finally:
        await process.stop()
