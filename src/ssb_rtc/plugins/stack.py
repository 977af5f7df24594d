"""What secret-stack itself offers beside its plugins: the manifest, and where we can be reached."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import ClassVar

from ssb_rtc.errors import ConfigFault, MisuseError
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import Json, JsonObject
from ssb_rtc.wire import address as addresses

SCOPES = ("device", "local", "private", "public")
"""How far an address reaches, by the words of multiserver-scopes."""


class Stack:
    """`manifest`, `address` (legacy: `getAddress`) and `multiserver.*`, as in secret-stack 6.4.

    A caller without a manifest of its own (npm ssb-client, muxrpc) asks for ours before anything else, so remote ones
    may too; it names methods and says nothing of who may call them.
    """

    name = "stack"
    version = "6.4.0"
    manifest: ClassVar[Mapping[str, str]] = {
        "manifest": "sync",
        "address": "sync",
        "getAddress": "async",
        "multiserver.address": "sync",
        "multiserver.parse": "sync",
    }
    permissions: ClassVar[PermissionLists] = {"remote": ["manifest"]}

    def __init__(self, manifest_json: Callable[[], JsonObject], own_addresses: Callable[[], list[str]]) -> None:
        self._manifest_json = manifest_json
        self._own_addresses = own_addresses

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        del context
        return {
            "manifest": self._manifest,
            "address": self._address,
            "getAddress": self._address,
            "multiserver.address": self._address,
            "multiserver.parse": self._parse,
        }

    async def _manifest(self, _link: Link, *_rest: Json) -> Json:
        return self._manifest_json()

    async def _address(self, _link: Link, scope: Json = None, *_rest: Json) -> Json:
        """The addresses of a scope, by default every one, as one multiaddress; null where there is none."""
        if scope is not None and scope not in SCOPES:
            raise MisuseError(f"an address is of the scope {', '.join(SCOPES)}")
        found = [each for each in self._own_addresses() if scope is None or reaches(each, str(scope))]
        return ";".join(found) or None

    async def _parse(self, _link: Link, text: Json = None, *_rest: Json) -> Json:
        """A multiaddress taken apart: [[{name, data}]], as npm multiserver-address does."""
        if not isinstance(text, str):
            raise MisuseError("this takes an address, as text")
        try:
            found = addresses.parse(text)
        except ConfigFault as fault:
            raise MisuseError(str(fault)) from None
        return [[{"name": protocol.name, "data": list(protocol.data)} for protocol in each.protocols] for each in found]


def reaches(address: str, scope: str) -> bool:
    """Whether our address is of use to callers so far away. All are on this device; hubs are everywhere."""
    if scope == "device":
        return True
    to = addresses.target(addresses.parse(address)[0])
    host = addresses.host_of(to)
    if host is None:
        return not isinstance(to, addresses.UnixTarget)
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return host != "localhost"
    if ip.is_loopback:
        return False
    return scope != "public" or ip.is_global
