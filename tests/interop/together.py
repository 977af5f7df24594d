"""Long sessions of real processes, a few at a time, each one's outcome in a test of its own.

A module's tests take a parameter `cell` and wait for `sessions[cell]`; those that were chosen run from the first on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

SESSIONS_AT_ONCE = 3
LIMIT_S = 240.0
"""For one test: it may wait for the sessions before its own, on a machine that is busy with others."""

Cell = TypeVar("Cell", bound=Hashable)
Sessions = dict[Cell, asyncio.Task[None]]

together = [pytest.mark.js, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(LIMIT_S)]
"""The marks of such a module."""


@asynccontextmanager
async def running_together(
    request: pytest.FixtureRequest,
    factory: pytest.TempPathFactory,
    session: Callable[[Cell, Path], Awaitable[None]],
) -> AsyncIterator[Sessions[Cell]]:
    """Starts `session(cell, folder)` for each chosen cell of the module whose fixture this is called in."""
    tests = [item for item in request.session.items if isinstance(item, pytest.Function)]
    cells: list[Any] = [item.callspec.params["cell"] for item in tests if item.module is request.module]
    turn = asyncio.Semaphore(SESSIONS_AT_ONCE)

    async def one(cell: Cell) -> None:
        async with turn:
            await session(cell, factory.mktemp(str(cell)))

    tasks = {cell: asyncio.create_task(one(cell), name=str(cell)) for cell in cells}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.wait(tasks.values())
