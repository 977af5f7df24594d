"""`ssb-rtc doctor`: what works here, what does not, and what to do about it."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ssb_rtc.cli import flags, output

if TYPE_CHECKING:
    from ssb_rtc.doctor.findings import Finding

STYLES = {"ok": "green", "warning": "yellow", "broken": "bold red", "skipped": "dim"}


def doctor(arguments: argparse.Namespace) -> int:
    """Run all checks; 1 where something is broken."""
    from ssb_rtc.doctor.examination import Patient, examine
    from ssb_rtc.doctor.findings import as_json, nothing_broken

    patient = Patient(flags.folder_of(arguments), flags.settings_of(arguments))

    async def main() -> int:
        with _progress(quiet=arguments.json) as shown:
            findings = await examine(patient, shown)
        good = nothing_broken(findings)
        # Not after the loop has ended: that waits for names that are still being looked up.
        if arguments.json:
            output.print_json({"ok": good, "findings": [as_json(finding) for finding in findings]})
        else:
            _print(findings)
        return 0 if good else 1

    return asyncio.run(main())


def _print(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("check", "state", "what was seen, and what to do"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        where = f"{finding.subject}: " if finding.subject else ""
        told = Text(output.printable(where + finding.seen))
        if finding.remedy:
            told.append(f"\n-> {output.printable(finding.remedy)}", style="bold")
        table.add_row(finding.check, Text(str(finding.state), style=STYLES[finding.state]), told)
    width = None if sys.stdout.isatty() else output.PIPE_WIDTH
    Console(width=width, markup=False, highlight=False).print(table)
    counts = Counter(str(finding.state) for finding in findings)
    print(", ".join(f"{counts[state]} {state}" for state in STYLES if counts[state]))


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, bool], None]]:
    """What is still being looked at, on a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda _name, _ended: None
        return
    from rich.console import Console

    waiting: dict[str, None] = {}
    console = Console(stderr=True)
    with console.status("looking") as status:

        def changed(name: str, ended: bool) -> None:
            if ended:
                waiting.pop(name, None)
            else:
                waiting[name] = None
            status.update(f"looking at: {', '.join(waiting)}")

        yield changed
