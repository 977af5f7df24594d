"""A real redis-server on a unix socket of its own, which a test may kill, freeze and start again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from tests.conftest import require_program
from tests.interop.processes import LineProcess

START_LIMIT_S = 10.0


class RedisServer:
    """One instance."""

    def __init__(self, folder: Path, name: str, *more: str) -> None:
        self._program = require_program("redis-server", "redis-server")
        self._folder = folder
        self.socket = folder / f"{name}.sock"
        self._more = more
        self._process: LineProcess | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    async def start(self) -> None:
        """Run it until it takes connections."""
        argv = [
            self._program,
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--save",
            "",
            "--dir",
            str(self._folder),
        ]
        self._process = process = await LineProcess.start("redis-server", [*argv, *self._more])
        while "eady to accept connections" not in await process.read_line(START_LIMIT_S):
            pass

    async def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        await self._process.stop()

    def freeze(self) -> None:
        """SIGSTOP: the kernel still takes connections and bytes for it."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    async def stop(self) -> None:
        if self._process is not None and self._process.alive:
            self.thaw()
            await self._process.stop()

    async def ask(self, *words: str | bytes) -> Any:
        """One command's answer."""
        client: Any
        async with Redis.from_url(self.url, protocol=2) as client:
            return await client.execute_command(*words)

    async def upstream(self, channel: bytes) -> int:
        """How many connections are subscribed to a hub's channel."""
        return int((await self.ask("PUBSUB", "NUMSUB", b"ssb-rtc-hub:" + channel))[1])

    async def channels(self) -> set[bytes]:
        """The hubs' channels that somebody is subscribed to."""
        found = await self.ask("PUBSUB", "CHANNELS", "ssb-rtc-hub:*")
        return {name.removeprefix(b"ssb-rtc-hub:") for name in found}


@asynccontextmanager
async def redis_server(folder: Path, name: str = "redis", *more: str) -> AsyncIterator[RedisServer]:
    """Starts one, and ends it with the test."""
    server = RedisServer(folder, name, *more)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class Relay:
    """A way to Redis over TCP on which single connections can go silent, as they do behind a lost route."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._silent: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.count = 0

    async def start(self) -> None:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    def silence(self, number: int) -> None:
        """Carry nothing more on the connection with this number, counted from 0; it stays open."""
        self._silent.add(number)

    async def stop(self) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listener.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.count = self.count, self.count + 1
        up_reader, up_writer = await asyncio.open_unix_connection(self._server.socket)
        ways = [self._carry(number, reader, up_writer), self._carry(number, up_reader, writer)]
        self._tasks |= {asyncio.create_task(way) for way in ways}

    async def _carry(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if number not in self._silent:
                    writer.write(data)
                    await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
