"""A peer of stock npm modules in a page of headless Chromium meets ours on a hub, and they replicate over WebRTC."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from tests.interop.chromium import browser_peer, require_chromium
from tests.interop.meeting import SWARM_APP, HubKind, hub_of, meet_and_replicate, our_peer_on
from tests.interop.processes import RigFailure

pytestmark = [pytest.mark.js, pytest.mark.timeout(120)]


@pytest.fixture(autouse=True)
def chromium(node_packages: Path) -> str:
    return require_chromium()


@dataclass(frozen=True)
class Cell:
    """How they meet, and how they replicate."""

    hub: HubKind
    dialler: Literal["page", "ours"]
    ebt: bool
    plain: bool
    """The page's addresses stand in its candidates."""
    backend: Literal["wrtc", "aiortc"]
    """Our WebRTC library."""

    def __str__(self) -> str:
        way, addresses = "EBT" if self.ebt else "history", "plain" if self.plain else "hidden"
        return f"{self.hub}-{self.dialler} dials-{way}-{addresses}-{self.backend}".replace(" ", "_")


CELLS = [
    Cell("our hub", "page", ebt=True, plain=False, backend="wrtc"),
    Cell("our hub", "ours", ebt=False, plain=True, backend="wrtc"),
    Cell("npm hub", "page", ebt=False, plain=True, backend="aiortc"),
    Cell("npm hub", "ours", ebt=True, plain=False, backend="aiortc"),
]


@pytest.mark.parametrize("cell", CELLS, ids=str)
async def test_a_page_replicates_with_us(tmp_path: Path, cell: Cell) -> None:
    """Both ways and live. The page is of another origin than our hub, which therefore has to let it in."""
    page_dials = cell.dialler == "page"
    async with (
        hub_of(cell.hub, tmp_path / "hub") as hub,
        our_peer_on(hub, tmp_path / "ours", "--rtc-backend", cell.backend) as ours,
        browser_peer(hubs=[hub], app=SWARM_APP, quiet=page_dials, ebt=cell.ebt, plain=cell.plain) as page,
    ):
        await meet_and_replicate(hub, ours, page, they_dial=page_dials)
        assert page.complaints == []
        await page.disconnect(ours.id)
        await asyncio.gather(ours.parted(page.id), page.parted(ours.id))


async def test_a_page_that_can_not_start_says_why() -> None:
    """No hub's address makes signalhub throw, and its words come here."""
    with pytest.raises(RigFailure, match=r"could not start:[\s\S]*signalhub url\(s\) required"):
        async with browser_peer(hubs=[], app=SWARM_APP):
            pass
