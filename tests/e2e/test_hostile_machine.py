"""What the machine itself can do to a peer: callers at its socket, other users, damaged files, a disk that is full."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import resource
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc.errors import RemoteCallError
from tests.e2e.hostile import Victim, header, victim
from tests.e2e.processes import run, run_ok

NOBODY = 65534


@pytest.fixture(scope="module")
def peer() -> Iterator[Victim]:
    """A running peer whose folder others may look into."""
    folder = Path(tempfile.mkdtemp(prefix="ssb-rtc-"))
    folder.chmod(0o755)
    (folder / "peer").mkdir(mode=0o755)
    try:
        with victim(folder / "peer") as running:
            yield running
    finally:
        shutil.rmtree(folder)


# --- the socket ---------------------------------------------------------------------------------------------------


def test_the_socket_and_the_secret_are_for_their_owner_alone(peer: Victim) -> None:
    for name in ("socket", "secret", "ssb-rtc.sqlite"):
        assert stat.S_IMODE((peer.path / name).stat().st_mode) == 0o600, name
    if os.geteuid() != 0:
        return
    os.seteuid(NOBODY)
    try:
        with socket.socket(socket.AF_UNIX) as caller, pytest.raises(PermissionError):
            caller.connect(str(peer.path / "socket"))
        with pytest.raises(PermissionError):
            (peer.path / "secret").read_bytes()
    finally:
        os.seteuid(0)


async def test_garbage_at_the_socket(peer: Victim) -> None:
    chance = random.Random(4)
    chunks = [
        chance.randbytes(10_000), b"GET / HTTP/1.1\r\n\r\n", bytes(9), b"\xff" * 1_000, header(2, 1 << 30, 1),
        header(2, 60_000, 1) + b"[" * 60_000, header(10, 3, 1) + b"{}x", b"",
    ]  # fmt: skip
    async with peer.watched():
        for data in chunks:
            reader, writer = await asyncio.open_unix_connection(str(peer.path / "socket"))
            with contextlib.suppress(ConnectionError):
                writer.write(data)
                await writer.drain()
                writer.write_eof()
                async with asyncio.timeout(5):
                    await reader.read()
            writer.close()
        silent = [await asyncio.open_unix_connection(str(peer.path / "socket")) for _ in range(100)]
        assert (await peer.ask("whoami"))["id"] == peer.id
        for _, writer in silent:
            writer.close()


DEEP = json.loads("[" * 900 + "]" * 900)
WRONG_CALLS: list[tuple[Any, ...]] = [
    ("publish",), ("publish", None), ("publish", {"type": "x" * 60}), ("publish", DEEP),
    ("publish", {"type": "post", "text": "x" * 9_000}), ("publish", {"type": "post", "deep": DEEP}),
    ("get",), ("get", DEEP), ("get", "%x"), ("get", {"a": "x" * 50_000}),
    ("rtc.addHub",), ("rtc.addHub", "ftp://x"), ("rtc.addHub", "http://example.org"), ("rtc.addHub", DEEP),
    ("rtc.addHub", "https://" + "x" * 5_000), ("rtc.addHub", "https://a\x00b"), ("rtc.addHub", "https://[::1"),
    ("rtc.addHub", "\ud800"), ("rtc.removeHub", "https://nowhere.example"),
    ("rtc.connect", "net:127.0.0.1:1"), ("rtc.connect", "x" * 50_000), ("rtc.connect", "net:x~shs:y"),
    ("rtc.connect", 7), ("rtc.disconnect", "@x"), ("rtc.disconnect", DEEP),
    ("rtc.status", 1, 2, 3), ("whoami", 1), ("import", 1),
]  # fmt: skip


async def test_wrong_calls_at_the_socket_get_a_sentence(peer: Victim) -> None:
    async with peer.watched():
        before = (await peer.ask("rtc.status"))["messages"]
        for name, *arguments in WRONG_CALLS:
            with pytest.raises(RemoteCallError) as refused:
                await peer.ask(name, *arguments)
            assert 0 < len(refused.value.message) < 5_000, (name, arguments)
            assert "internal error" not in refused.value.message, (name, arguments)
        assert (await peer.ask("rtc.status"))["messages"] == before


# --- the disk -----------------------------------------------------------------------------------------------------


async def _folder(path: Path) -> Path:
    """The folder of a peer that has written something and does not run."""
    await run_ok("init", "--path", str(path))
    for number in range(3):
        await run_ok("publish", f"message {number}", "--path", str(path))
    return path / "ssb-rtc.sqlite"


async def _refused(path: Path, *words: str) -> str:
    """What every command says about this folder: one sentence, exit code 4, no file touched."""
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} if path.is_dir() else {}
    said = ""
    for command in (["start", "--net", "0"], ["publish", "x"]):
        done = await run(*command, "--path", str(path))
        assert done.code == 4, (command, done)
        assert "Traceback" not in done.err
        assert len(done.err.splitlines()) == 1
        said = done.err
    for word in words:
        assert word in said
    assert {file: file.read_bytes() for file in before} == before
    return said


async def test_a_damaged_database_is_named_and_left_alone(tmp_path: Path) -> None:
    database = await _folder(tmp_path / "peer")
    whole = database.read_bytes()
    spoilt = bytearray(whole)
    for page in range(1, len(whole) // 4096):
        spoilt[page * 4096 : page * 4096 + 64] = os.urandom(64)
    for content in (bytes(spoilt), whole[: len(whole) // 2], b"", b"no SQLite" * 99):
        database.write_bytes(content)
        await _refused(tmp_path / "peer", str(database), "damaged")
    database.write_bytes(whole)
    assert (await run_ok("status", "--json", "--path", str(tmp_path / "peer"))).json["messages"] == 3


async def test_a_folder_that_is_none_or_can_not_be_used(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    for path in (file, file / "below"):
        for command in ("start", "publish x", "init"):
            done = await run(*command.split(), "--path", str(path))
            assert done.code == 4, (command, done)
            assert str(path) in done.err
            assert "Traceback" not in done.err
    assert file.read_text() == "precious"
    await run_ok("init", "--path", str(tmp_path / "peer"))
    (tmp_path / "peer" / "ssb-rtc.sqlite").unlink(missing_ok=True)
    (tmp_path / "peer" / "ssb-rtc.sqlite").mkdir()
    await _refused(tmp_path / "peer", "ssb-rtc.sqlite")


async def test_a_full_disk_stops_publishing_and_nothing_else(tmp_path: Path) -> None:
    """Files of this process may not grow beyond a size, as on a disk that is full."""
    path = tmp_path / "peer"
    await run_ok("init", "--path", str(path))

    with victim(path, "--net", "0") as peer:
        async with peer.watched():
            before = resource.prlimit(peer.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(peer.process.pid, resource.RLIMIT_FSIZE, (400_000, before[1]))
            content = {"type": "post", "text": "x" * 7_000}
            with contextlib.suppress(RemoteCallError):
                for _ in range(1_000):
                    await peer.ask("publish", content)
            written = await peer.holds(peer.id)
            assert 0 < written < 200
            for _ in range(3):
                with pytest.raises(RemoteCallError, match="disk is full"):
                    await peer.ask("publish", content)
            assert await peer.holds(peer.id) == written
            [warning] = (await peer.ask("rtc.status"))["warnings"]
            assert warning.endswith("the disk is full or fails. Make room, and the peer goes on by itself.")
            resource.prlimit(peer.process.pid, resource.RLIMIT_FSIZE, before)
            await peer.ask("publish", {"type": "post", "text": "there is room again"}, {"durable": True})
            assert (await peer.ask("rtc.status"))["warnings"] == []
    done = await run_ok("log", "--json", "--path", str(path))
    assert len(done.json_lines) == written + 1
