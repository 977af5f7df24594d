"""docs/policy.md has a row for every setting of the manager, with its true default, and no other row."""

from __future__ import annotations

import re
from pathlib import Path

from ssb_rtc.manager.settings import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "policy.md"
COLUMNS = ["setting", "default", "unit", "reason", "source"]


def _rows() -> list[list[str]]:
    """The rows of all tables of settings, as cells."""
    rows: list[list[str]] = []
    inside = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if cells == COLUMNS:
            inside = True
        elif not cells:
            inside = False
        elif inside and not set(line) <= set("|- "):
            rows.append(cells)
    return rows


def test_every_setting_has_its_row_and_no_row_is_left_over() -> None:
    named = [row[0].strip("`") for row in _rows()]
    assert sorted(named) == sorted(Settings.__struct_fields__)


def test_each_row_has_the_true_default() -> None:
    defaults = Settings()
    told = {row[0].strip("`"): float(row[1].replace(",", "")) for row in _rows()}
    assert told == {name: getattr(defaults, name) for name in told}


def test_each_row_is_whole_and_units_are_those_of_the_name() -> None:
    for name, _, unit, reason, source in _rows():
        assert re.fullmatch(r"`\w+`", name), name
        assert all((unit, reason, source)), name
        assert (unit == "s") == name.strip("`").endswith("_s"), f"{name} in {unit}"


def test_settings_that_the_page_mentions_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    ours = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", text))
    assert ours <= set(Settings.__struct_fields__)
