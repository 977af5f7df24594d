"""Write docs/settings.md from the tables that the command line runs: `python -m scripts.settings_docs`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from ssb_rtc.cli import hub_flags, settings_file
from ssb_rtc.cli.flags import PATH_VARIABLE
from ssb_rtc.cli.settings_template import grouped, has_default, sentence, shown
from ssb_rtc.config import Setting

TARGET = Path(__file__).resolve().parent.parent / "docs" / "settings.md"

HEAD = f"""\
# Settings

Written by `python -m scripts.settings_docs` from the tables that the code runs; a test keeps it true.

Every setting of `ssb-rtc start` has one name and four places. The first of these that has it wins:

1. the flag: `--peers-max 4`
2. the environment: `SSB_RTC_PEERS_MAX=4`
3. the settings file: `peers_max = 4`
4. the default

```sh
ssb-rtc config                         # what is in force, and where each value came from
ssb-rtc config --json
ssb-rtc config --template              # a settings file with everything as a comment
```

While a peer runs, `ssb-rtc config` tells what is in force there, and what of the file would be otherwise after a
restart: settings are read when it starts.

## The file

There is one file, in [TOML](https://toml.io). It is the first of these that is there; two are never mixed:

1. the one that `--config FILE` names, else the one of {settings_file.VARIABLE}; empty means none
2. `{settings_file.NAME}` in the peer's folder
3. `{settings_file.NAME}` in the platform's folder for settings (`~/.config/ssb-rtc/` on Linux)

The file in the peer's folder comes first because it is about that peer; the other one is for all peers of a user. All
commands with `--path` read it, so that `network_key` and `hmac_key` are the same for all of them; `demo`, `validate`,
`simulate` and `hub` read none.

Names are those of the flags, with underscores or dashes. A switch takes `true` or `false`; where its flag is
`--no-lan`, the name is `lan`. What may be given several times is a list. A list in one place replaces the list of
another. A name that does not exist is refused, and so is a value that is none, even where a flag would win: nothing
starts with half of a file. Names of files are taken from the folder in which the command runs, so write them whole.

`turn` and `hmac_key` are secrets: `ssb-rtc config` tells only whether they are set, and warns where others can read
the file (`chmod 600`).

A program that embeds the peer gives it `Settings(...)`: then neither file nor environment is read, and `ssb-rtc config`
tells what it set as from `program`.

With `--json`, `ssb-rtc config` prints `{{running, folder, file, settings, after_restart, faults}}`; each of `settings`
is `{{name, value, source, where, secret}}`.

The folder itself is no setting of the file, which may lie in it: take `--path` or {PATH_VARIABLE}.
"""

HUB_HEAD = f"""
## The hub server

`ssb-rtc hub serve` has flags of its own and no file: a service file is the place for them. `--broker`, whose address
may hold a password, is also {hub_flags.BROKER_VARIABLE}. What the limits mean in practice stands in
[running-a-hub.md](running-a-hub.md); `ssb-rtc hub serve --help` has the rest.
"""


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _row(setting: Setting) -> tuple[str, ...]:
    takes = "`true` or `false`" if setting.is_switch else setting.takes
    return (
        f"`{setting.name}`",
        f"`{setting.flag}`",
        f"a list of texts, like `{shown(setting)}`" if setting.many else takes,
        f"`{shown(setting)}`" if has_default(setting) else "",
        sentence(setting),
    )


def render() -> str:
    """The whole page."""
    lines = [HEAD.rstrip()]
    for title, settings in grouped():
        lines += ["", f"## {title}", ""]
        lines += _table(("name", "flag", "takes", "default", ""), map(_row, settings))
    lines.append(HUB_HEAD.rstrip())
    for title, table in (("limits", hub_flags.LIMITS), ("the broker's time", hub_flags.TIMES)):
        lines += ["", f"### {title[0].upper() + title[1:]}", ""]
        lines += _table(
            ("flag", "default", ""), ((f"`{limit.flag}`", f"{limit.default:.16g}", limit.help) for limit in table)
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"wrote {TARGET}\n")
