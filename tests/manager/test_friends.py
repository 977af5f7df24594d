"""Friends and strangers: who gets a slot."""

from __future__ import annotations

import pytest

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.view import peer_view
from ssb_rtc.types import PeerId
from tests.manager.names import AMY, BOB, CAROL, DAVE, ME, ONE, ZOE, peer_id
from tests.manager.story import Story, ignored, none, only

STRANGERS = [peer_id(0x90 + n) for n in range(8)]
SMALL = Settings(peers_max=4, inbound_reserved=1, strangers_max=2, attempts_max=4, random_picks=0)


def befriend(story: Story, **hops: int | None) -> None:
    names = {"amy": AMY, "bob": BOB, "carol": CAROL, "dave": DAVE, "zoe": ZOE, "me": ME}
    story.do(a.HopsDidChange(tuple((names[name], hop) for name, hop in hops.items())))


def full_of_strangers() -> Story:
    """Nobody is followed, so strangers fill the house: three that we dialled, one that came."""
    story = Story(SMALL)
    story.meet(*STRANGERS[:3])
    story.arrive(STRANGERS[3])
    return story


def test_a_friend_does_not_wait_behind_made_up_names() -> None:
    story = Story()
    befriend(story, amy=1)
    for number in range(100):
        story.announce(peer_id(0x90, number))
    assert len(story.state.trying) == 2, "one attempt is left for friends"
    for _ in range(40):
        story.pass_time(31)
    assert story.state.dial_after_s > story.now.mono_s
    story.announce(AMY)
    assert AMY in story.state.trying


def test_a_friend_that_was_met_before_comes_before_names_that_never_were() -> None:
    story = Story()
    names = [peer_id(0x90, number) for number in range(100)]
    story.do(a.HopsDidChange(tuple((name, 2) for name in (*names, AMY))))
    story.meet(AMY)
    for _ in range(8):
        for name in names:
            story.announce(name)
        story.pass_time(31)
    story.announce(AMY)
    story.end(AMY)
    effects = story.pass_time(75)
    dialled = {effect.peer for effect in effects if isinstance(effect, e.ScheduleConnectToRemotePeer)}
    assert AMY in dialled


def test_while_nobody_is_followed_strangers_fill_the_house() -> None:
    story = full_of_strangers()
    assert set(story.state.linked) == set(STRANGERS[:4])


def test_strangers_get_few_slots_once_somebody_is_followed() -> None:
    story = Story(SMALL)
    befriend(story, amy=1)
    story.meet(STRANGERS[0], STRANGERS[1])
    assert none(story.announce(STRANGERS[2]), e.ScheduleConnectToRemotePeer)
    view = peer_view(story.state, STRANGERS[2])
    assert view is not None
    assert view.reason == "all 2 slots for strangers are taken"
    assert view.hops is None
    refused = only(story.offer(STRANGERS[3]), e.RefuseOffer)
    assert (refused.reason, refused.not_before_s is not None) == ("all 2 slots for strangers are taken", True)
    closed = only(story.arrive(STRANGERS[3]), e.ScheduleDisconnectFromRemotePeer)
    assert closed.reason == "all 2 slots for strangers are taken"
    dialled = only(story.announce(AMY), e.ScheduleConnectToRemotePeer)
    assert (dialled.peer, dialled.reason) == (
        AMY,
        "a friend at distance 1; failures so far: 0; nearness +12.0, unseen +2.0",
    )
    # One of the strangers goes, and the next one has its turn.
    story.end(STRANGERS[0], clean=True)
    assert story.peer(STRANGERS[2]).attempt is not None


def test_whom_somebody_asked_for_is_no_stranger() -> None:
    story = Story(SMALL)
    befriend(story, amy=1)
    story.meet(STRANGERS[0], STRANGERS[1])
    story.announce(STRANGERS[2])
    story.do(a.ConnectToRemotePeer(STRANGERS[2]))
    story.succeed(STRANGERS[2])
    assert len(story.state.linked) == 3


def test_without_a_link_we_take_the_stranger_that_we_can_get() -> None:
    story = Story(Settings(strangers_max=0))
    befriend(story, amy=1)
    story.announce(BOB)
    story.announce(CAROL)
    assert list(story.state.trying) == [BOB]
    story.succeed(BOB)
    assert not story.state.trying
    story.end(BOB, clean=True)
    assert list(story.state.trying) == [CAROL]


def test_friends_are_dialled_before_strangers_and_the_nearest_first() -> None:
    story = Story(Settings(attempts_max=1))
    befriend(story, amy=3, bob=1, carol=2)
    story.announce(STRANGERS[0])  # dialled at once: there was nobody else
    for peer in (STRANGERS[1], AMY, CAROL, BOB):
        story.announce(peer)
    for peer in (STRANGERS[0], BOB, CAROL, AMY):
        story.succeed(peer)
    assert story.state.trying == (STRANGERS[1],)


