"""The pytest fixtures; in `conftest.py`: `pytest_plugins = ["ssb_rtc.testing.fixtures"]`.

They need pytest and what runs asynchronous tests: pytest-asyncio or, where that is not installed, anyio's plugin.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from ssb_rtc.testing.swarm import Swarm

try:
    from pytest_asyncio import fixture
except ImportError:  # anyio's plugin runs plain asynchronous fixtures
    from pytest import fixture  # type: ignore[no-redef]  # noqa: PT013


@fixture
async def swarm(tmp_path: Path) -> AsyncIterator[Swarm]:
    """A swarm in memory, without peers yet; it ends with the test."""
    async with Swarm(tmp_path / "swarm") as made:
        yield made


@fixture
async def loopback_swarm(tmp_path: Path) -> AsyncIterator[Swarm]:
    """A swarm whose links are TCP connections on 127.0.0.1; it ends with the test."""
    async with Swarm(tmp_path / "swarm", way="loopback") as made:
        yield made
