"""The settings in force, for people: names, values, where they came from. Secrets are never among them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ssb_rtc.config import MAIN_NETWORK_KEY, SETTINGS, Setting, Settings
from ssb_rtc.types import Json, JsonObject

SECRETS: Final = ("turn", "hmac_key", "network_key")
"""They are shown as "set". The main network's key is no secret, and is named."""


def settings_rows(settings: Settings, sources: Mapping[str, str] | None = None) -> list[JsonObject]:
    """[{name, flag, variable, value, default, source, help, unit}] in the order of the table.

    sources: where the value of each setting came from, as far as somebody knows; else "default", or "given" for a value
    that is another one.
    """
    told = sources or {}
    rows = []
    for setting in SETTINGS:
        value = getattr(settings, setting.name)
        rows.append(
            {
                "name": setting.name,
                "flag": setting.flag,
                "variable": setting.variable,
                "value": _shown(setting, value),
                "default": _shown(setting, setting.default),
                "source": told.get(setting.name) or ("default" if value == setting.default else "given"),
                "help": setting.help,
                "unit": setting.unit,
            }
        )
    return rows


def _shown(setting: Setting, value: Any) -> Json:
    if setting.name == "network_key" and value == MAIN_NETWORK_KEY:
        return "the main network"
    if setting.name in SECRETS:
        return "set" if value else None
    if isinstance(value, tuple):
        return [_without_password(str(one)) for one in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _without_password(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        return "set"
    if "@" not in parts.netloc:
        return text
    return parts._replace(netloc="...@" + parts.netloc.rpartition("@")[2]).geturl()
