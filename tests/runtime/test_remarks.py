"""What two managers tell each other over a real link: goodbyes, how they stand with it, hubs. And who asks too much."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc import RemoteCallError
from ssb_rtc.hub.server import serve
from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.state import Route, Witness
from ssb_rtc.plugins import peering
from ssb_rtc.plugins.peering import REASON_LIMIT_CHARS, TELLS_PER_MIN, read_goodbye
from ssb_rtc.runtime import links, remarks
from ssb_rtc.testing import Swarm
from ssb_rtc.transport.link import Link
from ssb_rtc.types import peer_of
from ssb_rtc.wire.hub_url import normalise_hub
from tests.runtime.watching import Watched


async def linked(swarm: Swarm) -> tuple[Watched, Watched]:
    """Two peers with a link, which the first dialled."""
    ann, ben = [Watched(peer) for peer in await swarm.peers("ann", "ben")]
    await swarm.connect((ann.peer, ben.peer))
    return ann, ben


def link_to(watched: Watched, other: Watched) -> Link:
    return watched.peer.rpc(other.peer.id)


async def test_a_goodbye_tells_why_and_for_how_long(swarm: Swarm) -> None:
    ann, ben = await linked(swarm)
    ann.network.disconnect(peer_of(ben.peer.id))
    ordered = await ann.heard(e.ScheduleDisconnectFromRemotePeer)
    ended = await ben.heard(a.RemotePeerLinkEnded)
    assert (ended.reason, ended.clean) == (ordered.reason, True)
    assert ordered.not_before_s is not None
    assert ended.not_before_s == ordered.not_before_s > 0
    assert not ben.peer.context.links.live()


async def test_a_shutdown_says_so_and_is_quick(swarm: Swarm) -> None:
    _, ben = await linked(swarm)
    began_s = time.monotonic()
    await swarm.stop(swarm["ann"])
    took_s = time.monotonic() - began_s
    ended = await ben.heard(a.RemotePeerLinkEnded)
    assert (ended.reason, ended.clean) == ("shutdown", True)
    assert took_s < 1.5


async def test_a_peer_that_is_cut_off_said_no_goodbye(swarm: Swarm) -> None:
    ann, ben = await linked(swarm)
    await swarm.cut((ann.peer, ben.peer))
    ended = await ben.heard(a.RemotePeerLinkEnded)
    assert (ended.clean, ended.not_before_s) == (False, None)


async def test_plugins_hear_the_end_before_the_goodbye_is_under_way(swarm: Swarm) -> None:
    ann, ben = await linked(swarm)
    link, open_then = link_to(ann, ben), []
    ann.peer.context.links.on_link_closed(lambda ended: open_then.append((ended is link, ended.closed.done())))
    ann.network.disconnect(peer_of(ben.peer.id))
    await ann.heard(a.RemotePeerLinkEnded)
    assert open_then == [(True, False)]


async def test_a_remote_that_never_answers_holds_up_the_end_for_a_second_only(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remarks, "GOODBYE_LIMIT_S", 0.2)
    monkeypatch.setattr(links, "PARTING_LIMIT_S", 0.2)

    async def silence(*_: Any) -> None:
        await swarm.until(lambda: False)

    monkeypatch.setattr(peering.Peering, "_goodbye", silence)
    ann, ben = await linked(swarm)
    ann.network.disconnect(peer_of(ben.peer.id))
    assert (await ann.heard(a.RemotePeerLinkEnded)).reason == "asked for"
    assert (await ben.heard(a.RemotePeerLinkEnded)).clean, "the link's own goodbye is as good"


async def test_who_says_goodbye_and_stays_is_put_out(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "PARTING_LIMIT_S", 0.1)
    ann, ben = await linked(swarm)
    assert await link_to(ann, ben).call("peers.goodbye", {"reason": "soon", "notBefore": 3600}) is True
    assert await link_to(ann, ben).call("peers.goodbye", {"reason": "a second one is nothing"}) is True
    ended = await ben.heard(a.RemotePeerLinkEnded)
    assert "said goodbye and did not go" in ended.reason
    assert (ended.clean, ended.not_before_s) == (False, None)


async def test_how_a_remote_stands_with_a_link_is_told_so_often_only(swarm: Swarm) -> None:
    ann, ben = await linked(swarm)
    number = ben.network._links.used(peer_of(ann.peer.id))
    assert number is not None
    before = len(ben.all(a.RemotePeerDidTell))
    said = {"onlyLink": True, "downloading": "no"}
    answers = [await link_to(ann, ben).call("peers.tell", said) for _ in range(TELLS_PER_MIN + 5)]
    assert answers.count(True) in (TELLS_PER_MIN, TELLS_PER_MIN - 1)
    told = ben.all(a.RemotePeerDidTell)[before:]
    assert told.count(a.RemotePeerDidTell(peer_of(ann.peer.id), number, True, False)) >= answers.count(True)
    with pytest.raises(RemoteCallError, match="takes"):
        await link_to(ann, ben).call("peers.tell", [True])


async def test_the_manager_tells_its_only_link(swarm: Swarm) -> None:
    ann, ben = await linked(swarm)
    await ann.heard(e.TellRemotePeer)
    assert (await ben.heard(a.RemotePeerDidTell)).only_link is True


async def test_a_hub_that_works_is_told_to_linked_peers_and_a_private_one_is_not(swarm: Swarm) -> None:
    ann, ben = await linked(swarm)
    await ben.peer.follow(ann.peer.id)
    served = [await serve("127.0.0.1", 0) for _ in range(3)]
    try:
        theirs, ours, private = (normalise_hub(hub.url) for hub in served)
        ben.peer.controls.add_hub(theirs)  # who meets on this machine itself takes hubs of this machine
        ann.peer.controls.add_hub(private, private=True)
        ann.peer.controls.add_hub("https://hub.invalid")
        ann.peer.controls.add_hub(ours)
        await ann.heard(e.ScheduleBroadcastKnownHubs)
        heard = await ben.heard(a.HubVouchersDidChange)
        assert heard.hubs == ((ours, (Witness(peer_of(ann.peer.id), peer_of(ann.peer.id)),)),)
    finally:
        for hub in served:
            await hub.close()


async def test_the_owner_of_a_peer_says_nothing_by_these(swarm: Swarm) -> None:
    (ann,) = await swarm.peers("ann")
    async with ann.local_link() as link:
        for name in ("peers.goodbye", "peers.tell", "hubs.tell"):
            with pytest.raises(RemoteCallError, match="not in list of allowed methods"):
                await link.call(name, {})


async def test_a_check_is_answered_with_the_time_it_took(swarm: Swarm) -> None:
    ann, ben = await linked(swarm)
    number = ann.network._links.used(peer_of(ben.peer.id))
    assert number is not None
    await ann.network._links.check(number)
    answer = await ann.heard(a.LinkDidAnswer)
    assert (answer.peer, answer.link) == (peer_of(ben.peer.id), number)
    assert 0 < answer.rtt_s < links.PING_LIMIT_S


@pytest.mark.parametrize("dialler", ["ann", "ben"])
async def test_a_second_link_takes_over_and_never_two_replicate(swarm: Swarm, dialler: str) -> None:
    """The same peer dials once more, or the other one does; plugins of both ends know of one link at a time."""
    ann, ben = await linked(swarm)
    await swarm.befriend()
    counts: list[int] = []
    for links_of in (ann.peer.context.links, ben.peer.context.links):
        links_of.on_link(lambda _: counts.append(len(ann.peer.context.links.live())))
        links_of.on_link(lambda _: counts.append(len(ben.peer.context.links.live())))
    one, other = (ann, ben) if dialler == "ann" else (ben, ann)
    address = other.peer.addresses[0]
    stream = await one.network._dial(address)
    await one.network._links.meet(
        stream, peer_of(other.peer.id), Route("address", address), 99, client=True, began=True
    )
    for number in range(20):
        await ann.peer.publish({"type": "post", "text": str(number)})
        await ben.peer.publish({"type": "post", "text": str(number)})
    await swarm.until(lambda: all(len(each.network._links._links) == 1 for each in (ann, ben)), "the end of one link")
    await swarm.converged()
    assert all(count <= 1 for count in counts)
    for each, remote in ((ann, ben), (ben, ann)):
        used = each.network._links.used(peer_of(remote.peer.id))
        assert [used] == list(each.network._links._links)
        assert [link.closed.done() for link in each.peer.context.links.live()] == [False]
        assert [ended.reason for ended in each.all(a.RemotePeerLinkEnded)] == ["duplicate"]


# --- what comes from outside ---

jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["reason", "notBefore"]), inner),
    max_leaves=6,
)


@given(jsons)
def test_whatever_a_goodbye_says_its_reason_is_short_and_its_time_a_time(said: Any) -> None:
    reason, not_before_s = read_goodbye(said)
    assert 0 < len(reason) <= REASON_LIMIT_CHARS
    assert reason.isprintable()
    assert not_before_s is None or (type(not_before_s) is float and 0 <= not_before_s < 1e10)


@pytest.mark.parametrize("not_before", [-1, "5", True, 10**400, float("nan"), float("inf"), None, [5]])
def test_a_time_that_makes_no_sense_is_none(not_before: Any) -> None:
    assert read_goodbye({"reason": "busy", "notBefore": not_before}) == ("busy", None)


def test_a_goodbye_is_read() -> None:
    assert read_goodbye({"reason": "x" * 300, "notBefore": 60}) == ("x" * 200, 60.0)
    assert read_goodbye({"reason": "a\x1b[31m\nb"}) == ("a [31m b", None)
    assert read_goodbye(None) == ("the other side closed the link", None)
