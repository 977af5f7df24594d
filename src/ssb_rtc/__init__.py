"""A Secure Scuttlebutt peer that meets others on signalhubs and gossips with them over WebRTC."""

# What an application imports. Each name is loaded when it is first used: a command that only reads a file must not pay
# for the network.

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssb_rtc.config import Settings
    from ssb_rtc.errors import (
        AuthorFault,
        BlobMissing,
        BlobsFull,
        ConfigFault,
        ConnectFailed,
        LinkClosed,
        ListenFailed,
        MessageInvalid,
        MisuseError,
        RemoteCallError,
        SsbRtcError,
        StorageFault,
    )
    from ssb_rtc.messages import Message
    from ssb_rtc.peer import Peer
    from ssb_rtc.plugins.base import Context, PermissionLists, Plugin
    from ssb_rtc.transport.link import Duplex, Handler, Incoming, Link
    from ssb_rtc.types import BlobId, FeedId, HubUrl, MsgId, PeerId

__version__ = "0.1.0"

__all__ = [
    "AuthorFault",
    "BlobId",
    "BlobMissing",
    "BlobsFull",
    "ConfigFault",
    "ConnectFailed",
    "Context",
    "Duplex",
    "FeedId",
    "Handler",
    "HubUrl",
    "Incoming",
    "Link",
    "LinkClosed",
    "ListenFailed",
    "Message",
    "MessageInvalid",
    "MisuseError",
    "MsgId",
    "Peer",
    "PeerId",
    "PermissionLists",
    "Plugin",
    "RemoteCallError",
    "Settings",
    "SsbRtcError",
    "StorageFault",
    "__version__",
]

_HOMES = {
    "ssb_rtc.config": ("Settings",),
    "ssb_rtc.messages": ("Message",),
    "ssb_rtc.peer": ("Peer",),
    "ssb_rtc.plugins.base": ("Context", "PermissionLists", "Plugin"),
    "ssb_rtc.transport.link": ("Duplex", "Handler", "Incoming", "Link"),
    "ssb_rtc.types": ("BlobId", "FeedId", "HubUrl", "MsgId", "PeerId"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF.get(name, "ssb_rtc.errors")), name)
