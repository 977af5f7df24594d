"""The checks of a peer's own files, on real ones."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ssb_rtc.config import Settings
from ssb_rtc.doctor.checks import files, machine
from ssb_rtc.doctor.findings import Finding, State
from ssb_rtc.peer import Peer
from ssb_rtc.storage import folder as folders
from ssb_rtc.storage.contacts import HubRecord
from ssb_rtc.storage.database import Database, open_database
from ssb_rtc.storage.inspection import hubs_in
from ssb_rtc.types import HubUrl

MESSAGES = 60


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """Of a peer that has written something and does not run."""
    async with Peer(tmp_path / "peer", Settings(), online=False) as peer:
        for number in range(MESSAGES):
            await peer.publish({"type": "post", "text": f"{number} " * 200})
    return tmp_path / "peer"


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file, its bytes and its rights."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode)
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- the database ---


async def test_a_whole_database_is_fine_and_stays_as_it_is(folder: Path) -> None:
    before = tree(folder)
    found = await files.database(folder)
    assert found.state is State.OK
    assert found.facts["complete"]
    assert tree(folder) == before


async def test_a_database_is_looked_at_while_its_peer_runs(folder: Path) -> None:
    async with Peer(folder, Settings(), online=False) as peer:
        await peer.publish({"type": "post", "text": "while it is open"})
        assert (folder / "ssb-rtc.sqlite-wal").exists()
        assert (await files.database(folder)).state is State.OK
        await peer.publish({"type": "post", "text": "and it still writes"})


async def test_after_a_crash_what_was_written_last_is_read_too_and_stays(folder: Path, tmp_path: Path) -> None:
    crashed = tmp_path / "crashed"
    async with Peer(folder, Settings(), online=False) as peer:
        await peer.publish({"type": "post", "text": "just before it"})
        shutil.copytree(folder, crashed, ignore=shutil.ignore_patterns("socket", "*-shm"))
    before = tree(crashed)
    assert before["ssb-rtc.sqlite-wal"][0]
    assert (await files.database(crashed)).state is State.OK
    after = tree(crashed)
    after.pop("ssb-rtc.sqlite-shm", None)
    assert after == before


async def test_what_is_not_in_the_file_yet_is_read_too(tmp_path: Path) -> None:
    """The hubs that a running peer was just told of stand in its -wal file alone."""
    database = open_database(tmp_path / "ssb-rtc.sqlite", create=True)
    try:
        _add_hub(database, "https://hub.example.org")
        assert [hub.url for hub in hubs_in(database.path)] == ["https://hub.example.org"]
    finally:
        database.close()
    assert [hub.url for hub in hubs_in(database.path)] == ["https://hub.example.org"]
    assert hubs_in(tmp_path / "absent.sqlite") == []


def _add_hub(database: Database, url: str) -> None:
    from ssb_rtc.storage.contacts import Contacts  # noqa: PLC0415

    Contacts(database).save_hub(HubRecord(HubUrl(url), "user", 1))


@pytest.mark.parametrize("damage", ["no database", "holes", "cut off", "empty"])
async def test_a_broken_database_is_named_with_the_remedy_and_left_alone(folder: Path, damage: str) -> None:
    path = folders.database_path(folder)
    data = bytearray(path.read_bytes())
    if damage == "no database":
        data = bytearray(b"not a database at all" * 100)
    elif damage == "holes":
        data[8_192:] = os.urandom(len(data) - 8_192)
    elif damage == "cut off":
        del data[len(data) // 2 :]
    else:
        data.clear()
    path.write_bytes(data)
    before = tree(folder)
    found = await files.database(folder)
    assert found.state is State.BROKEN
    assert str(path) in found.seen
    assert "damaged" in found.seen
    assert "Stop the peer" in found.remedy
    assert "Move the file away" in found.remedy
    assert tree(folder) == before


async def test_a_database_of_another_program_or_a_newer_one(folder: Path) -> None:
    path = folders.database_path(folder)
    data = bytearray(path.read_bytes())
    data[60:64] = (99).to_bytes(4, "big")  # user_version, in SQLite's header
    path.write_bytes(data)
    found = await files.database(folder)
    assert (found.state, found.remedy) == (State.BROKEN, "Update ssb-rtc.")
    data[68:72] = b"\0\0\0\1"
    path.write_bytes(data)
    assert "another program" in (await files.database(folder)).seen


async def test_what_takes_too_long_to_read_is_not_called_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssb_rtc.storage.inspection.STEPS_BETWEEN_LOOKS", 1)
    found = await files.database(folder, limit_s=0.0)
    assert found.state is State.SKIPPED
    assert "quick_check" in found.remedy


async def test_no_database_yet(tmp_path: Path) -> None:
    assert (await files.database(tmp_path / "absent")).state is State.SKIPPED


# --- keys ---


def test_a_good_secret(folder: Path) -> None:
    found = files.keys(folder)
    assert found.state is State.OK
    assert found.facts["id"].startswith("@")


@pytest.mark.parametrize(
    ("wrong", "state", "says"),
    [
        ("open", State.WARNING, "chmod 600"),
        ("garbage", State.BROKEN, "backup"),
        ("away", State.BROKEN, "copy of the secret"),
    ],
)
def test_a_secret_with_which_something_is_wrong(folder: Path, wrong: str, state: State, says: str) -> None:
    path = folders.secret_path(folder)
    if wrong == "open":
        path.chmod(0o644)
    elif wrong == "garbage":
        path.write_text("# nothing\n{}")
    else:
        path.unlink()
    before = tree(folder)
    found = files.keys(folder)
    assert found.state is state
    assert str(path) in found.seen
    assert says in found.remedy
    assert tree(folder) == before


def test_nobody_has_started_here_yet(tmp_path: Path) -> None:
    found = files.keys(tmp_path / "absent")
    assert found.state is State.WARNING
    assert "ssb-rtc start" in found.remedy
    assert not (tmp_path / "absent").exists()


# --- disk and descriptors ---


def test_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 0

    def usage(_place: object) -> SimpleNamespace:
        return SimpleNamespace(free=free)

    monkeypatch.setattr("shutil.disk_usage", usage)
    settings = Settings(storage_max=5_000_000_000)

    def look(free_bytes: int, settings: Settings = settings) -> Finding:
        nonlocal free
        free = free_bytes
        return files.disk(tmp_path / "absent", settings)

    assert look(6_000_000_000).state is State.OK
    little = look(1_000_000_000)
    assert little.state is State.WARNING
    assert "1.0 GB are free" in little.seen
    assert "5.0 GB more" in little.seen
    assert "--storage-max" in little.remedy
    assert look(1_000_000_000, replace(settings, storage_max=0)).state is State.OK
    full = look(1_000)
    assert (full.state, full.remedy) == (State.BROKEN, "Make room there.")


def test_a_folder_that_can_not_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = files.disk(tmp_path / "file" / "below", Settings())
    assert found.state is State.BROKEN
    assert "--path" in found.remedy


def test_a_folder_that_can_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may everything
    found = files.disk(tmp_path, Settings())
    assert found.state is State.BROKEN
    assert "rights" in found.remedy


@pytest.mark.parametrize(
    ("soft", "hard", "state", "says"),
    [
        (-1, -1, State.OK, ""),
        (1_024, 4_096, State.OK, ""),
        (256, 4_096, State.WARNING, "ulimit -n 1024"),
        (64, 4_096, State.BROKEN, "LimitNOFILE=1024"),
        (256, 512, State.WARNING, "administrator"),
    ],
)
def test_descriptors(soft: int, hard: int, state: State, says: str) -> None:
    found = machine.judge_descriptors(soft, hard, machine.needed(8, 3))
    assert found.state is state
    assert says in found.remedy
    assert bool(found.remedy) == (state is not State.OK)
