"""The command `ssb-rtc`: runs what the table of commands names, and turns an error into a sentence and an exit code.

The module of a command is imported when it runs. Exit codes: 0 done, 1 negative result, 2 usage, 3 no peer runs,
4 environment.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ssb_rtc import errors
from ssb_rtc.cli import output
from ssb_rtc.cli.commands import build_parser
from ssb_rtc.cli.exits import DONE, ENVIRONMENT, advice_on, advice_on_files, exit_code_of

if TYPE_CHECKING:
    from types import FrameType


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    _on_interrupt(signal.SIG_DFL)
    _stand_in_for_closed_outputs()
    _print_what_the_locale_lacks()
    arguments = build_parser().parse_args(argv)
    module, _, function = arguments.run.partition(":")
    run = getattr(importlib.import_module(f"ssb_rtc.cli.{module}"), function)
    try:
        _on_interrupt(signal.default_int_handler)
        code = run(arguments)
        sys.stdout.flush()
        return int(code)
    except errors.SsbRtcError as error:
        # Some of it may be what a hub or a peer said.
        sentence = "\n".join(map(output.printable, str(error).splitlines()))
        print(f"ssb-rtc: {sentence}{advice_on(error)}", file=sys.stderr)
        return exit_code_of(error)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader went away (`ssb-rtc log | head`): leave quietly.
        _drop_output()
        return DONE
    except OSError as error:
        # Others translate theirs; what comes here is an output that can't be written, or an input that can't be read.
        _drop_output()
        about = f"{error.filename}: " if error.filename else ""
        print(f"ssb-rtc: {about}{error.strerror or error}: {advice_on_files(error)}", file=sys.stderr)
        return ENVIRONMENT


def _on_interrupt(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    """What Ctrl-C does from now on, unless whoever started us wants it ignored."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def _stand_in_for_closed_outputs() -> None:
    """`>&-` leaves no stream at all, and the next file to be opened would take its place."""
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def _print_what_the_locale_lacks() -> None:
    """A character that the locale has no bytes for is written as its escape, in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Keep Python from flushing at its end what can't be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
