"""`ssb-rtc hub serve`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ssb_rtc.cli import logs, output
from ssb_rtc.cli.hub_flags import BROKER_VARIABLE, limits_of, times_of
from ssb_rtc.cli.interrupt import interrupted
from ssb_rtc.errors import ConfigFault, MisuseError
from ssb_rtc.hub import journal
from ssb_rtc.hub.clients import Proxies
from ssb_rtc.hub.server import HubServer
from ssb_rtc.hub.tls import server_tls

if TYPE_CHECKING:
    from ssb_rtc.hub.broker import Broker
    from ssb_rtc.hub.pages import Metrics

DESCRIPTORS = 1 << 16
DESCRIPTORS_SPARE = 64

_log = logging.getLogger(journal.LOGGER)


def hub(arguments: argparse.Namespace) -> int:
    """Serve a signalhub until interrupted: SIGTERM drains it, Ctrl-C ends it at once."""
    if not 0 <= arguments.port <= 65535:
        raise MisuseError("--port takes a number from 0 to 65535")
    if not arguments.host:
        raise MisuseError("--host takes an address; 0.0.0.0 is all that this machine has")
    limits = limits_of(arguments)
    name, new_loop = _loop(arguments.loop)
    descriptors = _allow_many_descriptors()
    if arguments.connections_max is None:
        # Without descriptors nothing can be accepted, and nobody refused in order either.
        limits = replace(limits, connections_max=max(1, min(limits.connections_max, descriptors - DESCRIPTORS_SPARE)))
    server = HubServer(
        limits,
        broker=_broker(arguments),
        proxies=Proxies(arguments.trusted_proxy, arguments.forwarded_header.encode()),
        tls=server_tls(arguments.tls_cert, arguments.tls_key),
        metrics=_metrics(arguments.metrics),
    )
    handler = logs.write_to(sys.stderr, arguments.log, arguments.log_level, journal.LOGGER)
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(_serve(server, arguments, {"loop": name, "descriptors": descriptors}))
    finally:
        logging.getLogger().removeHandler(handler)
    return 0


async def _serve(server: HubServer, arguments: argparse.Namespace, facts: dict[str, Any]) -> None:
    async with interrupted() as stop:
        await server.start(arguments.host, arguments.port)
        traffic = asyncio.create_task(journal.tell_traffic(server))
        try:
            _tell_where(server, arguments, facts)
            await stop.wait()
            if stop.number == signal.SIGTERM:
                _log.info("draining", extra={"fields": {"subscribers": server.subscribers}})
                await server.drain()
        finally:
            await server.close()
            traffic.cancel()
            with suppress(asyncio.CancelledError):
                await traffic
            _log.info("ended", extra={"fields": {"posts": server.counts.posts, "deliveries": server.counts.deliveries}})


def _tell_where(server: HubServer, arguments: argparse.Namespace, facts: dict[str, Any]) -> None:
    fields = {"url": server.url, "connections_max": server.limits.connections_max, **facts}
    _log.info("listening", extra={"fields": fields})
    if server.limits.connections_max > facts["descriptors"] - DESCRIPTORS_SPARE:
        _log.warning(
            "too few descriptors for --connections-max: raise the limit (ulimit -n, LimitNOFILE) or lower the number",
            extra={"fields": fields},
        )
    if arguments.json:
        output.print_json({"url": server.url, "port": server.port})
    elif arguments.log == "text":
        print(f"signalhub at {server.url} (end it with Ctrl-C)", file=sys.stderr)


def _broker(arguments: argparse.Namespace) -> Broker | None:
    urls = arguments.broker or os.environ.get(BROKER_VARIABLE, "").split()
    if not urls or urls == ["memory"]:
        return None
    from ssb_rtc.hub.broker_redis import RedisBroker

    return RedisBroker(urls, times_of(arguments))


def _metrics(wanted: str | None) -> Metrics | None:
    if wanted == "off":
        return None
    try:
        from ssb_rtc.hub.metrics import prometheus
    except ConfigFault:
        if wanted is None:
            return None
        raise

    return prometheus(for_all=wanted == "all")


def _loop(wanted: str) -> tuple[str, Callable[[], asyncio.AbstractEventLoop]]:
    if wanted != "asyncio":
        try:
            import uvloop
        except ImportError:
            if wanted == "uvloop":
                raise ConfigFault("--loop uvloop needs uvloop: pip install 'ssb-rtc[hub]'") from None
        else:
            return "uvloop", uvloop.new_event_loop
    return "asyncio", asyncio.new_event_loop


def _allow_many_descriptors() -> int:
    """Each subscriber is a descriptor; the usual soft limit of 1,024 would stall a hub long before it is busy.

    Returns how many there are.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
