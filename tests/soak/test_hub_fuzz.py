"""An hour of random and mutated requests against the hub server: no crash, no leak, and honest peers notice nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.processes import running
from tests.hub.fuzz import fuzz
from tests.hub.redis_server import redis_server
from tests.hub.test_fuzz import SERVE

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3000)]

MINUTES = 30


@pytest.mark.parametrize(("loop", "broker"), [("uvloop", "memory"), ("asyncio", "redis")])
async def test_strangers_for_half_an_hour(
    loop: str, broker: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with redis_server(tmp_path) as redis:
        url = redis.url if broker == "redis" else "memory"
        flags = ("--loop", loop, "--broker", url, "--trusted-proxy", "127.0.0.1")
        async with running(tmp_path, *SERVE, *flags) as hub:
            came = await fuzz(hub, seconds=MINUTES * 60, seed=MINUTES)
    with capsys.disabled():
        print(f"\n{came} strangers on {loop} with {broker}")
