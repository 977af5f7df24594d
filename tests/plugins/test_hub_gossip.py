"""Hub gossip between real peers: words that travel farther than a link, published messages, and who is not believed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ssb_rtc import Peer, RemoteCallError
from ssb_rtc.feeds.hub_entry import HubEntry, entry_key, format_entries, sign_entry
from ssb_rtc.feeds.hub_message import hub_content
from ssb_rtc.hub.server import HubServer, serve
from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.state import Witness
from ssb_rtc.testing import Swarm
from ssb_rtc.testing.swarm import NETWORK_KEY, keys_of
from ssb_rtc.types import HubUrl, peer_of
from ssb_rtc.wire.hub_url import normalise_hub
from tests.runtime.watching import Watched

HUB = HubUrl("https://hub.example.org")
KEY = entry_key(NETWORK_KEY)


@pytest.fixture
async def hubs() -> AsyncIterator[list[HubServer]]:
    served = [await serve("127.0.0.1", 0) for _ in range(2)]
    yield served
    for hub in served:
        await hub.close()


def hurried(peer: Peer) -> Watched:
    """A peer that tells and asks within moments."""
    watched = Watched(peer)
    settings = replace(watched.state.settings, broadcast_delay_s=0.1, pass_on_delay_s=0.2, hub_probe_spread_s=0.2)
    watched.network._dispatch(a.SettingsDidChange(settings))
    return watched


def says(swarm: Swarm, name: str, hub: HubUrl = HUB) -> HubEntry:
    now_ms = swarm.clock()
    return sign_entry(keys_of(name), KEY, hub, time_ms=now_ms, last_success_ms=now_ms)


def vouched(watched: Watched, hub: HubUrl = HUB) -> tuple[Witness, ...]:
    return watched.state.vouched.get(hub, ())


def on_hub(watched: Watched, hub: HubUrl) -> bool:
    row = watched.state.hubs.get(hub)
    return row is not None and row.connected_s is not None


async def test_a_word_travels_farther_than_its_signers_link(swarm: Swarm, hubs: list[HubServer]) -> None:
    """Dan follows Ann and Ben, who follows Cid. Ann and Cid are on a hub that Dan hears of through Ben alone."""
    ann, ben, cid, dan = [hurried(peer) for peer in await swarm.peers("ann", "ben", "cid", "dan")]
    theirs, own = (normalise_hub(hub.url) for hub in hubs)
    await dan.peer.follow(ann.peer.id)
    await dan.peer.follow(ben.peer.id)
    await ben.peer.follow(cid.peer.id)
    await ben.peer.follow(ann.peer.id)
    for watched in (ann, cid):
        watched.peer.controls.add_hub(theirs)
    for watched in (ben, dan):
        watched.peer.controls.add_hub(own)  # who meets on this machine itself takes hubs of this machine
    for one, other in ((ann, ben), (cid, ben), (ben, dan)):
        await swarm.connect((one.peer, other.peer))
    await dan.until(lambda: len(vouched(dan, theirs)) == 2, "two witnesses")
    through = {witness.signer: witness.through for witness in vouched(dan, theirs)}
    named = {peer_of(watched.peer.id): watched for watched in (ann, ben, cid)}
    assert {named[one]: named[other] for one, other in through.items()} == {ann: ann, cid: ben}
    await dan.heard(a.HubProbeSucceeded)
    await dan.until(lambda: on_hub(dan, theirs), "a place on the hub")
    assert dan.state.hubs[theirs].source == "gossip"
    assert {record.url: record.source for record in dan.peer.context.contacts.hubs()} == {own: "user"}
    ordered = dan.all(e.ScheduleProbeHub)
    assert [(effect.hub, effect.host) for effect in ordered] == [(theirs, "127.0.0.1")]
    assert dan.peer._hub_book.store.probes(0).keys() == {"127.0.0.1"}


async def test_published_messages_speak_until_they_are_taken_back(swarm: Swarm) -> None:
    ann, ben, cid = [hurried(peer) for peer in await swarm.peers("ann", "ben", "cid")]
    await swarm.befriend()
    await swarm.connect("line")
    await ann.peer.publish(hub_content(HUB))
    await cid.until(lambda: vouched(cid) == (Witness(peer_of(ann.peer.id), peer_of(ann.peer.id)),), "Ann's word")
    await ben.peer.publish(hub_content(HUB))
    await cid.until(lambda: len(vouched(cid)) == 2, "both words")
    assert HUB in cid.state.hubs
    await ann.peer.publish(hub_content(HUB, retired=True))
    await cid.until(lambda: len(vouched(cid)) == 1, "the end of one")
    await swarm.restart(cid.peer)
    again = Watched(swarm["cid"])
    assert [witness.signer for witness in vouched(again)] == [peer_of(ben.peer.id)], "read anew from the log"


async def test_what_is_believed_is_kept_over_a_restart_and_undone_with_a_follow(swarm: Swarm) -> None:
    ann, ben = [hurried(peer) for peer in await swarm.peers("ann", "ben")]
    await swarm.befriend()
    await swarm.connect((ann.peer, ben.peer))
    assert await ben.peer.rpc(ann.peer.id).call("hubs.tell", format_entries([says(swarm, "ben")])) is True
    await ann.until(lambda: vouched(ann), "Ben's word")
    await swarm.restart(ann.peer)
    ann = Watched(swarm["ann"])
    assert vouched(ann)
    assert ann.state.entries_revision == 1
    ann.peer._hub_gossip._settle_in(0.0)
    await ann.peer.unfollow(ben.peer.id)
    ann.peer._hub_gossip._settle_in(0.0)
    await ann.until(lambda: not vouched(ann), "the end of it")
    assert not len(ann.peer._hub_book)


async def test_a_poisoned_list_of_hubs_makes_nobody_knock_anywhere(swarm: Swarm, hubs: list[HubServer]) -> None:
    """A linked peer whom we follow tells what it can: made-up names, forged signatures, addresses of our network."""
    eve, ben = [hurried(peer) for peer in await swarm.peers("eve", "ben")]
    await swarm.befriend()
    await swarm.connect((eve.peer, ben.peer))
    inside = ("https://10.0.0.1", "https://169.254.169.254", "https://metadata.google.internal", hubs[0].url)
    poison = [says(swarm, "eve", HubUrl(hub)) for hub in inside]
    poison += [says(swarm, f"made up {number}") for number in range(20)]
    poison += [HubEntry(HUB, keys_of("ben").id, one.time_ms, one.last_success_ms, one.signature) for one in poison[:5]]
    link = eve.peer.rpc(ben.peer.id)
    assert await link.call("hubs.tell", format_entries([*poison, says(swarm, "eve")])) is True
    await ben.until(lambda: vouched(ben), "what may be believed of it")
    assert set(ben.state.vouched) == {HUB}
    assert [witness.signer for witness in vouched(ben)] == [peer_of(eve.peer.id)]
    assert not ben.state.hubs
    assert not ben.all(e.ScheduleProbeHub)


async def test_hubs_are_told_so_often_only(swarm: Swarm) -> None:
    ann, ben = [Watched(peer) for peer in await swarm.peers("ann", "ben")]
    await ben.peer.follow(ann.peer.id)
    await swarm.connect((ann.peer, ben.peer))
    link = ann.peer.rpc(ben.peer.id)
    said = format_entries([says(swarm, "ann")])
    assert [await link.call("hubs.tell", said) for _ in range(4)] == [True, True, False, False]
    assert len(ben.all(a.HubEntriesReceived)) == 1, "the second time it was no news"
    with pytest.raises(RemoteCallError, match="takes a list"):
        await ben.peer.rpc(ann.peer.id).call("hubs.tell", {"url": HUB})


async def test_connections_to_hubs_that_were_only_told_are_guarded(swarm: Swarm) -> None:
    (ann,) = [Watched(peer) for peer in await swarm.peers("ann")]
    ann.network._dispatch(a.HubAddressAdded(HUB, "gossip", stored=True, last_success_wall_s=1.0))
    ann.network._dispatch(a.HubAddressAdded(HubUrl("http://127.0.0.1:1"), "gossip", stored=True))
    await ann.heard(a.HubAddressAdded, 2)
    assert ann.network._is_only_told("hub.example.org")
    assert not ann.network._is_only_told("another.example.org")
    assert not ann.network.meets_on_loopback, "others can't make us meet on this machine"
    ann.network._dispatch(a.HubAddressAdded(HubUrl(f"{HUB}:8443"), "user", stored=True))
    await ann.heard(a.HubAddressAdded, 3)
    assert not ann.network._is_only_told("hub.example.org"), "somebody here wants a hub there"


# --- what the owner says ---


async def test_the_owner_publishes_a_hub_and_takes_it_back(tmp_path: Path) -> None:
    async with Peer(tmp_path, online=False) as peer, peer.local_link() as link:
        published = await link.call("hubs.publish", "HTTPS://Hub.Example.org/")
        assert published["value"]["content"] == {"type": "ssb-rtc/hub", "url": HUB}
        retired = await link.call("hubs.retire", "hub.example.org")
        assert retired["value"]["content"] == {"type": "ssb-rtc/hub", "url": HUB, "retired": True}
        with pytest.raises(RemoteCallError, match="nothing to take back"):
            await link.call("hubs.retire", HUB)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://user:pass@hub.example.org", "of no use to others"),
        ("http://127.0.0.1:8000", "of no use to others"),
        ("http://hub.example.org", "of no use to others"),
        ("https://10.0.0.1", "of no use to others"),
        ("https://private.example.org", "is private"),
        ("ftp://hub.example.org", "no scheme"),
        (7, "as text"),
    ],
)
async def test_what_is_not_published(tmp_path: Path, url: Any, why: str) -> None:
    async with Peer(tmp_path, online=False) as peer, peer.local_link() as link:
        peer.controls.add_hub("https://private.example.org", private=True)
        with pytest.raises(RemoteCallError, match=why):
            await link.call("hubs.publish", url)
        assert peer.context.log.count() == 0
