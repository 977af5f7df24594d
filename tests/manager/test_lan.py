"""Peers of a local network: strangers of another kind, and the same policy."""

from __future__ import annotations

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.explain import explain_peer
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import LAN, Route
from ssb_rtc.types import PeerId
from tests.manager.names import AMY, BOB, CAROL, DAVE, ME, ONE, TWO, peer_id
from tests.manager.story import Story, ignored, none, only

HERE = "net:192.168.1.5:8008~shs:AAAA"
THERE = "net:192.168.1.6:8008~shs:AAAA"
NOWHERE = "net:192.168.1.7:8008~shs:AAAA"


def appear(story: Story, peer: PeerId, address: str = HERE) -> tuple[e.Effect, ...]:
    return story.do(a.RemotePeerDidAppear(peer, address))


def attempts(story: Story) -> list[PeerId]:
    return list(story.state.trying)


def test_who_appears_is_dialled_and_the_reason_names_the_network() -> None:
    story = Story(hubs=())
    dial = only(appear(story, BOB), e.ScheduleConnectToRemotePeer)
    assert dial.route == Route("lan", HERE)
    story.succeed(BOB)
    because = " ".join(explain_peer(story.state, BOB).because)
    assert f"over the local network, at {HERE}" in because
    assert "a stranger" in because


def test_who_is_not_taken_in() -> None:
    story = Story()
    assert "no peer id" in ignored(appear(story, PeerId("@bob")))
    assert "ourselves" in ignored(appear(story, ME))
    story.do(a.PeerBlocked(BOB))
    assert "blocked" in ignored(appear(story, BOB))


def test_slots_and_attempts_are_no_more_than_for_others() -> None:
    story = Story(Settings(strangers_max=1))
    story.do(a.HopsDidChange(((DAVE, 1),)))
    for peer in (AMY, BOB, CAROL):
        appear(story, peer)
    assert attempts(story) == [AMY]
    story.succeed(AMY)
    assert attempts(story) == []
    assert only(appear(story, DAVE), e.ScheduleConnectToRemotePeer).peer == DAVE, "a friend comes before them"


def test_a_hold_and_a_back_off_are_kept() -> None:
    story = Story()
    appear(story, BOB)
    story.succeed(BOB)
    story.do(a.DisconnectFromRemotePeer(BOB))
    assert none(appear(story, BOB), e.ScheduleConnectToRemotePeer)
    appear(story, AMY)
    story.fail(AMY)
    assert none(appear(story, AMY), e.ScheduleConnectToRemotePeer)


def test_who_falls_silent_is_forgotten_and_who_goes_on_is_not() -> None:
    story = Story(Settings(peers_max=0))
    for _ in range(20):
        appear(story, BOB)
        story.pass_time(20)
    assert BOB in story.state.peers
    story.pass_time(story.state.settings.lan_ttl_s + 2 * story.state.settings.sweep_s)
    assert BOB not in story.state.peers
    assert LAN not in story.state.heard


def test_an_address_that_somebody_here_named_stays() -> None:
    story = Story()
    story.do(a.ConnectToRemotePeer(BOB, Route("address", HERE)))
    appear(story, BOB)
    story.succeed(BOB)
    story.pass_time(1_000)
    story.end(BOB, clean=True)
    story.pass_time(70)
    assert [known.route.via for known in story.peer(BOB).routes] == ["address"]


def test_made_up_addresses_crowd_out_no_other_way() -> None:
    story = Story(Settings(peers_max=0))
    story.announce(BOB)
    story.do(a.ConnectToRemotePeer(BOB, Route("address", "net:b.example:8008~shs:AAAA")))
    for number in range(20):
        appear(story, BOB, f"net:192.168.1.{number}:8008~shs:AAAA")
    ways = [known.route.via for known in story.peer(BOB).routes]
    assert sorted(ways) == ["address", "hub", "lan", "lan"]


def test_of_two_addresses_the_one_that_fails_gives_way() -> None:
    story = Story(hubs=())
    appear(story, BOB, HERE)
    story.fail(BOB)
    appear(story, BOB, THERE)
    appear(story, BOB, NOWHERE)
    assert [known.route.where for known in story.peer(BOB).routes] == [THERE, NOWHERE]


def test_a_new_way_to_a_friend_is_tried_though_many_dials_were_in_vain() -> None:
    story = Story(Settings(dials_in_vain=1, dial_pause_s=20), hubs=())
    story.do(a.HopsDidChange(((BOB, 1), (AMY, 1), (CAROL, 1))))
    for peer in (AMY, CAROL):
        appear(story, peer)
        story.fail(peer)
    assert story.state.friends_after_s > story.now.mono_s
    assert only(appear(story, BOB), e.ScheduleConnectToRemotePeer).peer == BOB


def test_a_network_full_of_made_up_names_leaves_an_attempt_and_the_table_to_a_hub() -> None:
    story = Story(Settings(known_peers_max=8))
    for number in range(1, 9):
        appear(story, peer_id(0x60 + number))
    assert len(story.state.trying) == story.state.settings.attempts_max - 1
    assert story.state.heard[LAN] == 8
    assert "full" in ignored(appear(story, AMY))
    assert only(story.announce(BOB), e.ScheduleConnectToRemotePeer).peer == BOB
    assert story.state.heard[LAN] == 7


def test_a_hub_full_of_made_up_names_leaves_an_attempt_and_the_table_to_the_network() -> None:
    story = Story(Settings(known_peers_max=8), hubs=(ONE, TWO))
    for number in range(1, 9):
        story.announce(peer_id(0x60 + number))
    assert only(appear(story, BOB), e.ScheduleConnectToRemotePeer).peer == BOB
