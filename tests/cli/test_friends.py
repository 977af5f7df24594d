"""`follow`, `block`, `friends`, `purge`, `sync`, and the question of `start`, as a user runs them."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from ssb_rtc.cli import friends, ids
from ssb_rtc.cli.commands import build_parser
from ssb_rtc.cli.exits import exit_code_of
from ssb_rtc.errors import MisuseError, RemoteCallError
from ssb_rtc.plugins.sync_limits import Question
from ssb_rtc.storage.database import open_database
from ssb_rtc.storage.folder import create, database_path
from tests.e2e.processes import LIMIT_S
from tests.storage.feedmaker import Store, feed_of, keys_of


def ssb_rtc(folder: Path, *words: str) -> int:
    """A command in this process; its exit code, or the error that it ends with."""
    arguments = build_parser().parse_args([*words, "--path", str(folder)])
    run: Callable[[object], int] = getattr(friends, arguments.run.removeprefix("friends:"))
    return run(arguments)


def test_the_beginning_of_a_known_id_will_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, friend = create(tmp_path).id, keys_of(91).id
    store = Store(database_path(tmp_path))
    store.log.append(feed_of(91, 3), 0)
    store.database.close()
    assert ssb_rtc(tmp_path, "follow", friend[:6]) == 0
    assert ssb_rtc(tmp_path, "block", friend[1:6], "--undo") == 0
    assert f"following {friend}" in capsys.readouterr().out
    for text in (friend[:4], own[:8], "@" + "z" * 9):
        with pytest.raises(MisuseError, match="nor how a known one begins; one looks like"):
            ssb_rtc(tmp_path, "follow", text)


def test_a_beginning_that_several_have_is_refused_and_they_are_listed() -> None:
    known = [f"@abcdef{number:02}" for number in range(12)]
    with pytest.raises(MisuseError) as refused:
        ids.chosen(ids.checked("abcd"), known)
    said = str(refused.value).splitlines()
    assert said[0] == "12 known ids begin with '@abcd': give more of the one that you mean"
    assert said[1:] == [*(f"  {each}" for each in known[:10]), "  and 2 more"]
    assert ids.chosen("@abcdef07", known) == known[7]


def test_follow_block_purge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    friend, foe = keys_of(91).id, keys_of(92).id
    own = create(tmp_path).id
    store = Store(database_path(tmp_path))
    for number in (91, 92):
        store.log.append(feed_of(number, 3), 0)
    store.database.close()
    ssb_rtc(tmp_path, "follow", friend)
    assert capsys.readouterr().out == f"following {friend}\n"
    ssb_rtc(tmp_path, "block", foe, "--reason", "spam", "--json")
    content = json.loads(capsys.readouterr().out)["value"]["content"]
    assert content == {"type": "contact", "contact": foe, "blocking": True, "reason": "spam"}
    ssb_rtc(tmp_path, "friends", "--json")
    assert json.loads(capsys.readouterr().out) == {own: 0, friend: 1, foe: -1}
    ssb_rtc(tmp_path, "friends")
    assert f"blocked  {foe}" in capsys.readouterr().out

    with pytest.raises(RemoteCallError, match="within reach") as caught:
        ssb_rtc(tmp_path, "purge", friend)
    assert exit_code_of(caught.value) == 2
    with pytest.raises(MisuseError):
        ssb_rtc(tmp_path, "purge")
    ssb_rtc(tmp_path, "sync")
    assert "3 messages of 1 feeds are not within reach" in capsys.readouterr().out
    ssb_rtc(tmp_path, "purge", "--all", "--json")
    assert json.loads(capsys.readouterr().out) == {"feeds": 1, "messages": 3}
    ssb_rtc(tmp_path, "follow", friend, "--undo")
    ssb_rtc(tmp_path, "block", foe, "--undo")
    assert capsys.readouterr().out == f"no longer following {friend}\nno longer blocking {foe}\n"


async def test_start_asks_on_a_terminal_before_a_large_first_sync(tmp_path: Path) -> None:
    create(tmp_path)
    database = open_database(database_path(tmp_path), create=True)
    database.set_meta("sync.question", msgspec.json.encode(Question(123_456, 100_000_000, 7)).decode())
    database.close()
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ssb_rtc.cli", "start", "--path", str(tmp_path)),
        stdin=theirs,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    assert process.stderr is not None
    try:
        async with asyncio.timeout(LIMIT_S):
            said = await process.stderr.readuntil(b"[y/n] ")
            os.write(ours, b"what?\n")
            await process.stderr.readuntil(b"directly: ")
            os.write(ours, b"n\n")
            await process.stderr.readuntil(b"changes that\n")
    finally:
        process.terminate()
        await process.communicate()
        os.close(ours)
    assert b"about 123,456 messages, 100 MB, from 7 feeds" in said
    database = open_database(database_path(tmp_path), create=False)
    assert (database.meta("sync.question"), database.meta("sync.answer")) == (None, "decline")
    database.close()
