"""Attackers of a running peer: the peer under watch, callers that speak only as far as they want, hubs that lie."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from ssb_rtc.config import MAIN_NETWORK_KEY
from ssb_rtc.errors import RemoteCallError
from ssb_rtc.feeds.keys import Keys, keys_from_seed
from ssb_rtc.feeds.refs import public_key
from ssb_rtc.transport.link import Handler, Link, open_link, open_plain_link
from ssb_rtc.transport.net import NetTransport
from ssb_rtc.transport.secure import BoxCodec
from ssb_rtc.transport.unix import UnixTransport
from ssb_rtc.types import HubUrl, Json, PeerId
from ssb_rtc.wire.address import net_address
from ssb_rtc.wire.handshake import Client, Server
from ssb_rtc.wire.manifest import Kind
from ssb_rtc.wire.packets import BodyKind, encode_parts
from tests.e2e.processes import LIMIT_S, environment, eventually, run

GROWTH_MAX_KIB = 60 * 1024
"""What one attack may add to the memory of the peer, at its worst moment."""
DESCRIPTORS_SLACK = 3
CLOSED_LIMIT_S = 45.0
"""An attempt that leads nowhere lasts for 30 s, and the library closes its sockets at its leisure."""
SIGNS_OF_A_BUG = ("Traceback", "never retrieved", "Task exception", "Task was destroyed", "never awaited")


def attacker_keys() -> Keys:
    """A stranger's."""
    return keys_from_seed(secrets.token_bytes(32))


def attacker_id() -> PeerId:
    """An id in good form that nobody holds the secret of."""
    return PeerId(f"@{base64.b64encode(secrets.token_bytes(32)).decode()}.ed25519")


# --- the peer under attack ----------------------------------------------------------------------------------------


class Victim:
    """A running peer, and what is watched of it."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes], ready: Any, errors: Path) -> None:
        self.path = path
        self.process = process
        self.id = PeerId(ready["id"])
        self.ready = ready
        self.errors = errors

    @property
    def port(self) -> int:
        """Where its net listener is."""
        place = next(address for address in self.ready["addresses"] if address.startswith("net:"))
        return int(place.partition("~")[0].rpartition(":")[2])

    @property
    def stderr(self) -> str:
        """What it has said so far on standard error."""
        return self.errors.read_text(encoding="utf-8", errors="replace")

    def memory_kib(self, what: str = "VmRSS") -> int:
        """What it holds now, or (VmHWM) the most that it held since `forget_peak`."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(what))

    def forget_peak(self) -> None:
        """VmHWM begins anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", encoding="ascii")

    @property
    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    @asynccontextmanager
    async def local(self) -> AsyncIterator[Link]:
        """A link through its socket, with all local rights."""
        stream = await UnixTransport().connect(str(self.path / "socket"))
        link = await open_plain_link(stream, own=self.id, router=Refuses(), dialled=True)
        try:
            yield link
        finally:
            await link.close()

    async def ask(self, name: str, *args: Json) -> Any:
        """One local call."""
        async with self.local() as link:
            return await link.call(name, *args)

    async def meets(self, other: Victim) -> None:
        """Waits until it is linked with another one. By its socket: a command each time would be most of the load."""

        async def look() -> bool:
            rows = (await self.ask("rtc.status"))["peers"]
            return any(row["id"] == other.id and row["state"] == "CONNECTED" for row in rows)

        await eventually(f"a link of {self.path.name} with {other.path.name}", look)

    async def follow(self, feed: str) -> None:
        """Makes it want a feed."""
        await self.ask("publish", {"type": "contact", "contact": feed, "following": True})

    async def holds(self, feed: str) -> int:
        """Up to where it holds a feed."""
        return int((await self.ask("rtc.status"))["feeds"].get(feed, 0))

    @asynccontextmanager
    async def watched(self, growth_max_kib: int = GROWTH_MAX_KIB) -> AsyncIterator[None]:
        """After what happens inside, it lives, answers, has said nothing of a bug, leaks nothing and has not grown."""
        await self.ask("rtc.status")
        self.forget_peak()
        said, memory_kib, descriptors = len(self.stderr), self.memory_kib(), self.descriptors
        yield
        assert self.process.poll() is None, f"the peer died: {self.stderr[said:]}"
        answer = await run("status", "--json", "--path", str(self.path), limit_s=10)
        assert answer.code == 0, answer.err
        assert answer.json["id"] == self.id

        async def closed() -> bool:
            return self.descriptors <= descriptors + DESCRIPTORS_SLACK

        await eventually(f"closing all but {descriptors} descriptors", closed, limit_s=CLOSED_LIMIT_S)
        for sign in SIGNS_OF_A_BUG:
            assert sign not in self.stderr[said:], self.stderr[said:]
        grown_kib = self.memory_kib("VmHWM") - memory_kib
        assert grown_kib < growth_max_kib, f"grew by {grown_kib} KiB from {memory_kib} KiB"


@contextmanager
def victim(path: Path, *flags: str) -> Iterator[Victim]:
    """A peer as a process of its own, started and ended."""
    path.mkdir(parents=True, exist_ok=True)
    errors = path / "stderr.txt"
    command = [sys.executable, "-m", "ssb_rtc.cli", "start", "--json", "--path", str(path), *flags]
    with errors.open("ab") as sink:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=sink, env=environment({"PYTHONASYNCIODEBUG": ""})
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"the peer ended at its start: {errors.read_text()}"
        yield Victim(path, process, json.loads(line), errors)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


# --- callers of its net port --------------------------------------------------------------------------------------


class Refuses:
    """The router of who serves nothing, or only what it is given."""

    def __init__(self, handlers: Mapping[str, Handler] | None = None) -> None:
        self._handlers = dict(handlers or {})

    def find(self, name: tuple[str, ...], _kind: Kind, _link: Link) -> Handler:
        handler = self._handlers.get(".".join(name))
        if handler is None:
            raise RemoteCallError(f"muxrpc: no such command: {'.'.join(name)}")
        return handler


@asynccontextmanager
async def linked(to: Victim, keys: Keys | None = None, router: Refuses | None = None) -> AsyncIterator[Link]:
    """A link in good order, from whose end anything may be said."""
    stream = await NetTransport().connect(f"127.0.0.1:{to.port}")
    link = await open_link(
        stream,
        keys=keys or attacker_keys(),
        network_key=MAIN_NETWORK_KEY,
        remote=to.id,
        dialled=True,
        router=router or Refuses(),
    )
    try:
        yield link
    finally:
        await link.close()


class Caller:
    """A TCP connection to the net port. `say` sends bytes as they are, `box` in good boxes once hands are shaken."""

    def __init__(self, to: Victim, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.to = to
        self.reader = reader
        self.writer = writer
        self.codec: BoxCodec

    async def say(self, data: bytes) -> None:
        """Sends bytes; what the other side has closed in between is no fault."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def shake(
        self, keys: Keys | None = None, *, network_key: bytes = MAIN_NETWORK_KEY, wanted: PeerId | None = None
    ) -> None:
        """The secret handshake as client. Raises IncompleteReadError where the other side hangs up."""
        own = keys or attacker_keys()
        client = Client(network_key, own.seed, own.public, public_key(wanted or self.to.id), secrets.token_bytes(32))
        await self.say(client.start())
        while wants := client.wants:
            await self.say(client.receive(await self.reader.readexactly(wants)))
        self.codec = BoxCodec(client.outcome)

    async def box(self, plain: bytes) -> None:
        """Sends muxrpc bytes in boxes."""
        await self.say(self.codec.seal(plain))

    async def packet(self, request: int, value: Json, *, stream: bool = False, end: bool = False) -> None:
        """Sends one muxrpc packet with a JSON body; bytes are taken for JSON text as they are."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        await self.box(encode_parts(request, body, BodyKind.JSON, stream=stream, end=end))

    async def call(self, request: int, name: str, *args: Json, kind: str = "") -> None:
        """Opens a call; `kind` is source, sink or duplex, or empty for one answer."""
        opening: dict[str, Json] = {"name": name.split("."), "args": list(args)}
        await self.packet(request, {**opening, "type": kind} if kind else opening, stream=bool(kind))

    async def hung_up(self, limit_s: float = 5.0) -> bytes:
        """What the other side says until it hangs up, which it must within the limit."""
        heard = b""
        try:
            async with asyncio.timeout(limit_s):
                while data := await self.reader.read(1 << 16):
                    heard += data
        except ConnectionError:
            pass
        return heard

    def cut(self) -> None:
        """Ends without a word."""
        self.writer.transport.abort()


@asynccontextmanager
async def calling(to: Victim) -> AsyncIterator[Caller]:
    """A TCP connection to the net port of a peer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", to.port)
    caller = Caller(to, reader, writer)
    try:
        yield caller
    finally:
        caller.cut()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def answering(
    script: Callable[[asyncio.StreamReader, asyncio.StreamWriter, BoxCodec], Awaitable[None]],
) -> AsyncIterator[str]:
    """A peer to dial, by its address: after a right handshake it follows the script, then it cuts the connection."""
    keys = attacker_keys()
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server = Server(MAIN_NETWORK_KEY, keys.seed, keys.public, secrets.token_bytes(32))
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while wants := server.wants:
                writer.write(server.receive(await reader.readexactly(wants)))
            await script(reader, writer, BoxCodec(server.outcome))
        writer.transport.abort()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield net_address("127.0.0.1", listener.sockets[0].getsockname()[1], keys.public)
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        await listener.wait_closed()


