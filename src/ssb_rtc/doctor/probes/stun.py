"""Questions to STUN servers over one UDP socket each: where do you see us, and would you answer from elsewhere?

RFC 8489 and RFC 5780, with the messages of aioice. A server is one that the owner named, and yet it is believed as far
as an address goes: it can make us send a few packets to one more place, and nothing else.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

from aioice import stun

from ssb_rtc.doctor.nat import Filtering, Place, Seen, filtering_of
from ssb_rtc.errors import ConnectFailed

RETRANSMISSIONS: Final = 2
"""At 0, 0.5 and 1.5 s; after 3.5 s nobody has answered."""
CHANGE_PORT: Final = 0x02
CHANGE_ADDRESS_AND_PORT: Final = 0x06
LOOKUP_LIMIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    source: Place
    """Where the answer came from."""
    mapped: Place
    other: Place | None
    """Where else it listens (OTHER-ADDRESS), as far as it says so and it is of use."""
    took_s: float


@dataclass(frozen=True, slots=True)
class Survey:
    """What all servers together said of one socket."""

    local: Place
    """Where the socket is bound to."""
    answers: Mapping[str, Answer | str]
    """For each server its answer, or why there is none."""
    seen: Sequence[Seen]
    filtering: Filtering

    @property
    def mapped(self) -> Place | None:
        """Where we are seen; None where nobody answered."""
        return self.seen[0].mapped if self.seen else None


class Asker(asyncio.DatagramProtocol):
    """One UDP socket that asks."""

    def __init__(self) -> None:
        self._transactions: dict[bytes, stun.Transaction] = {}
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        try:
            message = stun.parse_message(data)
        except Exception:
            return  # the codec raises whatever a broken packet makes it stumble over
        transaction = self._transactions.get(message.transaction_id)
        if transaction is not None and message.message_class in (stun.Class.RESPONSE, stun.Class.ERROR):
            transaction.response_received(message, (str(addr[0]), int(addr[1])))

    def send_stun(self, message: stun.Message, addr: tuple[str, int]) -> None:
        """Called by the transaction."""
        self.transport.sendto(bytes(message), addr)

    async def ask(self, server: Place, change: int = 0) -> Answer:
        """One question, sent again a few times. Raises ConnectFailed: no answer, a refusal, or one without sense.

        change: CHANGE-REQUEST, from where the server is to answer.
        """
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        if change:
            request.attributes["CHANGE-REQUEST"] = change
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        transaction = stun.Transaction(request, server, self, retransmissions=RETRANSMISSIONS)
        self._transactions[request.transaction_id] = transaction
        try:
            message, source = await transaction.run()
        except stun.TransactionFailed as refusal:
            raise Refused(f"it refuses (error {refusal.response.error_code})") from refusal
        except stun.TransactionTimeout as fault:
            raise ConnectFailed(f"no answer within {loop.time() - begun_s:.1f} s") from fault
        finally:
            del self._transactions[request.transaction_id]
        mapped = message.attributes.get("XOR-MAPPED-ADDRESS") or message.attributes.get("MAPPED-ADDRESS")
        if mapped is None:
            raise ConnectFailed("its answer does not say where it sees us")
        other = message.attributes.get("OTHER-ADDRESS") or message.attributes.get("CHANGED-ADDRESS")
        return Answer(source, mapped, _usable(other, server), loop.time() - begun_s)


class Refused(ConnectFailed):
    """The server answered with an error."""


def _usable(other: Place | None, server: Place) -> Place | None:
    """The other place of a server, unless it is the same or no place to send to from here."""
    if other is None or other[1] == 0 or other[0] == server[0] or other[1] == server[1]:
        return None
    here, there = ipaddress.ip_address(server[0]), ipaddress.ip_address(other[0])
    if here.version != there.version or there.is_multicast or there.is_unspecified or there.is_link_local:
        return None
    if (there.is_private or there.is_loopback) and not here.is_private:
        return None  # a server out there has us send nothing to machines of our own network
    return other


@asynccontextmanager
async def asker(family: socket.AddressFamily) -> AsyncIterator[Asker]:
    """A fresh socket. Raises ConnectFailed where the machine has none of this family."""
    loop = asyncio.get_running_loop()
    try:
        # Bound at once, or asyncio would remember for good that it has no port yet.
        anywhere = "::" if family is socket.AF_INET6 else "0.0.0.0"  # noqa: S104 - answers may come from anywhere
        transport, protocol = await loop.create_datagram_endpoint(Asker, local_addr=(anywhere, 0))
    except OSError as fault:
        raise ConnectFailed(f"no UDP socket could be made: {fault.strerror}") from fault
    try:
        yield protocol
    finally:
        transport.close()


async def place_of(server: str, family: socket.AddressFamily) -> Place:
    """Where `host:port` is. Raises ConnectFailed."""
    host, _, port = server.rpartition(":")
    try:
        async with asyncio.timeout(LOOKUP_LIMIT_S):
            found = await asyncio.get_running_loop().getaddrinfo(
                host.strip("[]"), int(port), family=family, type=socket.SOCK_DGRAM
            )
    except (TimeoutError, OSError, UnicodeError):
        raise ConnectFailed("its name is not known, or this machine is offline") from None
    return str(found[0][4][0]), int(found[0][4][1])


def own_address(towards: Place, family: socket.AddressFamily) -> str:
    """The address of ours from which packets leave for a place; asks the routing table and sends nothing.

    Raises ConnectFailed where no way leads there.
    """
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(towards)
            return str(probe.getsockname()[0])
    except OSError as fault:
        raise ConnectFailed(f"no way leads there: {fault.strerror}") from fault


async def survey(servers: Sequence[str], family: socket.AddressFamily = socket.AF_INET) -> Survey | None:
    """Asks all servers, `host:port`, through one socket, and one that offers it how the NAT filters.

    None where none of their names leads to an address of the family.
    """
    named = dict(
        zip(servers, await asyncio.gather(*(_place_or_why(server, family) for server in servers)), strict=True)
    )
    places = {server: place for server, place in named.items() if not isinstance(place, str)}
    if not places:
        return None
    answers: dict[str, Answer | str] = {server: why for server, why in named.items() if isinstance(why, str)}
    async with asker(family) as one_socket:
        answers |= await _ask_all(one_socket, places)
        heard = {server: answer for server, answer in answers.items() if isinstance(answer, Answer)}
        seen = [Seen(places[server], answer.mapped) for server, answer in heard.items()]
        offering = next(((places[server], answer.other) for server, answer in heard.items() if answer.other), None)
        filtering = Filtering.UNKNOWN
        if offering is not None:
            elsewhere, filtering = await asyncio.gather(
                _seen_elsewhere(one_socket, *offering), filtering_towards(offering[0], family)
            )
            seen += elsewhere
            if len(elsewhere) < len(_elsewhere(*offering)):
                filtering = Filtering.UNKNOWN  # nothing comes from there when it is asked for, either
        towards = seen[0].server if seen else next(iter(places.values()))
        local = (own_address(towards, family), int(one_socket.transport.get_extra_info("sockname")[1]))
    return Survey(local, answers, seen, filtering)


async def _place_or_why(server: str, family: socket.AddressFamily) -> Place | str:
    try:
        return await place_of(server, family)
    except ConnectFailed as fault:
        return str(fault)


async def _ask_all(one_socket: Asker, places: Mapping[str, Place]) -> dict[str, Answer | str]:
    async def ask(place: Place) -> Answer | str:
        try:
            return await one_socket.ask(place)
        except ConnectFailed as fault:
            return str(fault)

    return dict(zip(places, await asyncio.gather(*map(ask, places.values())), strict=True))


def _elsewhere(server: Place, other: Place) -> list[Place]:
    """Where else RFC 5780 has it asked: at the other address, on both ports."""
    return [(other[0], server[1]), other]


async def _seen_elsewhere(one_socket: Asker, server: Place, other: Place) -> list[Seen]:
    places = {f"{host}:{port}": (host, port) for host, port in _elsewhere(server, other)}
    answers = await _ask_all(one_socket, places)
    return [Seen(places[name], answer.mapped) for name, answer in answers.items() if isinstance(answer, Answer)]


async def filtering_towards(server: Place, family: socket.AddressFamily) -> Filtering:
    """How answers are filtered that come from elsewhere, each asked for through a socket that never sent there."""
    from_address, from_port = await asyncio.gather(
        _comes_in(server, CHANGE_ADDRESS_AND_PORT, family), _comes_in(server, CHANGE_PORT, family)
    )
    return filtering_of(from_address, from_port)


async def _comes_in(server: Place, change: int, family: socket.AddressFamily) -> bool | None:
    """Whether an answer from elsewhere comes in; None where the server sends none."""
    async with asker(family) as fresh:
        try:
            await fresh.ask(server)
            answer = await fresh.ask(server, change)
        except Refused:
            return None
        except ConnectFailed:
            return False
    return None if answer.source == server else True
