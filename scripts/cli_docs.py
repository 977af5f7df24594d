"""Write docs/cli.md and the manual page from the parser of the command line: `python -m scripts.cli_docs`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ssb_rtc
from ssb_rtc.cli.commands import COMMANDS, build_parser

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "cli.md"
MANUAL = ROOT / "docs" / "man" / "ssb-rtc.1"

EXIT_CODES = (
    ("0", "done"),
    ("1", "a negative result: something was refused, not found or not reached"),
    ("2", "the command was used wrongly, or a setting has no meaning"),
    ("3", "the command needs a running peer, and none runs in this folder"),
    ("4", "the environment: the disk, the permissions, a port that is taken"),
    ("130", "Ctrl-C cut the command short"),
)
ENVIRONMENT = (
    ("SSB_RTC_PATH", "the peer's folder, as --path"),
    ("SSB_RTC_<NAME>", "any setting, as its flag: --hub is SSB_RTC_HUB; several values are separated by blanks"),
    ("NO_COLOR", "no colours, also on a terminal; on a pipe there are none anyway"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One argument or flag: how it is written, and what it does."""

    written: str
    help: str


@dataclass(frozen=True, slots=True)
class Section:
    """One command, or a command of a command."""

    name: str
    about: str
    usage: str
    arguments: tuple[Entry, ...]
    flags: tuple[Entry, ...]
    examples: tuple[str, ...]


def sections() -> Iterator[Section]:
    """Every command in the order of the table."""
    subs = next(action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    for command in COMMANDS:
        about = command.help[0].upper() + command.help[1:] + "."
        parser = subs.choices[command.name]
        inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        if not inner:
            yield _section(command.name, about, parser, command.examples)
        for action in inner:
            for name, sub in action.choices.items():
                yield _section(f"{command.name} {name}", about, sub, command.examples)


def _section(name: str, about: str, parser: argparse.ArgumentParser, examples: tuple[str, ...]) -> Section:
    shown = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    positional = [action for action in shown if not action.option_strings]
    flags = [action for action in shown if action.option_strings]
    usage = " ".join([f"ssb-rtc {name}", *map(_place, positional), *(["[FLAGS]"] if flags else [])])
    return Section(name, about, usage, _entries(positional), _entries(flags), examples)


def _place(action: argparse.Action) -> str:
    """A positional argument in a line of usage."""
    return f"[{_value(action)}]" if action.nargs in {"?", "*"} else _value(action)


def _entries(actions: list[argparse.Action]) -> tuple[Entry, ...]:
    return tuple(Entry(_written(action), (action.help or "").replace("%%", "%")) for action in actions)


def _written(action: argparse.Action) -> str:
    """How an argument is written on the command line."""
    takes = "" if action.nargs == 0 else _value(action)
    if not action.option_strings:
        return takes
    return ", ".join(action.option_strings) + (f" {takes}" if takes else "")


def _value(action: argparse.Action) -> str:
    if action.choices is not None:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest.upper())


# --- Markdown ---


def page() -> str:
    """docs/cli.md."""
    lines = [
        "# The command line",
        "",
        "Written by `python -m scripts.cli_docs` from the parser that runs; a test keeps it true. The same stands in",
        "the [manual page](man/ssb-rtc.1), and `ssb-rtc COMMAND --help` shows it in the terminal.",
        "",
        f"{ssb_rtc.__doc__}",
        "",
        "| command | |",
        "|---|---|",
    ]
    found = list(sections())
    lines += [f"| [`{each.name}`](#{each.name.replace(' ', '-')}) | {_cell(each.about)} |" for each in found]
    for each in found:
        lines += ["", f"## {each.name}", "", each.about, "", "```text", each.usage, "```"]
        if each.arguments:
            lines += ["", "| argument | |", "|---|---|", *map(_row, each.arguments)]
        if each.flags:
            lines += ["", "| flag | |", "|---|---|", *map(_row, each.flags)]
        lines += ["", "```sh", *each.examples, "```"]
    lines += ["", "## Exit codes", "", "| code | |", "|---|---|"]
    lines += [f"| {code} | {what} |" for code, what in EXIT_CODES]
    lines += ["", "## Environment", "", "| variable | |", "|---|---|"]
    lines += [f"| `{name}` | {what} |" for name, what in ENVIRONMENT]
    return "\n".join([*lines, ""])


def _row(entry: Entry) -> str:
    # A bar ends the cell, and escaped in code its backslash shows.
    return f"| `{entry.written.replace('|', ' / ')}` | {_cell(entry.help)} |"


def _cell(text: str) -> str:
    """Text in a table: its bars are no columns."""
    return text.replace("|", "\\|")


# --- the manual page ---


def manual() -> str:
    """docs/man/ssb-rtc.1, in the macros of man(7)."""
    lines = [
        '.\\" Written by `python -m scripts.cli_docs` from the parser that runs.',
        f'.TH SSB-RTC 1 "" "ssb-rtc {ssb_rtc.__version__}" "User Commands"',
        ".SH NAME",
        "ssb\\-rtc \\- a Secure Scuttlebutt peer that meets others on signalhubs",
        ".SH SYNOPSIS",
        ".B ssb\\-rtc",
        ".I COMMAND",
        "[FLAGS]",
        ".SH DESCRIPTION",
        _roff(ssb_rtc.__doc__ or ""),
        ".SH COMMANDS",
    ]
    for each in sections():
        lines += [".SS " + _roff(each.usage), _roff(each.about)]
        for entry in (*each.arguments, *each.flags):
            lines += [".TP", f".B {_roff(entry.written)}", _roff(entry.help)]
        lines += [".PP", "Examples:", ".PP", ".RS 4", ".nf", *map(_roff, each.examples), ".fi", ".RE"]
    for heading, entries in (("EXIT STATUS", EXIT_CODES), ("ENVIRONMENT", ENVIRONMENT)):
        lines.append(f".SH {heading}")
        for name, what in entries:
            lines += [".TP", f".B {_roff(name)}", _roff(what)]
    return "\n".join([*lines, ""])


def _roff(text: str) -> str:
    """Text without what roff would take for its own: backslashes, and a point or a quote at the beginning of a line."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped.startswith((".", "'")) else escaped


TARGETS = ((PAGE, page), (MANUAL, manual))

if __name__ == "__main__":
    for target, render in TARGETS:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(render(), encoding="utf-8")
        sys.stdout.write(f"wrote {target}\n")
