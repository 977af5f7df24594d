"""The plugins of a peer, and the answer to "who handles this call, and may this caller make it?"."""

from __future__ import annotations

from collections.abc import Iterable

from ssb_rtc.errors import MisuseError
from ssb_rtc.plugins.base import Closing, Context, Plugin
from ssb_rtc.transport.link import Caller, Handler, Link
from ssb_rtc.types import JsonObject
from ssb_rtc.wire.manifest import Kind, Manifest, Name, Permissions, check_call, split_name


class Registry:
    """Holds plugins and routes calls to them: the `Router` of every link."""

    def __init__(self, context: Context, plugins: Iterable[Plugin] = ()) -> None:
        self._context = context
        self._handlers: dict[Name, Handler] = {}
        self._allowed = {caller: Permissions(()) for caller in Caller}
        self.manifest = Manifest()
        self.plugins: list[Plugin] = []
        for plugin in plugins:
            self.add(plugin)

    def add(self, plugin: Plugin) -> None:
        """Initialises a plugin and takes its methods in.

        Raises MisuseError when its name or a method is taken, a kind is none, a handler is missing or unnamed, or when
        remote callers would get at methods that their own plugin did not open.
        """
        if any(plugin.name == other.name for other in self.plugins):
            raise MisuseError(f"there are two plugins named {plugin.name!r}")
        try:
            kinds = {split_name(name): Kind(kind) for name, kind in plugin.manifest.items()}
        except ValueError as error:
            raise MisuseError(f"the plugin {plugin.name!r} has a method of no kind: {error}") from error
        manifest = self.manifest.merged(Manifest(kinds))
        manifest.to_json()
        opened = {
            Caller.PEER: Permissions(plugin.permissions.get("remote") or ()),
            Caller.GUEST: Permissions(plugin.permissions.get("guest") or ()),
        }
        for caller, own in opened.items():
            if any(self._allowed[caller].allows(name) and not own.allows(name) for name in kinds):
                raise MisuseError(
                    f"the plugin {plugin.name!r} has a method in a group that another opens to remote callers"
                )
            if any(own.allows(name) for name in self.manifest):
                raise MisuseError(f"the plugin {plugin.name!r} opens methods of other plugins to remote callers")
        opened[Caller.OWNER] = Permissions(plugin.permissions.get("local", tuple(plugin.manifest)))
        handlers = {split_name(name): handler for name, handler in plugin.init(self._context).items()}
        if handlers.keys() != kinds.keys():
            odd = ", ".join(sorted(".".join(name) for name in handlers.keys() ^ kinds.keys()))
            raise MisuseError(f"the plugin {plugin.name!r} has a manifest and handlers that differ: {odd}")
        self.manifest = manifest
        self._handlers.update(handlers)
        for caller, own in opened.items():
            self._allowed[caller] = self._allowed[caller].merged(own)
        self.plugins.append(plugin)

    def find(self, name: Name, kind: Kind, link: Link) -> Handler:
        """The handler of a call; raises RemoteCallError with the text that the caller shall hear."""
        check_call(self.manifest, self._allowed[link.caller], name, kind)
        return self._handlers[name]

    def manifest_json(self) -> JsonObject:
        """The manifest as it is answered and written down: nested."""
        return self.manifest.to_json()

    async def close(self) -> None:
        """Ends the plugins that have something to end, last one first."""
        for plugin in reversed(self.plugins):
            if isinstance(plugin, Closing):
                await plugin.close()
