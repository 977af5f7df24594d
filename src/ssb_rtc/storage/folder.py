"""The folder of one peer: what lies where, and how it comes into being.

secret           the identity, mode 0600, never overwritten
ssb-rtc.sqlite   everything else (with its -wal, -shm and lock beside it)
socket           the local rpc of a running peer, mode 0600
manifest.json    the methods of the peer that ran last, for JavaScript clients that look for them there
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from ssb_rtc.errors import DatabaseUnusable, IdentityMissing, MisuseError
from ssb_rtc.feeds.keys import Keys, keys_from_seed
from ssb_rtc.storage.author import mark_imported
from ssb_rtc.storage.database import open_database
from ssb_rtc.storage.identity import SECRET_NAME, Identity, create_identity, load_identity
from ssb_rtc.types import JsonObject


def secret_path(folder: Path) -> Path:
    """Where the identity lies."""
    return folder / SECRET_NAME


def database_path(folder: Path) -> Path:
    """Where the database lies."""
    return folder / "ssb-rtc.sqlite"


def socket_path(folder: Path) -> Path:
    """Where a running peer listens for callers on this machine."""
    return folder / "socket"


def manifest_path(folder: Path) -> Path:
    """Where a peer that goes online leaves the list of its methods."""
    return folder / "manifest.json"


def write_manifest(folder: Path, manifest: JsonObject) -> None:
    """Leaves the methods of this peer beside its socket, as ssb-server does. Raises DatabaseUnusable."""
    path = manifest_path(folder)
    new = folder / f"manifest.json.{secrets.token_hex(4)}"
    try:
        new.write_text(json.dumps(manifest, indent=2) + "\n")
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise DatabaseUnusable(f"{path} can't be written: {error.strerror}. Make room, or mend its rights.") from error


def has_identity(folder: Path) -> bool:
    """There is something in the place of the secret, or it can't be looked there."""
    return _is_there(secret_path(folder))


def has_lost_database(folder: Path) -> bool:
    """A peer ran here before, so others may hold our feed, and the database is gone: damaged and moved away, say."""
    return _is_there(manifest_path(folder)) and not _is_there(database_path(folder))


def create(folder: Path) -> Keys:
    """Makes a new identity. Raises IdentityExists, IdentityMissing (it was lost), DatabaseUnusable, StorageFault."""
    if _is_there(database_path(folder)) and not has_identity(folder):
        # With a new one the person would be somebody else, and see it only when no friend answers any more.
        raise IdentityMissing(
            f"There is a database in {folder}, and no secret: the identity that it belongs to is gone. Put the copy of "
            f"the secret back as {secret_path(folder)}, or name another folder with --path for a new identity."
        )
    return _store(folder, keys_from_seed(secrets.token_bytes(32)))


def take_over(folder: Path, secret_file: Path) -> Keys:
    """Makes the identity of another secret file ours.

    Publishing is frozen from the start, until a peer that holds the feed has answered: we can't know how long the feed
    is. Raises MisuseError (there is no such file), and what `create` and `load_identity` raise.
    """
    try:
        keys = _store(folder, load_identity(secret_file).keys)
    except IdentityMissing as error:
        raise MisuseError(f"there is no file {secret_file}: name the copy of the secret that you kept") from error
    database = open_database(database_path(folder), create=True)
    try:
        mark_imported(database)
    finally:
        database.close()
    return keys


def load(folder: Path) -> Identity:
    """The identity of a folder. Raises IdentityMissing, StorageFault."""
    return load_identity(secret_path(folder))


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # whoever opens it says what is wrong with it
    return True


def _store(folder: Path, keys: Keys) -> Keys:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseUnusable(
            f"The folder {folder} can't be made: {error.strerror}. Choose another one with --path."
        ) from error
    create_identity(secret_path(folder), keys)
    return keys
