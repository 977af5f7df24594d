"""Hubs: connected all at once, tried for ever, announced to with measure, saved before they are told."""

from __future__ import annotations

from itertools import pairwise

import pytest

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.hub_table import URL_CHARACTERS_MAX
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.turn import announce_timer, hub_timer
from ssb_rtc.types import HubUrl
from tests.manager.names import AMY, BOB, CAROL, ONE, THREE, TWO
from tests.manager.story import Story, ignored, none, only


def test_every_hub_is_connected_to_at_once() -> None:
    story = Story(hubs=())
    for hub in (ONE, TWO, THREE):
        effects = story.do(a.HubAddressAdded(hub, stored=True))
        assert only(effects, e.ScheduleConnectToHub).hub == hub
        assert none(effects, e.ScheduleSaveHubs), "it is stored already"
    assert set(story.state.hubs) == {ONE, TWO, THREE}, "none is lost"


def test_a_hub_is_in_the_table_once() -> None:
    assert "already" in ignored(Story().do(a.HubAddressAdded(ONE, stored=True)))
    assert "already" in ignored(Story().do(a.HubAddressAdded(ONE)))
    assert "already" in ignored(Story().do(a.HubAddressAdded(ONE, "gossip", private=True)))


def test_a_person_adds_for_good_what_came_from_elsewhere() -> None:
    story = Story(hubs=())
    story.do(a.HubAddressAdded(ONE, "config", stored=True))
    effects = story.do(a.HubAddressAdded(ONE))
    assert [(hub.source, hub.private) for hub in only(effects, e.ScheduleSaveHubs).hubs] == [("user", False)]
    assert none(effects, e.ScheduleConnectToHub)
    effects = story.do(a.HubAddressAdded(ONE, private=True))
    assert [(hub.source, hub.private) for hub in only(effects, e.ScheduleSaveHubs).hubs] == [("user", True)]


def test_a_hub_that_waits_is_tried_at_once_when_a_person_adds_it_again() -> None:
    story = Story(hubs=())
    story.do(a.HubAddressAdded(ONE))
    story.do(a.HubConnectionFailed(ONE, story.connection(), "refused"))
    assert none(story.do(a.HubAddressAdded(ONE, stored=True)), e.ScheduleConnectToHub), "only a start"
    assert only(story.do(a.HubAddressAdded(ONE)), e.ScheduleConnectToHub).hub == ONE
    assert "about to be" in ignored(story.do(a.HubAddressAdded(ONE)))


@pytest.mark.parametrize("address", ["", "https://" + "x" * URL_CHARACTERS_MAX])
def test_an_address_has_a_length(address: str) -> None:
    assert "characters" in ignored(Story().do(a.HubAddressAdded(HubUrl(address))))


def test_the_table_has_an_end() -> None:
    assert "full" in ignored(Story(Settings(hubs_max=1)).do(a.HubAddressAdded(TWO)))


@pytest.mark.parametrize("another", [True, False])
def test_a_hub_is_tried_for_ever_with_growing_pauses_that_have_an_end(another: bool) -> None:
    settings = Settings()
    story = Story(settings, hubs=(TWO,) if another else ())
    story.do(a.HubAddressAdded(ONE))
    pauses = []
    for _ in range(60):
        story.do(a.HubConnectionFailed(ONE, story.connection(), "refused"))
        pauses.append(story.state.timers[hub_timer(ONE)] - story.now.mono_s)
        story.pass_time(pauses[-1])
        assert story.hub().connection_state == "CONNECTING"
    most_s = settings.hub_backoff_max_s if another else settings.hub_backoff_offline_max_s
    assert most_s / 2 < max(pauses) <= most_s, "shorter while we are on no hub at all"
    assert max(pauses[:1]) <= settings.hub_backoff_s
    assert min(pauses) >= settings.hub_backoff_min_s
    assert sum(pauses[20:]) / 40 > most_s / 3
    assert len(set(pauses)) == len(pauses), "they have jitter"
    assert story.hub().connection_attempts == 61


def test_retry_after_is_kept_and_not_believed_without_end() -> None:
    for asked_s, least_s in ((200.0, 200.0), (1e12, 3600.0), (float("nan"), 0.0), (-5.0, 0.0)):
        story = Story(hubs=())
        story.do(a.HubAddressAdded(ONE))
        story.do(a.HubConnectionFailed(ONE, story.connection(), "429", asked_s))
        pause_s = story.state.timers[hub_timer(ONE)] - story.now.mono_s
        assert least_s <= pause_s <= least_s + Settings().hub_backoff_s


