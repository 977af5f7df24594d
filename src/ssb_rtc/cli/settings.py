"""`ssb-rtc config`: what is in force, and where each value came from; or a file to begin with."""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from ssb_rtc import config
from ssb_rtc.cli import flags, output, settings_check, settings_file, settings_template
from ssb_rtc.errors import ConnectFailed, StorageFault


def show(arguments: argparse.Namespace) -> int:
    """Show the settings of the running peer, else those with which `start` would begin here."""
    if arguments.template:
        sys.stdout.write(settings_template.template())
        return 0
    settings = flags.settings_of(arguments)
    file, folder = flags.settings_file_of(arguments), flags.folder_of(arguments)
    would_be = config.told(settings)
    now = asyncio.run(_of_running(folder))
    rows = would_be if now is None else now
    waiting = [] if now is None else _waiting(now, would_be)
    faults = settings_check.faults_of(settings)
    if arguments.json:
        output.print_json(
            {
                "running": now is not None,
                "folder": str(folder),
                "file": file and str(file),
                "settings": rows,
                "after_restart": waiting,
                "faults": faults,
            }
        )
        return 1 if faults else 0
    output.print_table(("setting", "value", "from"), [_cells(row) for row in rows], "no settings")
    print()
    if now is not None:
        print("in force in the running peer")
    elif not faults:
        print("with these `ssb-rtc start` would begin")
    print(f"folder: {folder}")
    if file is not None:
        print(f"file: {file}")
    else:
        print(f"no settings file; `{_beginning(settings_file.places(folder)[-1])}` begins one")
    for row in waiting:
        print(f"{row['name']} becomes {_value(row)} when the peer is started anew (from {row['where'] or 'default'})")
    warning = flags.warning_of(settings, file)
    if warning:
        print(f"warning: {warning}")
    for fault in faults:
        print(f"`ssb-rtc start` refuses this: {output.printable(fault)}")
    return 1 if faults else 0


def _beginning(file: Path) -> str:
    """What a shell is told, so that it makes the file."""
    make = "" if file.parent.is_dir() else f"mkdir -p {shlex.quote(str(file.parent))} && "
    return f"{make}ssb-rtc config --template > {shlex.quote(str(file))}"


async def _of_running(folder: Path) -> list[dict[str, Any]] | None:
    """What the peer that runs on this folder says; None where none runs."""
    from ssb_rtc.peer import connect_local

    try:
        link = await connect_local(folder)
    except (ConnectFailed, StorageFault):
        return None
    try:
        rows: list[dict[str, Any]] = await link.call("rtc.config")
        return rows
    finally:
        await link.close()


def _waiting(now: list[dict[str, Any]], would_be: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the file says otherwise since the peer started. Flags and the environment are each process's own."""
    own = {"flag", "environment"}
    running = {row["name"]: row for row in now if row["source"] not in own}
    return [
        row
        for row in would_be
        if row["source"] not in own and row["name"] in running and row["value"] != running[row["name"]]["value"]
    ]


def _cells(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["name"], output.printable(_value(row)), row["where"] or row["source"]


def _value(row: dict[str, Any]) -> str:
    if row["secret"]:
        return "(set, not shown)"
    value = row["value"]
    if value in (None, []):
        return "-"
    return value if isinstance(value, str) else json.dumps(value)
