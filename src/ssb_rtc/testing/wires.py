"""The wires between the peers of a swarm, which can be cut and mended.

Each peer gets a `Wire`, a transport that stands in the place of TCP: everything above it is what runs in earnest. In
memory a peer's host is its name (`net:alice:1~shs:...`); on loopback it is real TCP with a port of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Literal

from ssb_rtc.errors import ConnectFailed
from ssb_rtc.transport.base import Listener, OnStream, Stream, Transport
from ssb_rtc.transport.memory import MemoryTransport
from ssb_rtc.transport.net import NetTransport

Way = Literal["memory", "loopback"]
"""memory: streams inside this process; loopback: TCP on 127.0.0.1."""

Pair = frozenset[str]
"""The names of the two peers at the ends of a wire."""


class Wires:
    """Every wire of a swarm. Who a wire leads to is known by the place where each peer listens."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.cuts: set[Pair] = set()
        self._memory = MemoryTransport()
        self._owners: dict[str, str] = {}
        """Who listens at a place."""
        self._streams: dict[Pair, list[Stream]] = {}

    def wire_of(self, name: str) -> Wire:
        """The transport for the peer of this name."""
        return Wire(self, name, self._memory if self.way == "memory" else NetTransport())

    def cut(self, pairs: Collection[Pair]) -> None:
        """Breaks what flows between these, and keeps them apart until `mend`."""
        self.cuts.update(pairs)
        for pair in pairs:
            for stream in self._streams.pop(pair, ()):
                stream.abort("the test cut this wire")

    def mend(self, pairs: Collection[Pair]) -> None:
        """Lets these connect again."""
        self.cuts.difference_update(pairs)

    def owns(self, place: str, name: str | None) -> None:
        """This peer listens there now; None: nobody does."""
        if name is None:
            self._owners.pop(place, None)
        else:
            self._owners[place] = name

    def check(self, caller: str, place: str) -> Pair:
        """The wire between the caller and who listens at a place. Raises ConnectFailed where it is cut or leads out."""
        owner = self._owners.get(place)
        if owner is None:
            raise ConnectFailed(f"no peer of this swarm listens at {place}")
        pair = frozenset((caller, owner))
        if pair in self.cuts:
            raise ConnectFailed(f"the test has cut the wire between {caller} and {owner}")
        return pair

    def opened(self, pair: Pair, stream: Stream) -> None:
        """A stream runs over this wire."""
        self._streams.setdefault(pair, []).append(stream)


class Wire(Transport):
    """One peer's way to the others of its swarm, and to nobody else."""

    name: ClassVar[str] = "net"

    def __init__(self, wires: Wires, owner: str, inner: Transport) -> None:
        self._wires = wires
        self._owner = owner
        self._inner = inner

    async def connect(self, where: str) -> Stream:
        pair = self._wires.check(self._owner, where)
        stream = await self._inner.connect(where)
        self._wires.opened(pair, stream)
        if pair in self._wires.cuts:
            stream.abort("the test cut this wire")
        return stream

    async def listen(self, where: str, on_stream: OnStream) -> Listener:
        return _WireListener(self._wires, self._owner, await self._inner.listen(where, on_stream))

    async def close(self) -> None:
        """Nothing: the peer closes each listener, and in memory the transport is everybody's."""


class _WireListener(Listener):
    """Says `net:` in memory too, and is known to the wires while it listens."""

    def __init__(self, wires: Wires, owner: str, inner: Listener) -> None:
        places = [address.partition(":")[2] for address in inner.addresses]
        self.addresses = [f"net:{place}" for place in places]
        self._wires = wires
        self._places = places
        self._inner = inner
        for place in places:
            wires.owns(place, owner)

    async def close(self) -> None:
        for place in self._places:
            self._wires.owns(place, None)
        await self._inner.close()
