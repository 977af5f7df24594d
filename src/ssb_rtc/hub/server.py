"""A signalhub: the wire of npm `signalhub` 4.9.0 on a raw asyncio.Protocol and httptools.

One difference on purpose: a body with a line break is refused with 400, because as an event it would be several.
"""

from __future__ import annotations

import asyncio
import email.utils
import errno
import importlib.metadata
import logging
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from ssb_rtc.errors import ListenFailed, MisuseError
from ssb_rtc.hub import answers, pages
from ssb_rtc.hub.broker import Broker, BrokerAway, MemoryBroker
from ssb_rtc.hub.clients import Proxies, client_of
from ssb_rtc.hub.connection import Connection
from ssb_rtc.hub.counts import Counts
from ssb_rtc.hub.drain import end_one_by_one
from ssb_rtc.hub.fanout import deliver
from ssb_rtc.hub.limits import HubLimits
from ssb_rtc.hub.quotas import Quotas
from ssb_rtc.hub.readers import too_slow
from ssb_rtc.hub.rooms import Rooms, RoomsFull
from ssb_rtc.hub.tls_door import TlsDoor

NAME = "ssb-rtc hub"
BACKLOG = 4096
"""Connections that wait to be accepted, as many as Linux allows unless told otherwise (net.core.somaxconn). After a
restart thousands come at once, and whoever finds no place tries again only after a second."""

MANY_READERS = 200
"""Writing to so many takes longer than Redis and the kernel need to hand over the posts that came at the same time."""

RETRY_WHEN_FULL_S = 30
RETRY_WHEN_AWAY_S = 5

_log = logging.getLogger("ssb_rtc.hub")


class _Owed(NamedTuple):
    connection: Connection
    answer: bytes
    keep: bool


