"""Who has to go: rotation, displacement, stuck links, fewer slots."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.rotation import Standing, who_waits
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.slots import count
from ssb_rtc.manager.view import peer_view
from ssb_rtc.types import PeerId
from tests.manager.names import AMY, BOB, CAROL, DAVE, START, TWO, ZOE, peer_id
from tests.manager.story import Story, ignored, none, only

LONG = 100_000
FEW = Settings(peers_max=2, inbound_reserved=0, lifetime_s=600, explore_s=0, announce_s=LONG, announce_max_s=LONG)
GONE = e.ScheduleDisconnectFromRemotePeer


def busy(story: Story, peer: PeerId, *, missing: int = 100) -> None:
    """We download from this peer, and it comes."""
    link = story.books.used[peer]
    story.do(a.DownloadStarted(peer, link, missing))
    story.do(a.DownloadProgressed(peer, link, 20, missing))


def full_house() -> Story:
    """Amy and Bob are linked, and Carol waits."""
    story = Story(FEW)
    story.meet(AMY, BOB)
    story.announce(CAROL)
    return story


def disconnects(story: Story, duration_s: float) -> list[e.ScheduleDisconnectFromRemotePeer]:
    """What links are ended while time passes and downloads go on as they did."""
    found: list[e.ScheduleDisconnectFromRemotePeer] = []
    for _ in range(int(duration_s / 10)):
        for peer, link in list(story.books.used.items()):
            row = story.peer(peer)
            if row.link is not None and row.link.download is not None and not row.link.download.given_up:
                story.do(a.DownloadProgressed(peer, link, 20, 100))
        found += [effect for effect in story.pass_time(10) if isinstance(effect, GONE)]
    return found


def until_one_goes(story: Story) -> e.ScheduleDisconnectFromRemotePeer:
    for _ in range(200):
        if found := disconnects(story, 10):
            return found[0]
    raise AssertionError("nobody goes")


def test_a_full_house_ends_one_link_that_has_had_its_time() -> None:
    story = full_house()
    assert disconnects(story, 400) == [], "420 s is the shortest lifetime"
    gone = until_one_goes(story)
    assert gone.reason == "its time was over, and others wait"
    assert gone.terms, "the terms of its score go along"
    assert gone.not_before_s is not None
    assert 420 <= gone.not_before_s <= 780
    assert CAROL in story.state.trying, "the slot is taken at once"
    other = BOB if gone.peer == AMY else AMY
    assert story.state.linked == (other,)


def test_nobody_is_rotated_while_nobody_waits() -> None:
    story = Story(FEW)
    story.meet(AMY, BOB)
    assert disconnects(story, 2_000) == []


def test_a_house_with_a_free_slot_is_not_full() -> None:
    story = Story(replace(FEW, peers_max=3))
    story.meet(AMY, BOB)
    assert who_waits(story.state)[0] is None
    assert disconnects(story, 2_000) == []


def test_a_busy_link_is_not_rotated_until_it_has_been_busy_for_long() -> None:
    story = full_house()
    for peer in (AMY, BOB):
        busy(story, peer)
    assert disconnects(story, 1_750) == []
    assert disconnects(story, 100) != [], "30 min protect it, not for ever"


def test_a_link_over_which_the_other_downloads_is_not_rotated() -> None:
    story = full_house()
    for peer in (AMY, BOB):
        story.do(a.RemotePeerDidTell(peer, story.books.used[peer], only_link=False, downloading=True))
    assert disconnects(story, 1_700) == []
    story.do(a.RemotePeerDidTell(AMY, story.books.used[AMY], only_link=False, downloading=False))
    assert [gone.peer for gone in disconnects(story, 100)] == [AMY]


def test_a_friend_that_has_no_other_link_is_not_rotated_and_a_stranger_for_two_lifetimes() -> None:
    story = full_house()
    for peer in (AMY, BOB):
        story.do(a.RemotePeerDidTell(peer, story.books.used[peer], only_link=True, downloading=False))
    assert disconnects(story, 1_150) == []
    assert disconnects(story, 100) != []
    story = Story(FEW)
    story.do(a.HopsDidChange(((AMY, 1), (BOB, 1), (CAROL, 1))))
    story.meet(AMY, BOB)
    story.announce(CAROL)
    for peer in (AMY, BOB):
        story.do(a.RemotePeerDidTell(peer, story.books.used[peer], only_link=True, downloading=False))
    assert disconnects(story, 3_000) == []


def test_a_pinned_peer_is_not_rotated() -> None:
    story = full_house()
    for peer in (AMY, BOB):
        story.do(a.PeerPinned(peer))
    assert disconnects(story, 2_000) == []
    story.do(a.PeerUnpinned(AMY))
    story.announce(CAROL)
    assert [gone.peer for gone in disconnects(story, 100)] == [AMY]


def test_a_stranger_does_not_make_a_friend_go() -> None:
    story = Story(FEW)
    story.do(a.HopsDidChange(((AMY, 1), (BOB, 2))))
    story.meet(AMY, BOB)
    story.announce(CAROL)
    assert who_waits(story.state)[0] is Standing.STRANGER
    assert disconnects(story, 2_000) == []
    story.do(a.HopsDidChange(((CAROL, 2),)))
    story.announce(CAROL)
    assert who_waits(story.state)[0] is Standing.FRIEND
    (gone,) = disconnects(story, 60)
    assert gone.peer == BOB, "the farther one"


def test_whoever_was_sent_away_counts_as_waiting() -> None:
    story = Story(FEW)
    story.meet(AMY, BOB)
    assert disconnects(story, 1_000) == []
    story.offer(ZOE)
    assert who_waits(story.state)[0] is Standing.STRANGER
    assert len(disconnects(story, 30)) == 1


def test_the_more_friends_wait_the_sooner_a_link_has_had_its_time() -> None:
    story = Story(replace(FEW, lifetime_s=1_800, explore_s=0, jitter=0.0))
    friends = [peer_id(0x90 + number) for number in range(20)]
    story.do(a.HopsDidChange(tuple((friend, 2) for friend in friends)))
    for friend in friends[:16]:
        story.meet(friend)
        story.end(friend, clean=True)
    story.meet(AMY, BOB)
    story.do(a.HopsDidChange(((AMY, 1), (BOB, 1))))
    story.pass_time(60)
    for friend in friends:
        story.announce(friend)
    assert who_waits(story.state) == (Standing.FRIEND, 16), "names that were never seen don't hurry anybody"
    assert disconnects(story, 380) == []
    assert len(disconnects(story, 30)) == 1, "a fourth of the time"


def test_a_friend_who_was_sent_away_makes_a_friend_go() -> None:
    story = Story(FEW)
    story.do(a.HopsDidChange(((AMY, 1), (BOB, 2), (ZOE, 1))))
    story.meet(AMY, BOB)
    assert disconnects(story, 1_000) == []
    story.arrive(ZOE)
    assert until_one_goes(story).peer == BOB


def test_nobody_goes_for_one_who_cannot_be_dialled() -> None:
    story = full_house()
    story.hub_lost()
    assert who_waits(story.state)[0] is None
    assert disconnects(story, 1_500) == []


def test_second_links_stuck_ones_and_those_who_displace_are_two_together() -> None:
    story = Story(Settings(peers_max=3, inbound_reserved=0))
    story.do(a.HopsDidChange(((AMY, 1), (BOB, 1))))
    story.meet(AMY, BOB, CAROL)
    for peer in (AMY, BOB):
        story.arrive(peer)
    assert len(story.state.handovers) == 2
    assert only(story.arrive(CAROL), GONE).reason == "duplicate"
    assert only(story.offer(DAVE, alone=True), e.RefuseOffer).reason == "all 3 slots are taken"


def test_at_most_one_link_a_minute_is_rotated() -> None:
    story = Story(replace(FEW, peers_max=4, attempts_max=0))
    for peer in (AMY, BOB, CAROL, DAVE):
        story.arrive(peer)
    story.announce(ZOE)
    story.pass_time(700)
    for _ in range(5):
        story.offer(peer_id(0x90))
        assert len(disconnects(story, 60)) <= 1


def test_where_only_own_dialling_is_full_a_link_that_came_stays() -> None:
    story = Story(replace(FEW, peers_max=3, inbound_reserved=2))
    story.arrive(AMY)
    story.meet(BOB)
    story.announce(CAROL)
    assert [gone.peer for gone in disconnects(story, 1_000)] == [BOB]


def test_an_asked_peer_waits_before_all_others() -> None:
    story = Story(FEW)
    story.do(a.HopsDidChange(((AMY, 1), (BOB, 2))))
    story.meet(AMY, BOB)
    assert disconnects(story, 800) == []
    story.announce(CAROL)
    story.do(a.ConnectToRemotePeer(CAROL))
    assert who_waits(story.state)[0] is Standing.ASKED
    assert until_one_goes(story).peer == BOB


def test_a_stuck_link_is_given_up_when_there_is_another_one() -> None:
    story = Story(Settings(peers_max=2, inbound_reserved=0))
    story.meet(AMY, BOB)
    story.do(a.DownloadStarted(AMY, story.books.used[AMY], 50))
    (gone,) = disconnects_without_progress(story, 60)
    assert (gone.peer, gone.reason) == (AMY, "it says that it has messages for us, and sends none")
    row = story.peer(AMY)
    assert row.not_before_s > story.now.mono_s + 150
    assert row.last_error == gone.reason


def test_a_stuck_link_over_which_the_other_fetches_stays() -> None:
    story = Story(Settings(peers_max=2, inbound_reserved=0))
    story.meet(AMY, BOB)
    link = story.books.used[AMY]
    story.do(a.DownloadStarted(AMY, link, 50))
    story.do(a.RemotePeerDidTell(AMY, link, only_link=False, downloading=True))
    assert disconnects_without_progress(story, 300) == []
    story.do(a.RemotePeerDidTell(AMY, link, only_link=False, downloading=False))
    assert [gone.peer for gone in disconnects_without_progress(story, 30)] == [AMY]


def disconnects_without_progress(story: Story, duration_s: float) -> list[e.ScheduleDisconnectFromRemotePeer]:
    return [effect for effect in story.pass_time(duration_s) if isinstance(effect, GONE)]


def test_a_trickle_is_no_progress() -> None:
    story = Story(Settings(peers_max=2, inbound_reserved=0))
    story.meet(AMY, BOB)
    link = story.books.used[AMY]
    story.do(a.DownloadStarted(AMY, link, 1_000))
    found: list[e.ScheduleDisconnectFromRemotePeer] = []
    for _ in range(12):
        story.do(a.DownloadProgressed(AMY, link, 1, 1_000))
        found += disconnects_without_progress(story, 10)
    assert [gone.peer for gone in found] == [AMY]


def test_the_last_link_is_kept_though_stuck_until_a_second_one_is_open() -> None:
    story = Story(Settings(peers_max=1, inbound_reserved=0))
    story.meet(AMY)
    story.do(a.DownloadStarted(AMY, story.books.used[AMY], 50))
    story.announce(BOB)
    assert BOB not in story.state.trying, "one slot, and it is taken"
    assert disconnects_without_progress(story, 60) == []
    assert BOB in story.state.trying, "a stuck link takes no slot"
    story.succeed(BOB)
    assert story.state.linked == (BOB,)
    assert AMY in story.state.peers


def test_a_download_that_is_asked_elsewhere_has_its_time_to_move_again() -> None:
    story = Story()
    story.meet(AMY, BOB)
    link = story.books.used[AMY]
    busy(story, AMY)
    story.do(a.DownloadStalled(AMY, link, "asked elsewhere"))
    assert disconnects_without_progress(story, 25) == []
    assert count(story.state).stuck == 0
    story.do(a.DownloadProgressed(AMY, link, 20, 30))
    assert disconnects_without_progress(story, 25) == []
    assert [gone.peer for gone in disconnects_without_progress(story, 20)] == [AMY]


def test_downloads_protect_for_half_an_hour_all_together() -> None:
    story = full_house()
    for _ in range(8):
        for peer in (AMY, BOB):
            link = story.books.used[peer]
            story.do(a.DownloadStarted(peer, link, 1))
            for _ in range(29):
                story.do(a.DownloadProgressed(peer, link, 1, 1))
        story.announce(CAROL)
        if disconnects(story, 290):
            assert story.now.mono_s > START.mono_s + 1_700
            return
        for peer in (AMY, BOB):
            story.do(a.DownloadEnded(peer, story.books.used[peer]))
    raise AssertionError("beginning anew made it last for ever")


def test_a_peer_without_any_link_may_take_a_strangers_place_once_a_minute() -> None:
    story = Story(Settings(peers_max=2, inbound_reserved=0))
    story.meet(AMY, BOB)
    assert only(story.do(a.RemotePeerDidOffer(TWO, ZOE, "s")), e.RefuseOffer).reason == "the hub is not in the table"
    assert not none(story.offer(CAROL), e.RefuseOffer), "it does not say that it is alone"
    assert only(story.offer(DAVE, alone=True), e.AcceptOffer).reason.startswith("it has no link at all")
    link = story.succeed(DAVE)
    assert story.books.used[DAVE] == link
    assert len(story.state.linked) == 2
    assert not none(story.offer(ZOE, alone=True), e.RefuseOffer), "one a minute"
    story.pass_time(61)
    assert not none(story.offer(ZOE, alone=True), e.AcceptOffer)


def test_busy_strangers_yield_to_nobody() -> None:
    story = Story(Settings(peers_max=2, inbound_reserved=0))
    story.do(a.HopsDidChange(((CAROL, 1),)))
    story.meet(AMY, BOB)
    for peer in (AMY, BOB):
        busy(story, peer)
    assert only(story.offer(DAVE, alone=True), e.RefuseOffer).reason == "all 2 slots are taken"
    assert only(story.offer(CAROL), e.RefuseOffer).reason == "all 2 slots are taken"
    story.do(a.DownloadEnded(AMY, story.books.used[AMY]))
    assert not none(story.offer(CAROL), e.AcceptOffer)
    busy(story, AMY)
    story.books.links_made += 1
    attempt = story.attempt(CAROL)
    route = story.peer(CAROL).routes[0].route
    link = story.books.links_made
    effects = story.do(a.RemotePeerConnectionSucceeded(CAROL, link, route, False, attempt))
    assert only(effects, GONE).peer == CAROL, "the stranger became busy meanwhile"


def test_the_idlest_stranger_goes_first() -> None:
    story = Story(Settings(peers_max=3, inbound_reserved=0, strangers_max=3))
    story.do(a.HopsDidChange(((DAVE, 1),)))
    story.meet(AMY, BOB, CAROL)
    story.pass_time(300)
    for peer in (AMY, CAROL):
        busy(story, peer)
        story.do(a.DownloadEnded(peer, story.books.used[peer]))
    story.offer(DAVE)
    story.succeed(DAVE)
    assert BOB not in story.state.linked


def test_what_strangers_claim_holds_no_slot_for_ever() -> None:
    story = full_house()
    for _ in range(5):
        for peer in (AMY, BOB):
            if peer in story.books.used:
                link = story.books.used[peer]
                story.do(a.RemotePeerDidTell(peer, link, only_link=True, downloading=False))
                story.do(a.RemotePeerDidTell(peer, link, only_link=True, downloading=True))
        story.announce(CAROL)
        story.pass_time(590)
    assert not {AMY, BOB} <= set(story.state.linked), "saying it anew does not begin a new half hour"


def test_against_one_whom_somebody_here_asked_for_claims_count_nothing() -> None:
    story = Story(FEW)
    story.do(a.HopsDidChange(((AMY, 1), (BOB, 1))))
    story.meet(AMY, BOB)
    for peer in (AMY, BOB):
        story.do(a.RemotePeerDidTell(peer, story.books.used[peer], only_link=True, downloading=False))
    story.pass_time(800)
    story.do(a.ConnectToRemotePeer(CAROL))
    story.announce(CAROL)
    assert until_one_goes(story).peer in {AMY, BOB}


def test_fewer_slots_end_links_one_by_one() -> None:
    story = Story(Settings(peers_max=4, inbound_reserved=0))
    story.meet(AMY, BOB, CAROL)
    story.do(a.PeerPinned(AMY))
    story.do(a.SettingsDidChange(Settings(peers_max=1, inbound_reserved=0)))
    assert len(story.state.linked) == 3
    found = disconnects_without_progress(story, 60)
    assert {gone.peer for gone in found} == {BOB, CAROL}
    assert {gone.reason for gone in found} == {"fewer links are wanted"}


def test_more_slots_are_filled_at_once() -> None:
    story = Story(Settings(peers_max=1, inbound_reserved=0))
    story.meet(AMY)
    story.announce(BOB)
    story.do(a.SettingsDidChange(Settings()))
    assert story.state.trying == (BOB,)


@pytest.mark.parametrize("pin_first", [True, False])
def test_a_pinned_peer_is_wanted_for_good(pin_first: bool) -> None:
    story = Story(Settings(peer_failures_max=2, peers_max=2, inbound_reserved=0))
    story.meet(AMY, BOB)
    if pin_first:
        story.do(a.PeerPinned(CAROL))
    story.announce(CAROL)
    if not pin_first:
        assert CAROL not in story.state.trying
        story.do(a.PeerPinned(CAROL))
    assert CAROL in story.state.trying, "it takes a stranger's place"
    for backoff_s in (8, 16, 29):
        story.fail(CAROL)
        story.pass_time(backoff_s)
    assert story.peer(CAROL).routes, "never forgotten, however often it fails"
    view = peer_view(story.state, CAROL)
    assert view is not None
    assert view.pinned
    story.do(a.DisconnectFromRemotePeer(CAROL))
    assert CAROL not in story.state.pinned, "somebody here wants no link: that ends the pin"


def test_pins_that_make_no_sense() -> None:
    story = Story(Settings(pinned_max=1))
    story.do(a.PeerBlocked(BOB))
    assert "blocked" in ignored(story.do(a.PeerPinned(BOB)))
    assert "id" in ignored(story.do(a.PeerPinned(PeerId("nobody"))))
    story.do(a.PeerPinned(AMY))
    assert ignored(story.do(a.PeerPinned(AMY))) == "the peer is pinned already"
    assert "full" in ignored(story.do(a.PeerPinned(CAROL)))
    assert ignored(story.do(a.PeerUnpinned(CAROL))) == "the peer is not pinned"
    story.do(a.PeerUnpinned(AMY))
    story.do(a.PeerPinned(AMY))
    story.do(a.PeerBlocked(AMY))
    assert not story.state.pinned


def test_where_a_friend_waits_and_nothing_changes_chance_decides() -> None:
    settings = replace(FEW, explore_s=300, lifetime_s=100_000)
    story = Story(settings)
    story.do(a.HopsDidChange(tuple((peer, 1) for peer in (AMY, BOB, CAROL))))
    story.meet(AMY, BOB)
    story.announce(CAROL)
    gone = until_one_goes(story)
    assert gone.reason == "others wait, and it was picked at random"
    assert story.now.mono_s - START.mono_s < 100, "the house is young"
    assert gone.not_before_s is not None
    assert gone.not_before_s < 130, "it stays away as long as it was here"
    assert CAROL in story.state.trying


def test_chance_comes_ever_more_rarely_and_spares_who_is_busy_or_has_just_come() -> None:
    story = Story(replace(FEW, explore_s=300, lifetime_s=100_000))
    story.do(a.HopsDidChange(tuple((peer, 1) for peer in (AMY, BOB, CAROL))))
    story.meet(AMY, BOB)
    story.announce(CAROL)
    busy(story, AMY)
    assert until_one_goes(story).peer == BOB
    story.succeed(CAROL)
    began_s = story.now.mono_s
    story.announce(BOB)
    assert until_one_goes(story).peer == CAROL
    assert story.now.mono_s - began_s >= 60


def test_a_stranger_that_waits_leaves_nothing_to_chance() -> None:
    story = Story(replace(FEW, explore_s=300, lifetime_s=100_000))
    story.meet(AMY, BOB)
    story.announce(CAROL)
    assert disconnects(story, 2_000) == []


def test_offers_that_are_being_answered_cost_no_friend_its_link() -> None:
    """Anybody can make up any number of them, and each takes a slot for a while."""
    story = Story(replace(FEW, explore_s=300, lifetime_s=100_000))
    story.do(a.HopsDidChange(tuple((peer, 1) for peer in (AMY, BOB, CAROL))))
    story.meet(AMY)
    for number in range(20):
        story.offer(BOB, f"made up {number}")
        story.announce(CAROL)
        assert none(story.pass_time(29), GONE)
    assert story.state.linked == (AMY,)
