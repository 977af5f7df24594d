"""What `start` would refuse of the settings in force, told before: by the parsers that it reads them with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ssb_rtc.config import Settings, certificate_of, place_of
from ssb_rtc.errors import ConfigFault


def faults_of(settings: Settings) -> list[str]:
    """A sentence for each; what only the network, the disk or an installed package can tell is not among them."""
    from ssb_rtc.transport.ice import ice_of
    from ssb_rtc.wire.hub_url import normalise_hub

    faults: list[str] = []

    def attempt(read: Callable[[], object], place: str = "") -> None:
        try:
            read()
        except ConfigFault as fault:
            faults.append(f"{place}{fault}")

    for url in settings.hub:
        attempt(partial(normalise_hub, url, allow_http=settings.allow_http), f"{place_of(settings, 'hub')}: ")
    attempt(lambda: ice_of(settings))
    attempt(lambda: certificate_of(settings))
    return faults
