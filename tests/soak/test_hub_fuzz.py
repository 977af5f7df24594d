"""An hour of random and mutated requests to the hub server, and of streams and letters to its client.

No crash, no leak, and honest peers notice nothing.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.processes import running
from tests.hub.fuzz import fuzz
from tests.hub.redis_server import redis_server
from tests.hub.test_fuzz import SERVE
from tests.signalhub import client_fuzz

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3000)]

MINUTES = 20


@pytest.mark.parametrize(("loop", "broker"), [("uvloop", "memory"), ("asyncio", "redis")])
async def test_strangers_at_the_server(
    loop: str, broker: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with redis_server(tmp_path) as redis:
        url = redis.url if broker == "redis" else "memory"
        flags = ("--loop", loop, "--broker", url, "--trusted-proxy", "127.0.0.1")
        async with running(tmp_path, *SERVE, *flags) as hub:
            came = await fuzz(hub, seconds=MINUTES * 60, seed=MINUTES)
    with capsys.disabled():
        print(f"\n{came} strangers on {loop} with {broker}")


async def test_a_hub_that_lies_to_its_clients(capsys: pytest.CaptureFixture[str]) -> None:
    said = await client_fuzz.fuzz(seconds=MINUTES * 60, seed=MINUTES)
    with capsys.disabled():
        print(f"\n{said} events of a hub that lies")
