"""Redis between several hub processes: each channel is subscribed to once a process, however many listen to it.

Several instances share the channels by hash; they know nothing of each other, and each may fail alone. All processes
must name the same instances in the same order. At most once: nothing is stored, nothing is sent again. A post that was
answered with 503 may have passed all the same, where the connection broke between Redis and its answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import secrets
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from ssb_rtc.errors import ConfigFault
from ssb_rtc.hub.broker import Broker, BrokerAway, Hears
from ssb_rtc.hub.limits import BODY_LIMIT_BYTES, BrokerTimes
from ssb_rtc.hub.redis_session import BROKEN, Session, connections_of

CHANNEL_PREFIX = b"ssb-rtc-hub:"
BEAT_PREFIX = b"ssb-rtc-hub-beat:"

_log = logging.getLogger("ssb_rtc.hub")


class RedisBroker(Broker):
    """The instances of `urls` (redis://, rediss://, unix://). Raises ConfigFault where one can't be understood."""

    gather_s = 0.001

    def __init__(self, urls: Sequence[str], times: BrokerTimes | None = None) -> None:
        if not urls:
            raise ConfigFault("--broker takes the address of a Redis instance, like redis://127.0.0.1:6379")
        self._hears: Hears = lambda _name, _body: None
        self._shards = [_Shard(url, times or BrokerTimes(), self._heard) for url in urls]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, hears: Hears) -> None:
        self._hears = hears
        self._tasks = [asyncio.create_task(shard.run()) for shard in self._shards]
        # An instance that is there is ready before the first request; one that is not, the log tells of.
        await asyncio.wait([asyncio.create_task(shard.tried.wait()) for shard in self._shards])

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def away(self) -> str | None:
        missing = [shard.where for shard in self._shards if not shard.alive]
        return f"no answer from the broker at {', '.join(missing)}" if missing else None

    def publish(self, name: bytes, body: bytes) -> asyncio.Future[bool]:
        return self._shard(name).publish(name, body)

    def subscribe(self, names: Sequence[bytes]) -> asyncio.Future[bool] | None:
        distinct = set(names)
        shards = {name: self._shard(name) for name in distinct}
        for shard in shards.values():
            shard.check()
        pending = [future for name in distinct if (future := shards[name].subscribe(name)) is not None]
        if not pending:
            return None
        return _all_of(pending, asyncio.get_running_loop().create_future())

    def unsubscribe(self, names: Sequence[bytes]) -> None:
        for name in set(names):
            self._shard(name).unsubscribe(name)

    def _shard(self, name: bytes) -> _Shard:
        if len(self._shards) == 1:
            return self._shards[0]
        number = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big")
        return self._shards[number % len(self._shards)]

    def _heard(self, name: bytes, body: bytes) -> None:
        # Others may write to the same Redis: what no hub would have taken is not handed on.
        if len(body) < BODY_LIMIT_BYTES and b"\n" not in body and b"\r" not in body:
            self._hears(name, body)


class _Channel:
    __slots__ = ("readers", "waiters")

    def __init__(self) -> None:
        self.readers = 0
        self.waiters: list[asyncio.Future[bool]] = []


