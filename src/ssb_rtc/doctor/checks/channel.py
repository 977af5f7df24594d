"""The check that all comes down to: a WebRTC data channel, over a hub, from this machine to itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ssb_rtc.config import Settings
from ssb_rtc.doctor.findings import Finding, State, sentence
from ssb_rtc.doctor.probes.channel import channel_to_ourselves
from ssb_rtc.errors import ConfigFault, ConnectFailed, RemoteFault
from ssb_rtc.runtime.ways_out import ways_out
from ssb_rtc.signalhub.client import open_session, shown
from ssb_rtc.transport.ice import IceConfig
from ssb_rtc.transport.rtc import backend_named
from ssb_rtc.types import HubUrl
from ssb_rtc.wire.hub_url import hub_host, is_loopback

_OTHER = {"wrtc": "aiortc", "aiortc": "wrtc"}
_INSTALL = {
    "wrtc": "Install it again (pip install --force-reinstall ssb-rtc), or the other one: pip install 'ssb-rtc[aiortc]' "
    "and --rtc-backend aiortc.",
    "aiortc": "Install it (pip install 'ssb-rtc[aiortc]'), or take --rtc-backend wrtc, the default.",
}


async def channel(hub: HubUrl | None, settings: Settings, ice: IceConfig, *, wall: Callable[[], float]) -> Finding:
    """Opens a channel to ourselves over `hub`, as the peer would open one to another; None where no hub works."""
    where = "" if hub is None else shown(hub)
    try:
        backend = backend_named(settings.rtc_backend)
    except (ImportError, OSError, ConfigFault) as fault:
        seen = f"The WebRTC library {settings.rtc_backend} can't be loaded: {fault}."
        return Finding("channel", State.BROKEN, seen, _INSTALL[settings.rtc_backend], subject=where)
    if hub is None:
        return Finding("channel", State.SKIPPED, "No hub works, so no data channel could be tried over one.")
    ice = replace(ice, allow_loopback=is_loopback(hub_host(hub)) or not ways_out())
    try:
        async with open_session() as session:
            took = await channel_to_ourselves(hub, session, settings.network_key, backend, ice, wall=wall)
    except (ConnectFailed, RemoteFault) as fault:
        remedy = "See that no firewall of this machine keeps UDP from its own addresses"
        if settings.relay_only:
            remedy = "See above whether --turn gives us a relay, for --relay-only allows nothing else"
        remedy += f"; try --rtc-backend {_OTHER[settings.rtc_backend]}."
        return Finding("channel", State.BROKEN, sentence(f"No data channel: {fault}"), remedy, subject=where)
    open_ms, echo_ms = round(took.open_s * 1000), round(took.echo_s * 1000)
    facts = {"open_ms": open_ms, "echo_ms": echo_ms, "backend": settings.rtc_backend}
    seen = f"Open after {open_ms} ms, and 4 KiB went there and back in {echo_ms} ms ({settings.rtc_backend})."
    return Finding("channel", State.OK, seen, subject=where, facts=facts)
