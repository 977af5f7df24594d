"""A real peer that knows as many others as its table holds, without any of them being there."""

from __future__ import annotations

from collections.abc import Iterator

from ssb_rtc import Peer
from ssb_rtc.manager import actions as a
from ssb_rtc.testing import keys_of
from ssb_rtc.types import HubUrl, PeerId, peer_of
from tests.runtime.watching import Watched

HUBS = tuple(HubUrl(f"http://127.0.0.1:{port}") for port in (1, 2, 3))
"""Nobody listens there, so nothing comes of it."""


def crowd(count: int) -> Iterator[PeerId]:
    """The ids of those who are known, always the same."""
    return (peer_of(keys_of(f"crowd {number}").id) for number in range(count))


async def gather(peer: Peer, count: int = 1_000, *, friends: int = 100) -> list[PeerId]:
    """Has `peer` know so many others, the first of whom are friends at two hops; gives their ids."""
    known, watched = list(crowd(count)), Watched(peer)
    for hub in HUBS:
        watched.network._dispatch(a.HubAddressAdded(hub, "user", stored=True))
    watched.network._dispatch(a.HopsDidChange(tuple((other, 2) for other in known[:friends])))
    for number, other in enumerate(known):
        watched.network._dispatch(a.RemotePeerDidAnnounce(HUBS[number % len(HUBS)], other))
    await watched.network._driver.settled()
    assert len(watched.state.peers) >= count
    return known
