"""The settings: one table generates the flags, the environment variables, the file's names and the defaults.

A setting's value comes from its flag, else from its environment variable (`SSB_RTC_<NAME>`), else from the file, else
from its default. Reading the file belongs to others (cli.settings_file): here it is a mapping already.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple

from ssb_rtc.errors import ConfigFault

MAIN_NETWORK_KEY = base64.b64decode("1KHLiKZvAvjbY1ziZEHMXawbCEIM6qwjCDm3VYRan/s=")
"""The key of the main SSB network: `shs` of npm ssb-caps 1.1.0."""

ENVIRONMENT_PREFIX = "SSB_RTC_"
LOG_STYLES = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")


def _key_bytes(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise ConfigFault("takes 32 bytes in base64, like " + base64.b64encode(MAIN_NETWORK_KEY).decode())
    return key


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise ConfigFault(f"takes a whole number from {least} to {most}")
        return value

    return parse


_port = _number(0, 65535)


def _size(text: str) -> int:
    """A number of bytes, with k, M, G or T for thousands, millions ..."""
    number, factor = text, 1
    if text and text[-1] in "kKMGT":
        number, factor = text[:-1], 1000 ** ("KMGT".index(text[-1].upper()) + 1)
    try:
        size = float(number) * factor
    except ValueError:
        size = -1.0
    if not 0 <= size < 1e18:
        raise ConfigFault("takes a number of bytes like 500M or 20G")
    return int(size)


def _port_or_no(text: str) -> int | None:
    if text.lower() in {"no", "off"}:
        return None
    try:
        return _port(text)
    except ConfigFault as fault:
        raise ConfigFault(f"{fault}, or no") from None


def _choice(*names: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in names:
            raise ConfigFault(f"takes one of {', '.join(names)}")
        return text

    return parse


def _switch(text: str) -> bool:
    lowered = text.lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off", ""}:
        return False
    raise ConfigFault("takes yes or no")


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    name: str
    """As in `Settings`; the flag is `--name` with dashes, `--no-name` for a switch that is on by default; the
    environment variable is SSB_RTC_NAME.
    """
    parse: Callable[[str], Any]
    """From text to the value; raises ConfigFault with what it takes."""
    default: Any
    help: str
    """What the flag does."""
    metavar: str = ""
    unit: str = ""
    many: bool = False
    """May be given several times; in the environment separated by blanks, in the file a list."""
    secret: bool = False
    """Its value is never shown."""

    @property
    def takes(self) -> str:
        """What a value looks like, in words: `a whole number from 0 to 8`."""
        try:
            self.parse("\0")
        except ConfigFault as fault:
            return str(fault).removeprefix("takes ")
        return "a text"

    @property
    def flag(self) -> str:
        name = self.name.replace("_", "-")
        return f"--no-{name}" if self.is_switch and self.default else f"--{name}"

    @property
    def variable(self) -> str:
        return ENVIRONMENT_PREFIX + self.name.upper()

    @property
    def is_switch(self) -> bool:
        return self.parse is _switch

    def read(self, text: str, source: str) -> Any:
        """The value of `text`; ConfigFault names `source` (a flag or a variable) and what it takes."""
        try:
            return self.parse(text)
        except ConfigFault as fault:
            raise ConfigFault(f"{source} {fault}" + ("" if self.secret else f", not {text!r}")) from None

    def read_toml(self, value: Any, source: str) -> Any:
        """The value of what stands in the file (a text, a number, true or false, a list where it is `many`)."""
        if self.many:
            if not isinstance(value, list):
                raise ConfigFault(
                    f"{source} takes a list in brackets, not {value!r}"
                    if not self.secret
                    else f"{source} takes a list in brackets"
                )
            return tuple(self._read_toml_item(item, source) for item in value)
        return self._read_toml_item(value, source)

    def _read_toml_item(self, value: Any, source: str) -> Any:
        if isinstance(value, str):
            return self.read(value, source)
        if self.parse is str or not isinstance(value, bool | int | float):
            raise ConfigFault(
                f"{source} takes a text in quotes" if self.parse is str else f"{source} takes {self.takes}"
            )
        try:
            return self.parse(str(value) if not isinstance(value, bool) else "yes" if value else "no")
        except ConfigFault as fault:
            raise ConfigFault(f"{source} {fault}, not {str(value).lower()}") from None


SETTINGS: tuple[Setting, ...] = (
    Setting("hub", str, (), "a signalhub to meet on, for this run; may be given several times", "URL", many=True),
    Setting("allow_http", str, (), "a host whose hub may be reached over plain http", "HOST", many=True),
    Setting(
        "net",
        _number(0, 65535),
        None,
        "listen for peers on this TCP port, 0: a free one; `start` without --net, --ws and --no-lan listens at private "
        "addresses, on 8008 or a free port",
        "PORT",
    ),
    Setting("ws", _number(0, 65535), None, "also listen for WebSockets on this port; 0 takes a free one", "PORT"),
    Setting("tls_cert", str, None, "a certificate in PEM, which makes --ws speak TLS (wss)", "FILE"),
    Setting("tls_key", str, None, "the private key of --tls-cert, in PEM", "FILE"),
    Setting(
        "host", str, "127.0.0.1", "the address that --net and --ws listen on, where one of them is given", "ADDRESS"
    ),
    Setting("lan", _switch, True, "neither look for peers in the local network nor tell them of --net"),
    Setting("with_hub", _number(0, 65535), None, "run a signalhub on this port too, and meet there", "PORT"),
    Setting("stun", str, (), "a STUN server, which tells us our address behind a NAT", "HOST:PORT", many=True),
    Setting(
        "turn",
        str,
        (),
        "a TURN server, which relays where no direct way exists",
        "turn:USER:PASS@HOST:PORT",
        many=True,
        secret=True,
    ),
    Setting("relay_only", _switch, False, "connect through TURN only, so that no peer learns our address"),
    Setting(
        "relay_strangers",
        _switch,
        False,
        "connect to strangers through TURN only, so that they don't learn our address",
    ),
    Setting("rtc_backend", _choice("wrtc", "aiortc"), "wrtc", "the WebRTC library to use: wrtc or aiortc", "NAME"),
    Setting("hops", _number(0, 8), 2, "whose feeds to fetch: 0 our own, 1 whom we follow, 2 whom they follow", "N"),
    Setting(
        "storage_max", _size, 5_000_000_000, "fetch no more once messages take this much, like 20G; 0: no limit", "SIZE"
    ),
    Setting(
        "first_sync_max", _number(0, 1 << 40), 100_000, "ask before fetching more messages than this; 0: never ask", "N"
    ),
    Setting("peers_max", _number(1, 64), 8, "connect to at most this many peers", "N"),
    Setting(
        "strangers_max",
        _number(0, 64),
        3,
        "of these, so many at most whose feeds we don't fetch; one where we have no link",
        "N",
    ),
    Setting(
        "lifetime", _number(1, 10_080), 30, "end links after so many minutes if others wait", "MIN", unit="minutes"
    ),
    Setting(
        "learnt_hubs_max", _number(0, 32), 4, "meet on at most this many hubs that only other peers told us of", "N"
    ),
    Setting("introducers", _number(0, 8), 2, "ask so many linked peers at a time to introduce us to friends", "N"),
    Setting("sympathy", _number(0, 8), 3, "fetch blobs for peers up to this many links away", "N"),
    Setting("blob_max", _number(1, 1 << 40), 5 << 20, "take blobs of fewer bytes than this", "BYTES", unit="bytes"),
    Setting("blob_quota", _number(1, 1 << 30), 2048, "keep at most this many MiB of blobs", "MIB", unit="MiB"),
    Setting("dashboard", _port_or_no, 0, "serve the dashboard on this port of this machine; 0: any, no: none", "PORT"),
    Setting("trace", str, None, "write every step of the peers state manager to this file, to be replayed", "FILE"),
    Setting("log", _choice(*LOG_STYLES), "text", "the form of the log on standard error: text or json", "FORM"),
    Setting(
        "log_level",
        _choice(*LOG_LEVELS),
        "warning",
        "how much is logged: debug, info, warning or error",
        "LEVEL",
    ),
    Setting(
        "metrics",
        _number(0, 65535),
        None,
        "serve Prometheus metrics on this port of 127.0.0.1; 0 takes a free one",
        "PORT",
    ),
    Setting("plugin", str, (), "load this plugin of an installed package (repeatable)", "NAME", many=True),
    Setting("network_key", _key_bytes, MAIN_NETWORK_KEY, "the key of the network, 32 bytes in base64", "KEY"),
    Setting(
        "hmac_key",
        _key_bytes,
        None,
        "sign and check messages with this key too, 32 bytes in base64",
        "KEY",
        secret=True,
    ),
)


class Source(NamedTuple):
    """Where a value came from."""

    kind: Literal["flag", "environment", "file"]
    name: str
    """The flag, the variable, the file."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The values in force. Field names are those of the table."""

    hub: tuple[str, ...] = ()
    allow_http: tuple[str, ...] = ()
    net: int | None = None
    ws: int | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    host: str = "127.0.0.1"
    lan: bool = True
    with_hub: int | None = None
    stun: tuple[str, ...] = ()
    turn: tuple[str, ...] = field(default=(), repr=False)
    relay_only: bool = False
    relay_strangers: bool = False
    rtc_backend: str = "wrtc"
    hops: int = 2
    storage_max: int = 5_000_000_000
    first_sync_max: int = 100_000
    peers_max: int = 8
    strangers_max: int = 3
    lifetime: int = 30
    learnt_hubs_max: int = 4
    introducers: int = 2
    sympathy: int = 3
    blob_max: int = 5 << 20
    blob_quota: int = 2048
    dashboard: int | None = 0
    trace: str | None = None
    log: str = "text"
    log_level: str = "warning"
    metrics: int | None = None
    plugin: tuple[str, ...] = ()
    network_key: bytes = MAIN_NETWORK_KEY
    hmac_key: bytes | None = field(default=None, repr=False)
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)
    """Where each value came from that was given by a flag, in the environment or in the file."""