def test_a_friend_that_comes_displaces_the_stranger_that_was_linked_longest() -> None:
    story = full_of_strangers()
    befriend(story, amy=2)
    effects = story.arrive(AMY)
    parted = only(effects, e.ScheduleDisconnectFromRemotePeer)
    assert (parted.peer, parted.reason) == (STRANGERS[0], "a friend needs the slot")
    assert parted.not_before_s is not None
    assert set(story.state.linked) == {*STRANGERS[1:4], AMY}
    assert story.peer(STRANGERS[0]).ready_s > story.now.mono_s
    assert "slots are taken" in only(story.arrive(STRANGERS[5]), e.ScheduleDisconnectFromRemotePeer).reason


def test_a_friend_that_offers_displaces_nobody_before_it_is_proven() -> None:
    story = full_of_strangers()
    befriend(story, amy=1, bob=1, zoe=1)
    assert only(story.offer(AMY), e.AcceptOffer)
    assert only(story.offer(ZOE), e.AcceptOffer)
    assert only(story.offer(BOB), e.RefuseOffer).reason == "all 4 slots are taken"
    assert set(story.state.linked) == set(STRANGERS[:4])
    story.fail(AMY)
    assert set(story.state.linked) == set(STRANGERS[:4])
    story.succeed(ZOE)
    assert set(story.state.linked) == {*STRANGERS[1:4], ZOE}


def test_friends_are_dialled_in_place_of_strangers_beyond_their_share() -> None:
    story = full_of_strangers()
    befriend(story, amy=1, bob=1, carol=1, dave=1)
    for peer in (AMY, BOB, CAROL, DAVE):
        story.announce(peer)
    # Two strangers are too many, so two friends go beyond the slots.
    assert sorted(story.state.trying) == [AMY, BOB]
    for peer in story.state.trying:
        story.succeed(peer)
    assert len(story.state.linked) == 4
    assert len(set(story.state.linked) & set(STRANGERS)) == 2
    assert not story.state.trying
    view = peer_view(story.state, DAVE)
    assert view is not None
    assert (view.hops, view.reason) == (1, "all 4 slots are taken")


def test_slots_for_own_dialling_are_freed_for_friends_too() -> None:
    story = Story(Settings(peers_max=6, inbound_reserved=2, strangers_max=2))
    story.meet(*STRANGERS[:4])
    befriend(story, amy=1)
    story.announce(AMY)
    story.succeed(AMY)
    assert set(story.state.linked) == {*STRANGERS[1:4], AMY}


def test_a_friend_is_turned_away_when_the_stranger_to_displace_became_a_friend() -> None:
    story = full_of_strangers()
    befriend(story, amy=1)
    story.announce(AMY)
    attempt = story.peer(AMY).attempt
    assert attempt is not None
    story.do(a.HopsDidChange(tuple((peer, 1) for peer in STRANGERS[:4])))
    closed = only(
        story.do(a.RemotePeerConnectionSucceeded(AMY, 77, attempt.route, True, attempt.id)),
        e.ScheduleDisconnectFromRemotePeer,
    )
    assert (closed.peer, closed.reason) == (AMY, "all 4 slots are taken")
    assert set(story.state.linked) == set(STRANGERS[:4])


def test_who_is_a_friend_changes_while_peers_wait() -> None:
    story = Story(Settings(attempts_max=1))
    for peer in (AMY, BOB, CAROL):
        story.announce(peer)
    assert story.state.trying == (AMY,)
    befriend(story, carol=2, bob=None, amy=1)
    assert [peer for _, peer in story.state.friends] == [CAROL]
    assert [peer for _, peer in story.state.due] == [BOB]
    befriend(story, carol=None)
    assert not list(story.state.friends)
    story.do(a.ConnectToRemotePeer(CAROL))
    befriend(story, carol=1)
    assert [peer for _, peer in story.state.asked] == [CAROL]


@pytest.mark.parametrize("told", [(), ((AMY, 1),), ((BOB, None),), ((BOB, 0), (CAROL, -1)), ((DAVE, 2),)])
def test_what_was_known_and_what_finds_no_room_is_ignored(told: tuple[tuple[PeerId, int | None], ...]) -> None:
    story = Story(Settings(friends_known_max=1))
    befriend(story, amy=1)
    assert ignored(story.do(a.HopsDidChange(told))) == "that was known, or the table is full"
    befriend(story, amy=2)
    assert dict(story.state.hops) == {AMY: 2}


def test_a_friend_finds_a_place_in_a_table_full_of_strangers() -> None:
    story = Story(Settings(known_peers_max=2, attempts_max=1))
    befriend(story, amy=1)
    story.announce(STRANGERS[0])
    story.announce(STRANGERS[1])
    assert ignored(story.announce(STRANGERS[2])).startswith("the table is full")
    story.announce(AMY)
    assert set(story.state.peers) == {STRANGERS[0], AMY}
    assert peer_view(story.state, AMY) is not None
    assert story.state.heard[ONE] == 2
