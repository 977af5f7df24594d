"""Hubs that we know from others alone: asked whether they are hubs, and reached at public places only.

Whoever has us try a hub could name a machine of our own network, or a name that leads there today or tomorrow. So a
name is looked up once for each connection, all that it leads to has to be public, and the connection goes to what was
looked up, not to the name; redirects are not followed.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from ssb_rtc.errors import ConnectFailed, TransportFault
from ssb_rtc.signalhub.client import HEADER_LIMIT_BYTES, cause_of, shown
from ssb_rtc.types import HubUrl
from ssb_rtc.wire.hub_url import hub_host, is_loopback
from ssb_rtc.wire.told_hubs import is_public_host

ANSWER_LIMIT_BYTES: Final = 4_096
"""What is read of a hub's answer to a question."""
PROBE_LIMIT_S: Final = 20.0
"""The longest that a question takes."""
ADDRESSES_MAX: Final = 32
"""Addresses of one name that are looked at; who has more has none."""

Lookup = Callable[[str, int, socket.AddressFamily], Awaitable[list[ResolveResult]]]
"""Host, port and family to the addresses of a name; raises OSError."""


class NotAsked(ConnectFailed):
    """Nothing of a question left this machine: we are offline, or the name leads nowhere."""


async def lookup(host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
    """What the operating system knows."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
    return [
        ResolveResult(
            hostname=host, host=str(place[0]), port=port, family=kind, proto=proto, flags=socket.AI_NUMERICHOST
        )
        for kind, _, proto, _, place in found
    ]


def check_public(host: str, addresses: Iterable[str], *, allow_loopback: bool) -> None:
    """Raises OSError unless all of these addresses may be connected to.

    One alone that may not is enough: whoever mixes a private address among others hopes that it is the one we take.
    allow_loopback: this machine is fine too where `host` says that it is this one, because we meet on a hub there.
    """
    places = list(addresses)
    if not places or len(places) > ADDRESSES_MAX:
        raise OSError(0, f"{host} leads to {len(places)} addresses")
    local = allow_loopback and is_loopback(host)
    for place in places:
        if not (local and is_loopback(place)) and not is_public_host(place.partition("%")[0]):
            raise OSError(0, f"{host} leads to {place}, which is no public place: a hub there is added by hand")


class GuardedResolver(AbstractResolver):
    """Looks names up, those of guarded hosts with the check above.

    is_guarded: whether we know a host from others alone. allow_loopback: see `check_public`; asked each time.
    """

    def __init__(
        self, is_guarded: Callable[[str], bool], allow_loopback: Callable[[], bool], lookup: Lookup = lookup
    ) -> None:
        self._is_guarded = is_guarded
        self._allow_loopback = allow_loopback
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See aiohttp.abc.AbstractResolver."""
        found = await self._lookup(host, port, family)
        if self._is_guarded(host):
            check_public(host, [result["host"] for result in found], allow_loopback=self._allow_loopback())
        return found

    async def close(self) -> None:
        """See aiohttp.abc.AbstractResolver."""


class _Pinned(AbstractResolver):
    """Knows the addresses that were checked, and nothing else."""

    def __init__(self, addresses: list[ResolveResult]) -> None:
        self._addresses = addresses

    async def resolve(
        self,
        host: str,  # noqa: ARG002 - there is one
        port: int = 0,  # noqa: ARG002
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002
    ) -> list[ResolveResult]:
        return self._addresses

    async def close(self) -> None:
        pass


async def ask(hub: HubUrl, *, allow_loopback: bool = False, lookup: Lookup = lookup) -> None:
    """Ask with one request whether there is a hub; returns when there is.

    allow_loopback: a hub of this machine will do. Raises NotAsked where nothing was sent, else TransportFault, which
    says what is there instead.
    """
    url = URL(f"{hub}/", encoded=True)
    try:
        async with asyncio.timeout(PROBE_LIMIT_S):
            places = await _places(hub, url.port or 443, lookup)
            try:
                check_public(hub_host(hub), [place["host"] for place in places], allow_loopback=allow_loopback)
            except OSError as error:
                raise TransportFault(f"{shown(hub)}: {error.strerror}") from None
            status, body = await _get(url, places)
    except TimeoutError:
        raise TransportFault(f"{shown(hub)} gave no answer within {PROBE_LIMIT_S:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        unreached = NotAsked if _is_unreached(error) else TransportFault
        raise unreached(f"{shown(hub)} can't be reached: {cause_of(error)}") from error
    if 300 <= status < 400:
        raise TransportFault(f"{shown(hub)} sends us elsewhere (status {status}), which is not followed")
    if status != 200 or not is_hub_status(body):
        raise TransportFault(
            f"there is no signalhub at {shown(hub)}: it answers with status {status} and something else"
        )


async def _places(hub: HubUrl, port: int, lookup: Lookup) -> list[ResolveResult]:
    try:
        return await lookup(hub_host(hub), port, socket.AF_UNSPEC)
    except OSError as error:
        raise NotAsked(f"{shown(hub)} can't be reached: {cause_of(error)}") from error


async def _get(url: URL, places: list[ResolveResult]) -> tuple[int, bytes]:
    """Status and the beginning of the body. A literal address in the URL is not looked up, and was checked the same."""
    connector = aiohttp.TCPConnector(resolver=_Pinned(places), use_dns_cache=False, force_close=True)
    async with (
        aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "ssb-rtc", "Accept-Encoding": "identity", "Accept": "application/json"},
            auto_decompress=False,
            trust_env=False,
            max_line_size=HEADER_LIMIT_BYTES,
            max_field_size=HEADER_LIMIT_BYTES,
            read_bufsize=ANSWER_LIMIT_BYTES,
        ) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        body = b""
        while len(body) < ANSWER_LIMIT_BYTES:
            data = await response.content.read(ANSWER_LIMIT_BYTES - len(body))
            if not data:
                break
            body += data
        response.close()  # what else it has to say is not read
        return response.status, body


def is_hub_status(body: bytes) -> bool:
    """Whether this is what a signalhub says of itself: JSON with name, version and subscribers (signalhub 4.9.0)."""
    try:
        found = orjson.loads(body)  # which gives up on deep nesting in good order
    except orjson.JSONDecodeError:
        return False
    if not isinstance(found, dict):
        return False
    name, version, subscribers = found.get("name"), found.get("version"), found.get("subscribers")
    return isinstance(name, str) and isinstance(version, str) and type(subscribers) is int and subscribers >= 0


def _is_unreached(error: BaseException) -> bool:
    """Whether no packet can have left for the hub's host."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return isinstance(cause, OSError) and cause.errno in {errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}
