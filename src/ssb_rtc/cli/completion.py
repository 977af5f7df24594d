"""`ssb-rtc completion`: the table of commands as a script that completes them in a shell."""

from __future__ import annotations

import argparse
import sys

import shtab

FILES = {"FILE", "DIR", "FILE|ID"}
"""What a flag or an argument calls itself that takes a path."""


def completion(arguments: argparse.Namespace) -> int:
    """Print the script for one shell."""
    from ssb_rtc.cli.commands import build_parser

    parser = build_parser()
    _mark_paths(parser)
    sys.stdout.write(shtab.complete(parser, arguments.shell))
    return 0


def _mark_paths(parser: argparse.ArgumentParser) -> None:
    """Has every argument that takes a path completed with the names of files."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                _mark_paths(sub)
        elif action.metavar in FILES:
            # Where shtab looks for it; argparse has no such field.
            vars(action)["complete"] = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE
