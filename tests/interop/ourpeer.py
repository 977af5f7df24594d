"""Our peer as a real process (`ssb-rtc start`), driven over its local socket: a command for each step would be slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ssb_rtc.peer import connect_local
from ssb_rtc.transport.link import Link
from tests.e2e.processes import LIMIT_S, Running, eventually, running


class OurPeer:
    """A running peer of ours; made by `our_peer`. `net` and `ws` are the multiserver addresses that it listens on."""

    def __init__(self, process: Running, link: Link) -> None:
        self.process = process
        self._link = link
        self.id: str = process.ready["id"]
        at: list[str] = process.ready["addresses"]
        self.net = next(address for address in at if address.startswith("net:"))
        self.ws = next(address for address in at if address.startswith("ws:"))

    async def call(self, name: str, *args: Any) -> Any:
        """Calls a method as a local caller."""
        return await self._link.call(name, *args, timeout_s=LIMIT_S)

    async def publish(self, text: str) -> str:
        """Publishes a post; its id."""
        return str((await self.call("publish", {"type": "post", "text": text}))["key"])

    async def publish_private(self, text: str, to: list[str]) -> str:
        """Publishes an encrypted post; its id."""
        return str((await self.call("private.publish", {"type": "post", "text": text}, to))["key"])

    async def follow(self, feed: str) -> None:
        """Publishes a follow."""
        await self.call("publish", {"type": "contact", "contact": feed, "following": True})

    async def block(self, feed: str) -> None:
        """Publishes a block."""
        await self.call("publish", {"type": "contact", "contact": feed, "following": False, "blocking": True})

    async def connect(self, address: str) -> Any:
        """Dials, and waits for the link."""
        return await self.call("rtc.connect", address)

    async def feed(self, feed: str) -> list[Any]:
        """Its messages of a feed, `{"key", "value", "timestamp"}` each, in order."""
        return [message async for message in self._link.source("createLogStream", {"author": feed})]

    async def ids(self, feed: str) -> list[str]:
        """The ids of its messages of a feed, in order."""
        return [message["key"] for message in await self.feed(feed)]

    async def reached(self, clock: dict[str, int]) -> None:
        """Waits until it holds every feed of `clock` at least that far."""

        async def look() -> bool:
            held = (await self.call("rtc.status"))["feeds"]
            return all(held.get(feed, 0) >= sequence for feed, sequence in clock.items())

        await eventually(f"our peer holding {clock}", look, pause_s=0.03)

    async def linked(self) -> list[str]:
        """Whom it has a link with."""
        return [peer["id"] for peer in (await self.call("rtc.status"))["peers"] if peer["state"] == "CONNECTED"]

    async def meets(self, peer: str) -> None:
        """Waits until it has a link with this peer."""

        async def look() -> bool:
            return peer in await self.linked()

        await eventually(f"our peer linked with {peer}", look, pause_s=0.03)

    async def parted(self, peer: str) -> None:
        """Waits until it has no link with this peer."""

        async def look() -> bool:
            return peer not in await self.linked()

        await eventually(f"our peer without a link with {peer}", look, pause_s=0.03)

    async def unbox(self, key: str) -> Any:
        """The decrypted content of a message that it holds, or None."""
        return await self.call("private.unbox", (await self.call("get", key))["content"])

    async def add_blob(self, text: str) -> str:
        """Adds a blob; its id."""
        adding = self._link.duplex("blobs.put")
        await adding.send(text.encode())
        await adding.end()
        (added,) = [item async for item in adding]
        return str(added["id"])

    async def want_blob(self, blob: str) -> str:
        """Asks its links for a blob, waits until it is there, and gives its text."""
        async with asyncio.timeout(LIMIT_S):
            await self._link.call("blobs.want", blob, timeout_s=None)
        return await self.blob(blob)

    async def push_blob(self, blob: str) -> None:
        """Offers a blob that it has to others."""
        await self.call("blobs.push", blob)

    async def gets_blob(self, blob: str) -> None:
        """Waits until it has a blob, without asking for it."""

        async def look() -> bool:
            return bool(await self.call("blobs.has", blob))

        await eventually(f"our peer having {blob}", look, pause_s=0.03)

    async def blob(self, blob: str) -> str:
        """The text of a blob that it has."""
        chunks: list[Any] = [chunk async for chunk in self._link.source("blobs.get", blob)]
        return b"".join(chunks).decode()


@asynccontextmanager
async def our_peer(folder: Path, *words: str) -> AsyncIterator[OurPeer]:
    """A new peer in `folder` that listens on net and ws; further `words` for its command line."""
    path = folder / "peer"
    start = ("start", "--path", str(path), "--net", "0", "--ws", "0", *words)
    async with running(folder / "logs", *start) as process:
        link = await connect_local(path)
        try:
            yield OurPeer(process, link)
        finally:
            await link.close()
        assert process.process.returncode is None, process.stderr
        assert "Traceback" not in process.stderr, process.stderr
