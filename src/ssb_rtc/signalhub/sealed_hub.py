"""What the sealed dialect holds for one hub, and how much it lets in and keeps."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from ssb_rtc.signalhub.admission import TokenBucket
from ssb_rtc.signalhub.crowd import Crowd
from ssb_rtc.signalhub.streams import HubStreams, StreamName
from ssb_rtc.wire import channels


@dataclass(frozen=True, slots=True)
class SealedLimits:
    """What may come in, and how much is held. Rates are letters a second."""

    hubs_max: int = 32
    inbox_rate_s: float = 50.0
    inbox_burst: float = 100.0
    """Before any cryptography, for the friend inbox and for all that is open apart, on each hub."""
    sender_rate_s: float = 10.0
    sender_burst: float = 60.0
    senders_max: int = 4_096
    seen_max: int = 16 * 1024
    seen_of_a_sender_max: int = 64
    knock_rate_s: float = 1.0
    knock_burst: float = 20.0
    """Of our own knocks on each hub."""
    posts_max: int = 4
    """In flight to one hub."""
    posts_waiting_max: int = 256


class HubHeld:
    """What is held for one hub."""

    def __init__(self, streams: HubStreams, limits: SealedLimits, now_s: float) -> None:
        self.streams = streams
        self.reply = channels.reply_channel(secrets.token_bytes(channels.REPLY_BYTES))
        self.open_reply = channels.reply_channel(secrets.token_bytes(channels.REPLY_BYTES))
        """Named to those who are no friends: what they send there can't crowd out what friends send."""
        self.buckets: dict[StreamName, TokenBucket] = {
            "own": TokenBucket(limits.inbox_rate_s, limits.inbox_burst, now_s),
            "open": TokenBucket(limits.inbox_rate_s, limits.inbox_burst, now_s),
        }
        self.knocks = TokenBucket(limits.knock_rate_s, limits.knock_burst, now_s)
        self.renewing = asyncio.Lock()
        self.posts = asyncio.Semaphore(limits.posts_max)
        self.waiting = 0
        self.crowd = Crowd()
        self.announced_on: str | None = None
        self.up = False
