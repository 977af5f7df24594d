"""A short run of what `make soak` does for an hour."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.processes import running
from tests.hub.fuzz import fuzz
from tests.hub.redis_server import redis_server

SERVE = ("hub", "serve", "--port", "0", "--log", "json", "--header-s", "1", "--body-s", "1", "--keep-alive-s", "1")


async def test_strangers_with_mutated_requests_leave_nothing_behind(tmp_path: Path) -> None:
    async with (
        redis_server(tmp_path) as redis,
        running(tmp_path, *SERVE, "--broker", redis.url, "--trusted-proxy", "127.0.0.1") as hub,
    ):
        assert await fuzz(hub, seconds=1.5, seed=1) > 50
