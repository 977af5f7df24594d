"""What the hub refuses where npm's never would, with the reason and what to do about it. No I/O.

No sentence may begin with "data: ": npm's client reads the body of a refused subscription as events.
"""

from __future__ import annotations

from typing import NamedTuple

from ssb_rtc.hub.limits import HubLimits

RETRY_WHEN_FULL_S = 30
RETRY_WHEN_AWAY_S = 5

_BAD_REQUEST = b"400 Bad Request"
_TOO_MANY = b"429 Too Many Requests"
_UNAVAILABLE = b"503 Service Unavailable"


class Refusal(NamedTuple):
    """Status line, the sentence, and the seconds after which it makes sense to try again; None where it never does."""

    status: bytes
    sentence: str
    retry_after_s: int | None = None


class Refused(Exception):
    """Carries the refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal


LINE_BREAK = Refusal(
    _BAD_REQUEST, "a body with a line break would be read as several events: send it without, as JSON does"
)
ENDING = Refusal(
    _UNAVAILABLE, f"this hub is about to stop: try again in {RETRY_WHEN_AWAY_S} s, or another hub", RETRY_WHEN_AWAY_S
)
BROKER_AWAY = Refusal(
    _UNAVAILABLE,
    f"the hub's processes can't reach each other now: try again in {RETRY_WHEN_AWAY_S} s, or another hub",
    RETRY_WHEN_AWAY_S,
)


def too_many_requests(limits: HubLimits, wait_s: int) -> Refusal:
    """From one client."""
    return Refusal(
        _TOO_MANY,
        f"too many requests from your address, which has {limits.address_requests_s:g} a second, each channel for "
        f"itself: try again in {wait_s} s",
        wait_s,
    )


def too_many_posts(wait_s: int) -> Refusal:
    """From one client, or to one channel."""
    return Refusal(
        _TOO_MANY, f"too many messages from your address, or to this channel: try again in {wait_s} s", wait_s
    )


def too_many_channels(limits: HubLimits) -> Refusal:
    """In one request: waiting never helps."""
    return Refusal(
        _BAD_REQUEST,
        f"more than {limits.channels_per_subscriber_max} channels in one request: ask for them in several",
    )


def too_many_connections(limits: HubLimits) -> Refusal:
    """Of one client, behind a proxy: others are not even heard."""
    return _full(f"your address has as many connections as one gets ({limits.connections_per_address_max}): close some")


def too_many_subscriptions(limits: HubLimits) -> Refusal:
    """Of one client."""
    return _full(
        f"your address has as many subscriptions as one gets ({limits.subscriptions_per_address_max}): close some"
    )


def full(what: str) -> Refusal:
    """For everybody; `what` it has too many of, as a sentence."""
    return _full(f"{what}, as many as it takes")


def _full(why: str) -> Refusal:
    sentence = f"{why}; try again in {RETRY_WHEN_FULL_S} s, or another hub"
    return Refusal(_UNAVAILABLE, sentence, RETRY_WHEN_FULL_S)
