"""The main job: a hub and two peers as processes gossip a feed over WebRTC."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.processes import run, run_ok


async def test_demo_gossips_over_webrtc() -> None:
    done = await run_ok("demo", "--once", "--json", "--messages", "50")
    result = done.json
    assert result["transport"] == "rtc"
    assert result["messages"] == 50
    assert result["verified"] is True
    assert set(result) == {"transport", "messages", "verified", "seconds", "messages_per_s", "time_to_connect_s"}


async def test_demo_with_the_other_backend() -> None:
    done = await run_ok("demo", "--once", "--json", "--messages", "20", "--rtc-backend", "aiortc")
    assert (done.json["transport"], done.json["verified"]) == ("rtc", True)


async def test_demo_of_a_real_feed(vectors: Path) -> None:
    feed = vectors / "go-ssb-legacy" / "real-feed-235.jsonl"
    done = await run_ok("demo", "--once", "--json", "--import", str(feed))
    assert done.json["messages"] == 235
    assert done.json["verified"] is True


async def test_demo_fails_without_a_data_channel() -> None:
    """Where no channel can open the peers still hear each other on the hub, and that must not be enough."""
    no_way = {"SSB_RTC_TURN": "turn:u:p@127.0.0.1:1", "SSB_RTC_RELAY_ONLY": "yes"}
    done = await run("demo", "--once", "--json", "--messages", "5", "--timeout", "8", env=no_way)
    assert done.code == 1
    assert done.out == ""
    assert "the time is up" in done.err


async def test_demo_says_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text(json.dumps({"hello": 1}) + "\n")
    done = await run("demo", "--once", "--json", "--import", str(bad))
    assert done.code == 2
    assert "line 1" in done.err
