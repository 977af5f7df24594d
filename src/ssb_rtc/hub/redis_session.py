"""Two connections to one Redis instance, one to hear and one to post, from their beginning to their first fault.

The library's connections read, write and sign in; its own ways to reconnect are not used, because a subscription that
comes back behind our back would be one that nobody knows to be confirmed.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from ssb_rtc.errors import ConfigFault
from ssb_rtc.hub.broker import BrokerAway

try:
    from redis.asyncio import ConnectionPool
    from redis.exceptions import RedisError
except ImportError:
    raise ConfigFault("--broker needs the redis library: pip install 'ssb-rtc[redis]'") from None

# `Any`, because half of the library's methods have no types.
Connect = Callable[[], Any]

BATCH_MAX = 512
"""Commands that are written at once."""

QUEUE_MAX = 10_000
"""Posts that wait for Redis; one more is refused."""

QUEUE_BYTES_MAX = 16 * 1024 * 1024


class SessionEnded(Exception):
    """The session is over; `str()` says why."""


BROKEN = (SessionEnded, RedisError, OSError)
"""What the end of a session looks like."""


def connections_of(url: str) -> Connect:
    """Makes connections to the instance at `url`. Raises ConfigFault."""
    try:
        pool: Any = ConnectionPool.from_url(url, protocol=2, socket_timeout=None, decode_responses=False)
        pool.make_connection()
    except (ValueError, TypeError) as error:
        raise ConfigFault(
            f"--broker takes an address like redis://127.0.0.1:6379 or rediss://:PASSWORD@HOST:PORT ({error})"
        ) from None
    connect: Connect = pool.make_connection
    return connect


@asynccontextmanager
async def _limit(limit_s: float, doing: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError:
        raise SessionEnded(f"{doing} took more than {limit_s:g} s") from None


class Session:
    """`await open(...)`, `await serve(...)` until it raises one of BROKEN, `await close()`."""

    def __init__(
        self,
        connect: Connect,
        beat: bytes,
        answer_s: float,
        message: Callable[[bytes, bytes], None],
        confirmed: Callable[[bytes], None],
    ) -> None:
        self.channels: set[bytes] = set()
        """What is subscribed to, or will be when Redis has read what was sent."""
        self._beat = beat
        self._answer_s = answer_s
        self._message = message
        self._confirmed = confirmed
        self._listener = connect()
        self._poster = connect()
        self._unconfirmed: Counter[bytes] = Counter()
        self._orders: deque[tuple[bytes, bytes]] = deque()
        self._ordered = asyncio.Event()
        self._posts: deque[tuple[bytes, bytes, asyncio.Future[bool] | None]] = deque()
        self._posted = asyncio.Event()
        self._queued_bytes = 0
        self._in_flight: deque[asyncio.Future[bool] | None] = deque()
        self._heard_s = 0.0

    def hears(self, channel: bytes) -> bool:
        """Whether a subscription to this channel is confirmed."""
        return channel in self.channels and channel not in self._unconfirmed

    def subscribe(self, channel: bytes) -> None:
        """Send a subscription; `confirmed` is called when it holds."""
        self.channels.add(channel)
        self._order(b"SUBSCRIBE", channel)

    def unsubscribe(self, channel: bytes) -> None:
        """Send the end of a subscription."""
        self.channels.discard(channel)
        self._order(b"UNSUBSCRIBE", channel)

    def publish(self, channel: bytes, body: bytes) -> asyncio.Future[bool]:
        """Send a post; the future says whether Redis took it. Raises BrokerAway where too many wait already."""
        if len(self._posts) >= QUEUE_MAX or self._queued_bytes + len(body) > QUEUE_BYTES_MAX:
            raise BrokerAway("the broker is slower than the posts come")
        taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queued_bytes += len(body)
        self._posts.append((channel, body, taken))
        self._posted.set()
        return taken

    async def open(self, channels: Iterable[bytes], limit_s: float) -> None:
        """Connect, subscribe to `channels`, and hear the own heartbeat: only then all the way there and back works."""
        async with _limit(limit_s, "connecting"):
            await self._listener.connect()
            await self._poster.connect()
            self.channels.update(channels)
            for channel in self.channels:
                self._order(b"SUBSCRIBE", channel)
            # Redis answers in order: with this one confirmed, all are.
            self._order(b"SUBSCRIBE", self._beat)
            await self._send_orders()
            while self._unconfirmed:
                self._take(await self._listener.read_response())
            self._post_beat()
            await self._send_posts()
            await self._read_answers()
            while not self._heard_s:
                self._take(await self._listener.read_response())

    async def serve(self, beat_s: float, silent_s: float) -> None:
        """Carry posts until something breaks, which is raised."""
        tasks = [
            asyncio.create_task(work)
            for work in (self._listen(), self._keep_ordering(), self._keep_posting(), self._pulse(beat_s, silent_s))
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """Hang up; posts without an answer have failed. What Redis does not take any more is not waited for."""
        for taken in [*self._in_flight, *(post[2] for post in self._posts)]:
            if taken is not None and not taken.done():
                taken.set_result(False)
        self._in_flight.clear()
        self._posts.clear()
        for connection in (self._listener, self._poster):
            await connection.disconnect(nowait=True)

    # -- hearing

    async def _listen(self) -> None:
        read = self._listener.read_response
        while True:
            self._take(await read())

    def _take(self, said: Any) -> None:
        if not isinstance(said, list) or len(said) != 3 or not isinstance(said[1], bytes):
            raise SessionEnded("it said something that is no answer to a subscription; is it Redis?")
        kind, channel = said[0], said[1]
        if kind == b"message":
            if channel == self._beat:
                self._heard_s = asyncio.get_running_loop().time()
            elif channel in self.channels:
                self._message(channel, said[2])
            return
        self._unconfirmed[channel] -= 1
        if self._unconfirmed[channel] <= 0:
            del self._unconfirmed[channel]
            if channel in self.channels:
                self._confirmed(channel)

    def _order(self, command: bytes, channel: bytes) -> None:
        self._unconfirmed[channel] += 1
        self._orders.append((command, channel))
        self._ordered.set()

    async def _keep_ordering(self) -> None:
        while True:
            await self._ordered.wait()
            await self._send_orders()

    async def _send_orders(self) -> None:
        self._ordered.clear()
        while self._orders:
            batch = [self._orders.popleft() for _ in range(min(BATCH_MAX, len(self._orders)))]
            await self._listener.send_packed_command(self._listener.pack_commands(batch), check_health=False)

    # -- posting

    async def _keep_posting(self) -> None:
        while True:
            await self._posted.wait()
            await self._send_posts()
            async with _limit(self._answer_s, "answering"):
                await self._read_answers()

    async def _send_posts(self) -> None:
        """One batch; what comes meanwhile is the next."""
        batch = [self._posts.popleft() for _ in range(min(BATCH_MAX, len(self._posts)))]
        if not self._posts:
            self._posted.clear()
        self._queued_bytes -= sum(len(body) for _, body, taken in batch if taken is not None)
        self._in_flight.extend(taken for _, _, taken in batch)
        commands = [(b"PUBLISH", channel, body) for channel, body, _ in batch]
        async with _limit(self._answer_s, "reading"):
            await self._poster.send_packed_command(self._poster.pack_commands(commands), check_health=False)

    async def _read_answers(self) -> None:
        while self._in_flight:
            await self._poster.read_response()
            taken = self._in_flight.popleft()
            if taken is not None and not taken.done():
                taken.set_result(True)

    # -- the own heartbeat

    def _post_beat(self) -> None:
        self._posts.append((self._beat, b"", None))
        self._posted.set()

    async def _pulse(self, beat_s: float, silent_s: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(beat_s)
            silence_s = loop.time() - self._heard_s
            if silence_s > silent_s:
                raise SessionEnded(f"no heartbeat for {silence_s:.1f} s: the subscription is dead")
            self._post_beat()
