"""Unix sockets: `unix:<path>`, for programs of the same user on the same machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from ssb_rtc.errors import ConnectFailed, ListenFailed
from ssb_rtc.transport.base import CONNECT_LIMIT_S, Listener, OnStream, Stream, Transport
from ssb_rtc.transport.sockets import BACKLOG, AcceptedStream, AcceptedStreams, SocketListener, SocketStream, why

PATH_MAX_BYTES = 103
"""The kernel takes 107 bytes (Linux) or 103 (macOS); longer paths are reached through a short link to their folder."""
SOCKET_MODE = 0o600


class UnixTransport(Transport):
    """Sockets of mode 0600. They get the mode before they get their name, so they are never open wider."""

    name: ClassVar[str] = "unix"

    def __init__(self, *, connect_limit_s: float = CONNECT_LIMIT_S) -> None:
        self._connect_limit_s = connect_limit_s
        self._listeners: set[SocketListener] = set()

    async def connect(self, where: str) -> Stream:
        stream = SocketStream("unix", f"unix:{where}")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_limit_s):
                with _short(Path(where)) as path:
                    await loop.create_unix_connection(lambda: stream, str(path))
        except TimeoutError as error:
            raise ConnectFailed(
                f"no answer at {where} within {self._connect_limit_s:g} s: is the peer busy? Try again"
            ) from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise ConnectFailed(f"nobody listens at {where}: is the peer running?") from error
        except PermissionError as error:
            raise ConnectFailed(f"the socket {where} belongs to another user: run this as that one") from error
        except (OSError, ValueError) as error:
            raise ConnectFailed(f"can't connect to {where}: {why(error)}") from error
        return stream

    async def listen(self, where: str, on_stream: OnStream) -> Listener:
        path = Path(where)
        accepted = AcceptedStreams(on_stream)
        loop = asyncio.get_running_loop()
        raw, own = _bind(path)
        try:
            server = await loop.create_unix_server(
                lambda: AcceptedStream("unix", accepted, lambda _: f"unix:{where}"), sock=raw, backlog=BACKLOG
            )
            identity = _put_in_place(own, path)
        except OSError as error:
            raw.close()
            raise ListenFailed(f"can't listen at {where}: {why(error)}") from error
        listener = SocketListener(server, [f"unix:{where}"], lambda own: self._forget(own, path, identity))
        self._listeners.add(listener)
        return listener

    async def close(self) -> None:
        for listener in list(self._listeners):
            await listener.close()

    def _forget(self, listener: SocketListener, path: Path, identity: tuple[int, int]) -> None:
        if listener in self._listeners:
            self._listeners.discard(listener)
            with contextlib.suppress(OSError):
                if _identity(path) == identity:
                    path.unlink()


@contextlib.contextmanager
def _short(path: Path) -> Iterator[Path]:
    """`path`, or where that is too long for the kernel, another way to the same file, for as long as it is used."""
    if len(os.fsencode(path)) <= PATH_MAX_BYTES:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="ssb-") as folder:
        link = Path(folder, "d")
        link.symlink_to(path.parent.absolute())
        yield link / path.name


def _bind(path: Path) -> tuple[socket.socket, Path]:
    """A bound socket of mode 0600 under a name of its own beside `path`; nobody can connect before it listens."""
    _refuse_taken(path)
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    own = _own_name(path)
    try:
        with _short(own) as short:
            raw.bind(str(short))
        own.chmod(SOCKET_MODE)
    except OSError as error:
        raw.close()
        with contextlib.suppress(OSError):
            own.unlink()
        raise ListenFailed(f"can't make the socket {path}: {why(error)}") from error
    return raw, own


def _own_name(path: Path) -> Path:
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}")


def _put_in_place(own: Path, path: Path) -> tuple[int, int]:
    """Gives a listening socket its name, in one step over a stale one."""
    try:
        identity = _identity(own)
        own.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            own.unlink()
        raise
    return identity


def _refuse_taken(path: Path) -> None:
    """Raises ListenFailed when somebody listens at `path`, or when what is there is no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ListenFailed(f"can't look at {path}: {why(error)}") from error
    if not stat.S_ISSOCK(mode):
        raise ListenFailed(f"{path} is no socket and is left alone: move it away or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            with _short(path) as short:
                probe.connect(str(short))
        except ConnectionRefusedError:
            return
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                return
            raise ListenFailed(f"another program seems to listen at {path} ({why(error)})") from error
    raise ListenFailed(f"another peer listens at {path}: stop it first, or give this one another folder")


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
