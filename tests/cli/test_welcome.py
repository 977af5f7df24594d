"""`ssb-rtc share` and `join` where no peer runs: what is refused, what is kept, and what is printed."""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path

import pytest

from ssb_rtc.cli import welcome
from ssb_rtc.cli.main import main
from ssb_rtc.storage import folder as files
from ssb_rtc.wire.welcome import Welcome, format_welcome, network_mark, parse_welcome

NPM_CODE = f"example.com:8008:@{'A' * 43}=.ed25519~{'A' * 43}="
SOON = int(time.time() // 86_400) + 100
"""A day that a code may be good until."""
CODE = format_welcome(Welcome(network_mark(bytes(32)), b"k" * 32, b"s" * 16, SOON, ("https://hub.example.org",)))
HERE = ("--network-key", "A" * 43 + "=")


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSB_RTC_PATH", str(tmp_path / "peer"))
    return tmp_path / "peer"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("share", "revoke"), 2, "`list` or `revoke ID`"),
        (("share", "list", "x"), 2, "`list` or `revoke ID`"),
        (("join", CODE, "--forget", "x"), 2, "not both"),
        (("join", "hello"), 2, "begins with ssbjoin1"),
        (("join", CODE[:-1] + "1"), 2, "copy it again"),
        (("join", CODE[:40]), 2, "copy it again"),
        (("join", NPM_CODE), 3, "no peer runs"),
        (("join", CODE), 2, "another network"),
        (("share",), 4, "ssb-rtc init"),
    ],
)
def test_what_is_refused(words: tuple[str, ...], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == code
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""
    assert CODE[20:38] not in printed.err


def test_a_typo_makes_nothing(path: Path) -> None:
    assert main(["join", CODE[:-1]]) == 2
    assert not path.exists()


def test_a_code_is_kept_for_the_next_start(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Input:
        buffer = io.BytesIO(CODE.encode() + b"\n")

    monkeypatch.setattr(sys, "stdin", Input())
    assert main(["join", "-", *HERE]) == 0
    printed = capsys.readouterr()
    assert "`ssb-rtc start` starts one, which uses it" in printed.out
    assert str(files.secret_path(path)) in printed.err
    assert main(["join", "--json", *HERE]) == 0
    [waiting] = json.loads(capsys.readouterr().out)
    assert (waiting["id"], waiting["state"]) == (parse_welcome(CODE).host, "stored")
    assert main(["join", *HERE]) == 0
    assert "stored" in capsys.readouterr().out
    assert main(["join", "--forget", "abcd", *HERE]) == 2
    assert "'@abcd' is not a feed id, nor how a known one begins" in capsys.readouterr().err
    assert main(["join", "--forget", "@" + "A" * 43 + "=.ed25519", *HERE]) == 2
    assert "no invitation of this peer is waiting" in capsys.readouterr().err
    assert main(["join", "--forget", waiting["id"][1:7], *HERE]) == 0
    assert main(["join", *HERE]) == 0
    assert "no invitation waits" in capsys.readouterr().out


def test_share_without_a_running_peer_says_so(path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["init"]) == 0
    capsys.readouterr()
    hub = ("--hub", "https://hub.example.org")
    assert main(["share", "--uses", "3", "--note", "a\nb", "--svg", str(tmp_path / "code.svg"), *hub]) == 0
    printed = capsys.readouterr()
    made = parse_welcome(printed.out)
    assert made.hubs == ("https://hub.example.org",)
    assert "for 3 people" in printed.err
    assert "start it with `ssb-rtc start`" in printed.err
    assert b"<svg" in (tmp_path / "code.svg").read_bytes()
    assert main(["share", "list"]) == 0
    assert "0 of 3" in capsys.readouterr().out
    assert main(["share", "revoke", made.id, "--json"]) == 0
    assert main(["share", "--svg", str(tmp_path / "nowhere" / "code.svg"), *hub]) == 2
    assert "can't write" in capsys.readouterr().err


def test_a_qr_code_in_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    welcome.print_qr(CODE)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 23
    assert all(set(line) <= {*"▀▄█ "} for line in lines)
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", plain)
    welcome.print_qr(CODE)  # which could only fail there
    assert plain.tell() == 0


def test_a_terminal_that_is_too_narrow_gets_no_broken_picture(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    welcome.print_qr(CODE)
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("COLUMNS", "80")
    welcome.print_qr(CODE)
    assert "▀" in capsys.readouterr().out


def test_what_is_named_next_reaches_the_same_peer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the folder `ssb-rtc start` would start somebody else."""
    where = ("--path", str(tmp_path / "other peer"))
    start = f"`ssb-rtc start --path '{tmp_path}/other peer'`"
    assert main(["join", CODE, *HERE, *where]) == 0
    assert start in capsys.readouterr().out
    assert main(["share", "--hub", "https://hub.example.org", *where]) == 0
    assert start in capsys.readouterr().err
    assert main(["status", *where]) == 0
    assert start in capsys.readouterr().out
