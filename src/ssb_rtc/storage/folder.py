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

from ssb_rtc.errors import DatabaseUnusable
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


def write_manifest(folder: Path, manifest: JsonObject) -> None:
    """Leaves the methods of this peer beside its socket, as ssb-server does. Raises DatabaseUnusable."""
    path = folder / "manifest.json"
    new = folder / f"manifest.json.{secrets.token_hex(4)}"
    try:
        new.write_text(json.dumps(manifest, indent=2) + "\n")
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise DatabaseUnusable(f"{path} can't be written: {error.strerror}. Make room, or mend its rights.") from error


def has_identity(folder: Path) -> bool:
    """There is something in the place of the secret."""
    return secret_path(folder).exists()


def create(folder: Path) -> Keys:
    """Makes a new identity. Raises IdentityExists, DatabaseUnusable, StorageFault."""
    return _store(folder, keys_from_seed(secrets.token_bytes(32)))


def take_over(folder: Path, secret_file: Path) -> Keys:
    """Makes the identity of another secret file ours.

    Publishing is frozen from the start, until a peer that holds the feed has answered: we can't know how long the feed
    is. Raises what `create` and `load_identity` raise.
    """
    keys = _store(folder, load_identity(secret_file).keys)
    database = open_database(database_path(folder), create=True)
    try:
        mark_imported(database)
    finally:
        database.close()
    return keys


def load(folder: Path) -> Identity:
    """The identity of a folder. Raises IdentityMissing, StorageFault."""
    return load_identity(secret_path(folder))


def _store(folder: Path, keys: Keys) -> Keys:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseUnusable(
            f"The folder {folder} can't be made: {error.strerror}. Choose another one with --path."
        ) from error
    create_identity(secret_path(folder), keys)
    return keys
