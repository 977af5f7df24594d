"""A hub, and two friends on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from ssb_rtc.hub.server import HubServer, serve
from ssb_rtc.signalhub.client import open_session
from ssb_rtc.types import HubUrl
from tests.signalhub.sealed_party import (
    Party,
    befriend,
    ordered,
)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as opened:
        yield opened


@pytest.fixture
async def server() -> AsyncIterator[HubServer]:
    running = await serve("127.0.0.1", 0)
    yield running
    await running.close()


@pytest.fixture
def hub(server: HubServer) -> HubUrl:
    return HubUrl(server.url)


@pytest.fixture
async def pair(session: aiohttp.ClientSession, hub: HubUrl) -> AsyncIterator[tuple[Party, Party]]:
    """Two friends on the hub, that of the lesser key first."""
    low, high = ordered(session)
    befriend(low, high)
    for party in (low, high):
        await party.signalling.connect(hub)
    yield low, high
    for party in (low, high):
        await party.signalling.close()
