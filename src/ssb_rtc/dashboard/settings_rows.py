"""The settings in force, for people: names, values, where they came from. Secrets are never among them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ssb_rtc.config import MAIN_NETWORK_KEY, SETTINGS, Setting, plain
from ssb_rtc.types import Json, JsonObject


def settings_rows(told: Iterable[JsonObject]) -> list[JsonObject]:
    """[{name, flag, variable, value, default, source, where, help, unit}] in the order of the table.

    told: what `rtc.config` gives (config.told). A secret's value is "set" or null. The key of a network that is not the
    main one is a secret here: who has it can enter.
    """
    found = {row["name"]: row for row in told}
    return [
        {
            "name": setting.name,
            "flag": setting.flag,
            "variable": setting.variable,
            "value": _value(setting, found[setting.name]),
            "default": _default(setting),
            "source": found[setting.name]["source"],
            "where": found[setting.name]["where"],
            "help": setting.help,
            "unit": setting.unit,
        }
        for setting in SETTINGS
    ]


def _value(setting: Setting, row: JsonObject) -> Json:
    if setting.name == "network_key":
        return _network(row["value"])
    if setting.secret:
        return "set" if row["secret"] else None
    return row["value"]


def _default(setting: Setting) -> Json:
    return _network(plain(setting.default)) if setting.name == "network_key" else plain(setting.default)


def _network(key: Any) -> str:
    return "the main network" if key == plain(MAIN_NETWORK_KEY) else "set"
