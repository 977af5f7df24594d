"""What a network begins with and keeps: hubs with what is known of them, pins, the trace of its manager."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from ssb_rtc import ConfigFault, ConnectFailed, MisuseError, Peer, Settings
from ssb_rtc.hub.server import serve
from ssb_rtc.manager import actions as a
from ssb_rtc.manager.state import KnownHub, Route
from ssb_rtc.runtime import reports
from ssb_rtc.runtime.effects import known_hub, recorded
from ssb_rtc.runtime.network import hubs_at_start
from ssb_rtc.runtime.trace import read_trace, replay_file
from ssb_rtc.storage.contacts import HubRecord
from ssb_rtc.testing import Swarm, keys_of
from ssb_rtc.types import HubUrl, peer_of
from tests.runtime.watching import Watched

A, B, C = (HubUrl(f"https://{name}.invalid") for name in "abc")
STORED = HubRecord(A, "user", 5, last_success_ms=2_500, failures=1)


def test_a_hub_goes_to_the_manager_and_back_unchanged() -> None:
    for record in (STORED, replace(STORED, private=True), replace(STORED, source="gossip", last_success_ms=None)):
        assert recorded(known_hub(record), record) == record
    assert recorded(KnownHub(A, "user", True, 9.0), STORED) == replace(STORED, private=True, last_success_ms=9_000)
    assert recorded(KnownHub(A, "user"), STORED) == STORED, "who has no news of it takes nothing back"


def test_a_source_that_nobody_knows_is_trusted_least() -> None:
    assert known_hub(replace(STORED, source="elsewhere")).source == "gossip"


def test_a_hub_that_a_flag_names_stays_a_stored_one_unless_others_told_us_of_it() -> None:
    stored = [STORED, HubRecord(B, "gossip", 5, private=True)]
    assert hubs_at_start(stored, [A, B, C]) == [
        KnownHub(A, "user", last_success_wall_s=2.5),
        KnownHub(B, "config"),
        KnownHub(C, "config"),
    ]


async def test_stored_hubs_come_back_with_all_that_is_known_of_them(tmp_path: Path) -> None:
    async with Peer(tmp_path, online=False) as peer:
        peer.context.contacts.save_hubs(
            [STORED, HubRecord(B, "gossip", 6, 2, private=True), HubRecord(C, "invite", 7, last_success_ms=1)]
        )
    async with Peer(tmp_path) as peer:
        hubs = Watched(peer).state.hubs
        assert {url: (hub.source, hub.private, hub.last_success_wall_s) for url, hub in hubs.items()} == {
            A: ("user", False, 2.5),
            B: ("gossip", True, 0.002),
            C: ("invite", False, 0.001),
        }


async def test_what_a_hub_did_is_stored(tmp_path: Path) -> None:
    async with Peer(tmp_path) as peer:
        watched = Watched(peer)
        peer.controls.add_hub("https://a.invalid", private=True)
        assert peer.context.contacts.hub(A) == HubRecord(
            A, "user", peer.context.contacts.hubs()[0].added_ms, private=True
        )
        await watched.heard(a.HubsSaved)
        assert [(hub["url"], hub["private"]) for hub in peer.controls.hubs()] == [(A, True)]
        peer.controls.add_hub("https://a.invalid")
        await watched.heard(a.HubsSaved, 2)
        (record,) = peer.context.contacts.hubs()
        assert not record.private
        assert not Watched(peer).state.hubs[A].private


# --- pins ---


async def test_a_pin_is_kept_over_a_restart_until_it_is_undone(swarm: Swarm) -> None:
    ann, ben = await swarm.peers("ann", "ben")
    link = await ann.connect(ben.addresses[0], pin=True)
    assert link.remote == peer_of(ben.id)
    assert list(Watched(ann).state.pinned) == [peer_of(ben.id)]
    ann = await swarm.restart(ann)
    watched = Watched(ann)
    await watched.until(lambda: watched.state.linked == (peer_of(ben.id),), "the link with a pinned peer")
    assert list(watched.state.pinned) == [peer_of(ben.id)]
    with pytest.raises(MisuseError, match="not a peer's id"):
        ann.unpin(ben.id[:9])
    ann.unpin(ben.id)
    await watched.heard(a.PeerUnpinned)
    assert not watched.state.pinned
    assert watched.state.linked, "only the wish is gone"
    ann = await swarm.restart(ann)
    assert not Watched(ann).state.pinned


async def test_disconnecting_unpins(swarm: Swarm) -> None:
    ann, ben = await swarm.peers("ann", "ben")
    await ann.connect(ben.addresses[0], pin=True)
    watched = Watched(ann)
    ann.controls.disconnect(peer_of(ben.id))
    await watched.heard(a.DisconnectFromRemotePeer)
    assert not watched.state.pinned
    record = ann.context.contacts.peer(peer_of(ben.id))
    assert record is not None
    assert (record.pinned, record.address) == (False, ben.addresses[0])


async def test_who_can_not_be_reached_is_pinned_all_the_same(tmp_path: Path) -> None:
    nobody = f"net:127.0.0.1:1~shs:{keys_of('nobody').id[1:-8]}"
    peer = peer_of(keys_of("nobody").id)
    async with Peer(tmp_path) as own:
        with pytest.raises(ConnectFailed) as plain:
            await own.connect(nobody)
        assert "pin" not in str(plain.value)
    async with Peer(tmp_path) as own:
        with pytest.raises(ConnectFailed, match=rf"the pin is kept.*`ssb-rtc disconnect {re.escape(peer)}`"):
            await own.connect(nobody, pin=True)
        assert peer in Watched(own).state.pinned
    async with Peer(tmp_path) as own:
        state = Watched(own).state
        assert peer in state.pinned
        assert [known.route for known in state.peers[peer].routes] == [Route("address", nobody)]
        own.controls.disconnect(peer)
    async with Peer(tmp_path, online=False) as own:
        assert [record.pinned for record in own.context.contacts.peers()] == [False]


async def test_what_is_no_address_pins_nobody(tmp_path: Path) -> None:
    async with Peer(tmp_path) as own:
        with pytest.raises(ConfigFault):
            await own.connect("nonsense", pin=True)
        with pytest.raises(MisuseError, match="our own"):
            await own.connect(f"net:127.0.0.1:1~shs:{own.id[1:-8]}", pin=True)
        assert own.context.contacts.peers() == []


# --- why, and the trace ---


def actions_of(file: Path) -> list[a.Action]:
    with file.open("rb") as lines:
        return [record.action for record in read_trace(lines)[1]]


async def test_why_in_plain_words(swarm: Swarm) -> None:
    ann, ben = await swarm.peers("ann", "ben")
    await swarm.connect((ann, ben))
    for text in (ben.id, ben.id[:8], ben.id[1:8]):
        why = ann.controls.why_peer(text)
        assert (why["subject"], why["state"]) == (ben.id, "CONNECTED")
        assert why["because"]
        assert why["next"]
    stranger = keys_of("stranger").id
    assert ann.controls.why_peer(stranger)["state"] == "DISCONNECTED"
    with pytest.raises(MisuseError, match="no peer's id, nor how a known one begins"):
        ann.controls.why_peer("@nobody")
    assert ann.controls.why_hub("https://hub.invalid")["state"] == "DISCONNECTED"
    ann.controls.add_hub("https://hub.invalid")
    await Watched(ann).network._driver.settled()
    assert ann.controls.why_hub("https://hub.invalid/")["state"] == "CONNECTING"
    ann.controls.add_hub("http://127.0.0.1:1")
    await Watched(ann).network._driver.settled()
    assert ann.controls.why_hub("127.0.0.1:1")["subject"] == "http://127.0.0.1:1"


async def test_a_beginning_that_fits_several_peers_says_which(swarm: Swarm) -> None:
    (ann,) = await swarm.peers("ann")
    network = Watched(ann).network
    network.hops_changed(dict.fromkeys((keys_of(number).id for number in range(200)), 2))
    await network._driver.settled()
    with pytest.raises(MisuseError, match="200 known peers begin with '@'"):
        ann.controls.why_peer("@")


async def test_a_run_that_is_recorded_replays_to_the_same_effects(tmp_path: Path) -> None:
    """Two peers meet on a hub over WebRTC, one fetches the feed of the other, and they part."""
    hub = await serve("127.0.0.1", 0)
    files = [tmp_path / f"{name}.jsonl" for name in ("ann", "ben")]
    settings = [Settings(hub=(hub.url,), trace=str(file)) for file in files]
    try:
        async with Peer(tmp_path / "ann", settings[0]) as ann:
            for number in range(200):
                await ann.publish({"type": "post", "text": str(number)})
            async with Peer(tmp_path / "ben", settings[1]) as ben:
                watched = Watched(ben)
                await ben.follow(ann.id)
                await watched.heard(a.DownloadEnded)
                ben.controls.disconnect(peer_of(ann.id))
                await watched.heard(a.RemotePeerLinkEnded)
    finally:
        await hub.close()
    for file in files:
        with file.open("rb") as lines:
            steps, mismatches, cut = replay_file(lines)
        assert (mismatches, cut) == ([], False)
        assert steps > 5
    actions = [action for file in files for action in actions_of(file)]
    announced = {action.free_slots for action in actions if isinstance(action, a.RemotePeerDidAnnounce)}
    offered = {action.alone for action in actions if isinstance(action, a.RemotePeerDidOffer)}
    assert (announced, offered) == ({8}, {True})
    recorded_kinds = files[1].read_text()
    for kind in (
        "HUB_CONNECTION_SUCCEEDED", "INITIAL_SYNC_STARTED", "DOWNLOAD_STARTED", "DOWNLOAD_ENDED", "USE_LINK",
        "REMOTE_PEER_LINK_ENDED", "SHUTDOWN_REQUESTED",
    ):  # fmt: skip
        assert f'"kind":"{kind}"' in recorded_kinds


async def test_who_follows_the_steps_too_slowly_is_told_how_many_were_missed(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "TRACE_QUEUE_MAX", 1)
    (ann,) = await swarm.peers("ann")
    network = Watched(ann).network
    async with aclosing(network.reports.follow_trace()) as steps:
        first = asyncio.ensure_future(anext(steps))
        await asyncio.sleep(0)  # from now on it listens
        network.disconnect(peer_of(keys_of("nobody").id))
        told = await first
        assert told["action"]["kind"] == "DISCONNECT_FROM_REMOTE_PEER"
        assert "missed" not in told
        for _ in range(4):
            network.disconnect(peer_of(keys_of("nobody").id))
        await network._driver.settled()
        assert "missed" not in await anext(steps)
        network.disconnect(peer_of(keys_of("nobody").id))
        assert (await anext(steps))["missed"] == 3


async def test_a_trace_that_can_not_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match="can't be written"):
        await Peer(tmp_path / "peer", Settings(trace=str(tmp_path / "absent" / "file"))).__aenter__()
    async with Peer(tmp_path / "peer", online=False):
        pass  # the folder was let go of


async def test_a_hub_behind_a_password_is_in_no_address_that_we_give_away(tmp_path: Path) -> None:
    hub = await serve("127.0.0.1", 0)
    secret, settings = hub.url.replace("://", "://amy:secret@"), Settings(hub=(hub.url,), allow_http=("127.0.0.1",))
    try:
        async with Peer(tmp_path, replace(settings, hub=(secret, hub.url))) as peer:
            watched = Watched(peer)
            await watched.until(lambda: all(each.connected_s is not None for each in watched.state.hubs.values()))
            assert len(peer.status()["hubs"]) == 2
            assert len(peer.addresses) == 1
            assert "secret" not in "".join(peer.addresses)
    finally:
        await hub.close()


async def test_a_hub_is_told_to_the_manager_with_what_its_dialect_leaves_out(tmp_path: Path) -> None:
    plain, sealed, kept = "swarm+http://127.0.0.1:1", "http://127.0.0.1:1", "swarm+https://hub.example"
    async with Peer(tmp_path, Settings(hub=(plain, sealed))) as peer:
        peer.controls.add_hub(kept)
        watched = Watched(peer)
        await watched.until(lambda: len(watched.state.hubs) == 3)
        found = {hub.url: hub.announces for hub in watched.state.hubs.values()}
        assert found == {plain: False, sealed: True, kept: False}
