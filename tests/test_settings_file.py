"""The settings file: where it is found, what it may hold, what is said of a bad one; and what `config` tells."""

from __future__ import annotations

import base64
import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts import settings_docs
from ssb_rtc import config
from ssb_rtc.cli import settings_file
from ssb_rtc.cli.commands import COMMANDS, NETWORK
from ssb_rtc.cli.main import main
from ssb_rtc.cli.settings_template import grouped, template
from ssb_rtc.errors import ConfigFault
from tests.e2e.processes import run, run_ok, running

HMAC_KEY = base64.b64encode(bytes(range(32))).decode()


def test_the_page_is_written_from_the_tables() -> None:
    assert settings_docs.TARGET.read_text(encoding="utf-8") == settings_docs.render(), (
        "run: python -m scripts.settings_docs"
    )


def test_every_setting_has_its_place_and_is_a_flag_of_start() -> None:
    assert sorted(s.name for _, settings in grouped() for s in settings) == sorted(s.name for s in config.SETTINGS)
    assert sorted(NETWORK) == sorted(s.name for s in config.SETTINGS)
    assert {c.settings for c in COMMANDS if c.name in {"start", "config"}} == {NETWORK}


def test_the_template_is_a_file_that_changes_nothing_and_each_of_its_lines_is_right() -> None:
    assert tomllib.loads(template()) == {}
    lines = [line[1:] for line in template().splitlines() if line.startswith("#") and not line.startswith("# ")]
    assert len(lines) == len(config.SETTINGS)
    whole = config.load({}, {}, tomllib.loads("\n".join(lines)))
    for setting in config.SETTINGS:
        if setting.default not in (None, ()):
            assert getattr(whole, setting.name) == setting.default, setting.name


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default() -> None:
    file = {"hops": 1, "peers-max": 4, "lifetime": 9, "hub": ["https://file.example"], "lan": False, "blob_max": 7}
    environment = {"SSB_RTC_PEERS_MAX": "5", "SSB_RTC_LIFETIME": "10", "SSB_RTC_HUB": "https://a.example"}
    loaded = config.load({"lifetime": "11"}, environment, file, "my.toml")
    assert (loaded.hops, loaded.peers_max, loaded.lifetime, loaded.sympathy) == (1, 5, 11, 3)
    assert loaded.hub == ("https://a.example",), "a list replaces a list"
    assert not loaded.lan
    rows = {row["name"]: (row["value"], row["source"], row["where"]) for row in config.told(loaded)}
    assert rows["lifetime"] == (11, "flag", "--lifetime")
    assert rows["peers_max"] == (5, "environment", "SSB_RTC_PEERS_MAX")
    assert rows["hops"] == (1, "file", "my.toml")
    assert rows["sympathy"] == (3, "default", None)
    assert {row["name"] for row in config.told(config.Settings(hops=1)) if row["source"] == "program"} == {"hops"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hopps = 1", "there is no setting 'hopps'; did you mean hops?"),
        ("Peers-Max = 1", "did you mean peers_max?"),
        ("zzzzzz = 1", "`ssb-rtc config --template` shows all"),
        ("path = '/x'", "take --path or SSB_RTC_PATH"),
        ("[start]\nhops = 1", "there is no setting 'start'"),
        ("hops = 9", "hops takes a whole number from 0 to 8, not 9"),
        ("hops = true", "hops takes a whole number from 0 to 8, not true"),
        ("hops = 1.5", "hops takes a whole number from 0 to 8, not 1.5"),
        ("hops = [1]", "hops takes a whole number from 0 to 8"),
        ("hops = 2026-01-01", "hops takes a whole number from 0 to 8"),
        ("lan = 'perhaps'", "lan takes yes or no, not 'perhaps'"),
        ("hub = 'https://a.example'", "hub takes a list in brackets"),
        ("hub = [1]", "hub takes a text in quotes"),
        ("host = 5", "host takes a text in quotes"),
        ("rtc_backend = 'pion'", "rtc_backend takes one of wrtc, aiortc, not 'pion'"),
        ("peers_max = 3\npeers-max = 3", "peers_max stands there twice"),
    ],
)
def test_what_is_wrong_is_refused_with_the_file_the_key_and_what_it_takes(text: str, said: str) -> None:
    with pytest.raises(ConfigFault) as caught:
        config.load({}, {}, tomllib.loads(text), "my.toml")
    assert str(caught.value).startswith("my.toml: ")
    assert said in str(caught.value)
    with pytest.raises(ConfigFault):
        config.load({"hops": "1", "lan": "no"}, {"SSB_RTC_HOST": "::1"}, tomllib.loads(text))


@given(
    st.dictionaries(
        st.sampled_from([s.name for s in config.SETTINGS]) | st.text(max_size=9),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.dates(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=4,
        ),
        max_size=4,
    )
)
def test_whatever_stands_in_a_file_is_settings_or_a_fault(file: dict[str, object]) -> None:
    try:
        loaded = config.load({}, {}, file)
    except ConfigFault:
        return
    json.dumps(config.told(loaded))


