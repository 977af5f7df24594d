"""A link: bytes of a stream -> secret handshake -> box stream -> muxrpc, and back.

    link = await open_link(stream, keys=keys, network_key=key, remote=peer, router=router)
    answer = await link.call("whoami")
    async for value in link.source("createHistoryStream", {"id": feed}):
        ...
    await link.close("enough")

Both sides may call at any time. What the other side calls is looked up in the `Router` and runs in a task of its own.
Whatever is in flight when a link ends, ends with LinkClosed. Back-pressure both ways: a link stops reading while more
than INBOUND_LIMIT_BYTES of stream bodies are unread, and writers wait while its stream is congested.
"""

from __future__ import annotations

from collections.abc import Callable

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.transport.base import Stream
from ssb_rtc.transport.rpc_link import CALL_LIMIT_S, IDLE_LIMIT_S, INBOUND_LIMIT_BYTES, Link
from ssb_rtc.transport.secure import PlainCodec, shake_hands
from ssb_rtc.transport.serving import Caller, Handler, Router, ServesNothing
from ssb_rtc.transport.streams import Duplex, Incoming, Outgoing
from ssb_rtc.types import PeerId

__all__ = [
    "CALL_LIMIT_S",
    "HANDSHAKE_LIMIT_S",
    "INBOUND_LIMIT_BYTES",
    "Caller",
    "Duplex",
    "Handler",
    "Incoming",
    "Link",
    "Outgoing",
    "Router",
    "ServesNothing",
    "open_link",
    "open_plain_link",
]

HANDSHAKE_LIMIT_S = 10.0
"""The longest that a secret handshake may take."""


async def open_link(
    stream: Stream,
    *,
    keys: Keys,
    network_key: bytes,
    remote: PeerId | None,
    router: Router,
    dialled: bool = False,
    admit: Callable[[PeerId], Caller | None] = lambda _peer: Caller.PEER,
    timeout_s: float = HANDSHAKE_LIMIT_S,
) -> Link:
    """Shakes hands on a fresh stream and starts the link.

    The dialler gives the `remote` that it wants; who accepted learns it, and says by `admit` what it is to us (None
    turns it away). Raises HandshakeRefused (also after `timeout_s`); the stream is closed then, and when this is
    cancelled.
    """
    if dialled != (remote is not None):
        raise MisuseError("who dials gives the remote's key, who accepts learns it")
    try:
        agreed = await shake_hands(stream, keys, network_key, remote, admit, timeout_s)
    except BaseException:
        stream.abort("the handshake failed")
        raise
    link = Link(
        stream,
        agreed.codec,
        remote=agreed.remote,
        dialled=dialled,
        caller=agreed.caller,
        router=router,
        idle_limit_s=None if agreed.caller is Caller.OWNER else IDLE_LIMIT_S,
    )
    link.start(agreed.rest)
    return link


async def open_plain_link(stream: Stream, *, own: PeerId, router: Router, dialled: bool) -> Link:
    """A link without handshake and encryption, for the unix socket: the other end acts for us (`noauth`)."""
    link = Link(stream, PlainCodec(), remote=own, dialled=dialled, caller=Caller.OWNER, router=router)
    link.start()
    return link
