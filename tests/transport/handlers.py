"""What the links of these tests serve."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ssb_rtc.errors import RemoteCallError
from ssb_rtc.transport.link import Duplex, Link
from ssb_rtc.types import Json


async def echo(link: Link, *args: Json) -> Json:
    return list(args)


async def fail_politely(link: Link) -> Json:
    raise RemoteCallError("not today", name="Busy")


async def count(link: Link, most: int) -> AsyncIterator[Json]:
    for number in range(most):
        yield {"number": number}


async def shout(link: Link, duplex: Duplex, mark: str) -> None:
    async for word in duplex:
        await duplex.send(word + mark)
    await duplex.send("bye")
