"""WebSockets: `ws://<host>:<port>` and, with TLS, `wss://<host>:<port>`. For browsers, and for the way past proxies.

Any web page may connect: nothing here is trusted because of where it comes from. The secret handshake that follows
proves keys, and no cookie, address or Origin stands in for one, so a page can do what any stranger over TCP can do and
no more. For the same reason the headers that proxies add (X-Forwarded-For and the like) are not even read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final

from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol, State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from ssb_rtc.errors import ConfigFault, ConnectFailed, FrameInvalid, LinkClosed, ListenFailed, SsbRtcError
from ssb_rtc.transport.base import CONNECT_LIMIT_S, Listener, OnStream, Stream, Transport
from ssb_rtc.transport.net import join_host_port, listening_server, open_connection, split_host_port, tune
from ssb_rtc.transport.sockets import QUICK_ACKS, AcceptedStreams, SocketListener, SocketStream
from ssb_rtc.wire.ws_url import Endpoint, endpoint

HEAD_LIMIT_BYTES: Final = 8 * 1024
"""The longest request or answer that opens a WebSocket."""
FRAME_BYTES: Final = 64 * 1024
"""The most that we put into one frame: others limit what they take."""
MESSAGE_LIMIT_BYTES: Final = 1024 * 1024
"""The longest message that we take. JavaScript peers send one for each box or less, of a few KiB."""
SLICE_BYTES: Final = 16 * 1024
COUNTED_FRAMES: Final = 1_000
FRAME_MEAN_MIN_BYTES: Final = 8
"""So much is in a frame on average, over so many of them, or it is a flood: each costs us as much as a message does.
The smallest that a peer has to send is the head of a box, of 34 bytes."""
UPGRADES_MAX = 64
"""Accepted connections that may be without a finished WebSocket handshake at once."""
UPGRADE_LIMIT_S = 10.0
"""The longest that the handshake of a WebSocket may take for who connects to us."""
PING_INTERVAL_S = 30.0
"""A WebSocket carries a ping so often: proxies end those on which nothing is said for a minute."""
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")
_QUIET: Final = logging.Logger("websockets", logging.CRITICAL + 1)
"""What strangers send is no news, and no frame belongs into a log."""


class WsStream(SocketStream):
    """The bytes inside a WebSocket's frames. `_take_head` gets the other side's part of the handshake.

    Binary frames carry the bytes; where one ends means nothing, as in npm pull-websocket. No extensions and no
    subprotocols: what travels is encrypted, and compressing it gains nothing.
    """

    head_begins: ClassVar[bytes]
    """How the other side's part begins: something else, like TLS, is known for what it is without waiting for more."""

    def __init__(self, name: str, description: str, protocol: Protocol) -> None:
        super().__init__(name, description, quick_acks=QUICK_ACKS)
        self._frames = protocol
        self._head = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._counted_frames = 0
        self._counted_bytes = 0

    @abstractmethod
    def _take_head(self, head: bytes) -> None:
        """Called once, with all up to the empty line; calls `_begin` or gives the connection up."""

    @abstractmethod
    def _refuse_head(self, why: str) -> None:
        """Called when there is no head to be had."""

    @property
    def _opened(self) -> bool:
        return self._frames.state is not State.CONNECTING

    def _begin(self) -> None:
        """The handshake is over."""
        self._set_timer(PING_INTERVAL_S, self._ping)

    def _ping(self) -> None:
        if self._frames.state is State.OPEN and not self._congested:
            self._frames.send_ping(b"")
            self._send()
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
        if not self._opened:
            data = self._read_head(data)
        if self._opened and data:
            self._read_frames(data)

    def _read_head(self, data: bytes) -> bytes:
        """Takes the handshake out of what arrives; what stands behind it.

        The library must not see frames before its part of the handshake is done: it would answer them.
        """
        if self._queue.ended:
            return b""
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if 0 <= end <= HEAD_LIMIT_BYTES:
            head, rest = bytes(self._head[: end + 4]), bytes(self._head[end + 4 :])
            self._head.clear()
            # Other than ASCII means nothing to us, and the library can't put it into words when it refuses.
            self._take_head(head.decode("ascii", "replace").encode("ascii", "replace"))
            return rest
        if len(self._head) > HEAD_LIMIT_BYTES:
            self._refuse_head(f"what was sent there to begin with is longer than {HEAD_LIMIT_BYTES} bytes")
        elif not self._head.startswith(self.head_begins[: len(self._head)]):
            self._refuse_head("the other side does not speak HTTP")
        return b""

    def _read_frames(self, data: bytes) -> None:
        for at in range(0, len(data), SLICE_BYTES):
            if not self._queue.ended:
                self._read_slice(data[at : at + SLICE_BYTES])

    def _read_slice(self, data: bytes) -> None:
        self._frames.receive_data(data)
        frames = [each for each in self._frames.events_received() if isinstance(each, Frame)]
        if any(each.opcode is Opcode.TEXT for each in frames):
            self._frames.fail(CloseCode.UNSUPPORTED_DATA)
            self._give_up("a WebSocket carries bytes here, and the other side sent text")
            return
        if self._frames.parser_exc is not None:
            self._give_up(f"the other side broke the rules of WebSockets: {self._frames.parser_exc}")
            return
        payload = b"".join(each.data for each in frames if each.opcode in (Opcode.BINARY, Opcode.CONT))
        self._counted_frames += len(frames)
        self._counted_bytes += len(payload)
        if self._counted_frames >= COUNTED_FRAMES:
            if self._counted_bytes < self._counted_frames * FRAME_MEAN_MIN_BYTES:
                self._frames.fail(CloseCode.POLICY_VIOLATION)
                self._give_up("the other side sends next to nothing in ever more WebSocket frames")
                return
            self._counted_frames = self._counted_bytes = 0
        if payload:
            self._queue.push(payload)
        if self._frames.close_rcvd is not None:
            self._queue.finish()
        if self._congested:
            self._frames.data_to_send()  # Who does not read gets no answers to its pings.
        else:
            self._send()

    def _give_up(self, why: str) -> None:
        self._queue.finish(FrameInvalid(why), discard=True)
        self._send()
        if self._socket is not None:
            self._socket.close()

    def eof_received(self) -> bool:
        if not self._opened:
            self._refuse_head("the other side hung up")
        # A WebSocket ends with a frame that says so; TLS can't be half open.
        self._queue.finish(LinkClosed("the connection broke: it ended in the middle of a WebSocket"))
        return self.transport == "ws"

    def write(self, data: bytes) -> None:
        if self._frames.state is not State.OPEN:
            return
        if len(data) <= FRAME_BYTES:
            self._frames.send_binary(data)
        else:
            view = memoryview(data)
            for at in range(0, len(view), FRAME_BYTES):
                self._frames.send_binary(view[at : at + FRAME_BYTES])
        self._send()

    async def close(self) -> None:
        if self._frames.state is State.OPEN:
            self._frames.send_close(CloseCode.NORMAL_CLOSURE)
            self._send()
        await super().close()

    def _send(self) -> None:
        """Sends what the library has to say. That it ends the connection is said by closing the socket."""
        data = b"".join(self._frames.data_to_send())
        if data:
            super().write(data)


