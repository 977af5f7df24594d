"""A signalhub in the hands of an enemy, as a process of its own: `python -m tests.e2e.rogue_hub` prints where it is.

It keeps all that it hears, and does to what is posted what its `mode` says. The enemy gives orders over the same port:
`POST /_order` with a JSON object of what to change or do, which answers with what the hub has seen. `RogueHub` is the
test's hand on it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import aiohttp

from ssb_rtc.types import HubUrl

MODES: Final = (
    "honest", "drop", "duplicate", "reorder", "hold", "replay", "rewrite", "misdirect", "choose", "flood", "cycle",
)  # fmt: skip
STREAM: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:heartbeat signal\n\n"
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
REORDER_S: Final = 0.15
CHOOSE_S: Final = 0.05
CYCLE_S: Final = 0.3
FLOOD_S: Final = 0.02
JUNK: Final = 20
"""Letters in each stream, each FLOOD_S: twenty times what a peer opens."""

Letter = tuple[str, str]
"""Channel and body."""


class Hub:
    """The hub itself."""

    def __init__(self) -> None:
        self.mode = "honest"
        self.seen: list[Letter] = []
        self.raw: list[bytes] = []
        """Every head and body, as it came over the wire."""
        self.held: list[Letter] = []
        self._listeners: dict[asyncio.StreamWriter, set[str]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._chance = random.Random(1)

    # --- what it does to letters ---

    def take(self, channel: str, body: str) -> None:
        """One letter, and what becomes of it."""
        letter = (channel, body)
        self.seen.append(letter)
        match self.mode:
            case "drop":
                pass
            case "duplicate":
                self.say(*[letter] * 3)
            case "reorder":
                self.held.append(letter)
                asyncio.get_running_loop().call_later(REORDER_S, self.release)
            case "choose":
                # Knocks come late, so that they count as newer ones than those of other hubs, and nothing else does.
                if len(body) < 1_000:
                    asyncio.get_running_loop().call_later(CHOOSE_S, self.say, letter)
            case "hold":
                self.held.append(letter)
            case "replay":
                self.say(*self.seen[-30:], *self._chance.sample(self.seen, min(10, len(self.seen))))
            case "rewrite":
                self.say((channel, self._rewritten(body)))
            case "misdirect":
                others = {name for names in self._listeners.values() for name in names} - {channel}
                self.say(*((other, body) for other in sorted(others)))
            case _:
                self.say(letter)

    def _rewritten(self, body: str) -> str:
        at = self._chance.randrange(1, len(body) - 4)
        return body[:at] + ("A" if body[at] != "A" else "B") + body[at + 1 :]

    def release(self) -> None:
        """Says what was held, the last one first."""
        held, self.held = self.held[::-1], []
        self.say(*held)

    def say(self, *letters: Letter) -> None:
        """Letters to whoever listens there."""
        for channel, body in letters:
            for writer, names in list(self._listeners.items()):
                if channel in names and not writer.is_closing():
                    writer.write(f"data: {body}\n\n".encode())

    async def trouble(self) -> None:
        """What it does without being asked."""
        while True:
            await asyncio.sleep(CYCLE_S if self.mode == "cycle" else FLOOD_S)
            if self.mode == "cycle":
                for writer in list(self._listeners):
                    writer.transport.abort()
            elif self.mode == "flood":
                for writer, names in list(self._listeners.items()):
                    if writer.transport.get_write_buffer_size() < 1 << 20:
                        junk = [f'"{base64.b64encode(self._chance.randbytes(512)).decode()}"' for _ in range(JUNK)]
                        copies = [body for channel, body in self.seen[-JUNK:] if channel in names]
                        # What comes first in each moment is what a peer has a budget for: junk there would be a drop.
                        self._chance.shuffle(copies)
                        writer.write("".join(f"data: {body}\n\n" for body in (*copies, *junk)).encode())

    # --- HTTP ---

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._listeners.pop(writer, None)
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, path = head.decode("latin-1").split(" ", 2)[:2]
        fields = dict(line.lower().split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:] if ": " in line)
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        if path == "/_order":
            said = json.dumps(self._obey(json.loads(body))).encode()
            writer.write(OK % len(said) + said)
        else:
            self.raw += [head, body]
            if method == "GET":
                self._listeners[writer] = set(path.split("/", 3)[3].split(","))
                writer.write(STREAM)
            else:
                writer.write(OK % 0)
                self.take(path.split("/", 3)[3], body.decode())
        await writer.drain()

    def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        self.mode = order.get("mode", self.mode)
        if order.get("forget"):
            self.seen, self.raw, self.held = [], [], []
        if order.get("release"):
            self.release()
        self.say(*((channel, body) for channel, body in order.get("say", [])))
        return {
            "seen": self.seen,
            "listeners": [sorted(names) for names in self._listeners.values()],
            "raw": [base64.b64encode(part).decode() for part in self.raw] if order.get("raw") else [],
        }


class RogueHub:
    """A running one, as the test orders it about."""

    def __init__(self, url: HubUrl, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def order(self, **order: Any) -> dict[str, Any]:
        """Gives an order; what the hub knows."""
        async with self._session.post(f"{self.url}/_order", json=order) as answer:
            known: dict[str, Any] = await answer.json(content_type=None)
            return known

    async def turn(self, mode: str) -> None:
        """From now on it does this."""
        assert mode in MODES
        await self.order(mode=mode)

    async def say(self, *letters: Letter) -> None:
        """Letters of the enemy's own, or copies."""
        await self.order(say=letters)

    async def seen(self) -> list[Letter]:
        """All that was posted."""
        return [(channel, body) for channel, body in (await self.order())["seen"]]

    async def channels(self) -> set[str]:
        """All that somebody listens to."""
        return {name for names in (await self.order())["listeners"] for name in names}

    async def until(self, right: Callable[[dict[str, Any]], object], limit_s: float = 20.0) -> dict[str, Any]:
        """Waits until what it knows is right."""
        known: dict[str, Any] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while True:
                    known = await self.order()
                    if right(known):
                        return known
                    await asyncio.sleep(0.02)
        raise AssertionError(f"it did not happen; the hub has {len(known['seen'])} letters, and {known['listeners']}")


@contextmanager
def rogue_process() -> Iterator[HubUrl]:
    """A hub that runs until the block ends."""
    command = [sys.executable, "-m", "tests.e2e.rogue_hub"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield HubUrl(process.stdout.readline().decode().strip())
        finally:
            process.kill()


@asynccontextmanager
async def ordering(url: HubUrl) -> AsyncIterator[RogueHub]:
    """The hand on a hub, which is honest at first and remembers nothing of what was before."""
    async with aiohttp.ClientSession() as session:
        hub = RogueHub(url, session)
        await hub.order(mode="honest", forget=True)
        yield hub
        await hub.turn("honest")


async def main() -> None:
    """Serves until it is killed."""
    hub = Hub()
    server = await asyncio.start_server(hub.serve, "127.0.0.1", 0, limit=1 << 20)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await hub.trouble()


if __name__ == "__main__":
    asyncio.run(main())
