"""A JavaScript peer beside the test that takes JSON commands, a line each; see peer.cjs and browser/peer.js."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from tests.interop.processes import RigFailure

COMMAND_LIMIT_S = 40.0


class Lines(Protocol):
    """What carries the lines: a process, or a page in a browser. See LineProcess."""

    async def read_line(self, timeout_s: float) -> str: ...

    async def write_line(self, line: str) -> None: ...

    def failure(self, what: str) -> RigFailure: ...

    def last_words(self) -> str: ...

    async def stop(self) -> None: ...


class CommandedPeer:
    """A peer, and what every kind of JavaScript peer can be told; an async context manager: it ends with its test.

    `id` is its feed id.
    """

    def __init__(self, lines: Lines, ready: Mapping[str, Any]) -> None:
        self._lines = lines
        self.id: str = ready["id"]
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._over: BaseException | None = None
        self._reading = asyncio.create_task(self._read())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    async def _read(self) -> None:
        try:
            while True:
                answer = json.loads(await self._lines.read_line(3600.0))
                waiting = self._waiting.pop(answer["n"], None)
                if waiting is None or waiting.done():
                    continue
                if answer["ok"]:
                    waiting.set_result(answer["result"])
                else:
                    waiting.set_exception(self._lines.failure(answer["error"]))
        except RigFailure as failure:
            self._over = failure
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(failure)
            self._waiting.clear()

    async def command(self, cmd: str, *, timeout_s: float = COMMAND_LIMIT_S, **arguments: Any) -> Any:
        """Sends one command and returns its result; RigFailure with the peer's words when it fails.

        Commands may overlap: each answer finds its own caller.
        """
        if self._over is not None:
            raise self._over
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._lines.write_line(json.dumps({"n": number, "cmd": cmd, **arguments}))
            return await asyncio.wait_for(answer, timeout_s)
        except TimeoutError:
            raise self._lines.failure(f"no answer to {cmd} {arguments} within {timeout_s} s") from None
        finally:
            self._waiting.pop(number, None)

    async def publish(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Publishes; `{"key", "value"}` of the message."""
        made: dict[str, Any] = await self.command("publish", content=dict(content))
        return made

    async def publish_many(self, count: int, *, text: str = "x", timeout_s: float = 60.0) -> int:
        """Publishes `count` posts; the sequence of the last."""
        made = await self.command("publishMany", count=count, text=text, timeout_s=timeout_s)
        return int(made["sequence"])

    async def follow(self, feed: str, *, state: bool = True) -> str:
        """Publishes a follow (or an unfollow); the message's id."""
        return str(await self.command("follow", id=feed, state=state))

    async def disconnect(self, peer: str) -> None:
        """Closes the link to this peer."""
        await self.command("disconnect", id=peer)

    async def peers(self) -> list[str]:
        """The ids of those it has a link with."""
        return list(await self.command("peers"))

    async def met(self, peer: str) -> bool:
        """Waits until it has a link with this peer; True where it has dialled: over WebRTC, where its offer stood."""
        return bool((await self.command("met", id=peer))["dialled"])

    async def parted(self, peer: str) -> None:
        """Waits until it has no link with this peer."""
        await self.command("parted", id=peer)

    async def clock(self) -> dict[str, int]:
        """The highest sequence that it holds of each feed."""
        return dict(await self.command("clock"))

    async def reached(self, clock: Mapping[str, int], *, timeout_s: float = COMMAND_LIMIT_S) -> dict[str, int]:
        """Waits until it holds every feed of `clock` at least that far; its whole clock then."""
        try:
            return dict(await self.command("reached", clock=dict(clock), timeout_s=timeout_s))
        except RigFailure as failure:
            if self._over is not None:
                raise
            raise RigFailure(f"{failure}\nwanted {dict(clock)}, has {await self.clock()}") from None

    async def feed(self, feed: str, *, after: int = 0) -> list[dict[str, Any]]:
        """Its messages of a feed above a sequence, `{"key", "value"}` each, in order."""
        return list(await self.command("feed", id=feed, after=after))

    async def ids(self, feed: str) -> list[str]:
        """The ids of its messages of a feed, in order."""
        return list(await self.command("ids", id=feed))

    async def kill(self) -> None:
        """Ends the peer at once; may be called twice."""
        self._reading.cancel()
        await asyncio.wait([self._reading])
        self._over = self._over or self._lines.failure("was ended by the test")
        await self._lines.stop()

    def last_words(self) -> str:
        """What it complained of, its last lines."""
        return self._lines.last_words()