class _Dialled(WsStream):
    """The client's side."""

    head_begins = b"HTTP/1."

    def __init__(self, to: Endpoint) -> None:
        self._client = ClientProtocol(parse_uri(to.url), max_size=MESSAGE_LIMIT_BYTES, logger=_QUIET)
        super().__init__("wss" if to.secure else "ws", to.url, self._client)
        self._to = to
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the handshake is; ConnectFailed when the other side is no WebSocket."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._client.send_request(self._client.connect())
        self._send()

    def _take_head(self, head: bytes) -> None:
        self._client.receive_data(head)
        self._client.events_received()
        status = _STATUS_LINE.match(head)
        if status is not None and status[1] != b"101":
            self._refuse_head(f"the server answered {status[1].decode()}: there is no WebSocket of an SSB peer")
            return
        if not self._opened:
            self._refuse_head("the server's answer breaks the rules of WebSockets")
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
        if not self._opened:
            self._refuse_head("the connection ended during the handshake")


class _Accepted(WsStream):
    """The server's side. Its owner gets it when the WebSocket is open."""

    head_begins = b"GET "

    def __init__(self, name: str, accepted: AcceptedStreams, waiting: dict[_Accepted, None]) -> None:
        self._server = ServerProtocol(max_size=MESSAGE_LIMIT_BYTES, logger=_QUIET)
        super().__init__(name, f"{name}://?", self._server)
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
        self._server.receive_data(head)
        asked = [each for each in self._server.events_received() if isinstance(each, Request)]
        if asked:
            answer = self._server.accept(asked[0])
        else:
            answer = self._server.reject(400, "A WebSocket begins with GET and HTTP/1.1.\n")
        if answer.status_code != 101:
            SocketStream.write(self, answer.serialize())
            self._refuse_head(f"the other side asked for no WebSocket (we answered {answer.status_code})")
            return
        self._waiting.pop(self, None)
        self._server.send_response(answer)
        self._send()
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
            raise ConnectFailed(
                f"no answer from {to.url} within {self._connect_limit_s:g} s: is the other peer running?"
            ) from error
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
            raise ListenFailed(
                f"can't use the certificate {chain} with the key {key}: {error}; both are files in PEM"
            ) from error
        return context


def _retrieved(opened: asyncio.Future[None]) -> None:
    """Nobody may be left to hear of a failure."""
    with contextlib.suppress(asyncio.CancelledError, SsbRtcError):
        opened.result()
