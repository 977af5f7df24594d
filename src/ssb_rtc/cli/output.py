"""What commands print: JSON lines for programs, tables for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from ssb_rtc.errors import MisuseError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

LINE_BYTES_MAX = 1 << 20
"""A message is at most 8 KiB of UTF-16; a line that is longer than this holds none."""


PIPE_WIDTH = 4_000


def print_json(value: Any) -> None:
    """One JSON line, in ASCII, so that lone surrogates and any locale come through."""
    print(json.dumps(value, separators=(",", ":")), flush=True)


def printable(text: str) -> str:
    """A text of others on one line, without what could steer a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """A table for a person; `empty` is the sentence for no rows."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    count = 0
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
        count += 1
    if count == 0:
        print(empty)
    else:
        # A file or a pipe has no width to wrap at.
        Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, markup=False, emoji=False, highlight=False).print(
            table
        )


def standard_input() -> BinaryIO:
    """Standard input as bytes. Raises MisuseError when it is closed."""
    if sys.stdin is None:
        raise MisuseError("standard input is closed: leave it open, or name a file instead of -")
    return sys.stdin.buffer


def open_input(name: str) -> AbstractContextManager[BinaryIO]:
    """The bytes of a file, or of standard input for `-`. Raises MisuseError with the reason."""
    from contextlib import nullcontext

    if name == "-":
        return nullcontext(standard_input())
    try:
        return Path(name).open("rb")
    except OSError as fault:
        raise MisuseError(f"can't read {name}: {fault.strerror}; name a file, or - for standard input") from fault


def lines_of(source: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """The lines that are not blank, numbered from 1; None in place of one that is longer than LINE_BYTES_MAX."""
    number = 0
    while line := source.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(line) > LINE_BYTES_MAX:
            while line and not line.endswith(b"\n"):
                line = source.readline(LINE_BYTES_MAX)
            yield number, None
        elif line.strip():
            yield number, line


class Progress(Protocol):
    """Call it with what is done; `total`, where it is given, replaces the one so far."""

    def __call__(self, done: float, total: float | None = None) -> None: ...


def progress(description: str, *, total: float | None, quiet: bool) -> AbstractContextManager[Progress]:
    """A progress bar on standard error, which goes away in the end. Silent when `quiet` or no terminal.

    total: None shows that something goes on, without how far it is.
    """
    from contextlib import contextmanager

    @contextmanager
    def bar() -> Iterator[Progress]:
        if quiet or not sys.stderr.isatty():
            yield lambda _done, _total=None: None
            return
        from rich.console import Console
        from rich.progress import Progress as Bars

        with Bars(console=Console(stderr=True), transient=True) as shown:
            task = shown.add_task(description, total=total)

            def show(done: float, total: float | None = None) -> None:
                shown.update(task, completed=done, total=total)

            yield show

    return bar()
