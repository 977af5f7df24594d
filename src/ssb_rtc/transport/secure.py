"""What lies between a stream's bytes and muxrpc: the secret handshake and the box stream, or nothing at all."""

from __future__ import annotations

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from ssb_rtc.errors import HandshakeRefused, LinkClosed
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.feeds.refs import feed_id, public_key
from ssb_rtc.transport.base import Stream
from ssb_rtc.transport.serving import Caller
from ssb_rtc.types import PeerId, peer_of
from ssb_rtc.wire.boxstream import Boxer, Unboxer
from ssb_rtc.wire.handshake import Client, Secrets, Server


class Codec(ABC):
    """Turns muxrpc's bytes into the stream's bytes and back."""

    @abstractmethod
    def seal(self, data: bytes) -> bytes:
        """The bytes to send for `data`."""

    @abstractmethod
    def open(self, data: bytes) -> bytes:
        """What the arrived bytes say, as far as it is complete. Raises FrameInvalid."""

    @abstractmethod
    def goodbye(self) -> bytes:
        """The bytes that end our direction."""

    @property
    @abstractmethod
    def ended(self) -> bool:
        """The other side said goodbye, so that the end of the stream is no surprise."""


class BoxCodec(Codec):
    """The box stream."""

    def __init__(self, agreed: Secrets) -> None:
        self._boxer = Boxer(agreed.encrypt_key, agreed.encrypt_nonce)
        self._unboxer = Unboxer(agreed.decrypt_key, agreed.decrypt_nonce)

    def seal(self, data: bytes) -> bytes:
        return self._boxer.box(data)

    def open(self, data: bytes) -> bytes:
        return b"".join(self._unboxer.feed(data))

    def goodbye(self) -> bytes:
        return self._boxer.goodbye()

    @property
    def ended(self) -> bool:
        return self._unboxer.ended


class PlainCodec(Codec):
    """No encryption, for the unix socket: multiserver calls it `noauth`. The end of the stream is the end."""

    def seal(self, data: bytes) -> bytes:
        return data

    def open(self, data: bytes) -> bytes:
        return data

    def goodbye(self) -> bytes:
        return b""

    @property
    def ended(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Agreed:
    """A finished handshake."""

    remote: PeerId
    caller: Caller
    codec: Codec
    rest: bytes
    """Bytes that arrived behind the handshake."""


class _Reader:
    """Takes exact numbers of bytes from a stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.rest = b""

    async def exactly(self, size: int) -> bytes:
        while len(self.rest) < size:
            data = await self._stream.read()
            if not data:
                raise HandshakeRefused(
                    "the other side hung up during the handshake: it does not want us, has another network key, "
                    "or is not the holder of the key that we wanted"
                )
            self.rest += data
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken


async def shake_hands(
    stream: Stream,
    keys: Keys,
    network_key: bytes,
    remote: PeerId | None,
    admit: Callable[[PeerId], Caller | None],
    timeout_s: float,
) -> Agreed:
    """The secret handshake on a fresh stream, as client when `remote` is given, else as server.

    Raises HandshakeRefused, also after `timeout_s` and when `admit` turns the other side away. Leaves the stream
    open: closing it is the caller's.
    """
    try:
        async with asyncio.timeout(timeout_s):
            if remote is not None:
                return await _as_client(stream, keys, network_key, remote)
            return await _as_server(stream, keys, network_key, admit)
    except TimeoutError as error:
        raise HandshakeRefused(f"the handshake took longer than {timeout_s:g} s") from error
    except LinkClosed as error:
        raise HandshakeRefused(f"the connection ended during the handshake: {error}") from error


async def _as_client(stream: Stream, keys: Keys, network_key: bytes, remote: PeerId) -> Agreed:
    client = Client(network_key, keys.seed, keys.public, public_key(remote), secrets.token_bytes(32))
    reader = _Reader(stream)
    stream.write(client.start())
    while wants := client.wants:
        reply = client.receive(await reader.exactly(wants))
        if reply:
            stream.write(reply)
    return Agreed(remote, Caller.PEER, BoxCodec(client.outcome), reader.rest)


async def _as_server(
    stream: Stream, keys: Keys, network_key: bytes, admit: Callable[[PeerId], Caller | None]
) -> Agreed:
    server = Server(network_key, keys.seed, keys.public, secrets.token_bytes(32))
    reader = _Reader(stream)
    caller: Caller | None = None
    while wants := server.wants:
        reply = server.receive(await reader.exactly(wants))
        if server.remote_public is not None:
            # The accept packet is what welcomes a peer, so who is turned away never gets it.
            remote = peer_of(feed_id(server.remote_public))
            caller = admit(remote)
            if caller is None:
                raise HandshakeRefused(f"{remote} may not connect to us")
        stream.write(reply)
    assert caller is not None
    return Agreed(peer_of(feed_id(server.outcome.remote_public)), caller, BoxCodec(server.outcome), reader.rest)
