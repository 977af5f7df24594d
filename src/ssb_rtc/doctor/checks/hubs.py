"""The check of the hubs, and what they say of our clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ssb_rtc.doctor import clock
from ssb_rtc.doctor.findings import Finding, State, sentence
from ssb_rtc.doctor.probes.hub import ECHO_LIMIT_S, HubSeen, ask_hub, refused_for_now
from ssb_rtc.runtime.effects import FROM_ELSEWHERE
from ssb_rtc.signalhub.client import open_session, shown
from ssb_rtc.signalhub.guarded import GuardedResolver
from ssb_rtc.storage.contacts import HubRecord
from ssb_rtc.types import HubUrl
from ssb_rtc.wire.hub_url import http_url, hub_host, is_loopback

HUBS_MAX: Final = 16
"""More are not asked: the peer itself meets on fewer."""
SLOW_S: Final = 2.0
"""With a longer way back and forth an attempt to connect often ends before its signals have crossed."""
_ADD = "`ssb-rtc hubs add https://...` adds one; ask whom you want to meet which hub they use."


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub to ask."""

    url: HubUrl
    only_told: bool = False
    """Other peers told us of it, and nobody here."""


def to_ask(for_this_run: Sequence[HubUrl], stored: Sequence[HubRecord]) -> list[Hub]:
    """The hubs of the settings and those that are kept, each once; those that somebody here named come first."""
    found = {url: Hub(url) for url in for_this_run}
    for record in sorted(stored, key=lambda record: record.source == FROM_ELSEWHERE):
        found.setdefault(record.url, Hub(record.url, record.source == FROM_ELSEWHERE))
    return list(found.values())[:HUBS_MAX]


async def ask(hubs: Sequence[Hub], network_key: bytes, *, wall: Callable[[], float]) -> list[HubSeen]:
    """Asks all of them at the same time."""
    named = {hub_host(hub.url) for hub in hubs if not hub.only_told}
    told = {hub_host(hub.url) for hub in hubs if hub.only_told} - named
    on_loopback = any(map(is_loopback, named))
    async with open_session(GuardedResolver(told.__contains__, lambda: on_loopback)) as session:
        return list(await asyncio.gather(*(ask_hub(hub.url, session, network_key, wall=wall) for hub in hubs)))


def judge(seen: Sequence[HubSeen]) -> list[Finding]:
    """A finding for each hub. What is wrong with one of them is a warning while another one works."""
    if not seen:
        remedy = f"{_ADD} Without any, peers are found in the local network or by their address alone."
        return [Finding("hub", State.WARNING, "No hub is known.", remedy)]
    at_worst = State.WARNING if any(hub.works for hub in seen) else State.BROKEN
    return [_judge(hub, at_worst) for hub in seen]


def judge_clock(seen: Sequence[HubSeen]) -> Finding:
    """What the hubs say of our clock."""
    return clock.verdict({HubUrl(shown(hub.hub)): hub.ahead_s for hub in seen if hub.ahead_s is not None})


def _judge(hub: HubSeen, at_worst: State) -> Finding:
    where = shown(hub.hub)
    ahead_s = None if hub.ahead_s is None else round(hub.ahead_s, 1)
    fault = sentence(str(hub.fault).replace(f"the hub {shown(http_url(hub.hub))}", "it"))
    facts = {"answered_ms": _ms(hub.answered_s), "echo_ms": _ms(hub.echo_s), "clock_ahead_s": ahead_s}

    def finding(state: State, seen: str, remedy: str = "") -> Finding:
        return Finding("hub", state, seen, remedy, subject=where, facts=facts)

    if refused_for_now(hub):
        remedy = "Try again in some minutes: it limits what one address may do."
        return finding(State.WARNING, fault, remedy)
    if hub.fault is not None:
        remedy = "See that the address is right and this machine is online. "
        remedy += f"If the hub is gone: `ssb-rtc hubs remove {where}`."
        if "certificate" in str(hub.fault):
            remedy = "See that this machine's clock is right; if it is, the hub's owner must renew its certificate."
        return finding(at_worst, fault, f"{remedy} {_ADD}")
    if hub.echo_s is None:
        seen = f"It took a signal from us to us, and did not hand it out within {ECHO_LIMIT_S:g} s."
        remedy = f"Nobody can meet there: tell whoever runs it (a proxy that buffers does this). {_ADD}"
        return finding(at_worst, seen, remedy)
    seen = f"Answers in {_ms(hub.answered_s)} ms; a signal to ourselves came back in {_ms(hub.echo_s)} ms."
    if hub.echo_s > SLOW_S:
        return finding(State.WARNING, seen, f"This is slow, and attempts to connect may run out of time. {_ADD}")
    return finding(State.OK, seen)


def _ms(time_s: float | None) -> int | None:
    return None if time_s is None else round(time_s * 1000)
