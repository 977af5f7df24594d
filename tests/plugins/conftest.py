"""Machines that end with the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc.config import Settings
from tests.plugins.blob_parts import Make
from tests.plugins.machines import Machine


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Machine] = []

    def make(number: int, **settings: Any) -> Machine:
        machine = Machine(tmp_path / f"{number}-{len(made)}", number, ebt=False, settings=Settings(**settings))
        made.append(machine)
        return machine

    yield make
    for machine in made:
        await machine.close()
