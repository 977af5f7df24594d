"""The flags of `ssb-rtc hub serve`: one for each limit of the hub, and what else an operator sets."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from typing import Any, NamedTuple

from ssb_rtc.config import LOG_LEVELS, LOG_STYLES
from ssb_rtc.errors import ConfigFault
from ssb_rtc.hub.limits import BrokerTimes, HubLimits
from ssb_rtc.hub.rates import Rate

BROKER_VARIABLE = "SSB_RTC_BROKER"
LOOPS = ("auto", "uvloop", "asyncio")
FORWARDED_HEADERS = ("x-forwarded-for", "forwarded")


DEFAULTS = HubLimits()
DEFAULT_TIMES = BrokerTimes()


class _Limit(NamedTuple):
    """One flag: `--name-of-the-field`, or of the field and its rate's part; `--broker-...` for the broker's times."""

    name: str
    help: str
    part: str = ""
    of: HubLimits | BrokerTimes = DEFAULTS

    @property
    def flag(self) -> str:
        return "--" + self.dest.replace("_", "-")

    @property
    def dest(self) -> str:
        if self.of is DEFAULT_TIMES:
            return f"broker_{self.name}"
        return f"{self.name.removesuffix('_rate')}_{self.part}" if self.part else self.name

    @property
    def default(self) -> float:
        value = getattr(self.of, self.name)
        default: float = getattr(value, self.part) if self.part else value
        return default


_RATE_PARTS = (
    ("messages_s", "posts a second, in the long run"),
    ("messages_burst", "posts at once"),
    ("bytes_s", "bytes a second, in the long run"),
    ("bytes_burst", "bytes at once"),
)

LIMITS: tuple[_Limit, ...] = (
    _Limit("connections_max", "open connections; whoever comes later is closed at once"),
    _Limit("subscribers_max", "subscriptions; three channels in one request are three"),
    _Limit("channels_max", "channels with subscribers"),
    _Limit("channels_per_subscriber_max", "channels in one request"),
    _Limit("connections_per_address_max", "connections from one client (an IPv4 address, an IPv6 /64)"),
    _Limit("subscriptions_per_address_max", "subscriptions of one client"),
    _Limit("address_requests_s", "requests of all kinds from one client a second, in the long run"),
    _Limit("address_requests_burst", "the same, at once"),
    *(_Limit("address_rate", f"from one client: {text}", part) for part, text in _RATE_PARTS),
    *(_Limit("channel_rate", f"to one channel: {text}", part) for part, text in _RATE_PARTS),
    _Limit("rates_max", "clients, and channels, whose rates are remembered"),
    _Limit("header_bytes", "request line and headers together"),
    _Limit("header_s", "seconds for a whole request head, and for a TLS handshake"),
    _Limit("body_s", "seconds for a whole body"),
    _Limit("keep_alive_s", "seconds that an idle connection is kept"),
    _Limit("reader_buffer_bytes", "a subscriber that is further behind is dropped"),
    _Limit("reader_stall_s", "a subscriber that is behind for longer is dropped"),
    _Limit("buffers_bytes", "what all subscribers together may be behind"),
    _Limit("ignored_bytes", "what a subscriber may send after its request"),
    _Limit("dead_subscriber_s", "seconds without an acknowledgement until a subscriber counts as gone (Linux)"),
    _Limit("heartbeat_s", "seconds between two heartbeats of a channel"),
    _Limit("sweep_s", "seconds between two looks at deadlines and heartbeats"),
    _Limit("close_s", "seconds that the last answers may take at the end"),
    _Limit("drain_s", "seconds in which SIGTERM ends all streams, at most"),
    _Limit("drain_streams_s", "streams that SIGTERM ends a second, if --drain-s allows it"),
)

TIMES: tuple[_Limit, ...] = (
    _Limit("connect_s", "seconds to connect, and to subscribe to all channels again", of=DEFAULT_TIMES),
    _Limit("answer_s", "seconds to take a post or confirm a subscription; then 503", of=DEFAULT_TIMES),
    _Limit("beat_s", "seconds between two heartbeats that we send ourselves through it", of=DEFAULT_TIMES),
    _Limit("silent_s", "seconds without one until it counts as away", of=DEFAULT_TIMES),
    _Limit("back_off_s", "seconds between two attempts to connect, at most", of=DEFAULT_TIMES),
)


def add_serve(parser: argparse.ArgumentParser) -> None:
    """All flags of `hub serve`."""
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="the port; 0 takes a free one (default 8000)")
    parser.add_argument("--json", action="store_true", help="print one JSON line when it listens")
    parser.add_argument("--tls-cert", metavar="FILE", help="a certificate in PEM, with its chain: serve https")
    parser.add_argument("--tls-key", metavar="FILE", help="the private key of --tls-cert, in PEM")
    parser.add_argument(
        "--trusted-proxy", metavar="CIDR", action="append", default=[],
        help="a proxy whose word about the client's address counts; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--forwarded-header", choices=FORWARDED_HEADERS, default=FORWARDED_HEADERS[0],
        help="the one header in which it tells (default x-forwarded-for); it must replace what the client sent",
    )  # fmt: skip
    parser.add_argument(
        "--broker", metavar="URL", action="append",
        help="share channels with other processes through this Redis, like redis://127.0.0.1:6379; several share the "
        f"channels by hash, in the same order everywhere (needs ssb-rtc[redis]) [{BROKER_VARIABLE}]",
    )  # fmt: skip
    parser.add_argument(
        "--metrics", choices=("local", "all", "off"),
        help="who may read /metrics: this machine, everybody, or nobody (default local, where ssb-rtc[hub] is there)",
    )  # fmt: skip
    parser.add_argument(
        "--loop", choices=LOOPS, default="auto", help="the event loop (default: uvloop where it is installed)"
    )
    parser.add_argument("--log", choices=LOG_STYLES, default="text", help="the form of the log (default text)")
    parser.add_argument(
        "--log-level", choices=LOG_LEVELS, default="info",
        help="how much of it (default info); debug tells addresses, none tells bodies or channels",
    )  # fmt: skip
    limits = parser.add_argument_group("limits", "Sizes take k, M or G for thousands, millions, ...")
    limits.add_argument(
        "--limit-loopback", action="store_true", help="hold this machine itself to the limits for a client, too"
    )
    times = parser.add_argument_group("the broker's time", "For --broker redis://...")
    for group, table in ((limits, LIMITS), (times, TIMES)):
        for limit in table:
            text = f"{limit.help} (default {limit.default:.16g})"
            group.add_argument(limit.flag, dest=limit.dest, metavar="N", help=text)


def limits_of(arguments: argparse.Namespace) -> HubLimits:
    """The limits in force. Raises ConfigFault, which names the flag."""
    limits = HubLimits(loopback_exempt=not arguments.limit_loopback)
    for limit in LIMITS:
        text = getattr(arguments, limit.dest)
        if text is not None and limit.part:
            rate: Any = replace(getattr(limits, limit.name), **{limit.part: _number(limit, text)})
            limits = replace(limits, **{limit.name: rate})
        elif text is not None:
            limits = replace(limits, **{limit.name: _number(limit, text)})
    return limits


def times_of(arguments: argparse.Namespace) -> BrokerTimes:
    """The broker's times in force. Raises ConfigFault, which names the flag."""
    given = {limit: getattr(arguments, limit.dest) for limit in TIMES}
    return replace(DEFAULT_TIMES, **{t.name: _number(t, text) for t, text in given.items() if text is not None})


def check_table() -> None:
    """Raises AssertionError unless every limit has its flag, and every rate all of its."""
    named = {(limit.name, limit.part) for limit in LIMITS}
    wanted = {(f.name, "") for f in fields(HubLimits) if not f.name.endswith("_rate")} - {("loopback_exempt", "")}
    wanted |= {(name, f.name) for name in ("address_rate", "channel_rate") for f in fields(Rate)}
    assert named == wanted
    assert {limit.name for limit in TIMES} == {field.name for field in fields(BrokerTimes)}


def _number(limit: _Limit, text: str) -> Any:
    number, factor = text, 1
    if text and text[-1] in "kKMG":
        number, factor = text[:-1], 1000 ** ("KMG".index(text[-1].upper()) + 1)
    try:
        value = float(number) * factor
    except ValueError:
        value = 0.0
    whole = not limit.part and isinstance(limit.default, int)
    if not 0 < value < 1e15 or (whole and not value.is_integer()):
        raise ConfigFault(f"{limit.flag} takes a {'whole ' if whole else ''}number above 0, not {text!r}")
    return int(value) if whole else value
