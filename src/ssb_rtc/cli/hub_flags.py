"""The flags of `ssb-rtc hub serve`: one for each limit of the hub, and what else an operator sets."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from typing import NamedTuple

from ssb_rtc.errors import ConfigFault
from ssb_rtc.hub.limits import HubLimits
from ssb_rtc.hub.rates import Rate

BROKER_VARIABLE = "SSB_RTC_BROKER"
LOOPS = ("auto", "uvloop", "asyncio")
LOG_STYLES = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")
FORWARDED_HEADERS = ("x-forwarded-for", "forwarded")


DEFAULTS = HubLimits()


class _Limit(NamedTuple):
    """One flag: `--name-of-the-field`, or of the field and its rate's part."""

    name: str
    help: str
    part: str = ""

    @property
    def flag(self) -> str:
        name = f"{self.name.removesuffix('_rate')}_{self.part}" if self.part else self.name
        return "--" + name.replace("_", "-")

    @property
    def dest(self) -> str:
        return f"limit_{self.name}_{self.part}"

    @property
    def default(self) -> float:
        value = getattr(DEFAULTS, self.name)
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
    for limit in LIMITS:
        limits.add_argument(
            limit.flag, dest=limit.dest, metavar="N", help=f"{limit.help} (default {limit.default:.16g})"
        )


def limits_of(arguments: argparse.Namespace) -> HubLimits:
    """The limits in force. Raises ConfigFault, which names the flag."""
    limits = HubLimits(loopback_exempt=not arguments.limit_loopback)
    for limit in LIMITS:
        text = getattr(arguments, limit.dest)
        if text is None:
            continue
        if limit.part:
            rate: Rate = getattr(limits, limit.name)
            value: object = replace(rate, **{limit.part: _number(limit, text)})
        else:
            value = type(limit.default)(_number(limit, text))
        limits = replace(limits, **{limit.name: value})  # type: ignore[arg-type]
    return limits


def check_table() -> None:
    """Raises AssertionError unless every limit has its flag."""
    named = {limit.name for limit in LIMITS} | {"loopback_exempt"}
    assert named == {field.name for field in fields(HubLimits)}


def _number(limit: _Limit, text: str) -> float:
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
    return value
