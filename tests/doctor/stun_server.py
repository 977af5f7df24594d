"""A STUN server that does as the test likes, on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from aioice import stun

from ssb_rtc.doctor.nat import Place

Reply = Callable[[stun.Message, Place], bytes | None]
"""What is sent back to a request from a place; None for nothing."""


class _Server(asyncio.DatagramProtocol):
    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        answer = self._reply(stun.parse_message(data), (addr[0], addr[1]))
        if answer is not None:
            self.transport.sendto(answer, addr)


@asynccontextmanager
async def stun_server(reply: Reply) -> AsyncIterator[Place]:
    """One that answers so; where it is."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Server(reply), local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[:2]
    finally:
        transport.close()


def answering(request: stun.Message, **attributes: Any) -> bytes:
    """A good answer with these attributes, their names with _ for -."""
    named = {name.replace("_", "-"): value for name, value in attributes.items()}
    method = request.message_method
    return bytes(stun.Message(method, stun.Class.RESPONSE, request.transaction_id, named))


def refusing(request: stun.Message, code: int) -> bytes:
    """An error."""
    named = {"ERROR-CODE": (code, "no")}
    return bytes(stun.Message(request.message_method, stun.Class.ERROR, request.transaction_id, named))
