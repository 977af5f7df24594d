"""The secret file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ssb_rtc.errors import IdentityExists, IdentityMissing, MisuseError, StorageFault
from ssb_rtc.storage.identity import create_identity, load_identity
from tests.storage.feedmaker import keys_of


def test_made_private_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    old = os.umask(0)
    try:
        create_identity(path, keys_of(1))
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]
    loaded = load_identity(path)
    assert loaded.keys == keys_of(1)
    assert loaded.warning is None


def test_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    create_identity(path, keys_of(1))
    with pytest.raises(IdentityExists, match="secret"):
        create_identity(path, keys_of(2))
    assert load_identity(path).keys == keys_of(1)
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(IdentityExists):
        create_identity(dangling, keys_of(2))
    assert not (tmp_path / "nowhere").exists()


def test_a_crash_while_writing_leaves_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageFault, match="No space left"):
        create_identity(tmp_path / "secret", keys_of(1))
    assert list(tmp_path.iterdir()) == []


def test_absent(tmp_path: Path) -> None:
    with pytest.raises(IdentityMissing, match="ssb-rtc init"):
        load_identity(tmp_path / "secret")


def test_wide_permissions_are_warned_about(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    create_identity(path, keys_of(1))
    path.chmod(0o644)
    warning = load_identity(path).warning
    assert warning is not None
    assert "chmod 600" in warning


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"# only a comment"], ids=str)
def test_what_is_no_secret(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(MisuseError, match=r"no secret file: .*; put the copy of the secret that you kept in its place"):
        load_identity(path)


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(StorageFault):
        load_identity(tmp_path)
