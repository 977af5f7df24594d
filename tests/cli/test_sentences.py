"""What a person reads when something is wrong: a sentence, and what to do next."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssb_rtc import errors
from ssb_rtc.cli.exits import ENVIRONMENT, NEGATIVE, NO_PEER, USAGE, advice_on
from ssb_rtc.cli.main import main

FRIEND = "@" + "A" * 43 + "=.ed25519"


@pytest.mark.parametrize(
    ("words", "code", "next_step"),
    [
        (["import", "no-such-file"], USAGE, "name a file, or - for standard input"),
        (["validate", "."], USAGE, "name a file, or - for standard input"),
        (["publish"], USAGE, "takes either a TEXT"),
        (["publish", "--content", "{"], USAGE, "write it in single quotes"),
        (["publish", "--content", '{"a":1}'], USAGE, 'like {"type":"post","text":"hello"}'),
        (["publish", "x" * 9_000], USAGE, "shorten it"),
        (["follow", "bob"], USAGE, "one looks like @<44 characters>.ed25519"),
        (["log", "--limit", "-1"], USAGE, "takes a number from 0"),
        (["blobs", "ls", "x"], USAGE, "leave it out"),
        (["blobs", "get", "&" + "A" * 43 + "=.sha256"], NEGATIVE, "`ssb-rtc blobs want` fetches it"),
        (["hubs", "add", "ftp://hub.example.org"], USAGE, "write https://"),
        (["hubs", "add", "http://hub.example.org"], USAGE, "write https://"),
        (["hubs", "remove", "https://hub.example.org"], USAGE, "`ssb-rtc hubs` lists them"),
        (["peers"], NO_PEER, "start it with `ssb-rtc start"),
        (["sync", "--timeout", "1"], USAGE, "goes with --wait"),
        (["purge", FRIEND[:-1]], USAGE, "one looks like"),
        (["init"], ENVIRONMENT, "move it away first"),
        (["trace", "--replay", "pyproject.toml"], USAGE, "no file of `start --trace FILE`"),
        (["simulate", "--scenario", "chaos"], USAGE, "`ssb-rtc simulate --list` shows them"),
        (["start", "--tls-cert", "x", "--ws", "0"], USAGE, "go together"),
        (["start", "--hops", "many"], USAGE, "a whole number from 0 to 8"),
    ],
)
def test_an_error_says_what_to_do(
    words: list[str], code: int, next_step: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_no_peer = {"validate", "simulate"}
    path = [] if words[0] in needs_no_peer else ["--path", str(tmp_path / "peer")]
    if path:
        assert main(["init", *path]) == 0
        capsys.readouterr()
    assert main([*words, *path]) == code
    said = capsys.readouterr().err
    assert said.startswith("ssb-rtc: ")
    assert next_step in said


def test_without_an_identity_the_next_step_is_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["whoami", "--path", str(tmp_path)]) == ENVIRONMENT
    assert f"Run `ssb-rtc init --path {tmp_path}` to make one." in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["statsu"], ["status", "--wach"], ["connect"]])
def test_wrong_usage_names_the_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == USAGE
    assert "--help` shows what it takes" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["join", "--wait"], ["sync", "--wait", "--timeout"], ["blobs", "ls", "--timeout"]])
@pytest.mark.parametrize("time_s", ["-1", "nan", "inf", "soon"])
def test_a_time_that_is_none(words: list[str], time_s: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, time_s])
    assert ended.value.code == USAGE
    assert f"takes a number of seconds from 0 to 31536000, not '{time_s}'" in capsys.readouterr().err


def test_errors_that_know_nothing_of_commands_get_advice() -> None:
    assert "`ssb-rtc start` runs it again" in advice_on(errors.LinkClosed("the connection was closed"))
    unknown = errors.RemoteCallError("method:rtc,watch is not in list of allowed methods")
    assert "another version" in advice_on(unknown)
    assert advice_on(errors.MisuseError("this is our own address: give that of another peer")) == ""


def test_the_help_says_where_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "To begin: `ssb-rtc start`" in capsys.readouterr().out
