"""The settings file: where it lies, and reading it. What its names mean is the table's matter (config.SETTINGS)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ssb_rtc.errors import ConfigFault

VARIABLE = "SSB_RTC_CONFIG"
NAME = "config.toml"
BYTES_MAX = 1 << 20


def find(chosen: str | None, folder: Path) -> Path | None:
    """The one file that counts: what the flag or else the variable names, else the first of `places` that is there.

    folder: the peer's. A flag or a variable that is empty means no file. Raises ConfigFault where the named one is
    not there.
    """
    named = chosen if chosen is not None else os.environ.get(VARIABLE)
    if named is None:
        return next((place for place in places(folder) if _is_seen(place)), None)
    if not named:
        return None
    try:
        path = Path(named).expanduser()
    except RuntimeError:
        raise ConfigFault(f"{named}: there is no such user, or no home folder") from None
    if not _is_seen(path):
        raise ConfigFault(f"there is no settings file {path}: `ssb-rtc config --template > {path}` makes one")
    return path


def _is_seen(path: Path) -> bool:
    # Not `exists`, which raises where a folder on the way may not be entered.
    return os.access(path, os.F_OK)


def places(folder: Path) -> list[Path]:
    """Where a file is looked for that nobody named: in the peer's folder, then in the platform's one for settings."""
    import platformdirs

    return [folder / NAME, Path(platformdirs.user_config_dir("ssb-rtc", appauthor=False)) / NAME]


def read(path: Path) -> dict[str, Any]:
    """What stands in the file. Raises ConfigFault with the file, the line and what to do."""
    import tomllib

    try:
        with path.open("rb") as source:
            content = source.read(BYTES_MAX + 1)
    except OSError as error:
        raise ConfigFault(f"the settings file {path} can't be read: {error.strerror}") from None
    if len(content) > BYTES_MAX:
        raise ConfigFault(f"the settings file {path} has more than {BYTES_MAX} bytes: is it another file?")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigFault(f"the settings file {path} is not in UTF-8, from byte {error.start} on") from None
    except (ValueError, RecursionError) as error:  # a number of too many digits is no TOMLDecodeError
        raise ConfigFault(
            f"the settings file {path} is not TOML: {error}; `ssb-rtc config --template` shows one"
        ) from None


def is_open_to_others(path: Path) -> bool:
    """Whether other users of this machine can read the file."""
    try:
        return bool(path.stat().st_mode & 0o077)
    except OSError:
        return False
