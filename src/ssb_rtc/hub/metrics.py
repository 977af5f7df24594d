"""The hub's numbers for Prometheus, read when they are asked for: counting costs an addition, and a scrape the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ssb_rtc.errors import ConfigFault
from ssb_rtc.hub.pages import Metrics

try:
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError:
    raise ConfigFault("--metrics needs the prometheus-client library: pip install 'ssb-rtc[hub]'") from None

if TYPE_CHECKING:
    from ssb_rtc.hub.server import HubServer

PREFIX = "ssb_rtc_hub_"
KIND = b"text/plain; version=0.0.4; charset=utf-8"


class _Numbers(Collector):
    """One hub's numbers."""

    def __init__(self, hub: HubServer) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        hub, counts = self._hub, self._hub.counts
        slow, buffered_bytes = hub.behind
        yield _gauge("subscribers", "Subscriptions now; three channels in one request are three.", hub.subscribers)
        yield _gauge("channels", "Channels with at least one subscriber.", hub.channels)
        yield _gauge("open_connections", "Connections now, subscribers or not.", hub.connections)
        yield _gauge("slow_readers", "Subscribers that have not read all that was sent to them.", slow)
        yield _gauge("buffered_bytes", "What waits for slow readers.", buffered_bytes)
        yield _gauge("loop_lag_seconds", "How late the last look at the clock was.", hub.lag_s)
        yield _gauge("ready", "1 where /healthz answers 200.", hub.trouble is None)
        yield _gauge("broker_up", "1 where the broker answers.", hub.broker.away is None)
        yield _counter("connections", "Connections accepted.", counts.connections)
        yield _counter("connections_refused", "Connections closed at once, over a limit.", counts.connections_refused)
        yield _counter("subscriptions_refused", "Subscriptions answered 503.", counts.subscriptions_refused)
        posts = CounterMetricFamily(PREFIX + "posts", "Posts, by what became of them.", labels=["result"])
        for result in ("limited", "invalid", "too_large", "failed"):
            posts.add_metric([result], getattr(counts, f"posts_{result}"))
        posts.add_metric(["taken"], counts.posts)
        yield posts
        yield _counter("post_bytes", "Bodies of the posts that were taken.", counts.post_bytes)
        limited = "Requests of whatever kind beyond a client's rate: answered 429 and closed."
        yield _counter("requests_limited", limited, counts.requests_limited)
        yield _counter("requests_broken", "Requests that were no HTTP, or too slow.", counts.requests_broken)
        yield _counter("deliveries", "Posts times those who heard them.", counts.deliveries)
        yield _counter("readers_dropped", "Subscribers that read too slowly.", counts.readers_dropped)


def prometheus(*, for_all: bool) -> Metrics:
    """The page for a hub, with the process's own numbers beside."""
    registries: dict[HubServer, CollectorRegistry] = {}

    def render(hub: HubServer) -> bytes:
        registry = registries.get(hub)
        if registry is None:
            registry = registries[hub] = CollectorRegistry()
            registry.register(_Numbers(hub))
            ProcessCollector(registry=registry)
        return generate_latest(registry)

    return Metrics(KIND, render, for_all)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, text, value=float(value))
