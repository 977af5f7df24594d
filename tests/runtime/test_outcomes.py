"""What became of an attempt is counted under the most telling of its causes."""

from __future__ import annotations

import asyncio

import pytest

from ssb_rtc.errors import ConnectFailed, HandshakeRefused, LinkClosed, SignalInvalid
from ssb_rtc.runtime.outcomes import CAUSES, cause_of
from ssb_rtc.transport.channel import NoRoute
from ssb_rtc.transport.rtc import NobodyAnswered, NotSent, PeerBusy, Superseded


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (PeerBusy(60.0), "busy"),
        (Superseded("theirs stands"), "superseded"),
        (NobodyAnswered("within 25 s"), "nobody_answered"),
        (NoRoute("no route"), "no_route"),
        (NotSent("the hub is full"), "not_sent"),
        (HandshakeRefused("another network"), "handshake"),
        (ConnectFailed("refused"), "unreachable"),
        (LinkClosed("gone"), "closed"),
        (SignalInvalid("no SDP"), "fault_of_theirs"),
        (asyncio.CancelledError(), "aborted"),
        (OSError("disk"), "other"),
    ],
)
def test_causes(error: BaseException, cause: str) -> None:
    assert cause_of(error) == cause


def test_what_is_special_comes_before_what_is_general() -> None:
    kinds = [kind for kind, _ in CAUSES]
    for number, kind in enumerate(kinds):
        assert not any(issubclass(kind, earlier) for earlier in kinds[:number])
