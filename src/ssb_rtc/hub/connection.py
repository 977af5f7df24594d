"""One connection to the hub: bytes in, requests out, answers back. It becomes a subscriber, or stays a guest."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

import httptools

from ssb_rtc.hub import answers, pages, refusals
from ssb_rtc.hub.clients import NOBODY, client_of
from ssb_rtc.hub.limits import BODY_LIMIT_BYTES

if TYPE_CHECKING:
    from ssb_rtc.hub.server import HubServer

_IDLE, _HEAD, _POST, _SKIP, _DONE = range(5)
_READS = (b"GET", b"HEAD")
_FRAMING = {len(name): name for name in (b"content-length", b"transfer-encoding")}
_CONTINUE = re.compile(rb"(?:^|\W)100-continue(?:$|\W)", re.IGNORECASE)


class _HeadTooLarge(Exception):
    pass


class _ReadNoFurther(Exception):
    pass


class Connection(asyncio.Protocol):
    """The parser's callbacks and the transport's; what an answer depends on is asked of the hub."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_expect",
        "_forwarded",
        "_framing",
        "_head_bytes",
        "_hosted",
        "_html",
        "_hub",
        "_ignored_bytes",
        "_keep",
        "_last",
        "_later",
        "_name",
        "_owed",
        "_parser",
        "_paused",
        "_phase",
        "_plain_head",
        "_socket_descriptor",
        "_unread_bytes",
        "_url",
        "chunked",
        "client",
        "counted",
        "deadline_s",
        "descriptor",
        "exempt",
        "over",
        "proxy",
        "subscribed",
        "subscriptions",
        "transport",
    )

    def __init__(self, hub: HubServer) -> None:
        self._hub = hub
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._phase = _IDLE
        self._url = b""
        self._name = b""
        self._hosted = False
        self._expect: bytes | None = None
        self._html = False
        self._forwarded: bytes | None = None
        self._framing: tuple[tuple[bytes, bytes], ...] = ()
        """The headers that say how long the body is."""
        self._plain_head = b""
        """The head of a request that asked for an upgrade, without that: it is read once more, with its body."""
        self._head_bytes = 0
        self._unread_bytes = 0
        self._ignored_bytes = 0
        self._body: bytes | bytearray = b""
        self._body_bytes = 0
        self._keep = True
        self._last = False
        self._owed = 0
        self._paused = False
        self._later: list[Callable[[], None]] | None = None
        """While the broker has a POST of this connection: what waits for its turn behind that answer."""
        self.client = NOBODY
        """On whose behalf the latest request came."""
        self.exempt = False
        self.counted = ""
        """The client that this connection counts for, or nothing."""
        self.proxy: str | None = None
        """The address of the trusted proxy that this connection comes from, which speaks for many clients."""
        self.chunked = True
        """False for HTTP/1.0: no chunks, and no Content-Length where there is no body."""
        self.over: Callable[[], None] | None = None
        """To be called as soon as this counts as a connection: its TLS handshake counts no longer."""
        self.subscribed = False
        self.subscriptions = 0
        """That count for `counted`."""
        self.descriptor = -1
        """The socket's, while a subscriber may be written to past its transport: nothing may wait in that."""
        self._socket_descriptor = -1
        """The same, where such a thing can be at all."""
        self.deadline_s = 0.0

    # -- the transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection was accepted."""
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._is_for(peer[0], None)
            if self._hub.proxies.trusts(peer[0]):
                self.proxy = peer[0]
        self._hub.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The connection is gone, however it went."""
        self._finish()
        self._hub.lost(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests; what can't be read ends this connection and nothing else."""
        if self._parser is None:
            self._ignored_bytes += len(data)
            if self._ignored_bytes > self._hub.limits.ignored_bytes:
                self.transport.abort()
            return
        self._unread_bytes += len(data)
        while data and self._parser is not None:
            data = self._feed(self._parser, data)
        if self._phase in (_IDLE, _HEAD) and self._unread_bytes > self._hub.limits.header_bytes:
            self._refuse(b"431 Request Header Fields Too Large")

    def eof_received(self) -> None:
        """The other side sends no more; as with Node, that ends a subscription too."""
        if self._phase in (_HEAD, _POST, _SKIP):
            self._refuse(answers.BAD_REQUEST)
        elif self._owed:
            self._hub.flush()

    def pause_writing(self) -> None:
        """The other side reads slower than we write."""
        self._paused = True
        if self.subscribed:
            self._hub.fell_behind(self)
        else:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The other side has caught up."""
        self._paused = False
        self._hub.caught_up(self)
        if self._later is None:
            self.transport.resume_reading()

    # -- the parser's callbacks

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._parser is None:
            # Closed by an answer to an earlier request of the same bytes: nothing of the others is worth parsing.
            raise _ReadNoFurther
        if self._phase == _DONE:
            return
        self._phase = _HEAD
        self._url = b""
        self._hosted = False
        self._expect = None
        self._html = False
        self._forwarded = None
        self._framing = ()
        self._head_bytes = 0
        self.deadline_s = self._hub.now_s + self._hub.limits.header_s

    def on_url(self, url: bytes) -> None:
        """A part of the request's target, as it came."""
        self._count(len(url))
        self._url += url

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """One header; few of them matter to a hub."""
        value = value or b""
        self._count(len(name) + len(value))
        if len(name) == 4 and name.lower() == b"host":
            self._hosted = True
        elif len(name) == 6:
            if name.lower() == b"accept":
                self._html = b"text/html" in value.lower()
            elif name.lower() == b"expect":
                self._expect = value
        elif len(name) in _FRAMING and name.lower() == _FRAMING[len(name)]:
            self._framing = (*self._framing, (name, value))
        elif self.proxy is not None and name.lower() == self._hub.proxies.header:
            self._forwarded = value if self._forwarded is None else self._forwarded + b"," + value

    def on_headers_complete(self) -> None:
        """The request is known: all but a POST's answer depends on nothing else."""
        parser = self._parser
        if parser is None or self._phase == _DONE:
            return
        self._unread_bytes = 0
        if self._framing and parser.should_upgrade() and parser.get_method() != b"CONNECT":
            self._plain_head = self._without_upgrade(parser)
            return
        if self.proxy is not None:
            self._is_for(self.proxy, self._forwarded)
        method = parser.get_method()
        modern = parser.get_http_version() == "1.1"
        self._keep = modern and not self._hub.draining and parser.should_keep_alive()
        self._last = not self._keep
        if method == b"CONNECT":
            self._end()
        elif wait_s := self._hub.wait_s(self):
            self._last = True
            refused = refusals.too_many_requests(self._hub.limits, wait_s)
            refusal = answers.refusal(refused, self._hub.ends, keep=False, bodyless=method == b"HEAD")
            self._answer_in_turn(refusal, keep=False)
        elif modern and not self._hosted:
            self._answer_in_turn(answers.hostless(self._hub.ends), keep=False)
        elif modern and self._expect is not None and not _CONTINUE.search(self._expect):
            self._answer_in_turn(answers.unexpected(self._hub.ends, self._keep), keep=self._keep)
        else:
            if modern and self._expect is not None:
                self._in_turn(partial(self._say, answers.CONTINUE, True))
            self._route(method, modern)

    def on_body(self, data: bytes) -> None:
        """A part of a body; one that reaches the limit is cut without an answer, as signalhub does."""
        if self._phase != _POST:
            return
        self._body_bytes += len(data)
        if self._body_bytes >= BODY_LIMIT_BYTES:
            self._hub.counts.posts_too_large += 1
            self._finish()
            self.transport.abort()
        # Most come in one piece. Of many small ones each would take fifty bytes more than its size.
        elif not self._body:
            self._body = data
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += data

    def on_message_complete(self) -> None:
        """The end of a request."""
        self._unread_bytes = 0
        if self._plain_head:
            return
        if self._phase == _POST:
            body, self._body = bytes(self._body), b""
            self._phase = _IDLE
            self._posted(body)
        if self._phase == _SKIP:
            self._phase = _IDLE
            self.deadline_s = self._hub.now_s + self._hub.limits.keep_alive_s
        if self._last:
            self._phase = _DONE

    # -- the hub's orders

    def answer(self, data: bytes, *, keep: bool) -> None:
        """Write the answer to a POST whose delivery is done."""
        self._owed -= 1
        if self.transport.is_closing():
            return
        self.transport.write(data)
        if not keep or (self._hub.draining and self._phase == _IDLE):
            self._end()
        elif self._phase == _IDLE:
            self.deadline_s = self._hub.now_s + self._hub.limits.keep_alive_s

    def wait(self) -> None:
        """The answer to a POST takes a while: whatever comes after it on this connection waits too."""
        self._later = []
        self.transport.pause_reading()

    def go_on(self) -> None:
        """It was answered: do what waited behind it, up to the next POST that the broker takes its time for."""
        later, self._later = self._later or [], None
        for number, act in enumerate(later, 1):
            if self.transport.is_closing():
                return
            act()
            # What `act` does may have set it again.
            waiting = cast("list[Callable[[], None]] | None", self._later)
            if waiting is not None:
                waiting += later[number:]
                return
        if self._phase in (_HEAD, _POST):
            # The rest of this request was not read meanwhile.
            self.deadline_s = max(self.deadline_s, self._hub.now_s + self._hub.limits.header_s)
        if not self._paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def confirmed(self) -> None:
        """The subscription holds: from now on it is a stream."""
        hub = self._hub
        self.subscribed = True
        self.transport.write(answers.stream(hub.ends, keep=self._keep, chunked=self.chunked))
        if self._paused:
            hub.fell_behind(self)
        sock = self.transport.get_extra_info("socket")
        if sock is not None and self.chunked and self.transport.get_extra_info("sslcontext") is None:
            self._socket_descriptor = sock.fileno()
        if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(hub.limits.dead_subscriber_s * 1000))

    def way_past(self) -> int:
        """The descriptor to write to past the transport, or -1 where something waits in that."""
        if not self.transport.get_write_buffer_size():
            self.descriptor = self._socket_descriptor
        return self.descriptor

    def hear(self, frames: Sequence[bytes]) -> None:
        """Deliver through the transport."""
        self.transport.write(b"".join(frames if self.chunked else map(answers.unchunk, frames)))

    def hear_rest(self, rest: bytes) -> None:
        """What the socket did not take; nothing may go past it."""
        self.descriptor = -1
        self.transport.write(rest)

    def refused(self, data: bytes) -> None:
        """There will be no subscription."""
        if not self.transport.is_closing():
            self.transport.write(data)
            self._end()

    def rest(self) -> None:
        """Close, if nothing of a request has come yet and no answer is owed."""
        if self._phase == _IDLE and not self._owed and not self.transport.is_closing():
            self._end()

    def expire(self) -> None:
        """The deadline is over: close, and the next time without ceremony."""
        if self.transport.is_closing():
            self.transport.abort()
        elif self._later is not None:
            # The broker owes the answer, and has a limit of its own.
            self.deadline_s = self._hub.now_s + self._hub.limits.body_s
        elif self._phase in (_HEAD, _POST, _SKIP):
            self._refuse(b"408 Request Timeout")
        else:
            self._end()

    def end(self) -> None:
        """Close gracefully: an event stream is ended, a POST at the broker answered, what is queued still goes out."""
        if self._later is not None and not self.transport.is_closing():
            self._later = [self.end]
            return
        if self.subscribed and self.chunked and not self.transport.is_closing():
            self.transport.write(answers.LAST_CHUNK)
        self._end()

    # -- inside

    def _feed(self, parser: httptools.HttpRequestParser, data: bytes) -> bytes:
        """Let the parser read; returns what a new parser must read, after a request that asked for an upgrade."""
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # Node serves such a request as if it had not asked, and so do its clients expect.
            if self._parser is None:
                return b""
            self._parser = httptools.HttpRequestParser(self)
            head, self._plain_head = self._plain_head, b""
            return head + data[int(upgrade.args[0]) :]
        except httptools.HttpParserError as error:
            if self._parser is None:
                return b""
            large = isinstance(error.__context__, _HeadTooLarge)
            self._refuse(b"431 Request Header Fields Too Large" if large else answers.BAD_REQUEST)
        return b""

    def _without_upgrade(self, parser: httptools.HttpRequestParser) -> bytes:
        """The head once more, as far as it matters: httptools takes the body of an upgrade for the next request, and
        what a client behind a proxy had put there would be believed as if the proxy had said it.
        """
        version: bytes = parser.get_http_version().encode()
        method: bytes = parser.get_method()
        head = method + b" " + self._url + b" HTTP/" + version + b"\r\n"
        for name, value in (
            *self._framing,
            (b"Host", b"x" if self._hosted else None),
            (b"Accept", b"text/html" if self._html else None),
            (b"Expect", self._expect),
            (self._hub.proxies.header, self._forwarded),
            (b"Connection", None if parser.should_keep_alive() else b"close"),
        ):
            if value is not None:
                head += name + b": " + value + b"\r\n"
        return head + b"\r\n"

    def _count(self, size_bytes: int) -> None:
        self._head_bytes += size_bytes
        if self._head_bytes > self._hub.limits.header_bytes:
            raise _HeadTooLarge

    def _route(self, method: bytes, modern: bool) -> None:
        hub, keep = self._hub, self._keep
        if method == b"OPTIONS":
            self._answer_in_turn(answers.empty(answers.OK, hub.ends, keep=keep, sized=modern), keep=keep)
        elif self._url == b"/" and not (self._html and method in (b"GET", b"HEAD")):
            text = hub.status_text()
            bodyless = method == b"HEAD"
            page = answers.status_page(text, hub.ends, keep=keep, chunked=modern, bodyless=bodyless)
            self._answer_in_turn(page, keep=keep)
        elif self._url.startswith(b"/v1/") and method == b"POST":
            self._phase = _POST
            self._name = self._url[4:].partition(b"?")[0]
            self.chunked = modern
            self._body_bytes = 0
            self.deadline_s = hub.now_s + hub.limits.body_s
        elif self._url.startswith(b"/v1/") and method == b"GET":
            self._subscribe(self._url[4:].partition(b"?")[0], modern)
        else:
            bodyless = method == b"HEAD"
            page = answers.empty(answers.NOT_FOUND, hub.ends, keep=keep, sized=modern and not bodyless)
            if method in _READS:
                page = pages.page(hub, self.client.local, self._url, keep=keep, bodyless=bodyless) or page
            self._answer_in_turn(page, keep=keep)

    def _is_for(self, host: str, forwarded: bytes | None) -> None:
        self.client = client_of(host) if forwarded is None else self._hub.proxies.behind(host, forwarded)
        self.exempt = self._hub.limits.loopback_exempt and self.client.local

    def _subscribe(self, name: bytes, modern: bool) -> None:
        app, _, channels = name.partition(b"/")
        names = [app + b"/" + channel for channel in channels.split(b",")]
        self.chunked = modern
        self._finish()
        self._in_turn(partial(self._join, names))

    def _join(self, names: list[bytes]) -> None:
        if self._owed:
            self._hub.flush()
        self._hub.subscribe(self, names)

    def _posted(self, body: bytes) -> None:
        if self._later is None:
            self._hand_on(self._name, body, self._keep, self.chunked)
        else:
            self._later.append(partial(self._hand_on, self._name, body, self._keep, self.chunked))

    def _hand_on(self, name: bytes, body: bytes, keep: bool, sized: bool) -> None:
        self._owed += 1
        self.deadline_s = self._hub.now_s + self._hub.limits.body_s
        self._hub.post(self, name, body, keep=keep, sized=sized)

    def _answer_in_turn(self, data: bytes, *, keep: bool) -> None:
        """Answer now; POSTs that came before on this connection are answered first."""
        self._phase = _SKIP
        self._in_turn(partial(self._say, data, keep))

    def _say(self, data: bytes, keep: bool) -> None:
        if self._owed:
            self._hub.flush()
        if self.transport.is_closing():
            return
        self.transport.write(data)
        if not keep:
            self._end()

    def _in_turn(self, act: Callable[[], None]) -> None:
        """Do it as soon as no POST of this connection is at the broker; without one, now."""
        if self._later is None:
            act()
        else:
            self._later.append(act)

    def _refuse(self, status: bytes) -> None:
        self._hub.counts.requests_broken += 1
        self._in_turn(partial(self._say, answers.broken(status), False))
        self._finish()

    def _end(self) -> None:
        self._finish()
        self.deadline_s = self._hub.now_s + self._hub.limits.close_s
        self.transport.close()

    def _finish(self) -> None:
        """Read no more; the parser is most of a connection's memory."""
        self._phase = _DONE
        self._parser = None
        self._body = b""
        self._url = b""
        self.descriptor = self._socket_descriptor = -1
