"""Hubs that others tell of: when they are believed, tried, spare, and forgotten."""

from __future__ import annotations

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.hubs import is_spare
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import State
from ssb_rtc.manager.view import hubs_view
from ssb_rtc.types import HubUrl
from tests.manager.names import AMY, BOB, CAROL, ONE, THREE, TWO
from tests.manager.story import Story, ignored, none, only

FOUR, FIVE = HubUrl("https://four.example"), HubUrl("https://five.example")


def befriended(settings: Settings | None = None) -> Story:
    """Amy and Bob are followed and linked; Carol is linked."""
    story = Story(settings)
    story.do(a.HopsDidChange(((AMY, 1), (BOB, 1), (CAROL, 2))))
    story.meet(AMY, BOB, CAROL)
    return story


def tell(story: Story, *hubs: HubUrl) -> None:
    """Both friends name these hubs."""
    for peer in (AMY, BOB):
        story.do(a.HubListReceived(peer, hubs))


def spare(state: State) -> set[HubUrl]:
    return {hub.url for hub in state.hubs.values() if is_spare(state, hub)}


def probed(story: Story) -> HubUrl:
    """Time passes until one of them is tried, and it works; which one."""
    for _ in range(1_000):
        for hub in story.state.hubs.values():
            if hub.source == "gossip" and hub.connection is not None:
                story.hub_up(hub.url)
                return hub.url
        story.pass_time(5)
    raise AssertionError("none is tried")


def test_a_hub_that_two_friends_name_is_tried_within_an_hour() -> None:
    story = befriended()
    story.do(a.HubListReceived(AMY, (ONE, TWO)))
    assert TWO not in story.state.hubs
    assert ignored(story.do(a.HubListReceived(CAROL, (TWO,)))) == "we don't follow the peer ourselves"
    story.do(a.HubListReceived(AMY, (TWO,)))
    assert TWO not in story.state.hubs, "the same friend twice is one friend"
    effects = story.do(a.HubListReceived(BOB, (TWO,)))
    assert only(effects, e.ScheduleSaveHubs).hubs[-1].source == "gossip"
    assert story.hub(TWO).connection is None
    assert not story.state.rumours
    assert TWO in {effect.hub for effect in story.pass_time(3_600) if isinstance(effect, e.ScheduleConnectToHub)}


def test_without_any_hub_it_is_tried_within_half_a_minute() -> None:
    story = befriended()
    story.hub_lost()
    tell(story, TWO)
    assert TWO in {effect.hub for effect in story.pass_time(31) if isinstance(effect, e.ScheduleConnectToHub)}


def test_lists_that_tell_nothing() -> None:
    story = befriended()
    assert ignored(story.do(a.HubListReceived(AMY, (ONE,)))) == "nothing in the list is new"
    assert ignored(story.do(a.HubListReceived(AMY, (HubUrl(""), HubUrl("x" * 3_000))))) == "nothing in the list is new"
    story.end(AMY)
    assert ignored(story.do(a.HubListReceived(AMY, (TWO,)))) == "the peer is not linked"


def test_a_friend_that_is_none_any_longer_does_not_count() -> None:
    story = befriended()
    story.do(a.HubListReceived(AMY, (TWO,)))
    story.do(a.HopsDidChange(((AMY, None),)))
    story.do(a.HubListReceived(BOB, (TWO,)))
    assert TWO not in story.state.hubs


def test_rumours_are_few_and_what_one_alone_says_goes_first() -> None:
    story = befriended(Settings(rumours_max=2))
    story.do(a.HubListReceived(AMY, (TWO, THREE, FOUR)))
    assert len(story.state.rumours) == 2


def test_one_who_names_many_hubs_pushes_out_his_own_alone() -> None:
    story = befriended(Settings(rumours_max=3))
    story.do(a.HubListReceived(AMY, (TWO,)))
    story.do(a.HubListReceived(BOB, tuple(HubUrl(f"https://z{number}.example") for number in range(20))))
    assert TWO in story.state.rumours
    story.do(a.HubListReceived(BOB, (TWO,)))
    assert TWO in story.state.hubs


def test_two_friends_with_long_lists_do_not_overflow_the_table() -> None:
    story = befriended()
    many = tuple(HubUrl(f"https://z{number}.example") for number in range(64))
    tell(story, *many)
    assert len(story.state.hubs) == story.state.settings.hubs_max
    for batch in range(5):
        tell(story, *(HubUrl(f"https://y{batch}-{number}.example") for number in range(64)))
    assert len(story.state.rumours) == 256
    story.do(a.HubAddressRemoved(next(hub for hub in story.state.hubs if hub != ONE)))
    known = min(story.state.rumours)
    story.do(a.HubListReceived(AMY, (known, *(HubUrl(f"https://x{number}.example") for number in range(3)))))
    assert known in story.state.hubs


