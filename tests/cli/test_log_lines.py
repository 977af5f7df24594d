"""The log of a long-running command, line by line."""

from __future__ import annotations

import io
import logging

import pytest

from ssb_rtc.cli import logs


@pytest.mark.parametrize("style", ["text", "json"])
def test_what_an_error_quotes_steers_no_terminal(style: str) -> None:
    """An exception may hold what a peer said; only the lines of a traceback are lines."""
    said, name = io.StringIO(), f"quoting.{style}"
    handler = logs.write_to(said, style, "info", name)
    try:
        raise ValueError("\x1b[2Jgone \u202eturned\x07")
    except ValueError:
        logging.getLogger(name).exception("it failed: %s", "\x1b[31m")
    finally:
        logging.getLogger().removeHandler(handler)
    text = said.getvalue()
    assert "ValueError" in text
    assert all(character.isprintable() or character == "\n" for character in text)