def test_a_connecting_hub_has_a_time_out() -> None:
    story = Story(hubs=())
    story.do(a.HubAddressAdded(ONE))
    first = story.connection()
    story.pass_time(30.1)
    assert story.hub().connection_state == "DISCONNECTED"
    assert "no answer" in story.hub().last_error
    assert "superseded" in ignored(story.do(a.HubConnectionSucceeded(ONE, first)))


def test_a_late_failure_of_an_earlier_connection_is_ignored() -> None:
    story = Story()
    for late in (a.HubConnectionFailed(ONE, 999, "late"), a.HubConnectionLost(ONE, 999, "late")):
        assert "superseded" in ignored(story.do(late))
    assert story.hub().connection_state == "CONNECTED"


def test_a_healthy_hub_that_is_lost_is_as_good_as_new() -> None:
    story = Story()
    story.pass_time(61)
    story.hub_lost()
    assert story.hub().connection_attempts == 0
    assert story.state.timers[hub_timer(ONE)] - story.now.mono_s <= 30


def test_success_is_heard_once() -> None:
    story = Story()
    assert "superseded" in ignored(story.do(a.HubConnectionSucceeded(ONE, story.connection())))


def test_after_a_reconnect_the_hub_hears_us_only_after_a_while() -> None:
    story = Story()
    story.meet(AMY)
    story.hub_lost()
    story.pass_time(31)
    assert none(story.hub_up(), e.ScheduleAnnounceToHub)
    story.hub_lost()
    while story.hub().connection_state != "CONNECTING" or story.now.mono_s < 1_300 + 31:
        story.pass_time(1)
    assert only(story.hub_up(), e.ScheduleAnnounceToHub).hub == ONE


def announcements_s(story: Story, duration_s: float) -> list[float]:
    """When hub one was announced to, from now on."""
    found = []
    end_s = story.now.mono_s + duration_s
    while story.now.mono_s < end_s:
        before = story.hub().announced_s
        story.pass_time(1)
        after = story.hub().announced_s
        if after is not None and after != before:
            found.append(after)
    return found


def pauses(times: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(times)]


def test_alone_we_announce_every_half_minute() -> None:
    found = pauses(announcements_s(Story(), 400))
    assert len(found) >= 8
    assert all(21 <= pause_s <= 39 for pause_s in found)


def test_with_links_and_free_slots_the_pauses_grow() -> None:
    story = Story()
    story.meet(AMY)
    found = pauses(announcements_s(story, 6_000))
    assert found[0] < 80
    assert all(pause_s >= 0.69 * 600 for pause_s in found[5:])
    assert all(pause_s <= 1.31 * 600 for pause_s in found)


def test_a_full_house_announces_every_few_minutes() -> None:
    story = Story(Settings(peers_max=2, inbound_reserved=0))
    story.meet(AMY, BOB)
    found = pauses(announcements_s(story, 4_000))
    assert all(400 < pause_s < 800 for pause_s in found)


def test_the_last_link_gone_makes_us_eager_again() -> None:
    story = Story(hubs=(ONE, TWO))
    story.do(a.HubAddressAdded(THREE))
    story.meet(AMY)
    story.pass_time(2_000)
    story.end(AMY)
    assert story.state.timers[announce_timer(ONE)] <= story.now.mono_s + 30
    assert story.state.timers[announce_timer(TWO)] <= story.now.mono_s + 30


def test_a_hub_that_limits_us_hears_less() -> None:
    story = Story()
    story.do(a.HubDidLimit(ONE, 1_000.0))
    assert story.state.timers[announce_timer(ONE)] >= story.now.mono_s + 700
    story.do(a.HubDidLimit(ONE, None))
    assert story.state.timers[announce_timer(ONE)] >= story.now.mono_s + 700, "never sooner than asked before"
    assert "not connected" in ignored(story.do(a.HubDidLimit(TWO, 1.0)))


def test_an_announcement_that_fails_is_repeated_later() -> None:
    story = Story()
    story.do(a.AnnounceToHubFailed(ONE, story.connection(), "500"))
    assert story.hub().last_error == "500"
    assert 20 < story.state.timers[announce_timer(ONE)] - story.now.mono_s < 40
    assert "superseded" in ignored(story.do(a.AnnounceToHubFailed(ONE, 999, "500")))


def test_a_removed_hub_hears_our_goodbye_and_loses_its_attempts() -> None:
    story = Story(hubs=(ONE, TWO))
    story.announce(AMY, ONE)
    story.announce(BOB, TWO)
    effects = story.do(a.HubAddressRemoved(ONE))
    kinds = [effect.kind for effect in effects]
    assert kinds.index("SCHEDULE_ANNOUNCE_LEAVE_TO_HUB") < kinds.index("SCHEDULE_DISCONNECT_FROM_HUB")
    assert only(effects, e.AbortAttempt).peer == AMY
    assert only(effects, e.ScheduleSaveHubs).hubs[0].url == TWO
    assert story.peer(AMY).failures == 0
    assert story.peer(BOB).connection_state == "CONNECTING"
    story.pass_time(20)
    assert AMY not in story.state.peers, "her only hub is gone"
    assert "not in the table" in ignored(story.do(a.HubAddressRemoved(ONE)))