def load(
    given: Mapping[str, Any],
    environment: Mapping[str, str],
    file: Mapping[str, Any] | None = None,
    file_name: str = "the settings file",
) -> Settings:
    """The settings in force.

    `given` holds what flags or a caller set, by setting name (None = not given; texts are parsed, other values taken as
    they are); `environment` is os.environ or the like; `file` what a TOML file holds. Raises ConfigFault, which names
    the flag, the variable or the file's key at fault: all of the file has to be right, whatever else wins.
    """
    values = {name: (value, Source("file", file_name)) for name, value in _from_file(file or {}, file_name).items()}
    for setting in SETTINGS:
        found = given.get(setting.name)
        if found is not None:
            values[setting.name] = _given(setting, found), Source("flag", setting.flag)
        elif setting.variable in environment:
            value = _from_environment(setting, environment[setting.variable])
            values[setting.name] = value, Source("environment", setting.variable)
    return Settings(
        **{name: value for name, (value, _) in values.items()},
        sources={name: source for name, (_, source) in values.items()},
    )


def _from_file(file: Mapping[str, Any], file_name: str) -> dict[str, Any]:
    by_name = {setting.name: setting for setting in SETTINGS}
    values: dict[str, Any] = {}
    for key, value in file.items():
        name = key.replace("-", "_")
        if name not in by_name:
            raise ConfigFault(f"{file_name}: {_unknown(key, list(by_name))}")
        if name in values:
            raise ConfigFault(f"{file_name}: {name} stands there twice, also as {name.replace('_', '-')}")
        values[name] = by_name[name].read_toml(value, f"{file_name}: {key}")
    return values


