"""The page's files: small, whole, and without any way from what others wrote into markup or code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

import ssb_rtc.dashboard
from ssb_rtc.dashboard import assets

STATIC: Final = Path(ssb_rtc.dashboard.__file__).parent / "static"
BYTES_MAX: Final = 300_000
MODULES: Final = sorted(STATIC.rglob("*.js"))
NEVER: Final = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|DOMParser|srcdoc|document\.write"
    r"|\beval\(|new Function"
)


def test_all_of_it_is_served_and_small() -> None:
    served = assets.load()
    files = [file for file in STATIC.rglob("*") if file.is_file()]
    assert {f"/{file.relative_to(STATIC)}" for file in files} | {"/"} == set(served)
    assert sum(file.stat().st_size for file in files) < BYTES_MAX


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_no_text_becomes_markup_or_code(module: Path) -> None:
    assert NEVER.findall(module.read_text(encoding="utf-8")) == []


def test_the_modules_import_what_there_is() -> None:
    imported = set()
    for module in MODULES:
        for name in re.findall(r'from "([^"]+)"', module.read_text(encoding="utf-8")):
            target = (module.parent / name).resolve()
            assert target.is_file(), f"{module.name} imports {name}, which is not there"
            imported.add(target)
    assert set(MODULES) - imported == {STATIC / "js" / "main.js", STATIC / "js" / "theme.js"}


def test_the_frame_has_nothing_that_the_policy_forbids() -> None:
    """No inline script or style, nothing of another origin."""
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", html) == []
    for file in STATIC.rglob("*.css"):
        assert not re.search(r"url\(|@import", file.read_text(encoding="utf-8"))
    assert all(path.startswith("/") for path in re.findall(r'(?:src|href)="([^"#]+)', html))
