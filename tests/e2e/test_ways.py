"""The command line's ways to be reached: listen, unlisten, invite; with two real peers."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.processes import connected, run, run_ok, running


async def test_listen_invite_accept_unlisten(tmp_path: Path) -> None:
    host, guest = tmp_path / "host", tmp_path / "guest"
    at_host = ("--path", str(host))
    async with (
        running(tmp_path / "logs-host", "start", *at_host, "--ws", "0") as first,
        running(tmp_path / "logs-guest", "start", "--path", str(guest)) as second,
    ):
        [ws] = first.ready["addresses"]
        assert ws.startswith("ws://127.0.0.1:")
        refused = await run("invite", "create", *at_host)
        assert (refused.code, refused.out) == (2, "")
        assert "--external HOST" in refused.err
        made = await run_ok("invite", "create", *at_host, "--external", "127.0.0.1", "--note", "hello")
        code = made.out.strip()
        assert code.startswith(f"{ws.partition('~')[0]}~shs:")
        accepted = await run_ok("invite", "accept", code, "--path", str(guest))
        assert first.ready["id"] in accepted.out
        assert (await connected(host, second.ready["id"]))["transport"] == "ws"
        listening = await run_ok("listen", "net:0", *at_host)
        assert listening.out.startswith("net:127.0.0.1:")
        await run_ok("unlisten", ws, *at_host)