def _unknown(key: str, names: list[str]) -> str:
    if key == "path":
        return "path is not set here, because this file may lie in that folder: take --path or SSB_RTC_PATH"
    near = difflib.get_close_matches(key.replace("-", "_").lower(), names, 1)
    hint = f"did you mean {near[0]}?" if near else "`ssb-rtc config --template` shows all that there are"
    return f"there is no setting {key!r}; {hint}"


def place_of(settings: Settings, name: str) -> str:
    """Where somebody finds a setting's value to mend it: its flag, its variable, or the file and its name there."""
    source = settings.sources.get(name)
    if source is None:
        return next(setting.flag for setting in SETTINGS if setting.name == name)
    return f"{source.name}: {name}" if source.kind == "file" else source.name


def certificate_of(settings: Settings) -> tuple[str, str] | None:
    """The files of the certificate and its private key, or None. Raises ConfigFault where only one is named."""
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise ConfigFault("--tls-cert and --tls-key go together: one names the certificate, the other its private key")
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return settings.tls_cert, settings.tls_key


def told(settings: Settings) -> list[dict[str, Any]]:
    """What is in force, without secrets, as JSON: [{name, value, source, where, secret}], in the order of the table.

    source: flag, environment, file, default, or `program` for what a program that embeds the peer has set; where: the
    flag's, the variable's or the file's name, or null. value is null for a secret; `secret` is true where one is set.
    """
    rows = []
    for setting in SETTINGS:
        value = getattr(settings, setting.name)
        is_default = value == setting.default
        source = settings.sources.get(setting.name)
        rows.append(
            {
                "name": setting.name,
                "value": None if setting.secret else _without_password(plain(value)),
                "source": source.kind if source else "default" if is_default else "program",
                "where": source.name if source else None,
                "secret": setting.secret and not is_default,
            }
        )
    return rows


def plain(value: Any) -> Any:
    """A setting's value as JSON and TOML have it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return list(value) if isinstance(value, tuple) else value


def _given(setting: Setting, found: Any) -> Any:
    if setting.many:
        return tuple(setting.read(item, setting.flag) for item in found)
    return setting.read(found, setting.flag) if isinstance(found, str) else found


def _from_environment(setting: Setting, text: str) -> Any:
    if setting.many:
        return tuple(setting.read(item, setting.variable) for item in text.split())
    return setting.read(text, setting.variable)


def _without_password(value: Any) -> Any:
    """A hub's address may hold user and password."""
    if isinstance(value, list):
        return [_without_password(item) for item in value]
    return re.sub(r"//[^/@]*@", "//***@", value) if isinstance(value, str) else value


def check_table() -> None:
    """Raises AssertionError unless `SETTINGS` and `Settings` name the same things with the same defaults."""
    assert [s.name for s in SETTINGS] == [f.name for f in fields(Settings) if f.name != "sources"]
    assert Settings() == Settings(**{s.name: s.default for s in SETTINGS})
