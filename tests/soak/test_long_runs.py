"""Long runs, started by `make soak`: volume, and the same failure again and again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.processes import connected, eventually, holds, run, run_ok, running, status

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

ROUNDS = 20
GROWTH_KIB_MAX = 20_000


def _memory_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


async def test_fifty_thousand_messages_over_webrtc() -> None:
    done = await run("demo", "--once", "--json", "--messages", "50000", "--timeout", "600", limit_s=900)
    assert done.code == 0, done.err
    assert (done.json["messages"], done.json["verified"]) == (50_000, True)


async def test_a_peer_that_is_killed_again_and_again_leaves_the_other_whole(tmp_path: Path) -> None:
    """After each kill -9 and restart both hold everything, and the one that lives does not grow."""
    logs = tmp_path / "logs"
    stays, dies = tmp_path / "stays", tmp_path / "dies"
    ids = [(await run_ok("init", "--json", "--path", str(path))).json["id"] for path in (stays, dies)]
    await run_ok("follow", ids[1], "--path", str(stays))
    await run_ok("follow", ids[0], "--path", str(dies))
    async with running(logs, "hub", "serve", "--port", "0") as hub:
        flags = ["--hub", hub.ready["url"]]
        async with running(logs, "start", "--path", str(stays), *flags) as survivor:
            first_kib = 0
            for number in range(ROUNDS):
                async with running(logs, "start", "--path", str(dies), *flags) as doomed:
                    await run_ok("publish", f"round {number}", "--path", str(stays))
                    await run_ok("publish", f"round {number}", "--path", str(dies))
                    for path in (stays, dies):
                        await holds(path, {ids[0]: number + 2, ids[1]: number + 2}, limit_s=120)
                    doomed.kill()
                    await doomed.process.wait()
                if number == ROUNDS // 4:
                    first_kib = _memory_kib(survivor.process.pid)
            assert _memory_kib(survivor.process.pid) - first_kib < GROWTH_KIB_MAX
            assert "Traceback" not in survivor.stderr


async def test_a_hub_that_dies_again_and_again_does_not_part_who_is_linked(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    paths = [tmp_path / name for name in "ab"]
    ids = [(await run_ok("init", "--json", "--path", str(path))).json["id"] for path in paths]
    async with running(logs, "hub", "serve", "--port", "0") as first:
        port, url = str(first.ready["port"]), first.ready["url"]
        async with (
            running(logs, "start", "--path", str(paths[0]), "--hub", url),
            running(logs, "start", "--path", str(paths[1]), "--hub", url),
        ):
            await connected(paths[0], ids[1])
            first.kill()
            await first.process.wait()
            for _ in range(5):
                async with running(logs, "hub", "serve", "--port", port) as again:

                    async def back() -> bool:
                        return [hub["state"] for hub in (await status(paths[0]))["hubs"]] == ["CONNECTED"]

                    await eventually("the hub being back", back, limit_s=300)
                    await connected(paths[0], ids[1])
                    again.kill()
                    await again.process.wait()
