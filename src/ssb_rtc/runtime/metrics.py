"""A peer's numbers for Prometheus, read when they are asked for: counting costs an addition, and a scrape the rest.

No label holds what others make up: neither peers nor hubs nor feeds are named, so a scrape has the same size for all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, get_args

from ssb_rtc.errors import ConfigFault
from ssb_rtc.manager.activity import Activity, activity
from ssb_rtc.manager.state import ConnectionState

try:
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
    from prometheus_client.registry import Collector
except ImportError:
    raise ConfigFault("--metrics needs the prometheus-client library: pip install 'ssb-rtc[metrics]'") from None

if TYPE_CHECKING:
    from ssb_rtc.runtime.driver import Driver
    from ssb_rtc.runtime.links import LinkTable
    from ssb_rtc.runtime.outcomes import Outcomes
    from ssb_rtc.runtime.timelines import Timelines
    from ssb_rtc.signalhub.signalling import Signalling
    from ssb_rtc.storage.ingest import Ingest

PREFIX = "ssb_rtc_"
KIND = "text/plain; version=0.0.4; charset=utf-8"
TRANSPORTS = ("rtc", "net", "ws")
"""Which are told of even while no link goes over them."""


class Parts(NamedTuple):
    """Where the numbers are."""

    driver: Driver
    links: LinkTable
    outcomes: Outcomes
    timelines: Timelines
    signalling: Signalling
    ingest: Ingest


class Numbers(Collector):
    """One peer's numbers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        yield from self._network()
        yield from self._attempts()
        yield from self._manager()
        yield from self._messages()

    def _network(self) -> Iterator[Metric]:
        state, links = self._parts.driver.state, self._parts.links
        now: Counter[tuple[str, ...]] = Counter()
        for peer in state.linked:
            link = state.peers[peer].link
            object_ = links.get(link.id) if link is not None else None
            if link is not None and object_ is not None:
                now[object_.transport, activity(link, state.settings, state.now.mono_s)] += 1
        for transport in TRANSPORTS:
            for doing in get_args(Activity):
                now.setdefault((transport, doing), 0)
        yield _gauges("links", "Links to peers now: by transport and what they are doing.", ("transport", "state"), now)
        yield _gauges("peers", "Known peers.", ("state",), _by_state(p.connection_state for p in state.peers.values()))
        yield _gauges("hubs", "Known hubs.", ("state",), _by_state(hub.connection_state for hub in state.hubs.values()))
        yield _gauge("friends", "Peers whose feeds we replicate, known by an address or not.", len(state.hops))
        carried = links.ended_bytes.copy()
        for link_ in links.all():
            carried[link_.transport, "in"] += link_.bytes_in
            carried[link_.transport, "out"] += link_.bytes_out
        for transport in TRANSPORTS:
            for way in ("in", "out"):
                carried.setdefault((transport, way), 0)
        yield _counters("link_bytes", "Bytes over links, sealed.", ("transport", "direction"), carried)
        dropped = self._parts.signalling.dropped
        yield _counters("signals_dropped", "What was heard on hubs and not taken.", ("cause",), _ones(dropped))

    def _attempts(self) -> Iterator[Metric]:
        outcomes, milestones = self._parts.outcomes, self._parts.timelines.counts
        yield _counters("attempts", "Attempts at links, by their way.", ("via",), _ones(outcomes.begun))
        yield _counters("attempts_failed", "Those that came to nothing.", ("cause",), _ones(outcomes.failed))
        yield _counters("milestones", "What happened on the way to peers.", ("what",), _ones(milestones))
        yield _counter("attempts_linked", "Those that led to a link.", outcomes.linked)

    def _manager(self) -> Iterator[Metric]:
        driver = self._parts.driver
        yield _counters(
            "actions", "What the peers state manager heard, such as announcements.", ("kind",), _ones(driver.actions)
        )
        yield _counters("effects", "What it ordered, such as knocks.", ("kind",), _ones(driver.effects))
        yield _counters("actions_dropped", "What found its queue full.", ("kind",), _ones(driver.dropped))
        yield _counter("step_faults", "Steps that failed, which is a bug.", driver.faults)
        yield SummaryMetricFamily(
            PREFIX + "step_seconds",
            "The time of its steps.",
            count_value=driver.actions.total(),
            sum_value=driver.step_sum_s,
        )
        yield _gauge("step_seconds_max", "The longest step since the start.", driver.step_max_s)
        yield _gauge("actions_waiting", "Actions in its queue.", driver.waiting)

    def _messages(self) -> Iterator[Metric]:
        ingest = self._parts.ingest
        yield _gauge("messages", "Messages that we hold.", ingest.log.count())
        yield _gauge("feeds", "Feeds of which we hold messages.", len(ingest.log.heads()))
        yield _counter("messages_validated", "Messages of others that were verified and stored.", ingest.committed)
        yield _counter("messages_refused", "Messages that were not what they should be.", ingest.refused)
        yield _gauge("messages_waiting", "Messages that wait for their signature or their commit.", ingest.queued)


class Page:
    """What a scrape gets: the peer's numbers, with the process's own beside."""

    def __init__(self, parts: Parts) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(Numbers(parts))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """In the text format."""
        return generate_latest(self._registry)


def _by_state(states: Iterator[ConnectionState]) -> dict[tuple[str, ...], int]:
    found = Counter(states)
    return {(state,): found[state] for state in get_args(ConnectionState)}


def _ones(counts: Mapping[str, int]) -> dict[tuple[str, ...], int]:
    return {(name,): count for name, count in counts.items()}


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, text, value=float(value))


def _gauges(name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], int]) -> Metric:
    return _filled(GaugeMetricFamily(PREFIX + name, text, labels=labels), values)


def _counters(name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], int]) -> Metric:
    return _filled(CounterMetricFamily(PREFIX + name, text, labels=labels), values)


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[tuple[str, ...], int]
) -> GaugeMetricFamily | CounterMetricFamily:
    for labels, value in sorted(values.items()):
        family.add_metric(labels, float(value))
    return family
