"""One connection to the hub: bytes in, requests out, answers back. It becomes a subscriber, or stays a guest."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import TYPE_CHECKING, cast

import httptools

from ssb_rtc.hub import answers
from ssb_rtc.hub.limits import BODY_LIMIT_BYTES

if TYPE_CHECKING:
    from ssb_rtc.hub.server import HubServer

IGNORED_LIMIT_BYTES = 64 * 1024
"""What a subscriber may send after its request; nothing of it is read."""

DEAD_SUBSCRIBER_MS = 90_000
"""How long the kernel waits for a subscriber's acknowledgement of what was sent (Linux)."""

_LOOPBACK = re.compile(r"127\.|::ffff:127\.|::1\Z")
_IDLE, _HEAD, _POST, _SKIP, _DONE = range(5)
_CONTINUE = re.compile(rb"(?:^|\W)100-continue(?:$|\W)", re.IGNORECASE)


class _HeadTooLarge(Exception):
    pass


class Connection(asyncio.Protocol):
    """The parser's callbacks and the transport's; what an answer depends on is asked of the hub."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_expect",
        "_head_bytes",
        "_hosted",
        "_hub",
        "_ignored_bytes",
        "_keep",
        "_last",
        "_name",
        "_owed",
        "_parser",
        "_paused",
        "_phase",
        "_unread_bytes",
        "_url",
        "address",
        "chunked",
        "deadline_s",
        "exempt",
        "subscribed",
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
        self._head_bytes = 0
        self._unread_bytes = 0
        self._ignored_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._keep = True
        self._last = False
        self._owed = 0
        self._paused = False
        self.address = ""
        self.exempt = False
        self.chunked = True
        """False for HTTP/1.0: no chunks, and no Content-Length where there is no body."""
        self.subscribed = False
        self.deadline_s = 0.0

    # -- the transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection was accepted."""
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else ""
        self.exempt = self._hub.limits.loopback_exempt and _LOOPBACK.match(self.address) is not None
        self._hub.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The connection is gone, however it went."""
        self._finish()
        self._hub.lost(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests; what can't be read ends this connection and nothing else."""
        if self._parser is None:
            self._ignored_bytes += len(data)
            if self._ignored_bytes > IGNORED_LIMIT_BYTES:
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
        self.transport.resume_reading()

    # -- the parser's callbacks

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._phase == _DONE:
            return
        self._phase = _HEAD
        self._url = b""
        self._hosted = False
        self._expect = None
        self._head_bytes = 0
        self.deadline_s = self._hub.now_s + self._hub.limits.header_s

    def on_url(self, url: bytes) -> None:
        """A part of the request's target, as it came."""
        self._count(len(url))
        self._url += url

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """One header; only two of them matter to a hub."""
        value = value or b""
        self._count(len(name) + len(value))
        if len(name) == 4 and name.lower() == b"host":
            self._hosted = True
        elif len(name) == 6 and name.lower() == b"expect":
            self._expect = value

    def on_headers_complete(self) -> None:
        """The request is known: all but a POST's answer depends on nothing else."""
        parser = self._parser
        if parser is None or self._phase == _DONE:
            return
        self._unread_bytes = 0
        method = parser.get_method()
        modern = parser.get_http_version() == "1.1"
        self._keep = modern and parser.should_keep_alive()
        self._last = not self._keep
        if method == b"CONNECT":
            self._end()
        elif modern and not self._hosted:
            self._answer_in_turn(answers.hostless(self._hub.date), keep=False)
        elif modern and self._expect is not None and not _CONTINUE.search(self._expect):
            self._answer_in_turn(answers.unexpected(self._hub.date, self._keep), keep=self._keep)
        else:
            if modern and self._expect is not None:
                self.transport.write(answers.CONTINUE)
            self._route(method, modern)

    def on_body(self, data: bytes) -> None:
        """A part of a body; one that reaches the limit is cut without an answer, as signalhub does."""
        if self._phase != _POST:
            return
        self._body_bytes += len(data)
        if self._body_bytes >= BODY_LIMIT_BYTES:
            self._finish()
            self.transport.abort()
        else:
            self._body.append(data)

    def on_message_complete(self) -> None:
        """The end of a request."""
        self._unread_bytes = 0
        if self._phase == _POST:
            body = b"".join(self._body)
            self._body.clear()
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
        if not keep:
            self._end()
        elif self._phase == _IDLE:
            self.deadline_s = self._hub.now_s + self._hub.limits.keep_alive_s

    def expire(self) -> None:
        """The deadline is over: close, and the next time without ceremony."""
        if self.transport.is_closing():
            self.transport.abort()
        elif self._phase in (_HEAD, _POST, _SKIP):
            self._refuse(b"408 Request Timeout")
        else:
            self._end()

    def end(self) -> None:
        """Close gracefully: an event stream is ended, what is queued still goes out."""
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
            return data[int(upgrade.args[0]) :]
        except httptools.HttpParserError as error:
            if self._parser is None:
                return b""
            large = isinstance(error.__context__, _HeadTooLarge)
            self._refuse(b"431 Request Header Fields Too Large" if large else answers.BAD_REQUEST)
        return b""

    def _count(self, size_bytes: int) -> None:
        self._head_bytes += size_bytes
        if self._head_bytes > self._hub.limits.header_bytes:
            raise _HeadTooLarge

    def _route(self, method: bytes, modern: bool) -> None:
        hub, keep = self._hub, self._keep
        if method == b"OPTIONS":
            self._answer_in_turn(answers.empty(answers.OK, hub.date, keep=keep, sized=modern), keep=keep)
        elif self._url == b"/":
            text = hub.status_text()
            bodyless = method == b"HEAD"
            page = answers.status_page(text, hub.date, keep=keep, chunked=modern, bodyless=bodyless)
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
            sized = modern and method != b"HEAD"
            self._answer_in_turn(answers.empty(answers.NOT_FOUND, hub.date, keep=keep, sized=sized), keep=keep)

    def _subscribe(self, name: bytes, modern: bool) -> None:
        app, _, channels = name.partition(b"/")
        names = [app + b"/" + channel for channel in channels.split(b",")]
        hub = self._hub
        if self._owed:
            hub.flush()
        self.chunked = modern
        refusal = hub.subscribe(self, names)
        if refusal is not None:
            self._answer_in_turn(refusal, keep=False)
            return
        self._finish()
        self.subscribed = True
        self.transport.write(answers.stream(hub.date, keep=self._keep, chunked=modern))
        if self._paused:
            hub.fell_behind(self)
        sock = self.transport.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_SUBSCRIBER_MS)

    def _posted(self, body: bytes) -> None:
        self._owed += 1
        self.deadline_s = self._hub.now_s + self._hub.limits.body_s
        self._hub.post(self, self._name, body, keep=self._keep, sized=self.chunked)

    def _answer_in_turn(self, data: bytes, *, keep: bool) -> None:
        """Answer now; POSTs that came before on this connection are answered first."""
        self._phase = _SKIP
        if self._owed:
            self._hub.flush()
        self.transport.write(data)
        if not keep:
            self._end()

    def _refuse(self, status: bytes) -> None:
        if self._owed:
            self._hub.flush()
        self.transport.write(answers.broken(status))
        self._end()

    def _end(self) -> None:
        self._finish()
        self.deadline_s = self._hub.now_s + self._hub.limits.close_s
        self.transport.close()

    def _finish(self) -> None:
        """Read no more; the parser is most of a connection's memory."""
        self._phase = _DONE
        self._parser = None
        self._body = []
        self._url = b""
