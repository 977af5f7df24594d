"""The settings under headings, and the file with all of them as comments that `ssb-rtc config --template` prints."""

from __future__ import annotations

import base64
import json
from typing import Any

from ssb_rtc.config import MAIN_NETWORK_KEY, SETTINGS, Setting, plain

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Where to meet others", ("hub", "allow_http", "with_hub", "net", "ws", "host", "tls_cert", "tls_key", "lan")),
    ("WebRTC, NATs and relays", ("stun", "turn", "relay_only", "relay_strangers", "rtc_backend")),
    ("How many links, and with whom", ("peers_max", "strangers_max", "lifetime", "learnt_hubs_max", "introducers")),
    ("What is fetched and kept", ("hops", "storage_max", "first_sync_max", "sympathy", "blob_max", "blob_quota")),
    ("What is seen of it", ("dashboard", "log", "log_level", "metrics", "trace")),
    ("The network, and plugins", ("network_key", "hmac_key", "plugin")),
)

EXAMPLES: dict[str, str | int] = {
    "URL": "https://hub.example.org",
    "HOST": "192.0.2.1",
    "PORT": 8008,
    "FILE": "/home/me/file",
    "HOST:PORT": "stun.example.org:3478",
    "KEY": base64.b64encode(MAIN_NETWORK_KEY).decode(),
}
"""By metavar, for settings that have no default to show."""

HEAD = """\
# Settings of `ssb-rtc`. What begins with # is a comment: remove it to set something.
# A flag wins over an environment variable, that over this file, and this file over the default.
# Who writes a secret here (turn, hmac_key) keeps others from reading it: chmod 600.
"""


def grouped() -> list[tuple[str, list[Setting]]]:
    """All settings under their headings; those of no group come last."""
    by_name = {setting.name: setting for setting in SETTINGS}
    groups = [(title, [by_name.pop(name) for name in names]) for title, names in GROUPS]
    return [*groups, *([("Others", list(by_name.values()))] if by_name else [])]


def has_default(setting: Setting) -> bool:
    """Whether there is a value where nobody gives one."""
    return setting.default not in (None, ())


def shown(setting: Setting) -> str:
    """The default as TOML, or an example where there is none."""
    value: Any = setting.default
    if not has_default(setting):
        value = EXAMPLES.get(setting.metavar, setting.metavar)
        value = [value] if setting.many else value
    return json.dumps(plain(value))


def sentence(setting: Setting) -> str:
    """What it does; of what is on by default, what it does when it is off."""
    return f"false: {setting.help}" if setting.is_switch and setting.default else setting.help


def template() -> str:
    """A whole TOML file with every setting as a comment."""
    lines = [HEAD.rstrip()]
    for title, settings in grouped():
        lines += ["", f"# --- {title} ---"]
        for setting in settings:
            how = "the default" if has_default(setting) else "for example"
            lines += ["", f"# {sentence(setting)} ({how}):", f"#{setting.name} = {shown(setting)}"]
    return "\n".join([*lines, ""])