def test_a_hub_that_never_answered_is_removed_without_goodbye() -> None:
    story = Story(hubs=())
    story.do(a.HubAddressAdded(ONE))
    effects = story.do(a.HubAddressRemoved(ONE))
    assert none(effects, e.ScheduleAnnounceLeaveToHub)
    assert only(effects, e.ScheduleDisconnectFromHub).hub == ONE
    story.do(a.HubAddressAdded(TWO))
    story.do(a.HubConnectionFailed(TWO, story.connection(TWO), "refused"))
    assert none(story.do(a.HubAddressRemoved(TWO)), e.ScheduleDisconnectFromHub)


def test_hubs_are_told_after_they_are_saved_once_a_link_and_without_the_private_ones() -> None:
    story = Story()
    story.meet(AMY)
    story.pass_time(6)
    effects = story.do(a.HubAddressAdded(TWO, private=True))
    assert only(effects, e.ScheduleSaveHubs).revision == 1
    secret = HubUrl("https://me:secret@four.example")
    story.do(a.HubAddressAdded(secret))
    story.do(a.HubAddressAdded(THREE))
    for hub in (TWO, THREE, secret):
        story.hub_up(hub)
    story.arrive(CAROL)
    story.pass_time(6)
    assert story.peer(CAROL).link is not None
    story.do(a.HubsSaved(1))
    story.pass_time(6)
    told = story.peer(CAROL).link
    assert told is not None
    assert told.told_revision == -1, "revision 3 is not saved yet"
    story.do(a.HubsSaved(3))
    assert "newer" in ignored(story.do(a.HubsSaved(2)))
    before = story.now.mono_s
    effects = story.do(a.TimerExpired("broadcast", story.books.timers["broadcast"]))
    told_hubs = only(effects, e.ScheduleBroadcastKnownHubs)
    assert [hub.url for hub in told_hubs.hubs] == [ONE, THREE]
    assert set(told_hubs.peers) == {AMY, CAROL}
    story.arrive(BOB)
    effects = story.do(a.TimerExpired("broadcast", story.books.timers["broadcast"]))
    assert only(effects, e.ScheduleBroadcastKnownHubs).peers == (BOB,)
    assert story.now.mono_s == before


def test_nobody_linked_nobody_told() -> None:
    story = Story()
    story.do(a.HubAddressAdded(TWO))
    assert none(story.do(a.HubsSaved(1)), e.ArmTimer)
    story.meet(AMY)
    story.end(AMY)
    assert none(story.do(a.TimerExpired("broadcast", story.books.timers["broadcast"])), e.ScheduleBroadcastKnownHubs)


def test_a_table_without_hubs_is_not_told() -> None:
    story = Story(hubs=())
    story.arrive(AMY)
    assert none(story.do(a.TimerExpired("broadcast", story.books.timers["broadcast"])), e.ScheduleBroadcastKnownHubs)


def test_a_disk_that_is_full_is_tried_again() -> None:
    story = Story()
    story.do(a.HubAddressAdded(TWO))
    story.do(a.SaveHubsFailed(1, "disk full"))
    story.pass_time(59)
    assert story.books.unsaved == []
    story.pass_time(2)
    assert story.books.unsaved == [1]
    story.do(a.HubAddressAdded(THREE))
    assert "newer" in ignored(story.do(a.SaveHubsFailed(1, "disk full")))


def test_a_change_after_a_failed_save_is_saved_at_once_with_it() -> None:
    story = Story()
    story.do(a.HubAddressAdded(TWO))
    story.do(a.SaveHubsFailed(1, "disk full"))
    effects = story.do(a.HubAddressAdded(THREE))
    assert only(effects, e.ScheduleSaveHubs).revision == 2
    assert "save" not in story.state.timers


def test_a_hub_that_is_healthy_again_is_saved_and_not_told_anew() -> None:
    story = Story()
    story.pass_time(80)
    story.do(a.HubsSaved(story.books.unsaved[-1]))
    story.hub_lost()
    while story.hub().connection is None:
        story.pass_time(1)
    story.hub_up()
    effects = story.pass_time(80)
    assert only(effects, e.ScheduleSaveHubs).hubs[0].last_success_wall_s == story.hub().last_success_wall_s
    assert none(effects, e.ScheduleBroadcastKnownHubs)
