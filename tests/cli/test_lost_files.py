"""What happens in a folder that has lost a part: no second identity, no fork, and a sentence that says what to do."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from ssb_rtc.cli.exits import ENVIRONMENT, NEGATIVE, USAGE
from ssb_rtc.cli.main import main
from ssb_rtc.config import Settings
from ssb_rtc.peer import Peer
from ssb_rtc.storage import folder as files


def _lived_in(folder: Path) -> None:
    """A folder whose peer was online once, and wrote."""

    async def once() -> None:
        async with Peer(folder, Settings(lan=False)) as peer:
            await peer.publish({"type": "post", "text": "first"})

    asyncio.run(once())


def test_after_its_database_is_gone_a_peer_does_not_begin_its_feed_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _lived_in(tmp_path)
    files.database_path(tmp_path).rename(tmp_path / "damaged")
    for _ in range(2):  # the second time there is a database, which must still know
        assert main(["publish", "second", "--path", str(tmp_path)]) == NEGATIVE
        assert "could fork it" in capsys.readouterr().err
    assert main(["publish", "second", "--force", "--path", str(tmp_path)]) == 0


def test_a_new_folder_publishes_at_once(tmp_path: Path) -> None:
    assert main(["init", "--path", str(tmp_path)]) == 0
    assert main(["publish", "first", "--path", str(tmp_path)]) == 0


@pytest.mark.parametrize("words", [["start", "--no-lan"], ["init"]])
def test_where_the_secret_is_gone_no_other_one_is_made(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _lived_in(tmp_path)
    copy = tmp_path / "copy"
    files.secret_path(tmp_path).rename(copy)
    assert main([*words, "--path", str(tmp_path)]) == ENVIRONMENT
    assert "Put the copy of the secret back" in capsys.readouterr().err
    assert not files.has_identity(tmp_path)
    assert main(["init", "--secret", str(copy), "--path", str(tmp_path)]) == 0
    assert main(["log", "--path", str(tmp_path)]) == 0
    assert "first" in capsys.readouterr().out


def test_a_copy_that_is_not_there_is_no_reason_to_make_a_new_identity(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--secret", str(tmp_path / "none"), "--path", str(tmp_path / "peer")]) == USAGE
    said = capsys.readouterr().err
    assert "name the copy of the secret" in said
    assert "`ssb-rtc init`" not in said


@pytest.mark.parametrize("words", [["whoami"], ["status"], ["log"], ["start", "--no-lan"], ["config"]])
def test_a_place_that_cannot_be_looked_at_is_named(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that is too long stands for a folder without rights, which root would enter."""
    folder = tmp_path / ("x" * 300)
    code = main([*words, "--path", str(folder)])
    said = capsys.readouterr()
    assert code == (0 if words == ["config"] else ENVIRONMENT)
    assert str(folder) in said.err + said.out


def test_the_doctor_looks_at_what_it_can(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--path", str(tmp_path / ("x" * 300))]) == 1
    said = capsys.readouterr().out
    assert "can't be read" in said
    assert "can't be looked at" in said


@pytest.mark.parametrize("content", ["", "other"])
def test_the_doctor_names_another_folder_where_the_file_is_not_ours(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--path", str(tmp_path)]) == 0
    if content:
        other = sqlite3.connect(files.database_path(tmp_path))
        other.execute("CREATE TABLE other (x)")
        other.close()
    else:
        files.database_path(tmp_path).mkdir()
    assert main(["doctor", "--path", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "another folder with --path" in said
    assert "mend the rights" not in said


def test_the_first_settings_file_is_made_by_what_config_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "my settings"))
    assert main(["config", "--path", str(tmp_path / "peer")]) == 0
    told = capsys.readouterr().out.split("no settings file; `")[1].split("`")[0]
    command = told.replace("&& ssb-rtc", f"&& {sys.executable} -m ssb_rtc.cli")
    subprocess.run(["/bin/sh", "-c", command], check=True, timeout=30)
    assert main(["config", "--path", str(tmp_path / "peer")]) == 0
    assert "my settings/ssb-rtc/config.toml" in capsys.readouterr().out


def test_a_settings_file_of_an_editor_that_begins_with_a_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xef\xbb\xbfhops = 1\n")
    assert main(["config", "--path", str(tmp_path)]) == 0


def test_what_the_locale_has_no_bytes_for_is_escaped(tmp_path: Path) -> None:
    assert main(["init", "--path", str(tmp_path)]) == 0
    assert main(["publish", "grüße", "--path", str(tmp_path)]) == 0
    shown = subprocess.run(
        [sys.executable, "-m", "ssb_rtc.cli", "log", "--path", str(tmp_path)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert rb"gr\xfc\xdfe" in shown.stdout


def test_the_doctor_names_a_library_that_is_not_there_also_without_a_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "aiortc", None)  # an import fails, as where it is not installed
    for module in [name for name in sys.modules if name.endswith("_aiortc")]:
        monkeypatch.delitem(sys.modules, module)
    assert main(["doctor", "--rtc-backend", "aiortc", "--path", str(tmp_path)]) == 1
    assert "or take --rtc-backend wrtc" in capsys.readouterr().out
