"""What happens when parts die: hubs in the middle, peers by kill -9, and what comes from outside is wrong."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest

from ssb_rtc.peer import Peer
from tests.e2e.processes import Running, connected, eventually, holds, run, run_ok, running, status


async def _identity(path: Path) -> str:
    return str((await run_ok("init", "--json", "--path", str(path))).json["id"])


@pytest.mark.timeout(240)
async def test_three_peers_and_two_hubs_one_of_which_dies_and_comes_back(tmp_path: Path) -> None:
    """A meets on hub 1, C on hub 2, B on both; hub 1 is killed and started again while they gossip."""
    logs = tmp_path / "logs"
    paths = {name: tmp_path / name for name in "abc"}
    ids = {name: await _identity(path) for name, path in paths.items()}
    for name, path in paths.items():
        for other, feed in ids.items():
            if other != name:
                await run_ok("follow", feed, "--path", str(path))
        await run_ok("publish", f"hello from {name}", "--path", str(path))
    async with (
        running(logs, "hub", "serve", "--port", "0") as hub_1,
        running(logs, "hub", "serve", "--port", "0") as hub_2,
    ):
        hubs = {"a": [hub_1], "b": [hub_1, hub_2], "c": [hub_2]}

        def start(name: str) -> list[str]:
            flags = [word for hub in hubs[name] for word in ("--hub", hub.ready["url"])]
            return ["start", "--path", str(paths[name]), *flags]

        async with running(logs, *start("a")), running(logs, *start("b")):
            await connected(paths["a"], ids["b"])
            hub_1.kill()
            await hub_1.process.wait()
            await run_ok("publish", "hub 1 is dead", "--path", str(paths["a"]))
            async with running(logs, *start("c")):
                everything = {ids["a"]: 4, ids["b"]: 3, ids["c"]: 3}
                await asyncio.gather(*(holds(path, everything) for path in paths.values()))
                port = str(hub_1.ready["port"])
                async with running(logs, "hub", "serve", "--port", port):

                    async def back() -> bool:
                        # Meanwhile B may have told it of hub 2.
                        states = {hub["url"]: hub["state"] for hub in (await status(paths["a"]))["hubs"]}
                        return bool(states[hub_1.ready["url"]] == "CONNECTED")

                    await eventually("A being back on hub 1", back, limit_s=150)  # `hub_backoff_offline_max_s` and more
                    await run_ok("publish", "hub 1 is back", "--path", str(paths["b"]))
                    await asyncio.gather(*(holds(path, {**everything, ids["b"]: 4}) for path in paths.values()))


async def _kill_in_the_middle(tmp_path: Path, victim: str) -> None:
    """B fetches A's feed over WebRTC; one of them is killed while messages flow, and started again."""
    logs = tmp_path / "logs"
    paths = {name: tmp_path / name for name in "ab"}
    a = await _identity(paths["a"])
    await _identity(paths["b"])
    await run_ok("import", str(await _long_feed(tmp_path)), "--path", str(paths["a"]))
    author = next(feed for feed in (await status(paths["a"]))["feeds"] if feed != a)
    await run_ok("follow", author, "--path", str(paths["b"]))
    async with running(logs, "hub", "serve", "--port", "0") as hub:

        def start(name: str) -> list[str]:
            return ["start", "--path", str(paths[name]), "--hub", hub.ready["url"]]

        async def under_way() -> int:
            held = (await status(paths["b"]))["feeds"].get(author, 0)
            return int(held)

        async with running(logs, *start("a")) as first_a, running(logs, *start("b")) as first_b:
            doomed: Running = {"a": first_a, "b": first_b}[victim]
            await eventually("replication being under way", under_way, pause_s=0.0)
            doomed.kill()
            await doomed.process.wait()
            async with running(logs, *start(victim)):
                await holds(paths["b"], {author: LONG}, limit_s=60)
    theirs = [
        m["key"] for m in (await run_ok("log", "--json", "--author", author, "--path", str(paths["a"]))).json_lines
    ]
    held = [m["key"] for m in (await run_ok("log", "--json", "--author", author, "--path", str(paths["b"]))).json_lines]
    assert held == theirs
    assert len(held) == LONG
    assert (await status(paths["b"]))["warnings"] == []


LONG = 3_000


async def _long_feed(tmp_path: Path) -> Path:
    file = tmp_path / "long.jsonl"
    async with Peer(tmp_path / "writer", online=False) as writer:
        await asyncio.gather(*(writer.publish({"type": "post", "text": f"{n} " + "x" * 500}) for n in range(LONG)))
        with file.open("wb") as out:
            for stored in writer.context.log.iterate():
                out.write(stored.raw + b"\n")
    return file


