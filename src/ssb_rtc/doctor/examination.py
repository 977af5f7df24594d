"""All checks together: what hangs on nothing runs at the same time, each within its limit, and none of them can fail.

What a check did not expect becomes a finding, too: it says what to report.
"""

from __future__ import annotations

import asyncio
import platform
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Final

from ssb_rtc.config import Settings
from ssb_rtc.doctor.checks import files, hubs, machine, ways
from ssb_rtc.doctor.findings import Finding, State
from ssb_rtc.doctor.nat import Relays
from ssb_rtc.doctor.probes.hub import HubSeen
from ssb_rtc.doctor.probes.stun import Survey
from ssb_rtc.errors import StorageFault
from ssb_rtc.storage import folder as folders
from ssb_rtc.storage.inspection import hubs_in
from ssb_rtc.transport.ice import IceConfig, ice_of
from ssb_rtc.types import HubUrl
from ssb_rtc.wire.hub_url import normalise_hub

LIMIT_S: Final = 30.0
"""For each check that has no limit of its own below."""
LIMITS_S: Final = {"database": files.READ_LIMIT_S + 10.0, "channel": 45.0}
ORDER: Final = (
    "clock", "keys", "database", "disk", "descriptors", "hub", "stun", "nat", "turn", "ipv6", "channel",
)  # fmt: skip
"""Of the findings."""

Progress = Callable[[str, bool], None]
"""Called with the name of a check when it begins (False) and when it has ended (True)."""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined. Making one raises ConfigFault."""

    folder: Path
    settings: Settings
    wall: Callable[[], float] = time.time
    """Seconds since 1970, by our clock."""
    ice: IceConfig = field(init=False)
    for_this_run: tuple[HubUrl, ...] = field(init=False)
    """The hubs of the settings."""

    def __post_init__(self) -> None:
        settings = self.settings
        ice = ice_of(settings)
        named = tuple(normalise_hub(url, allow_http=settings.allow_http) for url in settings.hub)
        object.__setattr__(self, "ice", ice)
        object.__setattr__(self, "for_this_run", named)


async def examine(patient: Patient, progress: Progress = lambda _name, _ended: None) -> list[Finding]:
    """Everything, in ORDER. Changes nothing, and raises nothing but CancelledError."""
    findings = await _Examination(patient, progress).run()
    return sorted(findings, key=lambda finding: ORDER.index(finding.check))


class _Examination:
    """One of them: what it has found so far, and what later checks build upon."""

    def __init__(self, patient: Patient, progress: Progress) -> None:
        self._patient = patient
        self._progress = progress
        self._findings: list[Finding] = []
        self._hubs: list[HubSeen] = []
        self._survey: Survey | None = None
        self._relays = Relays(bool(patient.ice.turn), False)

    async def run(self) -> list[Finding]:
        """All checks."""
        await asyncio.gather(
            self._check("keys", self._keys),
            self._check("database", self._database),
            self._check("disk", self._disk),
            self._check("ipv6", self._ipv6),
            self._over_hubs(),
            self._ways(),
        )
        return self._findings

    async def _over_hubs(self) -> None:
        """What hangs on the hubs."""
        await self._check("hub", self._ask_hubs)
        await self._check("clock", self._clock)
        await self._check("descriptors", self._descriptors)
        await self._check("channel", self._channel)

    async def _ways(self) -> None:
        """What hangs on STUN and TURN servers."""
        await asyncio.gather(self._check("stun", self._stun), self._check("turn", self._turn))
        await self._check("nat", self._nat)

    async def _check(self, name: str, look: Callable[[], Awaitable[Sequence[Finding]]]) -> None:
        self._progress(name, False)
        limit_s = LIMITS_S.get(name, LIMIT_S)
        try:
            async with asyncio.timeout(limit_s):
                found = await look()
        except TimeoutError:
            seen = f"It did not end within {limit_s:g} s."
            found = [Finding(name, State.BROKEN, seen, "Try again; if it stays so, report it with this line.")]
        except Exception as fault:
            found = [_unexpected(name, fault)]
        self._findings.extend(found)
        self._progress(name, True)

    async def _keys(self) -> list[Finding]:
        return [await asyncio.to_thread(files.keys, self._patient.folder)]

    async def _database(self) -> list[Finding]:
        return [await files.database(self._patient.folder)]

    async def _disk(self) -> list[Finding]:
        return [await asyncio.to_thread(files.disk, self._patient.folder, self._patient.settings)]

    async def _descriptors(self) -> list[Finding]:
        return [machine.descriptors(self._patient.settings, len(self._hubs))]

    async def _ask_hubs(self) -> list[Finding]:
        patient = self._patient
        try:
            stored = await asyncio.to_thread(hubs_in, folders.database_path(patient.folder))
        except StorageFault:
            stored = []  # the check of the database tells of it
        to_ask = hubs.to_ask(patient.for_this_run, stored)
        self._hubs = await hubs.ask(to_ask, patient.settings.network_key, wall=patient.wall)
        return hubs.judge(self._hubs)

    async def _clock(self) -> list[Finding]:
        return [hubs.judge_clock(self._hubs)]

    async def _stun(self) -> list[Finding]:
        ice = self._patient.ice
        self._survey = await ways.ask_stun(ways.stun_servers(ice))
        return ways.judge_stun(ice, self._survey)

    async def _turn(self) -> list[Finding]:
        servers = self._patient.ice.turn
        if not servers:
            return [ways.no_relay_set()]
        found = await asyncio.gather(*map(ways.relay, servers))
        self._relays = Relays(configured=True, working=any(works for _, works in found))
        return [finding for finding, _ in found]

    async def _nat(self) -> list[Finding]:
        return [ways.judge_nat(self._patient.ice, self._survey, self._relays)]

    async def _ipv6(self) -> list[Finding]:
        return [await ways.ipv6(ways.stun_servers(self._patient.ice))]

    async def _channel(self) -> list[Finding]:
        # The WebRTC libraries and all that they bring along take a while to load.
        from ssb_rtc.doctor.checks.channel import channel  # noqa: PLC0415

        patient = self._patient
        hub = next((seen.hub for seen in self._hubs if seen.works), None)
        return [await channel(hub, patient.settings, patient.ice, wall=patient.wall)]


def _unexpected(name: str, fault: Exception) -> Finding:
    """What nobody thought of, with what whoever mends it needs to know."""
    frames = traceback.extract_tb(fault.__traceback__)
    ours = [frame for frame in frames if "ssb_rtc" in frame.filename] or list(frames)
    where = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    seen = f"The check itself failed: {type(fault).__name__}{where}: {str(fault)[:300]}"
    remedy = f"Report this line, with ssb-rtc {metadata.version('ssb-rtc')} on {platform.platform()}."
    return Finding(name, State.BROKEN, seen, remedy)
