"""Packets by which peers of one local network find each other, and what of those that are heard is believed. No I/O.

A packet is a multiserver address as text, sent by UDP broadcast to port 8008 every other second: npm ssb-local 1.0,
the legacy half of npm ssb-lan 1.2 and go-ssb's `network` package speak so. (ssb-lan's other half sends the same sealed
with the network's key on port 26830; each of these hears the plain one.)

Nothing in a packet is proven, and anybody on the network can send any number of them. JavaScript and Go dial whatever
address a packet names, so one packet makes a whole network dial a victim; here an address counts only where it is the
packet's own sender, and what gets through is limited for each sender and in all.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from ssb_rtc.errors import ConfigFault
from ssb_rtc.wire.address import NetTarget, net_address, parse, target

PORT: Final = 8008
INTERVAL_S: Final = 2.0
"""As ssb-lan; ssb-conn forgets whom it has not heard for 10 s."""
PACKET_BYTES_MAX: Final = 1024
"""Several addresses of one peer; go-ssb reads 128 bytes, and ours have 85 at most."""
ADDRESSES_MAX: Final = 8
PACKETS_PER_S: Final = 200.0
"""From all senders together: a hundred peers in one network."""
SENDER_PACKETS_PER_S: Final = 5.0
"""A few peers may run on one machine."""
SENDERS_MAX: Final = 256
NAMES_MAX: Final = 8
"""Peers at one sender that are told of; another one when one of these was silent for `FORGET_S`."""
TELL_AGAIN_S: Final = 20.0
"""The same peer at the same address is told of at most so often."""
FORGET_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Appeared:
    """A peer says that it is there."""

    key: bytes
    """Its public key, as it says."""
    address: str
    """`net:<host>:<port>~shs:<key>`; the host is the packet's sender."""


def packet(host: str, port: int, key: bytes) -> bytes:
    """What a peer broadcasts that listens there. Raises MisuseError for what can't stand in an address."""
    return net_address(host, port, key).encode("ascii")


def read(data: bytes, sender: str) -> Appeared | None:
    """Who says here that it listens at `sender`, over net; None for everything else, whatever it is."""
    if len(data) > PACKET_BYTES_MAX:
        return None
    try:
        addresses = parse(data.decode("ascii"))
    except (UnicodeDecodeError, ConfigFault):
        return None
    for address in addresses[:ADDRESSES_MAX]:
        try:
            to = target(address)
        except ConfigFault:
            continue
        if isinstance(to, NetTarget) and to.host == sender and to.key is not None:
            return Appeared(to.key, net_address(to.host, to.port, to.key))
    return None


class _Bucket:
    """`rate_s` a second in the long run, two seconds' worth at once."""

    __slots__ = ("_level", "_rate_s", "_since_s")

    def __init__(self, rate_s: float, now_s: float) -> None:
        self._rate_s, self._level, self._since_s = rate_s, 2 * rate_s, now_s

    def take(self, now_s: float) -> bool:
        level = min(2 * self._rate_s, self._level + max(0.0, now_s - self._since_s) * self._rate_s)
        self._since_s = now_s
        self._level = level - 1.0 if level >= 1.0 else level
        return level >= 1.0


@dataclass(slots=True)
class _Sender:
    bucket: _Bucket
    told_s: dict[str, float] = field(default_factory=dict)
    """When which address was last told of."""
    heard_s: dict[str, float] = field(default_factory=dict)


class Hearing:
    """What a peer hears on its networks: limits, and a memory of whom it told of. Bounded, whatever comes.

    own: its key.
    """

    def __init__(self, own: bytes, now_s: float) -> None:
        self._own = own
        self._all = _Bucket(PACKETS_PER_S, now_s)
        self._senders: OrderedDict[str, _Sender] = OrderedDict()
        self.dropped = 0
        """Packets over a limit."""

    def __len__(self) -> int:
        return len(self._senders)

    def hear(self, data: bytes, sender: str, now_s: float) -> Appeared | None:
        """A packet from `sender` (its IP address) at `now_s` (monotonic seconds): whom to tell of, or None."""
        # The sender's own limit first: who sends without end must not use up what all have together.
        known = self._sender(sender, now_s)
        if not known.bucket.take(now_s) or not self._all.take(now_s):
            self.dropped += 1
            return None
        appeared = read(data, sender)
        if appeared is None or appeared.key == self._own or not _is_news(known, appeared.address, now_s):
            return None
        return appeared

    def _sender(self, sender: str, now_s: float) -> _Sender:
        known = self._senders.get(sender)
        if known is None:
            known = self._senders[sender] = _Sender(_Bucket(SENDER_PACKETS_PER_S, now_s))
            if len(self._senders) > SENDERS_MAX:
                self._senders.popitem(last=False)
        self._senders.move_to_end(sender)
        return known


def _is_news(known: _Sender, address: str, now_s: float) -> bool:
    if address not in known.told_s and len(known.told_s) >= NAMES_MAX:
        oldest = min(known.heard_s, key=known.heard_s.__getitem__)
        if now_s - known.heard_s[oldest] < FORGET_S:
            return False
        del known.heard_s[oldest], known.told_s[oldest]
    known.heard_s[address] = now_s
    if now_s - known.told_s.get(address, float("-inf")) < TELL_AGAIN_S:
        return False
    known.told_s[address] = now_s
    return True
