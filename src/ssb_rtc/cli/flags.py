"""Flags from the settings table, and where a peer's files live."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from ssb_rtc import config
from ssb_rtc.cli import settings_file
from ssb_rtc.errors import ConfigFault

PATH_VARIABLE = "SSB_RTC_PATH"
SECONDS_MAX = 31_536_000
"""A year: what takes longer is a slip of the pen."""


def seconds(text: str) -> float:
    """A time that a flag names, as argparse takes its types."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"takes a number of seconds from 0 to {SECONDS_MAX}, not {text!r}")
    return value


def add_path(parser: argparse.ArgumentParser) -> None:
    """The flag that every command takes which has to do with one peer's files."""
    parser.add_argument(
        "--path", metavar="DIR", help=f"the peer's folder (or {PATH_VARIABLE}; default: the platform's data folder)"
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"the settings file (or {settings_file.VARIABLE}; default: {settings_file.NAME} in the peer's folder, "
        "else in the platform's folder for settings)",
    )


def add_settings(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """One flag for each of these settings."""
    wanted = set(names)
    for setting in config.SETTINGS:
        if setting.name not in wanted:
            continue
        default = (
            ""
            if setting.is_switch or setting.default in (None, ()) or isinstance(setting.default, bytes)
            else (f" (default {setting.default})")
        )
        variable = f"{setting.variable}=no" if setting.is_switch and setting.default else setting.variable
        text = f"{setting.help}{default} [{variable}]".replace("%", "%%")
        if setting.is_switch:
            parser.add_argument(
                setting.flag, dest=setting.name, action="store_const", const=not setting.default, help=text
            )
        else:
            action = "append" if setting.many else "store"
            parser.add_argument(setting.flag, dest=setting.name, metavar=setting.metavar, action=action, help=text)


def settings_of(arguments: argparse.Namespace) -> config.Settings:
    """The settings in force for a command; raises ConfigFault."""
    given = {s.name: getattr(arguments, s.name, None) for s in config.SETTINGS}
    file = settings_file_of(arguments)
    if file is None:
        return config.load(given, os.environ)
    return config.load(given, os.environ, settings_file.read(file), str(file))


def settings_file_of(arguments: argparse.Namespace) -> Path | None:
    """The settings file that counts for a command, none for those of no one peer; raises ConfigFault."""
    if not hasattr(arguments, "path"):
        return None
    return settings_file.find(arguments.config, folder_of(arguments))


def warning_of(settings: config.Settings, file: Path | None) -> str | None:
    """What the owner should know of the file, in a sentence: others can read a secret that stands in it."""
    secrets = {setting.name for setting in config.SETTINGS if setting.secret} & settings.sources.keys()
    if file is None or not any(settings.sources[name].kind == "file" for name in secrets):
        return None
    if not settings_file.is_open_to_others(file):
        return None
    return f"{file} holds a secret that others on this machine can read: chmod 600 {file}"


def folder_of(arguments: argparse.Namespace) -> Path:
    """The peer's folder: the flag, else the variable, else the platform's data folder. Never `~/.ssb`."""
    chosen = arguments.path or os.environ.get(PATH_VARIABLE)
    if chosen:
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            raise ConfigFault(f"--path {chosen}: there is no such user, or no home folder") from None
    import platformdirs

    return Path(platformdirs.user_data_dir("ssb-rtc", appauthor=False))


def with_path(arguments: argparse.Namespace) -> str:
    """What commands that we name need to reach the same peer."""
    return f" --path {shlex.quote(arguments.path)}" if arguments.path else ""
