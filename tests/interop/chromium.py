"""A peer of stock npm modules in a page of headless Chromium, beside the test; see browser/peer.js.

The test's own web server serves the page, and the page talks to it over a web socket: no other driver of the browser is
needed. The page's origin is not the hub's, so what the hub answers has to allow that (CORS).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import socket
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import WSMsgType, web

from ssb_rtc.config import MAIN_NETWORK_KEY
from tests.conftest import require_program
from tests.interop.commands import CommandedPeer
from tests.interop.jspeer import PACKAGES
from tests.interop.processes import LineProcess, RigFailure

PAGE = Path(__file__).with_name("browser")
MODULES = PACKAGES / "browser" / "modules.js"
START_LIMIT_S = 30.0
COMPLAINTS_MAX = 60
LINE_BYTES_MAX = 16 * 1024 * 1024

FLAGS: Final = (
    "--headless",
    "--no-first-run",
    "--no-default-browser-check",
    # The only page is the test's own; root, and machines without user namespaces, have no sandbox.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-breakpad",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-proxy-server",
    "--enable-logging=stderr",
)
PLAIN: Final = ("--allow-loopback-in-peer-connection", "--disable-features=WebRtcHideLocalIpsWithMdns")
"""The page's candidates hold addresses, the loopback's too; else names that only this network's mDNS knows."""


def require_chromium() -> str:
    """The path of Chromium; skips where it or the page's npm modules are absent."""
    if not MODULES.is_file():
        pytest.skip("the npm modules of the page are not installed: run scripts/install_node.sh")
    return require_program("chromium", "chromium")


class Page:
    """The page in its browser, as lines; see commands.Lines."""

    def __init__(self) -> None:
        self._browser: LineProcess | None = None
        self._socket: web.WebSocketResponse | None = None
        self._there = asyncio.Event()
        self._heard: asyncio.Queue[str | None] = asyncio.Queue()
        self.complaints: deque[str] = deque(maxlen=COMPLAINTS_MAX)

    async def open(self, argv: Sequence[str], folder: str) -> None:
        """Starts the browser, which keeps everything in `folder`, and waits until the page's script runs."""
        self._browser = await LineProcess.start("chromium", argv, env={"TMPDIR": folder})
        loading = asyncio.create_task(self._there.wait())
        ending = asyncio.create_task(self._browser.wait(START_LIMIT_S))
        try:
            await asyncio.wait((loading, ending), return_when=asyncio.FIRST_COMPLETED)
            if not self._there.is_set():
                raise self.failure(f"no page within {START_LIMIT_S} s, or the browser ended")
        finally:
            loading.cancel()
            ending.cancel()
            await asyncio.gather(loading, ending, return_exceptions=True)

    async def talk(self, request: web.Request) -> web.WebSocketResponse:
        """Serves the page's web socket."""
        channel = self._socket = web.WebSocketResponse(max_msg_size=LINE_BYTES_MAX)
        await channel.prepare(request)
        self._there.set()
        async for message in channel:
            if message.type is WSMsgType.TEXT:
                complaint = json.loads(message.data).get("complaint")
                if complaint is None:
                    self._heard.put_nowait(message.data)
                else:
                    self.complaints.append(complaint)
        self._heard.put_nowait(None)
        return channel

    async def read_line(self, timeout_s: float) -> str:
        """The next line; RigFailure when the page has gone or the time is over."""
        try:
            line = await asyncio.wait_for(self._heard.get(), timeout_s)
        except TimeoutError:
            raise self.failure(f"silent for {timeout_s} s") from None
        if line is None:
            raise self.failure("the page has gone")
        return line

    async def write_line(self, line: str) -> None:
        assert self._socket is not None
        try:
            await self._socket.send_str(line)
        except ConnectionError:
            raise self.failure("the page does not listen any more") from None

    def last_words(self) -> str:
        """What the page complained of, and what the browser says of it: what it blocked and why, too."""
        said = self._browser.last_words().splitlines() if self._browser else []
        return "\n".join([*self.complaints, *(line for line in said if "dbus/" not in line)])

    def failure(self, what: str) -> RigFailure:
        return RigFailure(f"chromium: {what}\n{self.last_words()}")

    async def stop(self) -> None:
        """Ends the browser at once; may be called twice."""
        if self._browser is not None:
            await self._browser.stop(grace_s=0.5)
        if self._socket is not None:
            await self._socket.close()


class BrowserPeer(CommandedPeer):
    """A peer in a page; made by `browser_peer`."""

    def __init__(self, page: Page, ready: dict[str, Any]) -> None:
        super().__init__(page, ready)
        self._page = page

    @property
    def complaints(self) -> list[str]:
        """What the page has complained of: errors that nobody caught, and all that it wrote to console.error."""
        return list(self._page.complaints)


@asynccontextmanager
async def browser_peer(
    *, hubs: Sequence[str], app: str, quiet: bool = False, ebt: bool = True, plain: bool = True
) -> AsyncIterator[BrowserPeer]:
    """A new peer of the main network in a browser of its own, which the hubs listen to when this begins.

    `app` is the name under which its kind meets. `quiet`: it does not say that it is there, and offers to everybody who
    does; else those offer who hear it. `ebt=False`: it replicates by createHistoryStream only. `plain=False`: the
    browser hides its addresses, as it does for everybody (where the loopback is all there is it can't, and doesn't).
    """
    chromium = require_chromium()
    page = Page()
    served = web.Application()
    served.router.add_get("/lines", page.talk)
    served.router.add_get("/modules.js", _modules)
    served.router.add_static("/", PAGE)
    runner = web.AppRunner(served, shutdown_timeout=1.0)
    await runner.setup()
    # Not below the test's folder: Chromium makes sockets in it, whose paths must be short.
    folder = tempfile.mkdtemp(prefix="chromium-")
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port: int = runner.addresses[0][1]
        flags = (*FLAGS, *(PLAIN if plain or not _has_network() else ()), f"--user-data-dir={folder}/profile")
        await page.open([chromium, *flags, f"http://127.0.0.1:{port}/index.html"], folder)
        options = {"hubs": list(hubs), "app": app, "quiet": quiet, "ebt": ebt, **_secrets()}
        await page.write_line(json.dumps(options))
        async with BrowserPeer(page, json.loads(await page.read_line(START_LIMIT_S))) as peer:
            yield peer
    finally:
        await page.stop()
        await runner.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _has_network() -> bool:
    """True where there is a way out of this machine; sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return False
    return True


def _secrets() -> dict[str, str]:
    secrets = {"seed": os.urandom(32), "caps": MAIN_NETWORK_KEY}
    return {name: base64.b64encode(secret).decode() for name, secret in secrets.items()}


async def _modules(request: web.Request) -> web.FileResponse:
    return web.FileResponse(MODULES)