class HubServer:
    """One hub process: `await start(...)`, `url`, `await close()`. It starts once.

    broker: what carries posts, which the hub starts and closes; by default this process's memory. proxies: whose word
    about the client's address counts. tls: makes it https. metrics: the text of `/metrics`, which is not there without.
    """

    def __init__(
        self,
        limits: HubLimits | None = None,
        *,
        broker: Broker | None = None,
        proxies: Proxies | None = None,
        tls: ssl.SSLContext | None = None,
        metrics: pages.Metrics | None = None,
    ) -> None:
        self.limits = limits = limits or HubLimits()
        self.broker = broker or MemoryBroker()
        self.proxies = proxies or Proxies(())
        self.metrics = metrics
        self.counts = Counts()
        self.draining = False
        self.lag_s = 0.0
        """How late the last sweep was: how long something else held the loop."""
        self._tls = tls
        self.now_s = 0.0
        """The loop's time at the last sweep: what deadlines are counted in, to the second."""
        self.date = b""
        self._version = _version()
        self._rooms: Rooms[Connection] = Rooms(
            channels_max=limits.channels_max,
            subscribers_max=limits.subscribers_max,
            channels_per_subscriber_max=limits.channels_per_subscriber_max,
            heartbeat_s=limits.heartbeat_s,
        )
        self._quotas = Quotas(limits)
        self._connections: set[Connection] = set()
        self._guests: set[Connection] = set()
        self._waiting: dict[Connection, Sequence[bytes]] = {}
        """Whose subscription the broker has not confirmed yet."""
        self._waiting_names = 0
        self._behind: dict[Connection, float] = {}
        self._owed: list[_Owed] = []
        self._flush_due = False
        self._many = False
        """Whether the last flush went to MANY_READERS of one channel."""
        self._handshakes = 0
        """Of TLS, under way."""
        self._server: asyncio.Server | TlsDoor | None = None
        self._name: tuple[str, int] | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._closing = False

    # -- life

    async def start(self, host: str, port: int) -> None:
        """Listen on `host` and `port` (0: any free one). Raises ListenFailed."""
        if self._server is not None or self._closing:
            raise MisuseError("this hub was started before")
        self._loop = asyncio.get_running_loop()
        self._sweep_due_s = self._loop.time()
        self._sweep()
        await self.broker.start(self._heard)
        try:
            self._server = await self._listen(host, port)
        except (OSError, OverflowError, UnicodeError) as error:
            self._stop_sweeping()
            await self.broker.close()
            raise ListenFailed(_listen_sentence(host, port, error)) from error
        self._name = self._server.sockets[0].getsockname()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listens_at()[1])

    @property
    def url(self) -> str:
        """`http://<host>:<port>` of the first socket that it listens on; `https` with TLS."""
        host, port = self._listens_at()[:2]
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in str(host) else f"{scheme}://{host}:{port}"

    @property
    def subscribers(self) -> int:
        """Subscriptions now, as `GET /` counts them."""
        return self._rooms.subscriptions

    @property
    def connections(self) -> int:
        """Open connections, subscribers or not."""
        return len(self._connections)

    @property
    def channels(self) -> int:
        """Channels with at least one subscriber."""
        return self._rooms.channels

    @property
    def behind(self) -> tuple[int, int]:
        """How many subscribers have not read all that was sent to them, and how many bytes wait for them."""
        return len(self._behind), sum(reader.transport.get_write_buffer_size() for reader in self._behind)

    @property
    def trouble(self) -> str | None:
        """Why no new subscriber should be sent here now; None while all is well."""
        return "draining" if self.draining or self._closing else self.broker.away

    async def drain(self) -> None:
        """End without a stampede: accept nobody, answer what is under way, end the streams one by one, then close.

        Takes `drain_s` and twice `close_s` at most.
        """
        if self._server is None or self._closing:
            return
        self.draining = True
        self._server.close()
        for guest in list(self._guests):
            guest.rest()
        await end_one_by_one([c for c in self._connections if c.subscribed], self.limits)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.limits.close_s):
                await self._gone()
        await self.close()

    async def close(self) -> None:
        """Stop listening, deliver and answer what was taken, end the streams. May be called twice."""
        self._closing = True
        if self._server is None:
            return
        self._server.close()
        self.flush()
        for connection in list(self._connections):
            connection.end()
        try:
            async with asyncio.timeout(self.limits.close_s):
                await self._gone()
        except TimeoutError:
            for connection in list(self._connections):
                connection.transport.abort()
            await self._gone()
        await self.broker.close()
        self._stop_sweeping()
        await self._server.wait_closed()

    # -- what a connection tells

    def opened(self, connection: Connection) -> None:
        """A new connection; there is a limit to them."""
        if connection.over is not None:
            connection.over()
            connection.over = None
        self._connections.add(connection)
        self._guests.add(connection)
        self.counts.connections += 1
        connection.deadline_s = self.now_s + self.limits.header_s
        full = len(self._connections) > self.limits.connections_max
        # A proxy's connection is nobody's in particular; its subscribers count for their clients.
        if not connection.exempt and connection.proxy is None:
            full = not self._within_quota(connection) or full
        if full or self.draining or self._closing:
            self.counts.connections_refused += 1
            _tell_of(connection, "connection refused")
            connection.transport.abort()

    def lost(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        if connection.counted:
            self._quotas.closed(connection.counted)
            self._quotas.unsubscribed(connection.counted, connection.subscriptions)
        self._guests.discard(connection)
        self._behind.pop(connection, None)
        self._unsubscribe(connection)
        if not self._connections:
            self._empty.set()

    def wait_s(self, connection: Connection) -> int:
        """Count a request; the seconds to wait where its client has made too many, else 0."""
        wait_s = 0 if connection.exempt else self._quotas.asked(connection.client.key, self._loop.time())
        if wait_s:
            self.counts.requests_limited += 1
            _tell_of(connection, "request limited")
        return wait_s

    def subscribe(self, connection: Connection, names: list[bytes]) -> None:
        """Make it a subscriber of `names`, or refuse it; either is told to it, perhaps later."""
        if self.draining:
            self._refuse(connection, RETRY_WHEN_AWAY_S)
            return
        if connection.proxy is not None and not connection.exempt and not self._within_quota(connection):
            self._refuse(connection, RETRY_WHEN_FULL_S)
            return
        if connection.counted:
            if not self._quotas.subscribed(connection.counted, len(names), self._loop.time()):
                self._refuse(connection, RETRY_WHEN_FULL_S)
                return
            connection.subscriptions = len(names)
        try:
            self._rooms.check(names, self._waiting_names)
            confirmation = self.broker.subscribe(names)
        except RoomsFull:
            self._refuse(connection, RETRY_WHEN_FULL_S)
            return
        except BrokerAway:
            self._refuse(connection, RETRY_WHEN_AWAY_S)
            return
        if confirmation is None:
            self._admit(connection, names)
        else:
            self._waiting[connection] = names
            self._waiting_names += len(names)
            confirmation.add_done_callback(partial(self._confirmed, connection))

    def post(self, connection: Connection, name: bytes, body: bytes, *, keep: bool, sized: bool) -> None:
        """Hand a body to the broker. What is delivered at once is answered before the loop turns again."""
        status, wait_s, counts = answers.OK, 0, self.counts
        keep = keep and not self.draining
        if b"\n" in body or b"\r" in body:
            status = answers.BAD_REQUEST
            counts.posts_invalid += 1
        elif not connection.exempt and (wait_s := self._wait_s(connection, name, len(body))):
            status = answers.TOO_MANY
            counts.posts_limited += 1
            _tell_of(connection, "post limited")
        else:
            try:
                taken = self.broker.publish(name, body)
            except BrokerAway:
                status, wait_s = answers.FULL, RETRY_WHEN_AWAY_S
                counts.posts_failed += 1
            else:
                if taken is not None:
                    connection.wait()
                    taken.add_done_callback(partial(self._published, connection, len(body), keep, sized))
                    return
                counts.posts += 1
                counts.post_bytes += len(body)
        answer = answers.empty(status, self.date, keep=keep, sized=sized, retry_after_s=wait_s or None)
        self._owed.append(_Owed(connection, answer, keep))
        self._flush_soon()

    def fell_behind(self, connection: Connection) -> None:
        """A subscriber reads slower than its channel speaks."""
        self._behind.setdefault(connection, self._loop.time())

    def caught_up(self, connection: Connection) -> None:
        """A slow subscriber has read what was queued."""
        self._behind.pop(connection, None)

    def status_text(self) -> bytes:
        """The JSON of `GET /`."""
        return answers.status_text(NAME, self._version, self._rooms.subscriptions)

    def page(self, connection: Connection, url: bytes, *, keep: bool, bodyless: bool) -> bytes | None:
        """The answer for a page that npm's hub does not have, or None."""
        if url == b"/":
            text = pages.for_people(NAME, self._version, self._rooms.subscriptions, self.trouble)
            return answers.people_page(text, self.date, keep=keep, bodyless=bodyless)
        if url == b"/healthz":
            trouble = self.trouble
            if trouble not in (None, "draining") and not connection.client.local:
                trouble = "the broker is away"  # where it is, is nobody's business
            status, text = pages.health(trouble)
            return answers.plain_page(status, pages.JSON, text, self.date, keep=keep, bodyless=bodyless)
        if url == b"/metrics" and self.metrics is not None and (connection.client.local or self.metrics.for_all):
            text = self.metrics.render(self)
            return answers.plain_page(answers.OK, self.metrics.kind, text, self.date, keep=keep, bodyless=bodyless)
        return None

    def flush(self) -> None:
        """Deliver what is queued with one write for each subscriber, then answer the posts."""
        self._flush_due = self._many = False
        for frames, readers in self._rooms.take():
            self._many = self._many or len(readers) >= MANY_READERS
            deliver(frames, readers)
        if self._behind:
            self._drop_slow(self._loop.time())
        owed, self._owed = self._owed, []
        for connection, answer, keep in owed:
            connection.answer(answer, keep=keep)

    # -- what the broker tells

    def _heard(self, name: bytes, body: bytes) -> None:
        """A post on one of our channels."""
        self.counts.deliveries += self._rooms.post(name, answers.chunk(answers.event(body)))
        self._flush_soon()

    def _published(
        self, connection: Connection, size_bytes: int, keep: bool, sized: bool, taken: asyncio.Future[bool]
    ) -> None:
        keep = keep and not self.draining
        if not taken.cancelled() and taken.result():
            self.counts.posts += 1
            self.counts.post_bytes += size_bytes
            answer = answers.empty(answers.OK, self.date, keep=keep, sized=sized)
        else:
            self.counts.posts_failed += 1
            answer = answers.empty(answers.FULL, self.date, keep=keep, sized=sized, retry_after_s=RETRY_WHEN_AWAY_S)
        if self._owed:
            # What was refused before it on the same connection.
            self.flush()
        connection.answer(answer, keep=keep)
        connection.go_on()

    def _confirmed(self, connection: Connection, confirmation: asyncio.Future[bool]) -> None:
        names = self._waiting.pop(connection, None)
        if names is None:
            return
        self._waiting_names -= len(names)
        held = not confirmation.cancelled() and confirmation.result()
        if held and not self.draining and not connection.transport.is_closing():
            self._admit(connection, names)
        else:
            self.broker.unsubscribe(names)
            self._refuse(connection, RETRY_WHEN_AWAY_S)

    # -- inside

    async def _listen(self, host: str, port: int) -> asyncio.Server | TlsDoor:
        make: Callable[[], Connection] = partial(Connection, self)
        if self._tls is None:
            return await self._loop.create_server(make, host, port, backlog=BACKLOG)
        door = TlsDoor(make, self._tls, self.limits, self._knocked)
        await door.listen(host, port, BACKLOG)
        return door

    def _knocked(self, host: str) -> Callable[[], None] | None:
        """See tls_door.Knocked. A handshake counts as a connection while it is under way, and as a request."""
        client = client_of(host)
        free = self.proxies.trusts(host) or (self.limits.loopback_exempt and client.local)
        within = free or (self._quotas.opened(client.key) and not self._quotas.asked(client.key, self._loop.time()))
        self._handshakes += 1
        over = partial(self._knocked_no_more, None if free else client.key)
        full = len(self._connections) + self._handshakes > self.limits.connections_max
        if within and not full and not self.draining and not self._closing:
            return over
        over()
        self.counts.connections_refused += 1
        return None

    def _knocked_no_more(self, client: str | None) -> None:
        self._handshakes -= 1
        if client is not None:
            self._quotas.closed(client)

    def _within_quota(self, connection: Connection) -> bool:
        connection.counted = connection.client.key
        return self._quotas.opened(connection.counted)

    def _wait_s(self, connection: Connection, name: bytes, size_bytes: int) -> int:
        return self._quotas.charge(connection.client.key, name, size_bytes, self._loop.time())

    def _admit(self, connection: Connection, names: Sequence[bytes]) -> None:
        if self._rooms.pending:
            self.flush()
        try:
            self._rooms.subscribe(connection, names, self._loop.time())
        except RoomsFull:
            self.broker.unsubscribe(names)
            self._refuse(connection, RETRY_WHEN_FULL_S)
            return
        self._guests.discard(connection)
        connection.confirmed()

    def _refuse(self, connection: Connection, retry_after_s: int) -> None:
        self.counts.subscriptions_refused += 1
        _tell_of(connection, "subscription refused")
        connection.refused(answers.empty(answers.FULL, self.date, keep=False, retry_after_s=retry_after_s))

    def _unsubscribe(self, connection: Connection) -> None:
        names = self._waiting.pop(connection, None)
        if names is not None:
            self._waiting_names -= len(names)
        else:
            names = self._rooms.unsubscribe(connection)
        if names:
            self.broker.unsubscribe(names)

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            if self._many and self.broker.gather_s:
                self._loop.call_later(self.broker.gather_s, self.flush)
            else:
                self._loop.call_soon(self.flush)

    def _drop_slow(self, now_s: float) -> None:
        sizes = [
            (reader, reader.transport.get_write_buffer_size(), since_s) for reader, since_s in self._behind.items()
        ]
        for reader in too_slow(sizes, self.limits, now_s):
            self._drop(reader)

    def _drop(self, reader: Connection) -> None:
        self.counts.readers_dropped += 1
        _tell_of(reader, "slow reader dropped")
        self._behind.pop(reader, None)
        self._unsubscribe(reader)
        reader.transport.abort()

    def _sweep(self) -> None:
        """Once a second: the date, the heartbeats that are due, and whoever took too long."""
        self._sweeper = self._loop.call_later(self.limits.sweep_s, self._sweep)
        self.now_s = now_s = self._loop.time()
        self.lag_s = max(0.0, now_s - self._sweep_due_s)
        self._sweep_due_s = now_s + self.limits.sweep_s
        self.date = email.utils.formatdate(time.time(), usegmt=True).encode()
        self._rooms.beat(answers.HEARTBEAT, now_s)
        if self._rooms.pending or self._behind:
            self.flush()
        for guest in [guest for guest in self._guests if guest.deadline_s <= now_s and guest not in self._waiting]:
            guest.expire()

    def _stop_sweeping(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _listens_at(self) -> tuple[str, int]:
        if self._name is None:
            raise MisuseError("this hub was not started")
        return self._name

    async def _gone(self) -> None:
        while self._connections:
            self._empty.clear()
            await self._empty.wait()


async def serve(host: str, port: int, limits: HubLimits | None = None) -> HubServer:
    """Start a hub; the caller closes it. Raises ListenFailed with what to do."""
    server = HubServer(limits)
    await server.start(host, port)
    return server


def _tell_of(connection: Connection, what: str) -> None:
    """One line for one client, with its address: only for who asks for so much, because strangers can cause many."""
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug(what, extra={"fields": {"client": connection.client.key}})


def _version() -> str:
    # Not the package's __version__: the package imports upwards from here.
    try:
        return importlib.metadata.version("ssb-rtc")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _listen_sentence(host: str, port: int, error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return f"port {port} on {host} is taken by another program: stop it, or choose another port"
    if number == errno.EACCES:
        return f"port {port} on {host} needs more rights than this program has: choose one above 1023"
    # From Python 3.13 on, asyncio passes over addresses that are not there, and then says so without a number.
    if number == errno.EADDRNOTAVAIL or (isinstance(error, OSError) and number is None):
        return f"{host} is no address of this machine: listen on 0.0.0.0, :: or 127.0.0.1"
    if isinstance(error, OverflowError):
        return f"{port} is no port: it must be from 0 to 65535"
    return f"{host} port {port} can't be listened on: {error}"
