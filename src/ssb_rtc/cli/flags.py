"""Flags from the settings table, and where a peer's files live."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from ssb_rtc import config
from ssb_rtc.errors import ConfigFault

PATH_VARIABLE = "SSB_RTC_PATH"


def add_path(parser: argparse.ArgumentParser) -> None:
    """The flag that every command takes which has to do with one peer's files."""
    parser.add_argument(
        "--path", metavar="DIR", help=f"the peer's folder (or {PATH_VARIABLE}; default: the platform's data folder)"
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
    return config.load(given, os.environ)


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
