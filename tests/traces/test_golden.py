"""Golden scripts: what the manager answers, in words, over whole stories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.traces.golden import answered

SCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_manager_answers_as_written(path: Path) -> None:
    is_text, should_text = answered(path)
    if os.environ.get("UPDATE_TRACES"):
        path.write_text(should_text)
    assert is_text == should_text


def test_there_are_scripts() -> None:
    assert {"seed_example_flow", "three_hubs", "failures_and_back_off", "glare", "goodbye"} <= {
        path.stem for path in SCRIPTS
    }
