"""The load on a hub: thousands of subscribers on non-blocking sockets, and posters that wait for their answers.

Made so that one core of Python is no bottleneck for a server that writes half a million times a second. PROBES
subscribers, spread evenly, are read as soon as something comes and give the latencies; the others are read in passes,
after every PASS_POSTS posts, while the server works. Their bytes are counted, so nothing can be lost unnoticed. No
receiver is ever so far behind that its window closes, and the loopback of a machine does not wake a process for each
delivery, as no network would.
"""

from __future__ import annotations

import re
import select
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

HOST = "127.0.0.1"
PROBES = 32
PASS_POSTS = 16
PASS_SLICE = 64
"""Subscribers that are read between two looks at the probes."""
BODY_BYTES = 195
PORTS_EACH = 20_000
"""Connections from one source address; Linux has 28,000 ports for them."""
QUIET_LIMIT_S = 10.0
"""Without any progress for so long, what is missing is lost."""
_NUMBER = re.compile(rb'"n":"(\d{8})"')


class Dialect(ABC):
    """How to subscribe and to post."""

    hello: bytes
    """What a subscriber sends."""
    poster_hello: bytes | None
    """What a poster sends first, or None."""
    beat_bytes: int
    """What a heartbeat adds to a stream."""

    @abstractmethod
    def ready(self, got: bytes) -> bool:
        """Whether these bytes confirm a subscription. Raises ConnectionRefusedError where they refuse it."""

    @abstractmethod
    def post(self, number: int) -> bytes:
        """A post with this number."""

    @abstractmethod
    def answered(self, number: int, got: bytes) -> bool:
        """Whether a poster that got these bytes has its answer."""

    @abstractmethod
    def frame_bytes(self, receivers: int) -> int:
        """The size of one delivery on the wire."""


class Signalhub(Dialect):
    """Server-sent events and POST. A poster hears nothing but its answer."""

    hello = b"GET /v1/bench/all HTTP/1.1\r\nHost: x\r\n\r\n"
    poster_hello = None
    beat_bytes = len(b"13\r\n:heartbeat signal\n\n\r\n")

    def ready(self, got: bytes) -> bool:
        if not got.endswith(b"\r\n\r\n"):
            return False
        if not got.startswith(b"HTTP/1.1 200"):
            raise ConnectionRefusedError
        return True

    def post(self, number: int) -> bytes:
        body = _padded(b'{"n":"%08d","from":"@' % number)
        return b"POST /v1/bench/all HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    def answered(self, number: int, got: bytes) -> bool:  # noqa: ARG002
        return got.endswith(b"\r\n\r\n")

    def frame_bytes(self, receivers: int) -> int:  # noqa: ARG002
        data = len(b"data: \n\n") + BODY_BYTES
        return len(b"%x\r\n\r\n" % data) + data


class YWebrtc(Dialect):
    """WebSockets with JSON. There is no answer to a post, and whoever posts on a topic hears it: posters listen too,
    and their own post, which comes to them after it has been sent to everybody else, is the answer.
    """

    _upgrade = (
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: c3NiLXJ0YyBiZW5jaG1hcg==\r\n\r\n"
    )
    beat_bytes = 2

    def __init__(self) -> None:
        subscribe = b'{"type":"subscribe","topics":["all"]}'
        # Subscriptions are not confirmed, but what comes after them is answered after them.
        self.hello = self.poster_hello = self._upgrade + _masked(subscribe) + _masked(b'{"type":"ping"}')

    def ready(self, got: bytes) -> bool:
        return got.endswith(b'{"type":"pong"}')

    def post(self, number: int) -> bytes:
        return _masked(_padded(b'{"type":"publish","topic":"all","n":"%08d","from":"@' % number))

    def answered(self, number: int, got: bytes) -> bool:
        return b'"n":"%08d"' % number in got

    def frame_bytes(self, receivers: int) -> int:
        return 4 + BODY_BYTES + len(b',"clients":%d' % receivers)


def _padded(start: bytes) -> bytes:
    return start + b"x" * (BODY_BYTES - len(start) - 2) + b'"}'


def _masked(text: bytes) -> bytes:
    """A WebSocket frame of a client; a mask of zeros is one."""
    length = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + text


@dataclass
class Joined:
    """Subscribers whose subscription is confirmed."""

    sockets: list[socket.socket]
    waits_s: list[float]
    """From each one's first attempt until its confirmation."""
    retries: int
    wall_s: float

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


