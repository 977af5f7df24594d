"""What one hub process gives at most, to all and to each."""

from __future__ import annotations

from dataclasses import dataclass, field

from ssb_rtc.hub.rates import Rate

BODY_LIMIT_BYTES = 64 * 1024
"""A POST with this many bytes or more is cut without an answer, as signalhub 4.9.0 does."""

HEARTBEAT_S = 30.0
"""Between two heartbeats of a channel (signalhub 4.9.0)."""


@dataclass(frozen=True, slots=True)
class HubLimits:
    """The limits of one hub process; the time-outs are Node's where signalhub shows them on the wire."""

    connections_max: int = 20_000
    """Subscribers and others; whoever comes later is closed at once."""
    subscribers_max: int = 16_000
    """Subscriptions, as `GET /` counts them: three channels in one request are three."""
    channels_max: int = 16_000
    channels_per_subscriber_max: int = 64
    connections_per_address_max: int = 512
    subscriptions_per_address_max: int = 2_048
    """A peer takes about five in two connections; without this, one client could take all that the hub has."""
    address_requests_s: float = 200.0
    """Requests of all kinds from one client, each channel of a subscription for itself; more is answered with 429, and
    the connection closed. A connection may bring thousands in one go, and who asks for nothing dear keeps the others
    waiting all the same.
    """
    address_requests_burst: float = 4_000.0
    address_rate: Rate = field(default_factory=lambda: Rate(50.0, 500.0, 256 * 1024.0, 4 * 1024 * 1024.0))
    """What one client address may post; a WebRTC attempt takes about 15 messages and 10 KiB."""
    channel_rate: Rate = field(default_factory=lambda: Rate(500.0, 2000.0, 2 * 1024 * 1024.0, 16 * 1024 * 1024.0))
    """What one channel carries, whoever posts."""
    rates_max: int = 16_000
    """Addresses, and channels, whose rates are remembered."""
    loopback_exempt: bool = True
    """Whether this machine itself is free of the limits for an address and the rates."""
    header_bytes: int = 16 * 1024
    """Request line and headers together; more is answered with 431, as Node does."""
    header_s: float = 15.0
    """For a whole request head, counted from the connection or from its first byte."""
    body_s: float = 30.0
    keep_alive_s: float = 6.0
    """An idle connection is closed after this. It was told `sweep_s` less: `Keep-Alive: timeout=5`, as Node does."""
    reader_buffer_bytes: int = 512 * 1024
    """A subscriber that is further behind is dropped."""
    reader_stall_s: float = 60.0
    """A subscriber that does not catch up for this long is dropped."""
    buffers_bytes: int = 64 * 1024 * 1024
    """What all subscribers together may be behind; above it those that are furthest behind are dropped."""
    ignored_bytes: int = 64 * 1024
    """What a subscriber may send after its request; nothing of it is read."""
    dead_subscriber_s: float = 90.0
    """How long the kernel waits for a subscriber's acknowledgement of what was sent (Linux)."""
    heartbeat_s: float = HEARTBEAT_S
    sweep_s: float = 1.0
    """Between two looks at deadlines and heartbeats: how late each of them may be."""
    close_s: float = 5.0
    """How long a graceful close waits for what is still to be sent."""
    drain_s: float = 10.0
    """In this time at most all streams are ended, one by one, when the hub is told to end."""
    drain_streams_s: float = 500.0
    """So many streams are ended a second, if `drain_s` allows it: who is cut off comes back to another hub at once."""


@dataclass(frozen=True, slots=True)
class BrokerTimes:
    """How long a broker outside of this process may take for each thing."""

    connect_s: float = 5.0
    """Until the connection stands, all channels are subscribed to and the own heartbeat came back."""
    answer_s: float = 5.0
    """Until a post is taken, or a subscription confirmed; then 503."""
    beat_s: float = 2.0
    """Between two heartbeats that this process sends to itself through Redis."""
    silent_s: float = 6.0
    """A subscription on which no heartbeat came for so long is dead, whatever TCP says."""
    back_off_s: float = 2.0
    """At most so long between two attempts to connect; the first comes after a tenth of that."""
