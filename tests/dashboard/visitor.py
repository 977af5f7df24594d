"""A dashboard of a real peer in this process, and whoever visits it over HTTP: its owner, or somebody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from yarl import URL

from ssb_rtc import Peer
from ssb_rtc.dashboard.server import Dashboard

LIMIT_S = 20.0
JSON = {"Content-Type": "application/json"}


class Visitor:
    """A browser, as far as headers go: what it asks comes from the dashboard's own page unless a test says else."""

    def __init__(self, dashboard: Dashboard, client: aiohttp.ClientSession) -> None:
        self.dashboard = dashboard
        self.origin = dashboard.origin
        self.client = client
        self.csrf = ""
        self.cookie = ""

    async def enter(self) -> None:
        """Opens a fresh address, as the page does."""
        token = self.dashboard.new_url().partition("#token=")[2]
        async with self.request("POST", "/api/session", json={"token": token}) as answer:
            assert answer.status == 200, await answer.text()
            self.csrf = (await answer.json())["csrf"]
            self.cookie = answer.cookies[f"ssb_rtc_{self.dashboard.port}"].value

    def request(self, method: str, path: str, *, headers: Mapping[str, str | None] | None = None, **more: Any) -> Any:
        """One request; `headers` are set besides, or instead of, those of the page. None leaves one out."""
        page: dict[str, str | None] = {"Sec-Fetch-Site": "same-origin", "Origin": self.origin}
        if self.csrf:
            page["X-CSRF"] = self.csrf
        if self.cookie:
            page["Cookie"] = f"ssb_rtc_{self.dashboard.port}={self.cookie}"
        page |= headers or {}
        sent = {name: value for name, value in page.items() if value is not None}
        return self.client.request(method, URL(self.origin + path, encoded=True), headers=sent, **more)

    async def get(self, path: str, **more: Any) -> tuple[int, Any]:
        """Status and body of a GET, parsed where it is JSON."""
        async with self.request("GET", path, **more) as answer:
            return answer.status, await _body(answer)

    async def post(self, path: str, body: Any, **more: Any) -> tuple[int, Any]:
        """The same of a POST of JSON."""
        async with self.request("POST", path, json=body, **more) as answer:
            return answer.status, await _body(answer)

    @asynccontextmanager
    async def events(self, query: str = "") -> AsyncIterator[Events]:
        """The stream of events."""
        async with self.request("GET", f"/api/events{query}", timeout=aiohttp.ClientTimeout(total=None)) as answer:
            assert answer.status == 200, await answer.text()
            yield Events(answer)


class Events:
    """What comes on a stream, event by event."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self._rest = b""

    async def next(self) -> tuple[str, Any]:
        """The next event: its name and its data. Raises EOFError at the end of the stream."""
        async with asyncio.timeout(LIMIT_S):
            while b"\n\n" not in self._rest:
                chunk = await self._answer.content.readany()
                if not chunk:
                    raise EOFError
                self._rest += chunk
        told, _, self._rest = self._rest.partition(b"\n\n")
        if told.startswith(b":"):
            return await self.next()
        name, data = told.split(b"\n")
        return name.removeprefix(b"event: ").decode(), json.loads(data.removeprefix(b"data: "))

    async def until(self, name: str, wanted: Any = lambda _data: True) -> Any:
        """The data of the first event of this name that is wanted; the others are passed over."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                found, data = await self.next()
                if found == name and wanted(data):
                    return data


async def _body(answer: aiohttp.ClientResponse) -> Any:
    return await answer.json() if answer.content_type == "application/json" else await answer.read()


@asynccontextmanager
async def served(peer: Peer) -> AsyncIterator[Dashboard]:
    """The dashboard of a peer that is online."""
    dashboard = Dashboard()
    await dashboard.start(peer)
    try:
        yield dashboard
    finally:
        await dashboard.close()


@asynccontextmanager
async def visited(peer: Peer, *, enter: bool = True) -> AsyncIterator[Visitor]:
    """A visitor at the dashboard of this peer; who has not entered has no session."""
    async with served(peer) as dashboard, aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
        visitor = Visitor(dashboard, client)
        if enter:
            await visitor.enter()
        yield visitor
