"""`ssb-rtc index`, as a user runs it."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.processes import run_ok


async def test_show_and_rebuild(tmp_path: Path) -> None:
    path = ["--path", str(tmp_path / "peer")]
    own = (await run_ok("init", "--json", *path)).json["id"]
    await run_ok("publish", "--content", f'{{"type":"about","about":"{own}","name":"A"}}', *path)
    await run_ok("publish", "hello", *path)
    states = (await run_ok("index", "--rebuild", "--json", *path)).json
    assert {state["name"]: (state["done"], state["total"]) for state in states} == {"links": (2, 2), "private": (2, 2)}
    assert (await run_ok("index", "--json", *path)).json == states
    shown = (await run_ok("index", *path)).out
    assert "links" in shown
    assert "private" in shown
