"""What real peers tell of themselves: the way from the first sign to the first message, metrics, and the log."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ssb_rtc import ListenFailed, Peer, Settings
from ssb_rtc.runtime.timelines import WORDS
from ssb_rtc.testing import keys_of
from tests.e2e.processes import LIMIT_S, eventually, run, run_ok, running

TEXT = "a text that belongs into no log"
PASSWORD = "hunter2"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "observability.md"


async def scrape(url: str, **headers: str) -> dict[str, float]:
    """Every sample by its name and the values of its labels, with blanks between."""

    def read() -> str:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return str(answer.read().decode())

    families = text_string_to_metric_families(await asyncio.to_thread(read))
    return {" ".join((s.name, *s.labels.values())): s.value for family in families for s in family.samples}


async def timeline(path: Path, peer: str) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = (await run_ok("peers", "--why", peer, "--json", "--path", str(path))).json["timeline"]
    return lines


def in_order(wanted: list[str], found: list[str]) -> bool:
    rest = iter(found)
    return all(what in rest for what in wanted)


async def test_from_the_first_sign_to_the_first_message(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    ids = [(await run_ok("init", "--json", "--path", str(path))).json["id"] for path in (a, b)]
    await run_ok("publish", TEXT, "--path", str(a))
    await run_ok("follow", ids[0], "--path", str(b))
    async with running(tmp_path / "hub", "hub", "serve", "--port", "0") as hub:
        hub_url = hub.ready["url"].replace("//", f"//me:{PASSWORD}@")
        meet = ("--hub", hub_url, "--turn", f"turn:me:{PASSWORD}@127.0.0.1:9", "--metrics", "0")
        log = ("--log", "json", "--log-level", "debug")
        async with (
            running(tmp_path / "logs-a", "start", "--path", str(a), *meet) as one,
            running(tmp_path / "logs-b", "start", "--path", str(b), *meet, *log) as other,
        ):

            async def arrived() -> bool:
                return any(line["what"] == "first message" for line in await timeline(b, ids[0]))

            await eventually("the first message", arrived)
            await told_in_order(b, ids[0])
            await followed(tmp_path, b, ids[0])
            await counted(one.ready["metrics"], other.ready["metrics"])
        check_log(other.stderr, ids[0])


async def told_in_order(path: Path, peer: str) -> None:
    lines = await timeline(path, peer)
    way = ["ice", "open", "proven", "in use", "replicating", "first message"]
    assert in_order(way, [line["what"] for line in lines]), lines
    assert {"offer sent", "answer sent"} & {line["what"] for line in lines}
    assert {line["what"] for line in lines} <= WORDS.keys()
    assert lines[0]["at_s"] == 0.0
    assert [line["at_s"] for line in lines] == sorted(line["at_s"] for line in lines)
    assert any(line["detail"].endswith("host") for line in lines), "kinds of addresses are told"
    told = (await run_ok("peers", "--why", peer[:9], "--path", str(path))).out
    assert "the last attempt:" in told
    assert " s  first message" in told


async def followed(tmp_path: Path, path: Path, peer: str) -> None:
    """`trace --peer` begins with what was, and goes on with what comes."""
    async with running(tmp_path / "trace", "trace", "--peer", peer, "--path", str(path)) as tracing:
        assert tracing.ready["at_s"] == 0.0
        await run_ok("disconnect", peer, "--path", str(path))
        assert tracing.process.stdout is not None
        whats = [tracing.ready["what"]]
        async with asyncio.timeout(LIMIT_S):
            while whats[-1] != "ended":
                whats.append(json.loads(await tracing.process.stdout.readline())["what"])
        assert in_order(["first message", "hanging up", "ended"], whats)
    done = await run("trace", "--peer", "@zzzz", "--path", str(path))
    assert done.code != 0
    assert "is no peer's id, nor how a known one begins" in done.err


async def counted(of_a: str, of_b: str) -> None:
    served, fetched = await scrape(of_a), await scrape(of_b)
    assert fetched["ssb_rtc_messages_validated_total"] == 1
    assert fetched["ssb_rtc_messages"] == 2
    assert fetched["ssb_rtc_feeds"] == 2
    assert served["ssb_rtc_messages_validated_total"] == 0
    assert fetched["ssb_rtc_hubs CONNECTED"] == 1
    assert fetched["ssb_rtc_peers DISCONNECTED"] == 1, "the other one was disconnected just now"
    assert fetched["ssb_rtc_links idle rtc"] == 0
    for numbers in (served, fetched):
        assert numbers["ssb_rtc_link_bytes_total in rtc"] > 500
        assert numbers["ssb_rtc_link_bytes_total out net"] == 0
        assert numbers["ssb_rtc_attempts_linked_total"] >= 1
        assert numbers["ssb_rtc_step_seconds_count"] > 3
        assert 0 < numbers["ssb_rtc_step_seconds_max"] <= numbers["ssb_rtc_step_seconds_sum"]
    for kind in ("milestones_total knock sent", "milestones_total offer heard", "actions_total REMOTE_PEER_DID_OFFER"):
        assert sum(numbers.get(f"ssb_rtc_{kind}", 0) for numbers in (served, fetched)) >= 1, kind
    assert fetched["ssb_rtc_milestones_total first message"] == 1
    for host in ("evil.example", "evil.example:80", "192.0.2.1"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            await scrape(of_a, Host=host)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        await scrape(of_a.removesuffix("metrics"))
    assert await scrape(of_a, Host=f"localhost:{of_a.split(':')[2]}")


def check_log(text: str, peer: str) -> None:
    lines = [json.loads(line) for line in text.splitlines()]
    assert {"hub connected", "linked", "link ended", "ice"} <= {line["event"] for line in lines}
    linked = next(line for line in lines if line["event"] == "linked")
    assert (linked["level"], linked["peer"], linked["logger"]) == ("info", peer, "ssb_rtc.peer")
    assert TEXT not in text
    assert PASSWORD not in text


async def test_attempts_that_come_to_nothing_are_counted_by_cause(tmp_path: Path) -> None:
    nobody = f"net:127.0.0.1:1~shs:{keys_of('nobody').id[1:-8]}"
    async with Peer(tmp_path / "peer", Settings(metrics=0, lan=False)) as peer:
        url = peer.status()["metrics"]
        assert isinstance(url, str)
        with pytest.raises(Exception, match="can't connect"):
            await peer.connect(nobody)
        numbers = await scrape(url)
        page = PAGE.read_text(encoding="utf-8")
        for name in {name.partition(" ")[0] for name in numbers if name.startswith("ssb_rtc_")}:
            assert re.search(rf"`{name.removesuffix('_sum').removesuffix('_count')}[`{{]", page), name
        assert numbers["ssb_rtc_attempts_total address"] == 1
        assert numbers["ssb_rtc_attempts_failed_total unreachable"] == 1
        port = int(url.split(":")[2].partition("/")[0])
        with pytest.raises(ListenFailed, match=rf"--metrics can't listen on port {port}"):
            async with Peer(tmp_path / "other", Settings(metrics=port, lan=False)):
                pass
    async with Peer(tmp_path / "other", Settings(metrics=port, lan=False)) as other:
        assert other.status()["metrics"] == url, "the port is free again, and a failed start left nothing behind"


async def test_without_the_library_metrics_are_refused_and_nothing_else_needs_it(tmp_path: Path) -> None:
    (tmp_path / "prometheus_client.py").write_text("raise ImportError\n")
    here = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = await run("start", "--path", str(tmp_path / "peer"), "--metrics", "0", env=here)
    assert done.code == 2
    assert "pip install 'ssb-rtc[metrics]'" in done.err
    async with running(tmp_path / "logs", "start", "--path", str(tmp_path / "peer"), env=here) as peer:
        assert peer.ready["metrics"] is None
