"""`ssb-rtc doctor`, as a user runs it."""

from __future__ import annotations

from pathlib import Path

from ssb_rtc.hub.server import serve
from tests.e2e.processes import run, run_ok


async def test_a_table_with_the_remedies_and_the_exit_code(tmp_path: Path) -> None:
    path = ["--path", str(tmp_path / "peer")]
    await run_ok("init", *path)
    await run_ok("publish", "hello", *path)
    hub = await serve("127.0.0.1", 0)
    try:
        await run_ok("hubs", "add", hub.url, *path)
        good = await run("doctor", *path)
        database = tmp_path / "peer" / "ssb-rtc.sqlite"
        database.write_bytes(b"not a database at all" * 100)
        bad = await run("doctor", *path, "--hub", hub.url, "--hub", "http://127.0.0.1:1")
    finally:
        await hub.close()
    assert good.code == 0, good.out
    assert "\x1b" not in good.out
    lines = {line.split()[0]: line for line in good.out.splitlines()[1:] if line[:1].strip()}
    for check in ("clock", "keys", "database", "hub", "channel"):
        assert lines[check].split()[1] == "ok", good.out
    assert hub.url in lines["hub"]

    assert bad.code == 1
    assert f"{database} is damaged" in bad.out
    assert "-> Stop the peer. Move the file away" in bad.out
    assert "nobody listens there" in bad.out
    assert "1 broken" in bad.out.splitlines()[-1]
    assert bad.err == ""


async def test_json_before_the_first_start(tmp_path: Path) -> None:
    done = await run("doctor", "--json", "--path", str(tmp_path / "absent"))
    assert done.code == 0, done.out
    assert done.json["ok"] is True
    states = {row["check"]: row["state"] for row in done.json["findings"]}
    assert states["keys"] == "warning"
    assert states["database"] == states["channel"] == states["clock"] == "skipped"
    assert not (tmp_path / "absent").exists()


async def test_a_flag_that_means_nothing_is_a_mistake_of_use(tmp_path: Path) -> None:
    done = await run("doctor", "--stun", "a b", "--path", str(tmp_path / "absent"))
    assert done.code == 2
    assert done.err.startswith("ssb-rtc: --stun takes HOST:PORT")
