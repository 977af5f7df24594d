"""WebSockets: `ws://<host>:<port>` and, with TLS, `wss://<host>:<port>`. For browsers, and for the way past proxies.

Any web page may connect: nothing here is trusted because of where it comes from. The secret handshake that follows
proves keys, and no cookie, address or Origin stands in for one, so a page can do what any stranger over TCP can do and
no more. For the same reason the headers that proxies add (X-Forwarded-For and the like) are not even read.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import Callable
from typing import ClassVar

from ssb_rtc.errors import ConfigFault, ConnectFailed, FrameInvalid, LinkClosed, ListenFailed, SsbRtcError
from ssb_rtc.transport.base import CONNECT_LIMIT_S, Listener, OnStream, Stream, Transport
from ssb_rtc.transport.net import join_host_port, listening_server, open_connection, split_host_port, tune
from ssb_rtc.transport.sockets import QUICK_ACKS, AcceptedStreams, SocketListener, SocketStream
from ssb_rtc.wire.websocket import (
    HEAD_LIMIT_BYTES,
    MASK_BYTES,
    NONCE_BYTES,
    Endpoint,
    Frames,
    RequestRefused,
    answer,
    check_answer,
    endpoint,
    request,
)

UPGRADES_MAX = 64
"""Accepted connections that may be without a finished WebSocket handshake at once."""
UPGRADE_LIMIT_S = 10.0
"""The longest that the handshake of a WebSocket may take for who connects to us."""
PING_INTERVAL_S = 30.0
"""A WebSocket carries a ping so often: proxies end those on which nothing is said for a minute."""
PROTOCOL_ERROR = 1002


class WsStream(SocketStream):
    """The bytes inside a WebSocket's frames. `_take_head` gets the other side's part of the handshake."""

    head_begins: ClassVar[bytes]
    """How the other side's part begins: something else, like TLS, is known for what it is without waiting for more."""

    def __init__(self, name: str, description: str, frames: Frames) -> None:
        super().__init__(name, description, quick_acks=QUICK_ACKS)
        self._frames = frames
        self._head = bytearray()
        self._open = False
        self._said_close = False
        self._timer: asyncio.TimerHandle | None = None

    def _take_head(self, head: bytes) -> None:
        """Called once, with all before the empty line; calls `_begin` or gives the connection up."""
        raise NotImplementedError

    def _refuse_head(self, why: str) -> None:
        """Called when there is no head to be had."""
        raise NotImplementedError

    def _begin(self) -> None:
        """The handshake is over."""
        self._open = True
        self._set_timer(PING_INTERVAL_S, self._ping)

    def _ping(self) -> None:
        if not self._said_close and not self._congested:
            super().write(self._frames.ping_frame())
        self._set_timer(PING_INTERVAL_S, self._ping)

    def _set_timer(self, delay_s: float, call: Callable[[], object]) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(delay_s, call)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._acknowledge()
        if not self._open:
            data = self._read_head(data)
        if self._open and data:
            self._read_frames(data)

    def _read_head(self, data: bytes) -> bytes:
        """Takes the handshake out of what arrives; what stands behind it."""
        if self._queue.ended:
            return b""
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if 0 <= end <= HEAD_LIMIT_BYTES:
            head, rest = bytes(self._head[:end]), bytes(self._head[end + 4 :])
            self._head.clear()
            self._take_head(head)
            return rest
        if len(self._head) > HEAD_LIMIT_BYTES:
            self._refuse_head(f"what was sent there to begin with is longer than {HEAD_LIMIT_BYTES} bytes")
        elif not self._head.startswith(self.head_begins[: len(self._head)]):
            self._refuse_head("the other side does not speak HTTP")
        return b""

    def _read_frames(self, data: bytes) -> None:
        try:
            payload = self._frames.receive(data)
        except FrameInvalid as fault:
            self._queue.finish(fault, discard=True)
            self._say_close(PROTOCOL_ERROR)
            if self._socket is not None:
                self._socket.close()
            return
        if payload:
            self._queue.push(payload)
        reply = self._frames.take_reply()
        if self._frames.closed:
            self._queue.finish()
            self._said_close = True
        if reply and not self._congested:
            super().write(reply)

    def eof_received(self) -> bool:
        if not self._open:
            self._refuse_head("the other side hung up")
        # A WebSocket ends with a frame that says so; TLS can't be half open.
        self._queue.finish(LinkClosed("the connection broke: it ended in the middle of a WebSocket"))
        return self.transport == "ws"

    def write(self, data: bytes) -> None:
        if self._said_close:
            return
        super().write(self._frames.frame(data))

    async def close(self) -> None:
        self._say_close()
        await super().close()

    def _say_close(self, code: int = 1000) -> None:
        if self._open and not self._said_close:
            self._said_close = True
            super().write(self._frames.close_frame(code))


class _Dialled(WsStream):
    """The client's side."""

    head_begins = b"HTTP/1."

    def __init__(self, to: Endpoint) -> None:
        super().__init__(_name(to.secure), to.url, Frames(lambda: secrets.token_bytes(MASK_BYTES)))
        self._to = to
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the handshake is; ConnectFailed when the other side is no WebSocket."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        SocketStream.write(self, request(self._to, self._nonce))

    def _take_head(self, head: bytes) -> None:
        try:
            check_answer(head, self._nonce)
        except FrameInvalid as fault:
            self._refuse_head(str(fault))
            return
        self._begin()
        if not self.opened.done():
            self.opened.set_result(None)

    def _refuse_head(self, why: str) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectFailed(f"no WebSocket at {self._to.url}: {why}"))
        self.abort(why)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self._open:
            self._refuse_head("the connection ended during the handshake")


