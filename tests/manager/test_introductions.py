"""Introductions: who passes our knocks on, to whom, when, and what comes of it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.explain import explain_peer
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import Route
from ssb_rtc.types import PeerId, go_between
from tests.manager.names import AMY, BOB, CAROL, DAVE, ME, ONE, ZOE, peer_id
from tests.manager.story import Story, ignored, none, only

CALM = Settings(jitter=0.0)


def without_hubs(*friends: PeerId, linked: tuple[PeerId, ...] = (AMY,), settings: Settings = CALM) -> Story:
    """We follow these friends; those who are linked came to our listener."""
    story = Story(settings, hubs=())
    story.do(a.HopsDidChange(tuple((friend, 1) for friend in friends)))
    for peer in linked:
        story.arrive(peer)
    return story


def asked(story: Story, duration_s: float) -> list[e.ScheduleKnock]:
    return [effect for effect in story.pass_time(duration_s) if isinstance(effect, e.ScheduleKnock)]


def test_a_linked_peer_is_asked_to_pass_knocks_on_to_friends_who_are_not_linked() -> None:
    story = without_hubs(AMY, BOB, CAROL, ME)
    (knock,) = asked(story, 12)
    link = story.peer(AMY).link
    assert link is not None
    assert (knock.hub, knock.connection, knock.alone) == (go_between(AMY), link.id, False)
    assert set(knock.peers) == {BOB, CAROL}, "neither ourselves nor who is linked"


def test_friends_of_friends_and_who_is_blocked_are_not_asked_for() -> None:
    story = without_hubs(AMY, DAVE)
    story.do(a.HopsDidChange(((BOB, 2), (CAROL, 3))))
    story.do(a.PeerBlocked(DAVE))
    assert asked(story, 300) == []


def test_two_at_a_time_are_asked_and_not_always_the_same() -> None:
    linked = tuple(peer_id(number) for number in range(40, 45))
    story = without_hubs(BOB, *linked, linked=linked)
    knocks = asked(story, 10_000)
    assert {knock.hub for knock in knocks} == {go_between(peer) for peer in linked}
    assert len(asked(without_hubs(BOB, *linked, linked=linked), 12)) == 2


def test_none_is_asked_where_that_is_switched_off() -> None:
    assert asked(without_hubs(BOB, settings=replace(CALM, introducers_max=0)), 1_000) == []


def test_rounds_come_ever_more_rarely_while_the_links_stay() -> None:
    story, times = without_hubs(BOB), []
    for at in range(1, 1_000):
        times += [at * 10.0] * len(asked(story, 10))
    assert times == [10.0, 70.0, 190.0, 430.0, 910.0, 1_870.0, 3_790.0, 7_390.0]


def test_another_link_is_a_reason_to_be_eager_but_not_at_once_again() -> None:
    story = without_hubs(BOB)
    asked(story, 1_000)
    story.arrive(CAROL)
    assert len(asked(story, 11)) == 2
    story.end(CAROL)
    assert asked(story, 40) == []
    assert len(asked(story, 30)) == 1


def test_a_link_that_opens_while_a_round_is_near_does_not_put_it_off() -> None:
    story = without_hubs(BOB)
    asked(story, 2)
    at_s = story.state.introduce_at_s
    story.arrive(CAROL)
    assert story.state.introduce_at_s == at_s


def test_friends_take_turns() -> None:
    friends = [peer_id(number) for number in range(30, 35)]
    story = without_hubs(*friends, settings=replace(CALM, introductions_max=2, introduce_max_s=60))
    rounds = [knock.peers for knock in asked(story, 200)]
    ordered = sorted(friends)
    assert rounds[:3] == [tuple(ordered[:2]), tuple(ordered[2:4]), (ordered[4], ordered[0])]


def test_with_all_slots_taken_nobody_is_asked_until_one_is_free() -> None:
    story = without_hubs(AMY, BOB, CAROL, linked=(AMY, CAROL), settings=replace(CALM, peers_max=2, inbound_reserved=0))
    assert asked(story, 1_000) == []
    story.do(a.SettingsDidChange(replace(CALM, peers_max=3, inbound_reserved=0)))
    assert len(asked(story, 11)) == 2


def test_who_does_not_know_how_is_asked_once_and_others_soon() -> None:
    story = without_hubs(BOB, linked=(AMY,))
    assert len(asked(story, 12)) == 1
    story.do(a.RemotePeerWontIntroduce(AMY))
    assert asked(story, 1_000) == []
    assert ignored(story.do(a.RemotePeerWontIntroduce(AMY))) == "that was known, or the peer is not linked"
    assert ignored(story.do(a.RemotePeerWontIntroduce(ZOE)))
    story.arrive(CAROL)
    assert {knock.hub for knock in asked(story, 100)} == {go_between(CAROL)}


def test_an_offer_through_a_linked_peer_is_answered_and_through_nobody_else() -> None:
    story = without_hubs(AMY, BOB)
    hub = go_between(AMY)
    accepted = only(story.do(a.RemotePeerDidOffer(hub, BOB, "s1", settled=True)), e.AcceptOffer)
    assert (accepted.hub, accepted.peer) == (hub, BOB)
    for other in (go_between(CAROL), go_between(BOB)):
        refused = only(story.do(a.RemotePeerDidOffer(other, DAVE, "s2", settled=True)), e.RefuseOffer)
        assert refused.not_before_s is None, "nothing is said"
        assert refused.reason == "the hub is not in the table"


def test_a_blocked_peer_hears_nothing_through_a_friend() -> None:
    story = without_hubs(AMY)
    story.do(a.PeerBlocked(BOB))
    assert (
        only(story.do(a.RemotePeerDidOffer(go_between(AMY), BOB, "s1", settled=True)), e.RefuseOffer).not_before_s
        is None
    )


def test_who_was_met_through_a_peer_is_met_there_again() -> None:
    story = without_hubs(AMY, BOB)
    hub = go_between(AMY)
    story.do(a.RemotePeerDidOffer(hub, BOB, "s1", settled=True))
    story.succeed(BOB)
    assert "linked with both of us" in " ".join(explain_peer(story.state, BOB).because)
    story.end(AMY)
    story.pass_time(70)
    story.end(BOB)
    assert none(story.pass_time(120), e.ScheduleConnectToRemotePeer), "there is no way now"
    assert story.peer(BOB).parked
    effects = (*story.arrive(AMY), *story.pass_time(2))
    assert only(effects, e.ScheduleConnectToRemotePeer).route == Route("hub", hub)


def test_a_hub_is_a_better_way_than_a_peer() -> None:
    story = Story(CALM)
    story.do(a.HopsDidChange(((AMY, 1), (BOB, 1))))
    story.arrive(AMY)
    story.do(a.RemotePeerDidOffer(go_between(AMY), BOB, "s1", settled=True))
    story.fail(BOB)
    story.announce(BOB)
    assert only(story.pass_time(20), e.ScheduleConnectToRemotePeer).route == Route("hub", ONE)


def test_a_go_between_is_no_row_of_the_table_of_hubs() -> None:
    story = without_hubs(AMY)
    assert ignored(story.do(a.HubAddressAdded(go_between(AMY)))) == "that is no hub, but a peer that introduces others"


def test_the_numbers_take_no_nonsense() -> None:
    with pytest.raises(Exception, match="introduce_s"):
        Settings(introduce_s=0)
