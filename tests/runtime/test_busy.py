"""A full peer refuses an offer over a real hub: the offerer hears of it at once, waits, and counts no failure."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from ssb_rtc import ConnectFailed, Peer, Settings
from ssb_rtc.hub.server import serve
from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.types import HubUrl, peer_of
from tests.runtime.watching import Watched

HEARD_LIMIT_S = 2.0


@asynccontextmanager
async def full_and_newcomer(folder: Path) -> AsyncIterator[tuple[HubUrl, Watched, Watched]]:
    """A peer whose one slot a friend has, and a newcomer whom it follows too, on one hub."""
    async with AsyncExitStack() as open_parts:
        hub = await serve("127.0.0.1", 0)
        open_parts.push_async_callback(hub.close)
        friend = await open_parts.enter_async_context(Peer(folder / "friend", Settings(net=0)))
        full = await open_parts.enter_async_context(Peer(folder / "full", Settings(hub=(hub.url,), peers_max=1)))
        await full.follow(friend.id)
        await full.connect(friend.addresses[0])
        newcomer = await open_parts.enter_async_context(Peer(folder / "newcomer", Settings(hub=(hub.url,))))
        await full.follow(newcomer.id)
        url = HubUrl(hub.url)
        seen = Watched(newcomer)
        await seen.until(lambda: seen.state.hubs[url].connection_state == "CONNECTED", "the hub")
        yield url, Watched(full), seen


def address_of(peer: Peer) -> str:
    return next(address for address in peer.addresses if address.startswith("rtc:"))


async def test_a_newcomer_hears_at_once_that_a_peer_is_full_and_leaves_it_alone(tmp_path: Path) -> None:
    async with full_and_newcomer(tmp_path) as (hub, full, newcomer):
        other, own = peer_of(full.peer.id), peer_of(newcomer.peer.id)
        began_s = time.monotonic()
        with pytest.raises(ConnectFailed, match="it is busy"):
            await newcomer.peer.connect(address_of(full.peer))
        assert time.monotonic() - began_s < HEARD_LIMIT_S
        refused = full.all(e.RefuseOffer)[-1]
        assert (refused.peer, refused.reason) == (own, "the only slot is taken")
        assert refused.not_before_s is not None
        failed = newcomer.all(a.RemotePeerConnectionFailed)[-1]
        assert (failed.peer, failed.reason) == (other, "it is busy")
        assert failed.not_before_s == pytest.approx(refused.not_before_s, abs=1.0)
        row = newcomer.state.peers[other]
        assert (row.failures, row.attempt, row.last_error) == (0, None, "it is busy")
        assert row.not_before_s - newcomer.state.now.mono_s > 0.5 * refused.not_before_s
        (shown,) = newcomer.peer.controls.peers(everyone=True)
        assert (shown["id"], shown["state"]) == (full.peer.id, "DISCONNECTED")
        assert str(shown["reason"]).startswith("it is left alone, as one side asked for: it is dialled in ")
        assert newcomer.network._performer._attempts == {}
        # It says that it has room now, which proves nothing: the time that it named counts.
        dials = len(newcomer.all(e.ScheduleConnectToRemotePeer))
        heard = len(newcomer.all(a.RemotePeerDidAnnounce))
        await full.network._performer._signalling.announce(hub, 5)
        await newcomer.heard(a.RemotePeerDidAnnounce, heard + 1)
        await newcomer.network._driver.settled()
        assert len(newcomer.all(e.ScheduleConnectToRemotePeer)) == dials
        assert len(full.state.linked) == 1, "nobody lost a link by it"


async def test_a_stranger_hears_nothing_from_who_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even that somebody is there."""
    monkeypatch.setattr("ssb_rtc.transport.rtc.ATTEMPT_LIMIT_S", 1.0)
    async with full_and_newcomer(tmp_path) as (_, full, newcomer):
        await full.peer.unfollow(newcomer.peer.id)
        with pytest.raises(ConnectFailed, match="nobody answered our knock"):
            await newcomer.peer.connect(address_of(full.peer))
        assert full.all(e.RefuseOffer)[-1].not_before_s is None


async def test_a_forged_busy_ends_no_link(tmp_path: Path) -> None:
    hub = await serve("127.0.0.1", 0)
    settings = Settings(hub=(hub.url,))
    try:
        async with Peer(tmp_path / "ann", settings) as ann, Peer(tmp_path / "ben", settings) as ben:
            one, other = Watched(ann), Watched(ben)
            for each in (one, other):
                await each.until(lambda each=each: each.state.linked, "the link")  # type: ignore[misc]
            await forge(HubUrl(hub.url), one, other)
            await forge(HubUrl(hub.url), other, one)
            for each in (one, other):
                assert len(each.state.linked) == 1
                assert not each.all(a.RemotePeerLinkEnded)
                assert not each.all(a.RemotePeerConnectionFailed)
    finally:
        await hub.close()


async def forge(hub: HubUrl, one: Watched, other: Watched) -> None:
    """Says to the other, for one, that every session that it has is refused, and waits until that was heard."""
    signalling, peer = one.network._performer._signalling, peer_of(other.peer.id)
    sessions = [session for _, session in other.network._performer._rtc._attempts]
    assert sessions
    for session in sessions:
        await signalling.say_busy(hub, peer, session, 300.0)
    heard = len(other.all(a.RemotePeerDidAnnounce))
    await signalling.announce(hub)
    await other.heard(a.RemotePeerDidAnnounce, heard + 1)
    await other.network._driver.settled()
