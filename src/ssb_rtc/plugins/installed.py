"""Plugins of other packages: found by their entry points, loaded by name.

A package offers a plugin in its `pyproject.toml`; what stands there is called without arguments and gives a
`plugins.base.Plugin`:

    [project.entry-points."ssb_rtc.plugins"]
    notes = "my_package:Notes"

Installing a package does not run it: a peer loads only what its owner names (`--plugin notes`), because a plugin acts
with the peer's identity.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from ssb_rtc.errors import ConfigFault, StorageFault
from ssb_rtc.plugins.base import Plugin
from ssb_rtc.types import JsonObject

GROUP: Final = "ssb_rtc.plugins"
_PARTS: Final = ("name", "version", "manifest", "permissions", "init")


def installed() -> dict[str, EntryPoint]:
    """Every plugin that an installed package offers, by name; nothing is imported."""
    return {point.name: point for point in entry_points(group=GROUP)}


def described(loaded: Collection[str]) -> list[JsonObject]:
    """Every plugin that an installed package offers: {name, package, version, loaded}; `loaded` names those that are.

    `version` is the package's. `package` and `version` are None where an entry point belongs to no package.
    """
    return [
        {
            "name": name,
            "package": point.dist.name if point.dist is not None else None,
            "version": point.dist.version if point.dist is not None else None,
            "loaded": name in loaded,
        }
        for name, point in sorted(installed().items())
    ]


def load(names: Iterable[str], add: Callable[[Plugin], None]) -> None:
    """Makes the named plugins and has `add` initialise them, in this order.

    Raises ConfigFault, which names the plugin and its package, where one is absent, can't be imported, is none, or
    fails while it is initialised; StorageFault as it comes, for then the disk is at fault.
    """
    known = installed()
    for name in dict.fromkeys(names):
        point = known.get(name)
        if point is None:
            offered = ", ".join(sorted(known)) or "none"
            raise ConfigFault(f"there is no plugin {name!r}: install the package that has it (offered here: {offered})")
        package = point.dist.name if point.dist is not None else point.value
        try:
            plugin = point.load()()
            missing = [part for part in _PARTS if not hasattr(plugin, part)]
            if missing:
                raise ConfigFault(f"the plugin {name!r} of {package} is none: it has no {', '.join(missing)}")
            add(plugin)
        except (ConfigFault, StorageFault):
            raise
        except Exception as error:
            raise ConfigFault(
                f"the plugin {name!r} of {package} can't be loaded: {type(error).__name__}: {error}."
                " Mend the package, or leave the plugin out."
            ) from error