def test_secrets_are_neither_told_nor_quoted() -> None:
    file = {
        "turn": ["turn:user:hunter2@relay.example"],
        "hmac_key": HMAC_KEY,
        "hub": ["https://me:hunter2@hub.example"],
    }
    rows = {row["name"]: row for row in config.told(config.load({}, {}, file))}
    assert "hunter2" not in json.dumps(rows)
    assert HMAC_KEY not in json.dumps(rows)
    assert rows["turn"] == {
        "name": "turn",
        "value": None,
        "source": "file",
        "where": "the settings file",
        "secret": True,
    }
    assert rows["hub"]["value"] == ["https://***@hub.example"]
    for wrong in ({"hmac_key": "hunter2"}, {"turn": "turn:user:hunter2@relay.example"}, {"turn": [["hunter2"]]}):
        with pytest.raises(ConfigFault) as caught:
            config.load({}, {}, wrong)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigFault) as caught:
        config.load({"hmac_key": "hunter2"}, {})
    assert "hunter2" not in str(caught.value)


def test_the_file_in_force_is_the_first_of_its_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSB_RTC_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "peer"
    assert settings_file.find(None, folder) is None
    at_home = settings_file.places(folder)[-1]
    assert at_home.is_relative_to(tmp_path)
    for place in (at_home, folder / "config.toml", tmp_path / "named.toml"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("hops = 1\n")
    assert settings_file.find(None, folder) == folder / "config.toml"
    assert settings_file.find(None, tmp_path / "other") == at_home
    monkeypatch.setenv("SSB_RTC_CONFIG", str(tmp_path / "named.toml"))
    assert settings_file.find(None, folder) == tmp_path / "named.toml"
    assert settings_file.find(str(at_home), folder) == at_home
    assert settings_file.find("", folder) is None
    with pytest.raises(ConfigFault, match=r"no settings file .*absent.*--template"):
        settings_file.find(str(tmp_path / "absent"), folder)


def test_what_can_not_be_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, path = tmp_path / "my.toml", str(tmp_path / "peer")
    contents = (
        b"hops = \n",
        b"\xff = 1",
        b"#" * (settings_file.BYTES_MAX + 1),
        b"x = " + b"[" * 100_000,
        b"x = " + b"9" * 5_000,
    )
    for content, said in zip(contents, ("line 1", "UTF-8", "more than", "TOML", "TOML"), strict=True):
        file.write_bytes(content)
        for command in ("config", "start"):
            assert main([command, "--path", path, "--config", str(file)]) == 2
            err = capsys.readouterr().err
            assert said in err
            assert str(file) in err
    assert main(["config", "--path", path, "--config", str(tmp_path)]) == 2
    assert not (tmp_path / "peer").exists(), "nothing began"


def test_config_tells_what_start_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.toml"
    words = ["--path", str(tmp_path), "--config", str(file)]
    file.write_text('hub = ["http://a.example"]\nstun = ["foo:bar"]\ntls_cert = "x"\n')
    assert main(["config", *words]) == 1
    said = capsys.readouterr().out
    assert f"`ssb-rtc start` refuses this: {file}: hub: " in said
    assert f"`ssb-rtc start` refuses this: {file}: stun takes HOST:PORT" in said
    assert "`ssb-rtc start` refuses this: --tls-cert and --tls-key go together" in said
    assert "--allow-http a.example" in said
    assert "would begin" not in said
    file.write_text('hub = ["http://a.example"]\nallow_http = ["a.example"]\nturn = ["turn:user:hidden"]\n')
    assert main(["config", *words, "--json"]) == 1
    told = capsys.readouterr().out
    assert json.loads(told)["faults"] == [f"{file}: turn takes turn:USER:PASS@HOST:PORT"]
    assert "hidden" not in told
    assert main(["start", *words]) == 2
    assert f"{file}: turn takes turn:USER:PASS@HOST:PORT" in capsys.readouterr().err


async def test_config_tells_what_is_in_force_where_a_peer_runs_and_where_none_does(tmp_path: Path) -> None:
    folder = tmp_path / "peer"
    folder.mkdir()
    file = folder / "config.toml"
    file.write_text(f'hops = 1\nlifetime = 7\nhmac_key = "{HMAC_KEY}"\n')
    file.chmod(0o644)
    env = {"SSB_RTC_LIFETIME": "8"}
    words = ("config", "--path", str(folder), "--config", str(file))

    def rows(told: list[dict[str, object]]) -> dict[object, object]:
        return {row["name"]: (row["value"], row["source"]) for row in told}

    done = await run_ok(*words, "--json", "--peers-max", "3", env=env)
    assert done.json["running"] is False
    assert done.json["file"] == str(file)
    found = rows(done.json["settings"])
    assert found["hops"] == (1, "file")
    assert found["lifetime"] == (8, "environment")
    assert found["peers_max"] == (3, "flag")
    assert found["hmac_key"] == (None, "file")
    said = (await run_ok(*words, env=env)).out
    assert "chmod 600" in said
    assert HMAC_KEY not in said
    start = ("start", "--path", str(folder), "--config", str(file), "--strangers-max", "1", "--no-lan")
    async with running(tmp_path / "logs", *start, env=env) as started:
        assert "chmod 600" in started.stderr
        file.write_text("hops = 0\n")
        done = await run_ok(*words, "--json")
        assert done.json["running"] is True
        found = rows(done.json["settings"])
        assert found["hops"] == (1, "file")
        assert found["lifetime"] == (8, "environment")
        assert found["strangers_max"] == (1, "flag")
        assert [(row["name"], row["value"]) for row in done.json["after_restart"]] == [("hops", 0)]
        assert "hops becomes 0 when the peer is started anew" in (await run_ok(*words)).out
        file.write_text("hops = 99\n")
        done = await run("status", "--path", str(folder), "--config", str(file))
        assert done.code == 2
        assert "hops takes" in done.err
