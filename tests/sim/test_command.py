"""`ssb-rtc simulate` as a person calls it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ssb_rtc.cli.main import main


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--scenario", "glare", "--seed", "3", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["converged"], shown["seed"], shown["peers"]) == (True, 3, 3)
    assert len(shown["trace_hash"]) == 40
    assert main(["simulate", "--scenario", "glare", "--seed", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trace_hash"] == shown["trace_hash"]


def test_a_table_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "run.svg"
    assert main(["simulate", "--scenario", "glare", "--peers", "5", "--plot", str(picture)]) == 0
    assert "trace hash" in capsys.readouterr().out
    lines = ET.parse(picture).getroot().findall("{http://www.w3.org/2000/svg}polyline")
    assert [len(line.attrib["points"].split()) > 50 for line in lines] == [True, True]


def test_many_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--scenario", "glare", "--seeds", "5"]) == 0
    assert "5 seeds from 1 on: none failed" in capsys.readouterr().out


def test_a_seed_that_fails_says_how_to_see_it_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssb_rtc.sim.feeds.Replication.opened", lambda *_: None)
    assert main(["simulate", "--scenario", "glare", "--seeds", "5", "--seed", "7", "--peers", "4"]) == 1
    assert "ssb-rtc simulate --scenario glare --seed 7 --peers 4" in capsys.readouterr().out
    assert main(["simulate", "--scenario", "glare", "--seeds", "5", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["failed"] == 1


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--list"]) == 0
    assert all(name in capsys.readouterr().out for name in ("calm",))
    assert main(["simulate", "--list", "--json"]) == 0
    names = [json.loads(line)["scenario"] for line in capsys.readouterr().out.splitlines()]
    assert {"calm", "faults", "seed_hubs_die", "quiet"} <= set(names)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--scenario", "rain"], ["--peers", "1"], ["--peers", "1000000000"], ["--hubs", "0"], ["--hubs", "33"],
        ["--seeds", "0"], ["--seeds", "2", "--plot", "run.svg"], ["--plot", "/nonexistent/run.svg"],
        ["--scenario", "quiet", "--peers", "0"], ["--scenario", "quiet", "--plot", "run.svg"],
        ["--scenario", "quiet", "--hubs", "2"],
    ],
)  # fmt: skip
def test_wrong_use(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", *wrong]) == 2
    assert capsys.readouterr().err.startswith("ssb-rtc: ")


def test_a_picture_that_cannot_be_kept_costs_no_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def runs(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("ssb_rtc.sim.run.Run.run", runs)
    assert main(["simulate", "--scenario", "glare", "--plot", "/nonexistent/run.svg"]) == 2
    assert "--plot /nonexistent/run.svg" in capsys.readouterr().err


def test_quiet_presence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--scenario", "quiet", "--peers", "12", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["announced_peer_h"] * 10 < shown["swarm_announced_peer_h"]
    assert 250 < shown["swarm_announced_peer_h"] < 262