class _Dial:
    __slots__ = ("got", "index", "since_s", "sock")

    def __init__(self, index: int, port: int, since_s: float) -> None:
        self.index = index
        self.since_s = since_s
        self.got = b""
        self.sock = sock = socket.socket()
        sock.setblocking(False)
        if index >= PORTS_EACH:
            sock.bind((f"127.0.0.{1 + index // PORTS_EACH}", 0))
        sock.connect_ex((HOST, port))


def join(ports: Sequence[int], dialect: Dialect, count: int, at_once: int = 256) -> Joined:
    """Subscribe `count` times, `at_once` at a time, to these servers in turn; who is refused tries again at once.

    Raises SystemExit when nobody gets on for QUIET_LIMIT_S.
    """
    epoll = select.epoll()
    dials: dict[int, _Dial] = {}
    done: dict[int, socket.socket] = {}
    waits_s: list[float] = []
    retries = begun = 0
    start_s = progress_s = time.perf_counter()

    def dial(index: int, since_s: float) -> None:
        made = _Dial(index, ports[index % len(ports)], since_s)
        dials[made.sock.fileno()] = made
        epoll.register(made.sock, select.EPOLLOUT)

    while len(done) < count:
        while begun < count and len(dials) < at_once:
            dial(begun, time.perf_counter())
            begun += 1
        for number, event in epoll.poll(1.0, 1024):
            one = dials[number]
            try:
                if event & select.EPOLLOUT:
                    one.sock.send(dialect.hello)
                    epoll.modify(number, select.EPOLLIN)
                elif _confirmed(one, dialect):
                    epoll.unregister(number)
                    del dials[number]
                    done[one.index] = one.sock
                    progress_s = time.perf_counter()
                    waits_s.append(progress_s - one.since_s)
            except OSError:
                epoll.unregister(number)
                del dials[number]
                one.sock.close()
                retries += 1
                dial(one.index, one.since_s)
        if time.perf_counter() - progress_s > QUIET_LIMIT_S:
            raise SystemExit(f"{len(done)} of {count} subscribers came in, and then no more")
    epoll.close()
    return Joined([done[index] for index in range(count)], waits_s, retries, time.perf_counter() - start_s)


def _confirmed(one: _Dial, dialect: Dialect) -> bool:
    data = one.sock.recv(65536)
    if not data:
        raise ConnectionResetError
    one.got += data
    return dialect.ready(one.got)


class _Poster:
    def __init__(self, port: int, dialect: Dialect) -> None:
        self.number = -1
        self.got = b""
        if dialect.poster_hello is None:
            self.sock = socket.create_connection((HOST, port))
            self.sock.setblocking(False)
        else:
            self.sock = join([port], dialect, 1).sockets[0]
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _Probe:
    __slots__ = ("count", "got_bytes", "rest", "sock", "total")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.rest = b""
        self.got_bytes = self.count = self.total = 0


@dataclass(frozen=True)
class Fanout:
    """What came of one run: times in seconds, `latencies_s` from before a post was sent until a probe heard it."""

    posts: int
    deliveries: int
    lost: int
    wall_s: float
    own_cpu_s: float
    latencies_s: list[float]