def header(flags: int, size_bytes: int, request: int) -> bytes:
    """A muxrpc header that may say anything."""
    return struct.pack(">BIi", flags, size_bytes, request)


# --- hubs that lie ------------------------------------------------------------------------------------------------


class LyingHub:
    """A signalhub that takes every POST and says whatever it is told, to whoever subscribed."""

    def __init__(self) -> None:
        self.url = HubUrl("")
        self.posted: list[tuple[str, Any]] = []
        """Channel and body of each POST."""
        self.listeners: list[asyncio.StreamWriter] = []
        self.subscriptions = 0
        self.on_post: Callable[[str, Any], None] = lambda _channel, _body: None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Ends every connection without a word."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks)

    async def say(self, *messages: Json) -> None:
        """Each message as one event, to everybody."""
        frames = b"".join(b"data: " + json.dumps(message).encode() + b"\n\n" for message in messages)
        await self.say_raw(frames)

    async def say_raw(self, data: bytes) -> None:
        """Bytes into every event stream."""
        for writer in list(self.listeners):
            with contextlib.suppress(ConnectionError):
                writer.write(data)
                await writer.drain()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode("latin-1"), reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            if writer in self.listeners:
                self.listeners.remove(writer)
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, path = head.split(" ", 2)[:2]
        if method == "GET":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:heartbeat signal\n\n")
            await writer.drain()
            self.listeners.append(writer)
            self.subscriptions += 1
            return
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        channel, message = path.split("/", 3)[3], json.loads(body)
        self.posted.append((channel, message))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        self.on_post(channel, message)


@asynccontextmanager
async def lying_hub() -> AsyncIterator[LyingHub]:
    """A LyingHub that listens."""
    hub = LyingHub()
    server = await asyncio.start_server(hub.serve, "127.0.0.1", 0)
    hub.url = HubUrl(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield hub
    finally:
        server.close()
        await hub.close()
        await server.wait_closed()
