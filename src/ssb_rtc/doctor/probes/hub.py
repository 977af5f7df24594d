"""Questions to one hub: does it answer, what time is it there, and does it carry a signal from us to us?

The signal is random bytes of a letter's size on a random channel, so that the hub can't tell it from any other.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from yarl import URL

from ssb_rtc.errors import TransportFault
from ssb_rtc.signalhub.client import ClientLimits, HubClient, HubRefused
from ssb_rtc.types import HubUrl
from ssb_rtc.wire import channels
from ssb_rtc.wire.hub_url import http_url
from ssb_rtc.wire.swarm import app_name

LIMITS: Final = ClientLimits(connect_s=5.0, confirm_s=8.0, post_s=8.0)
ECHO_LIMIT_S: Final = 5.0
SIGNAL_BYTES: Final = 512
"""The smallest size of a sealed letter."""


@dataclass(frozen=True, slots=True)
class HubSeen:
    """What one hub did. Times are seconds."""

    hub: HubUrl
    fault: TransportFault | None = None
    """Why it could not be listened to or spoken to."""
    answered_s: float | None = None
    """From the question until the hub had taken our subscription."""
    echo_s: float | None = None
    """From the signal until its echo; None where none came."""
    ahead_s: float | None = None
    """By how much our clock is ahead of the hub's; None where it tells no time."""

    @property
    def works(self) -> bool:
        """It carries signals."""
        return self.fault is None and self.echo_s is not None


async def ask_hub(
    hub: HubUrl, session: aiohttp.ClientSession, network_key: bytes, *, wall: Callable[[], float]
) -> HubSeen:
    """Asks all of it at once. `session` comes from `open_session`; `wall` gives seconds since 1970."""
    echo, ahead_s = await asyncio.gather(_echo(hub, session, network_key), clock_ahead_s(hub, session, wall))
    fault, answered_s, echo_s = echo
    return HubSeen(hub, fault, answered_s, echo_s, ahead_s)


async def _echo(
    hub: HubUrl, session: aiohttp.ClientSession, network_key: bytes
) -> tuple[TransportFault | None, float | None, float | None]:
    """Why not, or the times until it answered and until the echo."""
    loop = asyncio.get_running_loop()
    client = HubClient(http_url(hub), app_name(network_key), session, limits=LIMITS)
    channel = channels.reply_channel(secrets.token_bytes(channels.REPLY_BYTES))
    signal = f'"{base64.b64encode(secrets.token_bytes(SIGNAL_BYTES)).decode()}"'
    heard: asyncio.Future[float] = loop.create_future()

    def on_message(text: str) -> None:
        if text == signal and not heard.done():
            heard.set_result(loop.time())

    def on_lost(fault: TransportFault) -> None:
        if not heard.done():
            heard.set_exception(fault)

    begun_s = loop.time()
    answered_s: float | None = None
    try:
        await client.subscribe([channel], on_message, on_lost)
        answered_s = loop.time() - begun_s
        sent_s = loop.time()
        await client.broadcast(channel, signal)
        async with asyncio.timeout(ECHO_LIMIT_S):
            return None, answered_s, await heard - sent_s
    except TransportFault as fault:
        return fault, answered_s, None
    except TimeoutError:
        return None, answered_s, None
    finally:
        await client.close()
        if heard.done() and not heard.cancelled():
            heard.exception()  # looked at, even where it came while something else failed


async def clock_ahead_s(hub: HubUrl, session: aiohttp.ClientSession, wall: Callable[[], float]) -> float | None:
    """By how much our clock is ahead of the hub's, from the Date of its answer; None where it tells none.

    An answer that a cache kept is of no use. The header has whole seconds, so half a second is added.
    """
    timeout = aiohttp.ClientTimeout(total=LIMITS.confirm_s, sock_connect=LIMITS.connect_s)
    before_s = wall()
    try:
        async with session.get(
            URL(f"{http_url(hub)}/", encoded=True),
            headers={"Cache-Control": "no-cache", "Accept": "application/json"},
            allow_redirects=False,
            timeout=timeout,
        ) as response:
            after_s = wall()
            response.close()  # what it has to say is not read
            if response.headers.get("Age", "0").strip() != "0":
                return None
            told_s = parsedate_to_datetime(response.headers.get("Date", "")).timestamp() + 0.5
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError, TypeError, OverflowError):
        return None
    return (before_s + after_s) / 2 - told_s


def refused_for_now(seen: HubSeen) -> bool:
    """Whether it is there and wants to be left alone for a while."""
    return isinstance(seen.fault, HubRefused) and seen.fault.status in (429, 503)