class _Accepted(WsStream):
    """The server's side. Its owner gets it when the WebSocket is open."""

    head_begins = b"GET "

    def __init__(self, name: str, accepted: AcceptedStreams, waiting: dict[_Accepted, None]) -> None:
        super().__init__(name, f"{name}://?", Frames(None))
        self._accepted = accepted
        self._waiting = waiting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        tune(transport)
        peer = transport.get_extra_info("peername")
        if peer:
            self.description = f"{self.transport}://{join_host_port(peer[0], peer[1])}"
        if len(self._waiting) >= UPGRADES_MAX:
            # The oldest has had most time. Refusing the newest would let silent connections keep everybody out.
            next(iter(self._waiting)).abort("too many WebSocket handshakes at once")
        self._waiting[self] = None
        self._set_timer(UPGRADE_LIMIT_S, lambda: self.abort("the WebSocket handshake took too long"))

    def _take_head(self, head: bytes) -> None:
        try:
            reply = answer(head)
        except RequestRefused as refusal:
            SocketStream.write(self, refusal.answer)
            self._refuse_head(str(refusal))
            return
        self._waiting.pop(self, None)
        SocketStream.write(self, reply)
        self._begin()
        self._accepted.start(self)

    def _refuse_head(self, why: str) -> None:
        self._queue.finish(LinkClosed(why))
        if self._socket is not None:
            self._socket.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting.pop(self, None)
        super().connection_lost(exc)

    def abort(self, reason: str = "") -> None:
        self._waiting.pop(self, None)
        super().abort(reason)


class WsTransport(Transport):
    """`ws`: without TLS, as most peers have it; the secret handshake inside encrypts."""

    name: ClassVar[str] = "ws"

    def __init__(self, *, connect_limit_s: float = CONNECT_LIMIT_S) -> None:
        self._connect_limit_s = connect_limit_s
        self._listeners: set[SocketListener] = set()

    async def connect(self, where: str) -> Stream:
        """See Transport.connect. `where` is what follows the scheme's colon: `//host:port/path`, or `host:port`."""
        try:
            to = endpoint(f"{self.name}:{where}" if where.startswith("//") else f"{self.name}://{where}")
        except ConfigFault as fault:
            raise ConnectFailed(str(fault)) from None
        stream = _Dialled(to)
        stream.opened.add_done_callback(_retrieved)
        try:
            async with asyncio.timeout(self._connect_limit_s):
                await open_connection(stream, to.host, to.port, self._connect_limit_s, tls=self._client_tls())
                await stream.opened
        except TimeoutError as error:
            stream.abort("no answer")
            raise ConnectFailed(f"no answer from {to.url} within {self._connect_limit_s:g} s") from error
        except BaseException:
            stream.abort("given up")
            raise
        return stream

    async def listen(self, where: str, on_stream: OnStream) -> Listener:
        """See Transport.listen. `where` is `host:port`, with or without `//` before it."""
        host, port = split_host_port(where.removeprefix("//"))
        accepted = AcceptedStreams(on_stream)
        waiting: dict[_Accepted, None] = {}
        server = await listening_server(
            lambda: _Accepted(self.name, accepted, waiting), host, port, tls=self._server_tls()
        )
        bound = [s.getsockname()[:2] for s in server.sockets]
        addresses = [Endpoint(self.name == "wss", *each).url for each in bound]
        listener = SocketListener(server, addresses, self._listeners.discard)
        self._listeners.add(listener)
        return listener

    async def close(self) -> None:
        for listener in list(self._listeners):
            await listener.close()

    def _client_tls(self) -> ssl.SSLContext | None:
        return None

    def _server_tls(self) -> ssl.SSLContext | None:
        return None


class WssTransport(WsTransport):
    """`wss`: with TLS. A server is trusted when the system's certificates say so; its key counts all the same.

    certificate: files in PEM, the chain and its private key, to listen with; `listen` says when they are of no use.
    """

    name: ClassVar[str] = "wss"

    def __init__(
        self,
        certificate: tuple[str, str] | None = None,
        *,
        trust: ssl.SSLContext | None = None,
        connect_limit_s: float = CONNECT_LIMIT_S,
    ) -> None:
        super().__init__(connect_limit_s=connect_limit_s)
        self._certificate = certificate
        self._trust = trust

    def _client_tls(self) -> ssl.SSLContext:
        if self._trust is None:
            self._trust = ssl.create_default_context()
        return self._trust

    def _server_tls(self) -> ssl.SSLContext:
        if self._certificate is None:
            raise ListenFailed("wss needs a certificate: give --tls-cert FILE and --tls-key FILE, or listen on ws")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        chain, key = self._certificate
        try:
            context.load_cert_chain(chain, key)
        except (OSError, ValueError) as error:
            raise ListenFailed(f"can't use the certificate {chain} with the key {key}: {error}") from error
        return context


def _name(secure: bool) -> str:
    return "wss" if secure else "ws"


def _retrieved(opened: asyncio.Future[None]) -> None:
    """Nobody may be left to hear of a failure."""
    with contextlib.suppress(asyncio.CancelledError, SsbRtcError):
        opened.result()
