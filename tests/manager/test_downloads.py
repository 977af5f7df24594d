"""Downloads, what both sides tell each other of them, and the initial sync."""

from __future__ import annotations

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.view import peer_view
from tests.manager.names import AMY, BOB, CAROL, DAVE
from tests.manager.story import Story, ignored, none, only


def doing(story: Story) -> str:
    view = peer_view(story.state, AMY)
    assert view is not None
    return view.activity


def test_idle_busy_stuck() -> None:
    story = Story()
    assert story.announce(AMY)
    assert doing(story) == ""
    link = story.succeed(AMY)
    assert doing(story) == "idle"
    story.do(a.DownloadStarted(AMY, link, 5))
    assert doing(story) == "busy"
    story.pass_time(45)
    assert doing(story) == "stuck"
    story.do(a.DownloadProgressed(AMY, link, 5))
    assert doing(story) == "busy", "fewer than the floor, and all that there was"
    story.do(a.DownloadEnded(AMY, link))
    assert doing(story) == "idle"


def test_progress_without_a_start_is_one() -> None:
    story = Story()
    story.meet(AMY)
    story.do(a.DownloadProgressed(AMY, story.books.used[AMY], 3, 7))
    view = peer_view(story.state, AMY)
    assert view is not None
    assert (view.activity, view.missing) == ("busy", 7)


def test_what_is_told_of_another_link_is_ignored() -> None:
    story = Story()
    story.meet(AMY)
    link = story.books.used[AMY]
    for action in (
        a.DownloadStarted(AMY, link + 1),
        a.DownloadProgressed(BOB, link, 1),
        a.DownloadStalled(AMY, link + 1, "x"),
        a.DownloadEnded(AMY, link + 1),
        a.RemotePeerDidTell(BOB, link, False, False),
    ):
        assert ignored(story.do(action)) == "that link does not replicate"
    assert ignored(story.do(a.DownloadEnded(AMY, link))) == "nothing was missing from that peer"
    assert ignored(story.do(a.DownloadStalled(AMY, link, "x"))) == "nothing is missing from that peer"
    story.do(a.DownloadStarted(AMY, link))
    assert ignored(story.do(a.DownloadStarted(AMY, link))) == "that was known"


def test_peers_hear_whether_they_are_our_only_link_and_whether_we_download() -> None:
    story = Story()
    story.announce(AMY)
    attempt = story.attempt(AMY)
    story.books.links_made += 1
    route = story.peer(AMY).routes[0].route
    told = only(story.do(a.RemotePeerConnectionSucceeded(AMY, 1, route, True, attempt)), e.TellRemotePeer)
    assert (told.only_link, told.downloading) == (True, False)
    told = only(story.arrive(BOB), e.TellRemotePeer)
    assert (told.peer, told.only_link) == (AMY, False)
    told = only(story.do(a.DownloadStarted(AMY, 1, 100)), e.TellRemotePeer)
    assert (told.peer, told.downloading) == (AMY, True)
    story.do(a.DownloadEnded(AMY, 1))
    assert only(story.pass_time(15), e.TellRemotePeer).downloading is False
    assert none(story.pass_time(60), e.TellRemotePeer)


def test_in_the_initial_sync_nobody_else_is_dialled_while_one_brings_what_we_lack() -> None:
    story = Story()
    assert none(story.do(a.InitialSyncStarted()), e.IgnoreAction)
    assert ignored(story.do(a.InitialSyncStarted())) == "the initial sync is under way"
    story.meet(AMY)
    link = story.books.used[AMY]
    story.announce(BOB)
    assert BOB in story.state.trying, "nothing comes yet"
    story.fail(BOB, not_before_s=1.0)
    story.do(a.DownloadStarted(AMY, link, 1_000))
    story.announce(CAROL)
    assert CAROL not in story.state.trying
    view = peer_view(story.state, CAROL)
    assert view is not None
    assert view.reason == "the first sync is under way with another peer"
    for _ in range(30):
        story.do(a.DownloadProgressed(AMY, link, 100, 1_000))
        story.pass_time(5)
        assert not story.state.trying
    story.do(a.ConnectToRemotePeer(DAVE))
    story.announce(DAVE)
    assert DAVE in story.state.trying, "what somebody here asks for is no part of it"
    story.pass_time(60)
    assert {BOB, CAROL} & set(story.state.trying), "a minute without progress"


def test_the_initial_sync_ends_with_the_first_download() -> None:
    story = Story()
    story.do(a.InitialSyncStarted())
    story.meet(AMY)
    link = story.books.used[AMY]
    story.do(a.DownloadStarted(AMY, link, 10))
    story.announce(BOB)
    assert not story.state.trying
    story.do(a.DownloadEnded(AMY, link))
    assert story.state.trying == (BOB,)
    assert ignored(story.do(a.InitialSyncEnded())) == "there is no initial sync"


def test_the_initial_sync_keeps_others_out_for_ten_minutes_at_most() -> None:
    story = Story()
    story.do(a.InitialSyncStarted())
    story.meet(AMY)
    link = story.books.used[AMY]
    story.do(a.DownloadStarted(AMY, link, 10**9))
    story.announce(BOB)
    for _ in range(59):
        story.do(a.DownloadProgressed(AMY, link, 10, 10**9))
        story.pass_time(10)
        assert not story.state.trying
    story.do(a.DownloadProgressed(AMY, link, 10, 10**9))
    story.pass_time(20)
    assert story.state.trying == (BOB,)


def test_the_initial_sync_ends_when_we_are_told_so() -> None:
    story = Story()
    story.do(a.InitialSyncStarted())
    story.meet(AMY)
    story.do(a.DownloadStarted(AMY, story.books.used[AMY], 10))
    story.announce(BOB)
    story.do(a.InitialSyncEnded())
    assert story.state.trying == (BOB,)


def test_a_ping_whose_time_means_nothing_is_not_kept() -> None:
    story = Story(Settings())
    story.meet(AMY)
    link = story.books.used[AMY]
    story.do(a.LinkDidAnswer(AMY, link, 0.25))
    story.do(a.LinkDidAnswer(AMY, link, float("nan")))
    assert story.peer(AMY).rtt_s == 0.25