def test_a_full_table_takes_no_more_of_them_and_gives_way_to_a_persons() -> None:
    story = befriended(Settings(hubs_max=2))
    tell(story, TWO)
    tell(story, THREE)
    assert set(story.state.hubs) == {ONE, TWO}
    assert "full" in ignored(story.do(a.HubAddressAdded(FOUR, "gossip")))
    story.do(a.HubAddressAdded(FIVE, "user"))
    assert set(story.state.hubs) == {ONE, FIVE}
    assert "full" in ignored(story.do(a.HubAddressAdded(FOUR, "user")))


def test_no_more_of_them_are_connected_than_there_are_others() -> None:
    story = befriended()
    tell(story, TWO, THREE)
    first = probed(story)
    story.pass_time(3_700)
    (other,) = spare(story.state)
    assert {first, other} == {TWO, THREE}
    view = next(view for view in hubs_view(story.state) if view.url == other)
    assert view.reason == "1 of the hubs that others told us of are in use already"


def test_when_one_fails_the_next_has_its_turn() -> None:
    story = befriended()
    tell(story, TWO, THREE)
    first = probed(story)
    story.pass_time(3_700)
    (other,) = spare(story.state)
    assert only(story.hub_lost(first), e.ScheduleConnectToHub).hub == other
    story.do(a.NetworkDidReconnect())
    assert sum(hub.connection is not None for hub in story.state.hubs.values() if hub.source == "gossip") == 1


def test_one_that_fails_too_often_is_forgotten() -> None:
    story = befriended(Settings(hub_failures_max=3, hub_probe_spread_s=1))
    tell(story, TWO)
    story.pass_time(2)
    assert story.hub(TWO).connection is not None
    story.pass_time(700)
    assert TWO not in story.state.hubs, "three attempts of 30 s and their pauses are over"


def test_a_spare_hub_that_a_person_adds_is_connected() -> None:
    story = befriended()
    tell(story, TWO, THREE)
    probed(story)
    story.pass_time(3_700)
    (hub,) = spare(story.state)
    assert only(story.do(a.HubAddressAdded(hub)), e.ScheduleConnectToHub).hub == hub
    assert story.hub(hub).source == "user"


def test_only_hubs_that_were_seen_at_work_are_passed_on() -> None:
    story = befriended(Settings(hub_probe_spread_s=1, broadcast_delay_s=1))
    tell(story, TWO)
    story.do(a.HubsSaved(story.books.unsaved[-1]))
    told = only(story.pass_time(1.5), e.ScheduleBroadcastKnownHubs)
    assert told.hubs == (ONE,)
    story.hub_up(TWO)
    story.pass_time(80)
    assert story.hub(TWO).last_success_wall_s is not None
    story.do(a.HubsSaved(story.books.unsaved[-1]))
    assert TWO in only(story.pass_time(1.5), e.ScheduleBroadcastKnownHubs).hubs


def test_stored_ones_are_tried_in_the_order_of_their_scores() -> None:
    story = Story(hubs=())
    story.do(a.HubAddressAdded(TWO, "gossip", stored=True, last_success_wall_s=None))
    assert story.hub(TWO).connection is not None, "there is room for one"
    story.do(a.HubAddressAdded(THREE, "gossip", stored=True, last_success_wall_s=story.now.wall_s - 10))
    story.do(a.HubAddressAdded(FOUR, "gossip", stored=True, last_success_wall_s=story.now.wall_s - 1e6))
    assert none(story.do(a.HubConnectionFailed(TWO, story.connection(TWO), "refused")), e.IgnoreAction)
    assert story.hub(THREE).connection is not None
    assert [view.url for view in hubs_view(story.state)] == [THREE, FOUR, TWO]


def test_on_no_hub_at_all_one_friends_word_is_enough() -> None:
    story = befriended(Settings(gossiped_hubs_max=1))
    story.do(a.HubListReceived(AMY, (TWO, THREE)))
    story.do(a.HubListReceived(BOB, (THREE,)))
    probed(story)
    assert set(story.state.hubs) == {ONE, THREE}
    story.do(a.HubAddressRemoved(THREE))
    story.do(a.HubListReceived(BOB, (FOUR,)))
    story.do(a.HopsDidChange(((BOB, None),)))
    story.hub_lost()
    story.pass_time(25)
    assert set(story.state.hubs) == {ONE}
    effects = story.pass_time(60)
    assert set(story.state.hubs) == {ONE, TWO}, "Amy is a friend, Bob is none any longer"
    assert TWO in {effect.hub for effect in effects if isinstance(effect, e.ScheduleConnectToHub)}


def test_a_hub_that_waits_for_its_first_try_is_tried_soon_when_all_others_are_gone() -> None:
    story = befriended(Settings(hub_probe_spread_s=1e6))
    tell(story, TWO)
    story.hub_lost()
    effects = story.pass_time(100)
    assert TWO in {effect.hub for effect in effects if isinstance(effect, e.ScheduleConnectToHub)}
