"""TCP: `net:<host>:<port>`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import sys
from collections.abc import Callable
from typing import ClassVar

from ssb_rtc.errors import ConnectFailed, ListenFailed, MisuseError
from ssb_rtc.transport.base import CONNECT_LIMIT_S, Listener, OnStream, Stream, Transport
from ssb_rtc.transport.sockets import (
    BACKLOG,
    QUICK_ACKS,
    AcceptedStream,
    AcceptedStreams,
    SocketListener,
    SocketStream,
    remedy,
    tls_why,
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
        stream = SocketStream("net", f"net:{join_host_port(host, port)}", quick_acks=QUICK_ACKS)
        await open_connection(stream, host, port, self._connect_limit_s)
        return stream

    async def listen(self, where: str, on_stream: OnStream) -> Listener:
        host, port = split_host_port(where)
        accepted = AcceptedStreams(on_stream)
        server = await listening_server(lambda: AcceptedStream("net", accepted, _describe), host, port)
        addresses = [f"net:{join_host_port(*s.getsockname()[:2])}" for s in server.sockets]
        listener = SocketListener(server, addresses, self._listeners.discard)
        self._listeners.add(listener)
        return listener

    async def close(self) -> None:
        for listener in list(self._listeners):
            await listener.close()


async def open_connection(
    stream: SocketStream, host: str, port: int, limit_s: float, *, tls: ssl.SSLContext | None = None
) -> None:
    """Connects `stream` to a TCP port. Raises ConnectFailed with a sentence that says why."""
    place = f"{host} port {port}"
    try:
        async with asyncio.timeout(limit_s):
            transport, _ = await asyncio.get_running_loop().create_connection(lambda: stream, host, port, ssl=tls)
    except TimeoutError as error:
        raise ConnectFailed(f"no answer from {place} within {limit_s:g} s: is the other peer running?") from error
    except ssl.SSLError as error:
        raise ConnectFailed(f"can't connect to {place} with TLS: {tls_why(error)}") from error
    except ConnectionResetError as error:
        hint = ": does it speak TLS?" if tls is not None else ""
        raise ConnectFailed(f"can't connect to {place}: the other side hung up{hint}") from error
    except OSError as error:
        raise ConnectFailed(f"can't connect to {place}: {why(error)}{remedy(error)}") from error
    except (UnicodeError, ValueError) as error:
        raise ConnectFailed(f"can't connect to {place}: that is no host name; write it like example.com") from error
    tune(transport)


async def listening_server(
    factory: Callable[[], SocketStream], host: str, port: int, *, tls: ssl.SSLContext | None = None
) -> asyncio.Server:
    """A TCP server of streams. Raises ListenFailed with why and the remedy."""
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(factory, host, port, backlog=BACKLOG, ssl=tls)
    except OSError as error:
        # From Python 3.13 on, asyncio passes over addresses that are not there, and then says so without a number.
        told = error if error.errno is not None else OSError(errno.EADDRNOTAVAIL, "")
        raise ListenFailed(f"can't listen on {host} port {port}: {why(told)}{remedy(told)}") from error
    except (UnicodeError, ValueError, OverflowError) as error:
        raise ListenFailed(
            f"can't listen on {host} port {port}: that is no address of this machine; 0.0.0.0 is all it has"
        ) from error


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
    tune(transport)
    peer = transport.get_extra_info("peername")
    return f"net:{join_host_port(peer[0], peer[1])}" if peer else "net:?"


def tune(transport: asyncio.BaseTransport) -> None:
    """Small packets leave at once, and a machine that vanished is noticed."""
    raw = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sys.platform == "linux":
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
