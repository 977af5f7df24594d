"""Write docs/flow.md from the tables that the manager runs: `python -m scripts.flow`."""

from __future__ import annotations

import sys
from pathlib import Path

from ssb_rtc.manager.effects import ANSWERS
from ssb_rtc.manager.step import SLICES, TIMERS

TARGET = Path(__file__).resolve().parent.parent / "docs" / "flow.md"


def _kind(record: type) -> str:
    return str(record.__struct_config__.tag)  # type: ignore[attr-defined]


def _first_line(record: type) -> str:
    return (record.__doc__ or "").strip().splitlines()[0]


def _place(function: object) -> str:
    module, name = getattr(function, "__module__", "?"), getattr(function, "__name__", "?")
    return f"`{module.removeprefix('ssb_rtc.')}.{name}`"


def render() -> str:
    """The whole page."""
    lines = [
        "# Actions and effects of the peers state manager",
        "",
        "Written by `python -m scripts.flow` from the tables that the code runs; a test keeps it true.",
        "",
        "## Actions: what has happened, and who takes it",
        "",
        "| action | taken by | |",
        "|---|---|---|",
    ]
    lines += [f"| {_kind(action)} | {_place(taker)} | {_first_line(action)} |" for action, taker in SLICES.items()]
    lines += ["", f"TIMER_EXPIRED goes on by the first word of its key: {', '.join(TIMERS)}.", ""]
    lines += [
        "## Effects: what is ordered, and which actions answer it",
        "",
        "| effect | answered by | |",
        "|---|---|---|",
    ]
    for effect, answers in ANSWERS.items():
        lines.append(f"| {_kind(effect)} | {', '.join(map(_kind, answers)) or 'nothing'} | {_first_line(effect)} |")
    lines += ["", "```mermaid", "flowchart LR"]
    for effect, answers in ANSWERS.items():
        lines += [f"  {_kind(effect)}([{_kind(effect)}]) --> {_kind(answer)}" for answer in answers]
    return "\n".join([*lines, "```", ""])


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"wrote {TARGET}\n")