async def test_the_reader_is_killed_in_the_middle_and_goes_on_where_it_was(tmp_path: Path) -> None:
    await _kill_in_the_middle(tmp_path, "b")


async def test_the_writer_is_killed_in_the_middle_and_goes_on_where_it_was(tmp_path: Path) -> None:
    await _kill_in_the_middle(tmp_path, "a")


async def test_goodbye_is_heard(tmp_path: Path) -> None:
    """A peer that ends in order is disconnected at the other side at once, and is not tried again for nothing."""
    logs = tmp_path / "logs"
    paths = {name: tmp_path / name for name in "ab"}
    a, b = await _identity(paths["a"]), await _identity(paths["b"])
    async with running(logs, "hub", "serve", "--port", "0") as hub:
        url = hub.ready["url"]
        async with running(logs, "start", "--path", str(paths["a"]), "--hub", url):
            async with running(logs, "start", "--path", str(paths["b"]), "--hub", url) as second:
                row = await connected(paths["a"], b)
                assert row == {"id": b, "state": "CONNECTED", "transport": "rtc"}
                await connected(paths["b"], a)
                assert await second.end() == 0

            async def gone() -> bool:
                rows = (await status(paths["a"]))["peers"]
                return all(row["state"] == "DISCONNECTED" for row in rows if row["id"] == b)

            await eventually("A noticing that B went", gone, limit_s=10)


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    await _identity(tmp_path / "peer")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for words in (["start", "--net", port, "--path", str(tmp_path / "peer")], ["hub", "serve", "--port", port]):
            done = await run(*words)
            assert done.code == 4, done
            assert port in done.err
            assert "Traceback" not in done.err


async def test_a_second_start_on_one_folder_is_refused(tmp_path: Path) -> None:
    await _identity(tmp_path / "peer")
    async with running(tmp_path / "logs", "start", "--path", str(tmp_path / "peer")) as first:
        second = await run("start", "--path", str(tmp_path / "peer"))
        assert second.code == 4
        assert first.process.returncode is None
        assert (await run_ok("publish", "still here", "--path", str(tmp_path / "peer"))).out.startswith("%")


async def test_another_network_never_meets(tmp_path: Path) -> None:
    """Two peers on one hub, of two networks: the app name keeps them apart, and over net the handshake does."""
    paths = {name: tmp_path / name for name in "ab"}
    await _identity(paths["a"])
    await _identity(paths["b"])
    other = {"SSB_RTC_NETWORK_KEY": "A" * 43 + "="}
    logs = tmp_path / "logs"
    async with (
        running(logs, "hub", "serve", "--port", "0") as hub,
        running(logs, "start", "--path", str(paths["a"]), "--hub", hub.ready["url"], "--net", "0") as a,
        running(logs, "start", "--path", str(paths["b"]), "--hub", hub.ready["url"], env=other),
    ):
        refused = await run("connect", a.ready["addresses"][0], "--path", str(paths["b"]))
        assert refused.code == 1
        assert "handshake" in refused.err or "network" in refused.err
        for path in paths.values():
            assert (await status(path))["peers"] in (
                [],
                [row for row in (await status(path))["peers"] if row["state"] == "DISCONNECTED"],
            )


async def test_a_wrong_peer_key_is_refused(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in "ab"}
    await _identity(paths["a"])
    await _identity(paths["b"])
    logs = tmp_path / "logs"
    async with (
        running(logs, "start", "--path", str(paths["a"]), "--net", "0") as a,
        running(logs, "start", "--path", str(paths["b"])),
    ):
        place, _, _key = a.ready["addresses"][0].partition("~shs:")
        wrong = f"{place}~shs:{(await status(paths['b']))['id'][1:-8][::-1].lstrip('=')}="
        refused = await run("connect", wrong, "--path", str(paths["b"]))
        assert refused.code in (1, 2), refused
        assert "Traceback" not in refused.err


async def test_publishing_to_a_running_peer_reaches_the_other_live(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in "ab"}
    a = await _identity(paths["a"])
    await _identity(paths["b"])
    await run_ok("follow", a, "--path", str(paths["b"]))
    logs = tmp_path / "logs"
    async with running(logs, "hub", "serve", "--port", "0") as hub:
        url = hub.ready["url"]
        async with (
            running(logs, "start", "--path", str(paths["a"]), "--hub", url),
            running(logs, "start", "--path", str(paths["b"]), "--hub", url),
        ):
            await connected(paths["b"], a)
            made = (await run_ok("publish", "live", "--json", "--path", str(paths["a"]))).json
            await holds(paths["b"], {a: 1})
            log = (await run_ok("log", "--json", "--author", a, "--path", str(paths["b"]))).json_lines
            assert json.dumps(log[0]["value"]) == json.dumps(made["value"])
