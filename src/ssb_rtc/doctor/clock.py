"""Whether our clock is right, judged from what hubs say. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Final

from ssb_rtc.doctor.findings import Finding, State
from ssb_rtc.types import HubUrl
from ssb_rtc.wire.envelope import WINDOW_S

FINE_S: Final = 60.0
"""A hub tells whole seconds, and its answer takes a while."""
DAY_S: Final = 86_400.0
_SET = (
    "Set this machine's clock, best for good: `timedatectl set-ntp true`, or in the system settings. "
    "Where another clock says that ours is right, it is {whose} that is wrong."
)


def verdict(ahead_s: Mapping[HubUrl, float]) -> Finding:
    """The finding. `ahead_s`: by how much our clock is ahead of that of each hub that told the time."""
    if not ahead_s:
        remedy = "Compare this machine's clock with another one: with a wrong time peers refuse what we say."
        return Finding("clock", State.SKIPPED, "No hub told the time.", remedy)
    ours_s = median(ahead_s.values())
    facts = {"ahead_s": round(ours_s, 1), "hubs": {hub: round(ahead, 1) for hub, ahead in ahead_s.items()}}
    if len(ahead_s) > 1 and max(ahead_s.values()) - min(ahead_s.values()) > WINDOW_S:
        return _disagreeing(ahead_s, ours_s, facts)
    if abs(ours_s) <= FINE_S:
        return Finding("clock", State.OK, f"Right, by {_hubs(len(ahead_s))}.", facts=facts)
    whose = "the hub's" if len(ahead_s) == 1 else "the hubs'"
    seen = f"Our clock is {told(ours_s)} the hubs' ({_hubs(len(ahead_s))} asked)."
    remedy = _SET.format(whose=whose)
    if abs(ours_s) <= WINDOW_S / 2:
        return Finding("clock", State.WARNING, seen, remedy, facts=facts)
    meets = "whoever is a day off meets nobody" if abs(ours_s) > DAY_S / 2 else "peers drop what we say"
    seen += f" Beyond {WINDOW_S / 60:.0f} min of difference {meets}."
    return Finding("clock", State.BROKEN, seen, remedy, facts=facts)


def _disagreeing(ahead_s: Mapping[HubUrl, float], ours_s: float, facts: dict[str, object]) -> Finding:
    apart = sorted(hub for hub, ahead in ahead_s.items() if abs(ahead) > WINDOW_S / 2)
    seen = f"The hubs tell different times: {', '.join(f'{hub} is {told(-ahead_s[hub])} us' for hub in apart)}."
    remedy = "Compare this machine's clock with another one; where ours is right, tell whoever runs the hub."
    agreeing = len(ahead_s) - len(apart)
    state = State.WARNING if abs(ours_s) <= FINE_S and agreeing > len(apart) else State.BROKEN
    return Finding("clock", state, seen, remedy, facts=facts)


def told(ahead_s: float) -> str:
    """A difference for a person: `3 h ahead of`."""
    size_s = abs(ahead_s)
    for unit_s, name in ((DAY_S, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s")):
        if size_s >= 1.5 * unit_s or unit_s == 1.0:
            return f"{size_s / unit_s:.0f} {name} {'ahead of' if ahead_s > 0 else 'behind'}"
    raise AssertionError("the last unit fits all")


def _hubs(count: int) -> str:
    return "one hub" if count == 1 else f"{count} hubs"
