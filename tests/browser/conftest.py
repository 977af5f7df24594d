"""One browser, and one island of real peers, for all tests of a file: starting them takes longer than the tests do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser

from tests.browser.pages import chromium
from tests.conftest import require_program


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Headless Chromium; skips where there is none."""
    async with chromium(require_program("chromium", "chromium")) as running:
        yield running
