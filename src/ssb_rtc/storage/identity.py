"""The `secret` file: made once, readable by its owner only, never overwritten."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ssb_rtc.errors import IdentityExists, IdentityMissing, MisuseError, StorageFault
from ssb_rtc.feeds.keys import SECRET_TEXT_MAX_BYTES, Keys, format_secret, parse_secret
from ssb_rtc.storage.database import sync_folder

SECRET_NAME: Final = "secret"  # noqa: S105 - the name of the file
SECRET_MODE: Final = 0o600
_COPY: Final = "put the copy of the secret that you kept in its place, or name another file or folder"


@dataclass(frozen=True, slots=True)
class Identity:
    """Our keys and, in `warning`, what is wrong with the file that holds them (a sentence), or None."""

    keys: Keys
    path: Path
    warning: str | None = None


def create_identity(path: Path, keys: Keys) -> Identity:
    """Writes the secret file of `keys`; a crash leaves a whole file or none.

    Raises IdentityExists when there is anything at `path`, StorageFault when the folder refuses.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, SECRET_MODE)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(format_secret(keys))
                file.flush()
                os.fsync(file.fileno())
            # A hard link fails where the name is taken, unlike a rename, and appears at once, unlike a write.
            os.link(unfinished, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                unfinished.unlink()
        sync_folder(path.parent)
    except FileExistsError as error:
        raise IdentityExists(
            f"There is a secret at {path} already. It is never overwritten: move it away first (and keep it: "
            "it is you, and nobody can restore it), or name another folder."
        ) from error
    except OSError as error:
        raise StorageFault(
            f"The secret could not be written to {path}: {error.strerror}. Make room, or choose another folder."
        ) from error
    return Identity(keys, path)


def load_identity(path: Path) -> Identity:
    """Reads a secret file.

    Raises IdentityMissing when there is none, StorageFault when it can't be read, MisuseError when it is none.
    """
    try:
        with path.open("rb") as file:
            data = file.read(SECRET_TEXT_MAX_BYTES + 1)
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except FileNotFoundError as error:
        where = shlex.quote(str(path.parent))
        raise IdentityMissing(
            f"There is no secret at {path}. Run `ssb-rtc init --path {where}` to make one."
        ) from error
    except OSError as error:
        raise StorageFault(
            f"The secret at {path} can't be read: {error.strerror}. Run this as the user whom it belongs to."
        ) from error
    try:
        keys = parse_secret(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MisuseError(f"{path}: this is no secret file: it is no text; {_COPY}") from error
    except MisuseError as error:
        raise MisuseError(f"{path}: {error}; {_COPY}") from error
    return Identity(keys, path, _warning(path, mode))


def _warning(path: Path, mode: int) -> str | None:
    if sys.platform == "win32" or not mode & 0o077:
        return None
    return f"Others on this machine can read your secret ({path} has mode {mode:04o}). Run: chmod 600 {path}"