class _Shard:
    """One instance: what this process wants of it, over one session after the other."""

    def __init__(self, url: str, times: BrokerTimes, hears: Callable[[bytes, bytes], None]) -> None:
        self._connect = connections_of(url)
        self.where = _place(url)
        self.tried = asyncio.Event()
        self._times = times
        self._hears = hears
        self._beat = BEAT_PREFIX + secrets.token_hex(8).encode()
        self._channels: dict[bytes, _Channel] = {}
        self._session: Session | None = None

    @property
    def alive(self) -> bool:
        """Whether posts pass."""
        return self._session is not None

    def check(self) -> None:
        """Raises BrokerAway unless alive."""
        if self._session is None:
            raise BrokerAway(f"no answer from the broker at {self.where}")

    def publish(self, name: bytes, body: bytes) -> asyncio.Future[bool]:
        self.check()
        assert self._session is not None
        return self._session.publish(CHANNEL_PREFIX + name, body)

    def subscribe(self, name: bytes) -> asyncio.Future[bool] | None:
        """None where it is heard already."""
        channel, session = self._channels.get(name), self._session
        if channel is None:
            channel = self._channels[name] = _Channel()
            if session is not None:
                session.subscribe(CHANNEL_PREFIX + name)
        channel.readers += 1
        if session is not None and session.hears(CHANNEL_PREFIX + name):
            return None
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        channel.waiters.append(waiter)
        timer = loop.call_later(self._times.answer_s, _settle, waiter, False)
        waiter.add_done_callback(lambda _done: timer.cancel())
        return waiter

    def unsubscribe(self, name: bytes) -> None:
        channel = self._channels[name]
        channel.readers -= 1
        if channel.readers:
            return
        del self._channels[name]
        for waiter in channel.waiters:
            _settle(waiter, False)
        if self._session is not None:
            self._session.unsubscribe(CHANNEL_PREFIX + name)

    async def run(self) -> None:
        """Session after session, until cancelled."""
        attempt = 0
        while True:
            session = Session(self._connect, self._beat, self._times.answer_s, self._message, self._confirmed)
            try:
                await session.open([CHANNEL_PREFIX + name for name in self._channels], self._times.connect_s)
                self._began(session)
                attempt = 0
                await session.serve(self._times.beat_s, self._times.silent_s)
            except BROKEN as error:
                self._ended(error, attempt)
            except Exception:
                _log.exception("broker session failed", extra={"fields": {"broker": self.where}})
            finally:
                self._session = None
                self._fail_waiters()
                await session.close()
                self.tried.set()
            attempt += 1
            # Jitter, not a secret: the processes must not all come back in one moment.
            longest_s = min(self._times.back_off_s, self._times.back_off_s / 10 * 2**attempt)
            await asyncio.sleep(longest_s * random.uniform(0.5, 1.0))  # noqa: S311

    def _began(self, session: Session) -> None:
        wanted = {CHANNEL_PREFIX + name for name in self._channels}
        # Subscribers may have gone while the session was made; none can have come.
        for name in session.channels - wanted:
            session.unsubscribe(name)
        self._session = session
        self.tried.set()
        _log.info("broker reached", extra={"fields": {"broker": self.where, "channels": len(wanted)}})

    def _ended(self, error: BaseException, attempt: int) -> None:
        why = str(error) or type(error).__name__
        level = logging.WARNING if attempt == 0 else logging.DEBUG
        _log.log(level, "broker away", extra={"fields": {"broker": self.where, "why": why}})

    def _fail_waiters(self) -> None:
        for channel in self._channels.values():
            waiters, channel.waiters = channel.waiters, []
            for waiter in waiters:
                _settle(waiter, False)

    def _message(self, channel: bytes, body: bytes) -> None:
        self._hears(channel[len(CHANNEL_PREFIX) :], body)

    def _confirmed(self, channel: bytes) -> None:
        known = self._channels.get(channel[len(CHANNEL_PREFIX) :])
        if known is not None:
            waiters, known.waiters = known.waiters, []
            for waiter in waiters:
                _settle(waiter, True)


def _settle(waiter: asyncio.Future[bool], answer: bool) -> None:
    if not waiter.done():
        waiter.set_result(answer)


def _all_of(pending: list[asyncio.Future[bool]], whole: asyncio.Future[bool]) -> asyncio.Future[bool]:
    missing = len(pending)

    def one_more(done: asyncio.Future[bool]) -> None:
        nonlocal missing
        missing -= 1
        if done.cancelled() or not done.result():
            _settle(whole, False)
        elif missing == 0:
            _settle(whole, True)

    for future in pending:
        future.add_done_callback(one_more)
    return whole


def _place(url: str) -> str:
    """The instance without its password, for people."""
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else f"{parts.hostname or 'localhost'}:{parts.port or 6379}"
