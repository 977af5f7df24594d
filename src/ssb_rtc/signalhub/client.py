"""One signalhub, seen from outside: server-sent events in, POST out.

The protocol is that of npm `signalhub` 4.9.0: `GET /v1/<app>/<channel>[,<channel>...]` streams what is posted,
`POST /v1/<app>/<channel>` hands a body of less than 64 KiB to whoever listens now. A hub is a stranger: it may answer
with anything, at any length, or never, and none of that may cost more than the limits below.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from ssb_rtc.errors import ConnectFailed, FrameInvalid, MisuseError, TransportFault
from ssb_rtc.types import HubUrl, behind
from ssb_rtc.wire import sse

BODY_LIMIT_BYTES = 64 * 1024
"""A hub cuts the connection of a POST that carries this many bytes or more (signalhub 4.9.0)."""

HEADER_LIMIT_BYTES = 8 * 1024
CONNECTIONS_PER_HUB_MAX = 8
KEEP_ALIVE_S = 4.0
"""Under the 5 s after which signalhub closes an idle connection, so that a POST never meets a closing one."""

RETRY_AFTER_MAX_S = 3600.0
REASON_LIMIT_BYTES = 200
"""What is read of the reason of a refusal."""
READ_BYTES = 16 * 1024
"""What is read and parsed in one go, before others get their turn on the loop."""
LINE_BYTES = 64
"""What a line of a stream costs beside its length: an empty one takes as long to parse."""

_NAME = re.compile(r"[A-Za-z0-9@+/=._~:!$&'()*;-]+\Z")
_APP = re.compile(r"[A-Za-z0-9@+=._~:!$&'()*;-]+\Z")


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """How long a hub may take and how much it may send."""

    connect_s: float = 10.0
    confirm_s: float = 15.0
    """From the first packet to the response headers, which confirm the subscription."""
    silence_s: float = 75.0
    """A stream without an event or a heartbeat (one every 30 s) for this long is dead."""
    post_s: float = 15.0
    reason_s: float = 2.0
    """For the reason of a refusal, which is as good without one."""
    frame_bytes: int = BODY_LIMIT_BYTES + 1024
    read_rate_bytes_s: float = 512 * 1024
    """A hub that sends more is read no faster than this (lines count LINE_BYTES more); the rest waits at its end."""
    read_burst_bytes: int = 4 * 1024 * 1024


class HubRefused(TransportFault):
    """The hub answered, and refuses.

    `status` is its HTTP status; `retry_after_s` is how long it asks us to wait (429 and 503), None where it does not
    say.
    """

    def __init__(self, sentence: str, *, status: int, retry_after_s: float | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.retry_after_s = retry_after_s


def open_session(resolver: AbstractResolver | None = None) -> aiohttp.ClientSession:
    """The HTTP session for hubs: no cookies, no proxy of the environment, nothing unpacked, bounded headers.

    resolver: looks up the names of hubs, in place of aiohttp's. The caller closes the session. Must be called in a
    running event loop.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            resolver=resolver, limit=0, limit_per_host=CONNECTIONS_PER_HUB_MAX, keepalive_timeout=KEEP_ALIVE_S
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "ssb-rtc", "Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
        max_line_size=HEADER_LIMIT_BYTES,
        max_field_size=HEADER_LIMIT_BYTES,
    )


def shown(hub: HubUrl) -> str:
    """The hub's address for a person's eyes: without the user name and password that it may carry."""
    if behind(hub) is not None:
        return hub
    scheme, _, rest = hub.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


