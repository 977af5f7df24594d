"""TCP: `net:<host>:<port>`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import ClassVar

from ssb_rtc.errors import ConnectFailed, ListenFailed, MisuseError
from ssb_rtc.transport.base import CONNECT_LIMIT_S, Listener, OnStream, Stream, Transport
from ssb_rtc.transport.sockets import (
    BACKLOG,
    AcceptedStream,
    AcceptedStreams,
    SocketListener,
    SocketStream,
    remedy,
    why,
)

KEEPALIVE_IDLE_S = 60
KEEPALIVE_INTERVAL_S = 15
KEEPALIVE_PROBES = 4
"""A peer whose machine vanished is noticed after 60 + 4 * 15 s of silence."""


class NetTransport(Transport):
    """TCP with TCP_NODELAY on, and acknowledgements at once where the platform has them."""

    name: ClassVar[str] = "net"

    def __init__(self, *, connect_limit_s: float = CONNECT_LIMIT_S) -> None:
        self._connect_limit_s = connect_limit_s
        self._listeners: set[SocketListener] = set()

    async def connect(self, where: str) -> Stream:
        host, port = split_host_port(where)
        stream = SocketStream("net", f"net:{join_host_port(host, port)}", quick_acks=hasattr(socket, "TCP_QUICKACK"))
        place = f"{host} port {port}"
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_limit_s):
                transport, _ = await loop.create_connection(lambda: stream, host, port)
        except TimeoutError as error:
            raise ConnectFailed(f"no answer from {place} within {self._connect_limit_s:g} s") from error
        except OSError as error:
            raise ConnectFailed(f"can't connect to {place}: {why(error)}{remedy(error)}") from error
        except (UnicodeError, ValueError) as error:
            raise ConnectFailed(f"can't connect to {place}: that is no host name") from error
        _tune(transport)
        return stream

    async def listen(self, where: str, on_stream: OnStream) -> Listener:
        host, port = split_host_port(where)
        accepted = AcceptedStreams(on_stream)
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                lambda: AcceptedStream("net", accepted, _describe), host, port, backlog=BACKLOG
            )
        except OSError as error:
            raise ListenFailed(f"can't listen on {host} port {port}: {why(error)}{remedy(error)}") from error
        except (UnicodeError, ValueError, OverflowError) as error:
            raise ListenFailed(f"can't listen on {host} port {port}: that is no address of this machine") from error
        addresses = [f"net:{join_host_port(*s.getsockname()[:2])}" for s in server.sockets]
        listener = SocketListener(server, addresses, self._listeners.discard)
        self._listeners.add(listener)
        return listener

    async def close(self) -> None:
        for listener in list(self._listeners):
            await listener.close()


def split_host_port(where: str) -> tuple[str, int]:
    """`host:port` apart; an IPv6 address stands in brackets or, as multiserver has it, bare. Raises MisuseError."""
    host, separator, port = where.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise MisuseError(f"a TCP address is HOST:PORT with a port from 0 to 65535, not {where!r}")
    return host, int(port)


def join_host_port(host: str, port: int) -> str:
    """The inverse of `split_host_port`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _describe(transport: asyncio.Transport) -> str:
    _tune(transport)
    peer = transport.get_extra_info("peername")
    return f"net:{join_host_port(peer[0], peer[1])}" if peer else "net:?"


def _tune(transport: asyncio.BaseTransport) -> None:
    raw = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sys.platform == "linux":
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
