"""A signalhub: the wire of npm `signalhub` 4.9.0 on a raw asyncio.Protocol and httptools.

One difference on purpose: a body with a line break is refused with 400, because as an event it would be several.
"""

from __future__ import annotations

import asyncio
import email.utils
import importlib.metadata
import logging
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from ssb_rtc.errors import ListenFailed, MisuseError
from ssb_rtc.hub import answers, pages, refusals
from ssb_rtc.hub.broker import Broker, BrokerAway, MemoryBroker
from ssb_rtc.hub.clients import Proxies, client_of
from ssb_rtc.hub.connection import Connection
from ssb_rtc.hub.counts import Counts
from ssb_rtc.hub.drain import end_one_by_one
from ssb_rtc.hub.fanout import deliver
from ssb_rtc.hub.limits import HubLimits
from ssb_rtc.hub.listening import listen_sentence
from ssb_rtc.hub.quotas import Quotas
from ssb_rtc.hub.readers import too_slow
from ssb_rtc.hub.refusals import Refusal, Refused
from ssb_rtc.hub.rooms import Rooms, RoomsFull
from ssb_rtc.hub.tls_door import TlsDoor

BACKLOG = 4096
"""Connections that wait to be accepted, as many as Linux allows unless told otherwise (net.core.somaxconn). After a
restart thousands come at once, and whoever finds no place tries again only after a second."""

MANY_READERS = 200
"""Writing to so many takes longer than Redis and the kernel need to hand over the posts that came at the same time."""

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
        self.ends = answers.ends_of("", 0.0)
        self.version = _version()
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
            raise ListenFailed(listen_sentence(host, port, error)) from error
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
        try:
            confirmation = self._asked_for(connection, names)
        except Refused as error:
            self._refuse(connection, error.refusal)
            return
        if confirmation is None:
            self._admit(connection, names)
        else:
            self._waiting[connection] = names
            self._waiting_names += len(names)
            confirmation.add_done_callback(partial(self._confirmed, connection))

    def post(self, connection: Connection, name: bytes, body: bytes, *, keep: bool, sized: bool) -> None:
        """Hand a body to the broker. What is delivered at once is answered before the loop turns again."""
        refused, counts = None, self.counts
        keep = keep and not self.draining
        if b"\n" in body or b"\r" in body:
            refused = refusals.LINE_BREAK
            counts.posts_invalid += 1
        elif not connection.exempt and (wait_s := self._wait_s(connection, name, len(body))):
            refused = refusals.too_many_posts(wait_s)
            counts.posts_limited += 1
            _tell_of(connection, "post limited")
        else:
            try:
                taken = self.broker.publish(name, body)
            except BrokerAway:
                refused = refusals.BROKER_AWAY
                counts.posts_failed += 1
            else:
                if taken is not None:
                    connection.wait()
                    taken.add_done_callback(partial(self._published, connection, len(body), keep, sized))
                    return
                counts.posts += 1
                counts.post_bytes += len(body)
        answer = self._post_answer(refused, keep=keep, sized=sized)
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
        return answers.status_text(pages.NAME, self.version, self._rooms.subscriptions)

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
            answer = self._post_answer(None, keep=keep, sized=sized)
        else:
            self.counts.posts_failed += 1
            answer = self._post_answer(refusals.BROKER_AWAY, keep=keep, sized=sized)
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
            self._refuse(connection, refusals.ENDING if self.draining else refusals.BROKER_AWAY)

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

    def _asked_for(self, connection: Connection, names: list[bytes]) -> asyncio.Future[bool] | None:
        """The broker's confirmation to come, None where it has confirmed. Raises Refused."""
        limits = self.limits
        if len(names) > limits.channels_per_subscriber_max:
            raise Refused(refusals.too_many_channels(limits))
        if self.draining:
            raise Refused(refusals.ENDING)
        if connection.proxy is not None and not connection.exempt and not self._within_quota(connection):
            raise Refused(refusals.too_many_connections(limits))
        if connection.counted:
            if not self._quotas.subscribed(connection.counted, len(names), self._loop.time()):
                raise Refused(refusals.too_many_subscriptions(limits))
            connection.subscriptions = len(names)
        try:
            self._rooms.check(names, self._waiting_names)
            return self.broker.subscribe(names)
        except RoomsFull as full:
            raise Refused(refusals.full(str(full))) from None
        except BrokerAway:
            raise Refused(refusals.BROKER_AWAY) from None

    def _admit(self, connection: Connection, names: Sequence[bytes]) -> None:
        if self._rooms.pending:
            self.flush()
        try:
            self._rooms.subscribe(connection, names, self._loop.time())
        except RoomsFull as full:
            self.broker.unsubscribe(names)
            self._refuse(connection, refusals.full(str(full)))
            return
        self._guests.discard(connection)
        connection.confirmed()

    def _refuse(self, connection: Connection, refusal: Refusal) -> None:
        self.counts.subscriptions_refused += 1
        _tell_of(connection, "subscription refused")
        connection.refused(answers.refusal(refusal, self.ends, keep=False))

    def _post_answer(self, refused: Refusal | None, *, keep: bool, sized: bool) -> bytes:
        if refused is None:
            return answers.empty(answers.OK, self.ends, keep=keep, sized=sized)
        return answers.refusal(refused, self.ends, keep=keep)

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
        # A deadline counts from the last sweep, so it may come by one earlier.
        idle_s = self.limits.keep_alive_s - self.limits.sweep_s
        self.ends = answers.ends_of(email.utils.formatdate(time.time(), usegmt=True), idle_s)
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