class HubClient:
    """One app on one hub. One subscription at a time; it does not come back by itself."""

    def __init__(
        self, hub: HubUrl, app: str, session: aiohttp.ClientSession, *, limits: ClientLimits | None = None
    ) -> None:
        if not _APP.match(app):
            raise MisuseError(f"{app!r} can't be an app name: it must be of letters, digits and -._~@+=")
        self.hub = hub
        self.app = app
        self._session = session
        self._limits = limits or ClientLimits()
        self._opening: asyncio.Task[aiohttp.ClientResponse] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def subscribed(self) -> bool:
        """Whether the event stream is open."""
        return self._reader is not None and not self._reader.done()

    async def subscribe(
        self,
        channels: Sequence[str],
        on_message: Callable[[str], None],
        on_lost: Callable[[TransportFault], None],
    ) -> None:
        """Listen to `channels` in one request; returns when the hub's response headers have confirmed it.

        Each event's data goes to `on_message`; the hub does not say which channel it came through. `on_lost` is
        called once when the stream ends by itself, never after `close`. Neither may raise. Raises ConnectFailed,
        HubRefused or TransportFault, and then calls nothing.
        """
        if self._closed or self.subscribed or self._opening is not None:
            raise MisuseError("this client is closed, or has its subscription already")
        self._opening = asyncio.create_task(self._open(self._url(channels)))
        try:
            response = await self._opening
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise ConnectFailed(f"the subscription to the hub {shown(self.hub)} was given up") from None
        finally:
            self._opening = None
        self._reader = asyncio.create_task(self._read(response, on_message, on_lost), name=f"hub {shown(self.hub)}")
        # Not a `finally` of the task: one that is cancelled before it ever ran runs none.
        self._reader.add_done_callback(lambda _: response.close())

    async def broadcast(self, channel: str, body: str) -> None:
        """Hand `body` to whoever listens on `channel` now; returns when the hub has taken it.

        Raises MisuseError (a line break, or 64 KiB and more), ConnectFailed, HubRefused or TransportFault.
        """
        data = body.encode()
        if len(data) >= BODY_LIMIT_BYTES:
            raise MisuseError(f"a hub takes less than {BODY_LIMIT_BYTES} bytes, not {len(data)}")
        if b"\n" in data or b"\r" in data:
            raise MisuseError("a line break in a body would be read as another event")
        timeout = aiohttp.ClientTimeout(total=self._limits.post_s, sock_connect=self._limits.connect_s)
        try:
            async with self._session.post(
                self._url([channel]),
                data=data,
                headers={"Content-Type": "application/json"},
                allow_redirects=False,
                timeout=timeout,
            ) as response:
                await self._check_status(response)
        except TimeoutError as error:
            raise ConnectFailed(
                f"the hub {shown(self.hub)} took no message within {self._limits.post_s:g} s"
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ConnectFailed(f"the hub {shown(self.hub)} can't be reached: {cause_of(error)}") from error

    async def close(self) -> None:
        """End the subscription, or the attempt at one; nothing is called afterwards. May be called twice."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
        reader, self._reader = self._reader, None
        if reader is not None and reader is not asyncio.current_task():
            reader.cancel()
            await asyncio.wait([reader])

    def _url(self, channels: Sequence[str]) -> URL:
        if not channels or not all(_NAME.match(channel) for channel in channels):
            raise MisuseError(f"{list(channels)!r} are no channel names: letters, digits and -._~@+/=")
        # A feed id holds "/", "+" and "@", and a hub decodes nothing: the path goes out as it is.
        return URL(f"{self.hub}/v1/{self.app}/{','.join(channels)}", encoded=True)

    async def _open(self, url: URL) -> aiohttp.ClientResponse:
        limits = self._limits
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s, sock_read=None)
        response: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout(limits.confirm_s):
                response = await self._session.get(
                    url,
                    headers={"Accept": "text/event-stream", "Cache-Control": "no-cache"},
                    allow_redirects=False,
                    timeout=timeout,
                )
            await self._check_status(response)
            self._check_stream(response)
        except TimeoutError as error:
            raise ConnectFailed(f"the hub {shown(self.hub)} gave no answer in time") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ConnectFailed(f"the hub {shown(self.hub)} can't be reached: {cause_of(error)}") from error
        except BaseException:  # a fault of ours, or cancelled while the hub gives its reason
            if response is not None:
                response.close()
            raise
        return response

    async def _check_status(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status == 200:
            return
        where = shown(self.hub)
        wait_s = _retry_after_s(response.headers.get("Retry-After"))
        if status == 429:
            sentence = f"the hub {where} has had too much from us{await self._reason(response)}"
        elif 300 <= status < 400:
            sentence = f"the hub {where} sends us elsewhere (status {status}); use the address that it moved to"
        elif status == 404:
            sentence = f"there is no signalhub at {where} (status 404)"
        else:
            sentence = f"the hub {where} refuses (status {status}){await self._reason(response)}"
        raise HubRefused(sentence, status=status, retry_after_s=wait_s)

    async def _reason(self, response: aiohttp.ClientResponse) -> str:
        """What the hub says about its refusal, as its own words; nothing where that is no plain text, or takes long."""
        if _type_of(response) != "text/plain":
            return ""
        said = b""
        with suppress(TimeoutError, aiohttp.ClientError, OSError, ValueError):
            async with asyncio.timeout(self._limits.reason_s):
                while len(said) < REASON_LIMIT_BYTES:
                    data = await response.content.read(REASON_LIMIT_BYTES - len(said))
                    if not data:
                        break
                    said += data
        words = " ".join(_plain(said.decode(errors="replace")).split())
        return f'; it says: "{words}"' if words else ""

    def _check_stream(self, response: aiohttp.ClientResponse) -> None:
        kind = _type_of(response)
        if kind != "text/event-stream":
            raise TransportFault(
                f"there is no signalhub at {shown(self.hub)}: it answers with {_plain(kind[:40]) or 'no type'}"
            )
        if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise TransportFault(f"the hub {shown(self.hub)} packs its stream, which was not asked for")

    async def _read(
        self,
        response: aiohttp.ClientResponse,
        on_message: Callable[[str], None],
        on_lost: Callable[[TransportFault], None],
    ) -> None:
        where = shown(self.hub)
        fault: TransportFault
        try:
            await self._pump(response, on_message)
            fault = TransportFault(f"the hub {where} ended the stream")
        except TimeoutError:
            fault = TransportFault(f"the hub {where} has been silent for {self._limits.silence_s:g} s")
        except FrameInvalid as error:
            fault = TransportFault(f"the hub {where} sends what is no event stream: {error}")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            fault = TransportFault(f"the stream of the hub {where} broke: {cause_of(error)}")
        if not self._closed:
            on_lost(fault)

    async def _pump(self, response: aiohttp.ClientResponse, on_message: Callable[[str], None]) -> None:
        """Read until the stream ends; only whole events and heartbeats count as signs of life."""
        limits = self._limits
        clock = asyncio.get_running_loop().time
        parser = sse.Parser(limits.frame_bytes)
        budget, refilled_s = float(limits.read_burst_bytes), clock()
        alive_s, comments, lines = refilled_s, 0, 0
        while True:
            async with asyncio.timeout_at(alive_s + limits.silence_s):
                data = await response.content.read(READ_BYTES)
            if not data:
                return
            messages = parser.feed(data)
            now_s = clock()
            if messages or parser.comments != comments:
                alive_s, comments = now_s, parser.comments
            for message in messages:
                if self._closed:
                    return
                on_message(message)
            refill_bytes = (now_s - refilled_s) * limits.read_rate_bytes_s
            spent_bytes = len(data) + LINE_BYTES * (parser.lines - lines)
            budget = min(limits.read_burst_bytes, budget + refill_bytes) - spent_bytes
            refilled_s, lines = now_s, parser.lines
            await asyncio.sleep(max(0.0, -budget / limits.read_rate_bytes_s))


def _type_of(response: aiohttp.ClientResponse) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _retry_after_s(text: str | None) -> float | None:
    """Seconds of a Retry-After header; None where it is absent, a date or nonsense."""
    if text is None or not re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return None
    return min(float(text), RETRY_AFTER_MAX_S)


def _why_certificate(error: BaseException) -> str:
    said = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else str(error)
    return f"its certificate is not valid here ({said[:100]})"


def cause_of(error: BaseException) -> str:
    """The cause in a few words, without what a hostile hub could put into it at length."""
    if isinstance(error, aiohttp.ClientPayloadError):
        return "it ended in the middle"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _plain(_why_certificate(error.certificate_error))
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return "nobody there speaks https"
    if isinstance(error, aiohttp.ClientConnectorError):
        return _why(error.os_error)
    return _plain((str(error) or type(error).__name__)[:120])


def _plain(text: str) -> str:
    """What a hub said, without what steers a terminal or is no text (aiohttp makes lone surrogates of odd bytes)."""
    return "".join(character if character.isprintable() else " " for character in text)


def _why(error: OSError) -> str:
    """asyncio words some of these for programmers, so those that have a number are told by it."""
    if isinstance(error, socket.gaierror):
        return "the name is not known, or this machine is offline"
    if error.errno == errno.ECONNREFUSED:
        return "nobody listens there"
    told = os.strerror(error.errno).lower() if error.errno is not None and error.errno > 0 else ""
    return (told or error.strerror or type(error).__name__)[:120]
