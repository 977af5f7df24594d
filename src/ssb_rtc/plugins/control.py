"""The local rpc of a peer: its state, its hubs, its connections. Only callers on this machine may use it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar, Protocol

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds import refs
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import Json, JsonObject, PeerId


class Controls(Protocol):
    """What a running or opened peer lets its owner do; see peer.Peer."""

    def status(self) -> JsonObject: ...

    def peers(self, *, everyone: bool) -> list[JsonObject]: ...

    def hubs(self) -> list[JsonObject]: ...

    def why_peer(self, peer: str) -> JsonObject: ...

    def why_hub(self, url: str) -> JsonObject: ...

    def add_hub(self, url: str, *, allow_http: tuple[str, ...] = (), private: bool = False) -> None: ...

    def remove_hub(self, url: str) -> None: ...

    def addresses(self) -> list[str]: ...

    def config(self) -> list[JsonObject]: ...

    def plugins(self) -> list[JsonObject]: ...

    async def listen(self, where: str) -> list[str]: ...

    async def unlisten(self, where: str) -> None: ...

    async def connect(self, address: str, *, pin: bool = False) -> JsonObject: ...

    def disconnect(self, peer: PeerId) -> None: ...

    def trace(self) -> AsyncIterator[JsonObject]: ...

    def timeline(self, peer: str) -> AsyncIterator[JsonObject]: ...


class Control:
    """`rtc.*`: what the command line and a dashboard call."""

    name = "rtc"
    version = "1.0.0"
    manifest: ClassVar[Mapping[str, str]] = {
        "rtc.status": "async",
        "rtc.peers": "async",
        "rtc.hubs": "async",
        "rtc.whyPeer": "async",
        "rtc.whyHub": "async",
        "rtc.addHub": "async",
        "rtc.removeHub": "async",
        "rtc.addresses": "async",
        "rtc.config": "async",
        "rtc.plugins": "async",
        "rtc.listen": "async",
        "rtc.unlisten": "async",
        "rtc.connect": "async",
        "rtc.disconnect": "async",
        "rtc.trace": "source",
        "rtc.timeline": "source",
    }
    permissions: ClassVar[PermissionLists] = {"remote": []}

    def __init__(self, controls: Controls) -> None:
        self._controls = controls

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        del context
        return {
            "rtc.status": self._status,
            "rtc.peers": self._peers,
            "rtc.hubs": self._hubs,
            "rtc.whyPeer": self._why_peer,
            "rtc.whyHub": self._why_hub,
            "rtc.addHub": self._add_hub,
            "rtc.removeHub": self._remove_hub,
            "rtc.addresses": self._addresses,
            "rtc.config": self._config,
            "rtc.plugins": self._plugins,
            "rtc.listen": self._listen,
            "rtc.unlisten": self._unlisten,
            "rtc.connect": self._connect,
            "rtc.disconnect": self._disconnect,
            "rtc.trace": self._trace,
            "rtc.timeline": self._timeline,
        }

    async def _status(self, _link: Link) -> Json:
        return self._controls.status()

    async def _peers(self, _link: Link, options: Json = None) -> Json:
        return self._controls.peers(everyone=isinstance(options, dict) and bool(options.get("all")))

    async def _hubs(self, _link: Link) -> Json:
        return self._controls.hubs()

    async def _why_peer(self, _link: Link, peer: Json = None) -> Json:
        return self._controls.why_peer(_text(peer, "a peer's id, or its beginning"))

    async def _why_hub(self, _link: Link, url: Json = None) -> Json:
        return self._controls.why_hub(_text(url, "the hub's address"))

    async def _add_hub(self, _link: Link, url: Json = None, options: Json = None) -> Json:
        chosen: JsonObject = options if isinstance(options, dict) else {}
        allowed = chosen.get("allowHttp")
        hosts = tuple(host for host in allowed if isinstance(host, str)) if isinstance(allowed, list) else ()
        private = chosen.get("private") is True
        self._controls.add_hub(_text(url, "the hub's address"), allow_http=hosts, private=private)
        return True

    async def _remove_hub(self, _link: Link, url: Json = None) -> Json:
        self._controls.remove_hub(_text(url, "the hub's address"))
        return True

    async def _addresses(self, _link: Link) -> Json:
        return list(self._controls.addresses())

    async def _config(self, _link: Link) -> Json:
        return self._controls.config()

    async def _plugins(self, _link: Link) -> Json:
        return self._controls.plugins()

    async def _listen(self, _link: Link, where: Json = None) -> Json:
        return list(await self._controls.listen(_text(where, "where to listen")))

    async def _unlisten(self, _link: Link, where: Json = None) -> Json:
        await self._controls.unlisten(_text(where, "where we listen"))
        return True

    async def _connect(self, _link: Link, address: Json = None, options: Json = None) -> Json:
        pin = isinstance(options, dict) and options.get("pin") is True
        return await self._controls.connect(_text(address, "an address"), pin=pin)

    async def _disconnect(self, _link: Link, peer: Json = None) -> Json:
        if not refs.is_feed_id(peer):
            raise MisuseError("this takes a peer's id")
        self._controls.disconnect(PeerId(str(peer)))
        return True

    def _trace(self, _link: Link, _options: Json = None) -> AsyncIterator[Json]:
        return self._controls.trace()

    def _timeline(self, _link: Link, peer: Json = None) -> AsyncIterator[Json]:
        return self._controls.timeline(_text(peer, "a peer's id, or its beginning"))


def _text(value: Json, what: str) -> str:
    if not isinstance(value, str):
        raise MisuseError(f"this takes {what}, as text")
    return value
