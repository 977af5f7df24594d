"""What a check found: the one record that all checks give, and what follows from many of them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from ssb_rtc.types import JsonObject


class State(StrEnum):
    """How it stands, as the table and the JSON name it."""

    OK = "ok"
    WARNING = "warning"
    """It works, and something of it will not do for everybody or not for long."""
    BROKEN = "broken"
    """It does not work, and something fails for that."""
    SKIPPED = "skipped"
    """There was nothing to look at, or no way to look."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the table."""

    check: str
    """What was looked at: `clock`, `hub`..."""
    state: State
    seen: str
    """A sentence: what was seen."""
    remedy: str = ""
    """A sentence: what to do, where there is something to do."""
    subject: str = ""
    """Which of several: the address of a hub or server."""
    facts: JsonObject = field(default_factory=dict)
    """The same for programs; docs/doctor.md names the fields."""


def sentence(text: str) -> str:
    """The text with a great letter before it and a full stop behind it."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def nothing_broken(findings: Iterable[Finding]) -> bool:
    """Whether all of it works."""
    return all(finding.state is not State.BROKEN for finding in findings)


def as_json(finding: Finding) -> JsonObject:
    """The finding as `--json` prints it."""
    return {
        "check": finding.check,
        "subject": finding.subject or None,
        "state": str(finding.state),
        "seen": finding.seen,
        "remedy": finding.remedy or None,
        "facts": finding.facts,
    }
