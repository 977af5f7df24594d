"""Knocks: who is knocked at, when, and what a knock does at the other end."""

from __future__ import annotations

from msgspec.structs import replace

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.explain import explain_peer
from ssb_rtc.manager.settings import Settings
from ssb_rtc.types import PeerId
from tests.manager.names import AMY, BOB, CAROL, DAVE, ME, ONE, TWO, ZOE
from tests.manager.story import Story, ignored, none, only

CALM = Settings(jitter=0.0, announce_s=100_000, announce_max_s=100_000)


def knowing(*friends: PeerId, settings: Settings = CALM) -> Story:
    """No hub yet; the inboxes of these friends are known, the best first."""
    story = Story(settings, hubs=())
    story.do(a.HopsDidChange(tuple((friend, 1) for friend in friends)))
    story.do(a.InboxesDidChange(tuple((friend, True) for friend in friends)))
    return story


def arrive(story: Story) -> tuple[e.Effect, ...]:
    story.do(a.HubAddressAdded(ONE, stored=True))
    return story.hub_up()


def knocked(story: Story, duration_s: float) -> list[float]:
    """When there were knocks while time passed."""

    def on_hubs(effects: tuple[e.Effect, ...]) -> bool:
        return any(isinstance(effect, e.ScheduleKnock) and effect.hub == ONE for effect in effects)

    return [(at + 1) * 10.0 for at in range(int(duration_s / 10)) if on_hubs(story.pass_time(10))]


def test_on_arrival_friends_are_knocked_at_the_best_first() -> None:
    story = knowing(CAROL, AMY, BOB)
    story.do(a.InboxesDidChange(((DAVE, True),)))
    knock = only(arrive(story), e.ScheduleKnock)
    assert (knock.hub, knock.connection, knock.alone) == (ONE, story.connection(), True)
    assert knock.peers == (DAVE, CAROL, AMY, BOB), "who told us last comes first"


def test_not_more_than_a_hub_bears() -> None:
    story = knowing(CAROL, AMY, BOB, settings=replace(CALM, knocks_max=2))
    assert only(arrive(story), e.ScheduleKnock).peers == (CAROL, AMY)


def test_who_is_linked_tried_held_blocked_or_ourselves_is_not_knocked_at() -> None:
    story = knowing(AMY, BOB, CAROL, DAVE, ZOE, ME)
    arrive(story)
    story.meet(AMY)
    story.announce(BOB)
    story.meet(CAROL)
    story.do(a.DisconnectFromRemotePeer(CAROL))
    story.do(a.PeerBlocked(DAVE))
    story.do(a.HubAddressAdded(TWO))
    assert only(story.hub_up(TWO), e.ScheduleKnock).peers == (ZOE,)


def test_later_rounds_come_ever_more_rarely() -> None:
    story = knowing(AMY)
    arrive(story)
    story.arrive(BOB)
    assert knocked(story, 8_000) == [900.0, 2_700.0, 6_300.0]


def test_without_any_link_they_come_sooner() -> None:
    story = knowing(AMY, settings=Settings(jitter=0.0))
    arrive(story)
    assert knocked(story, 1_500) == [30.0, 90.0, 210.0, 450.0, 930.0]


def test_a_link_lost_is_a_reason_to_be_eager() -> None:
    story = knowing(AMY, settings=Settings(jitter=0.0))
    arrive(story)
    story.arrive(BOB)
    story.pass_time(2_000)
    assert story.state.timers[f"knock:{ONE}"] > story.now.mono_s + 600
    story.end(BOB)
    assert story.state.timers[f"knock:{ONE}"] == story.now.mono_s


def test_after_a_reconnect_not_at_once_again() -> None:
    story = knowing(AMY)
    arrive(story)
    story.pass_time(5)
    story.hub_lost()
    assert f"knock:{ONE}" not in story.state.timers
    while story.hub().connection is None:
        story.pass_time(1)
    assert none(story.hub_up(), e.ScheduleKnock)
    assert len(knocked(story, 300)) == 1


def test_with_all_slots_taken_nobody_is_knocked_at() -> None:
    story = knowing(AMY, BOB, settings=replace(CALM, peers_max=1, inbound_reserved=0))
    story.arrive(BOB)
    assert none(arrive(story), e.ScheduleKnock)
    story.end(BOB)
    assert len(knocked(story, 1_000)) >= 1


def test_an_inbox_that_becomes_known_is_knocked_at() -> None:
    story = knowing(AMY)
    arrive(story)
    assert only(story.do(a.InboxesDidChange(((BOB, True),))), e.ScheduleKnock).peers == (BOB,)
    assert none(story.do(a.InboxesDidChange(((BOB, True),))), e.ScheduleKnock), "that is nothing new"
    story.do(a.InboxesDidChange(((BOB, False),)))
    assert BOB not in story.state.inboxes
    assert ignored(story.do(a.InboxesDidChange(((BOB, False),)))) == "that was known, or the table is full"


def test_the_table_of_inboxes_has_a_cap() -> None:
    story = knowing(AMY, BOB, settings=replace(CALM, inboxes_max=1))
    assert set(story.state.inboxes) == {AMY}
    assert ignored(story.do(a.InboxesDidChange(((BOB, True),))))


def test_a_knock_of_theirs_has_ours_give_way_whoever_has_the_greater_key() -> None:
    for peer in (AMY, ZOE):
        story = Story(CALM)
        story.announce(peer)
        attempt = story.attempt(peer)
        effects = story.do(a.RemotePeerDidOffer(ONE, peer, "theirs", settled=True))
        assert only(effects, e.AbortAttempt).attempt == attempt
        assert only(effects, e.AcceptOffer).session == "theirs"


def test_it_is_said_when_a_friend_is_knocked_at_next() -> None:
    story = knowing(AMY)
    assert "announces itself" in explain_peer(story.state, AMY).next[0]
    arrive(story)
    assert "it is knocked at in" in explain_peer(story.state, AMY).next[0]


def test_without_any_inbox_there_is_no_timer() -> None:
    story = Story(CALM)
    assert f"knock:{ONE}" not in story.state.timers
    story.do(a.InboxesDidChange(((BOB, True),)))
    assert f"knock:{ONE}" in story.state.timers
    story.do(a.InboxesDidChange(((BOB, False),)))
    assert knocked(story, 2_000) == []
    assert f"knock:{ONE}" not in story.state.timers


def test_nobody_is_knocked_at_on_a_hub_that_is_not_connected_yet() -> None:
    story = Story(CALM, hubs=())
    story.do(a.HubAddressAdded(ONE, stored=True))
    assert none(story.do(a.InboxesDidChange(((BOB, True),))), e.ScheduleKnock)
    assert only(story.hub_up(), e.ScheduleKnock).peers == (BOB,)