class Run:
    """`depth` posters post for `seconds`, each again when its post was answered; then everything is counted."""

    def __init__(self, joined: Joined, ports: Sequence[int], dialect: Dialect, depth: int) -> None:
        self._dialect = dialect
        self._posters = {p.sock.fileno(): p for p in (_Poster(ports[n % len(ports)], dialect) for n in range(depth))}
        every = max(1, len(joined.sockets) // PROBES)
        self._probes = {sock.fileno(): _Probe(sock) for sock in joined.sockets[every // 2 :: every]}
        self._others = [sock for sock in joined.sockets if sock.fileno() not in self._probes]
        self._others_bytes = [0] * len(self._others)
        listeners = len(joined.sockets) + (depth if dialect.poster_hello else 0)
        self._frame_bytes = dialect.frame_bytes(listeners)
        self._buffer = bytearray(256 * 1024)
        self._sent_s: list[float] = []
        self._latencies_s: list[float] = []
        self._cursor = len(self._others)
        self._passed_posts = 0
        self._epoll = select.epoll()
        for number in (*self._posters, *self._probes):
            self._epoll.register(number, select.EPOLLIN)

    def go(self, seconds: float) -> Fanout:
        """Raises SystemExit when the server stops answering or drops a subscriber."""
        own_s, start_s = time.process_time(), time.perf_counter()
        self._until_s = start_s + seconds
        self._in_flight = 0
        for poster in self._posters.values():
            self._post(poster)
        while self._in_flight:
            self._turn()
        lost = self._settle()
        wall_s = time.perf_counter() - start_s
        for poster in self._posters.values():
            poster.sock.close()
        self._epoll.close()
        posts = len(self._sent_s)
        deliveries = posts * (len(self._probes) + len(self._others))
        return Fanout(posts, deliveries, lost, wall_s, time.process_time() - own_s, self._latencies_s)

    def _turn(self) -> None:
        """Look at posters and probes, then read some of the others where a pass is due."""
        passing = self._cursor < len(self._others)
        events = self._epoll.poll(0.0 if passing else QUIET_LIMIT_S, 1024)
        now_s = time.perf_counter()
        if not events and not passing:
            raise SystemExit(f"no answer to a post for {QUIET_LIMIT_S:.0f} s")
        for number, _ in events:
            poster = self._posters.get(number)
            if poster is None:
                self._hear(self._probes[number], now_s)
            else:
                self._answer(poster, now_s)
        if passing:
            self._read_some()
        elif len(self._sent_s) - self._passed_posts >= PASS_POSTS:
            self._passed_posts = len(self._sent_s)
            self._cursor = 0

    def _post(self, poster: _Poster) -> None:
        poster.number = number = len(self._sent_s)
        poster.got = b""
        self._in_flight += 1
        data = self._dialect.post(number)
        self._sent_s.append(time.perf_counter())
        poster.sock.send(data)

    def _answer(self, poster: _Poster, now_s: float) -> None:
        data = poster.sock.recv(256 * 1024)
        if not data:
            raise SystemExit("the server cut a poster")
        poster.got += data
        if poster.number >= 0 and self._dialect.answered(poster.number, poster.got):
            poster.number = -1
            self._in_flight -= 1
            if now_s < self._until_s:
                self._post(poster)
        elif poster.number < 0 or self._dialect.poster_hello:
            # What others post.
            poster.got = poster.got[-self._frame_bytes :]

    def _hear(self, probe: _Probe, now_s: float) -> None:
        data = probe.sock.recv(256 * 1024)
        if not data:
            raise SystemExit("the server dropped a subscriber")
        probe.got_bytes += len(data)
        text = probe.rest + data
        end = 0
        for found in _NUMBER.finditer(text):
            number = int(found[1])
            probe.count += 1
            probe.total += number
            self._latencies_s.append(now_s - self._sent_s[number])
            end = found.end()
        probe.rest = text[max(end, len(text) - 16) :]

    def _read_some(self) -> None:
        others, sizes, buffer = self._others, self._others_bytes, self._buffer
        last = min(self._cursor + PASS_SLICE, len(others))
        for index in range(self._cursor, last):
            try:
                size = others[index].recv_into(buffer)
            except BlockingIOError:
                continue
            if not size:
                raise SystemExit("the server dropped a subscriber")
            sizes[index] += size
        self._cursor = last

    def _settle(self) -> int:
        """Read until everybody has everything, or nothing comes any more; returns what is missing, in deliveries."""
        expected_bytes = len(self._sent_s) * self._frame_bytes
        progress_s, before = time.perf_counter(), -1
        while True:
            self._cursor = 0
            while self._cursor < len(self._others):
                self._read_some()
            for number, _ in self._epoll.poll(0.0, 1024):
                if number in self._probes:
                    self._hear(self._probes[number], time.perf_counter())
                else:
                    self._answer(self._posters[number], time.perf_counter())
            sizes = [*self._others_bytes, *(probe.got_bytes for probe in self._probes.values())]
            missing = sum(max(0, expected_bytes - size) for size in sizes)
            if not missing:
                self._check(sizes, expected_bytes)
                return 0
            if sum(sizes) != before:
                progress_s, before = time.perf_counter(), sum(sizes)
            elif time.perf_counter() - progress_s > QUIET_LIMIT_S:
                return -(-missing // self._frame_bytes)

    def _check(self, sizes: list[int], expected_bytes: int) -> None:
        """Nothing twice, nothing else than heartbeats, and the probes heard each post once."""
        if any((size - expected_bytes) % self._dialect.beat_bytes for size in sizes):
            raise SystemExit("more bytes came than were posted: something was delivered twice")
        posts = len(self._sent_s)
        for probe in self._probes.values():
            if probe.count != posts or probe.total != posts * (posts - 1) // 2:
                raise SystemExit(f"a subscriber heard {probe.count} of {posts} posts, by their numbers")
