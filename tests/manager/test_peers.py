"""Known peers: who enters the table, who leaves it, who is held off."""

from __future__ import annotations

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import Route
from ssb_rtc.manager.view import peer_view
from ssb_rtc.types import PeerId
from tests.manager.names import AMY, BOB, CAROL, DAVE, ME, ONE, THREE, TWO, ZOE, peer_id
from tests.manager.story import Story, ignored, none, only


def test_an_announcement_brings_a_peer_with_its_hub() -> None:
    story = Story(hubs=(ONE, TWO))
    story.announce(BOB, ONE)
    story.announce(BOB, TWO)
    assert story.peer(BOB).connected_hubs == (ONE, TWO)


def test_who_is_not_taken_in() -> None:
    story = Story()
    assert "hub" in ignored(story.announce(BOB, TWO))
    assert "no peer id" in ignored(story.announce(PeerId("@bob")))
    assert "ourselves" in ignored(story.announce(ME))
    story.do(a.PeerBlocked(BOB))
    assert "blocked" in ignored(story.announce(BOB))


def test_a_full_table_prefers_those_that_work() -> None:
    story = Story(Settings(known_peers_max=2, peers_max=0))
    story.announce(AMY)
    story.announce(BOB)
    assert "full" in ignored(story.announce(CAROL))
    assert set(story.state.peers) == {AMY, BOB}


def test_in_a_full_table_one_that_fails_gives_way() -> None:
    story = Story(Settings(known_peers_max=2))
    story.meet(AMY)
    story.announce(BOB)
    story.fail(BOB)
    story.announce(CAROL)
    assert set(story.state.peers) == {AMY, CAROL}
    assert "full" in ignored(story.announce(DAVE)), "both are busy"


def test_a_proven_peer_finds_room_where_a_rumour_does_not() -> None:
    story = Story(Settings(known_peers_max=1, peers_max=1, attempts_max=0))
    story.announce(AMY)
    assert "full" in only(story.offer(BOB), e.RefuseOffer).reason
    story.arrive(BOB)
    assert set(story.state.peers) == {BOB}


def test_routes_have_a_cap_and_the_oldest_goes() -> None:
    story = Story(Settings(routes_max=2), hubs=(ONE, TWO, THREE))
    for hub in (ONE, TWO, ONE, THREE):
        story.announce(BOB, hub)
        story.pass_time(1)
    assert story.peer(BOB).connected_hubs == (ONE, THREE)


def test_silence_forgets() -> None:
    story = Story(Settings(peers_max=0))
    story.announce(BOB)
    story.pass_time(1_700)
    story.announce(CAROL)
    story.pass_time(180)
    assert set(story.state.peers) == {CAROL}


def test_one_stale_hub_of_two_goes() -> None:
    story = Story(Settings(peers_max=0), hubs=(ONE, TWO))
    story.announce(BOB, ONE)
    story.pass_time(1_000)
    story.announce(BOB, TWO)
    story.pass_time(1_000)
    assert story.peer(BOB).connected_hubs == (TWO,)


def test_a_linked_peer_need_not_announce_itself() -> None:
    story = Story()
    story.meet(BOB)
    story.pass_time(5_000)
    assert story.peer(BOB).connected_hubs == (ONE,)
    story.end(BOB)
    story.pass_time(1_000)
    assert BOB in story.state.peers


def test_goodbye_on_the_last_hub_forgets_all_but_failures() -> None:
    story = Story()
    story.announce(BOB)
    story.fail(BOB)
    story.do(a.RemotePeerDidDisconnect(ONE, BOB))
    assert story.peer(BOB).routes == ()
    assert story.peer(BOB).failures == 1, "anybody can forge a goodbye, and it shall not undo a back-off"
    story.pass_time(1_900)
    assert BOB not in story.state.peers
    assert "not known" in ignored(story.do(a.RemotePeerDidDisconnect(ONE, BOB)))


def test_goodbye_on_another_hub_leaves_the_attempt() -> None:
    story = Story(hubs=(ONE, TWO))
    story.announce(BOB, ONE)
    story.announce(BOB, TWO)
    assert none(story.do(a.RemotePeerDidDisconnect(TWO, BOB)), e.AbortAttempt)
    assert story.peer(BOB).connection_state == "CONNECTING"


def test_somebody_disconnects_for_a_time_of_their_own() -> None:
    story = Story()
    story.meet(BOB)
    effects = story.do(a.DisconnectFromRemotePeer(BOB, "enough", 50.0))
    assert only(effects, e.ScheduleDisconnectFromRemotePeer).not_before_s == 50.0
    assert only(effects, e.ScheduleDisconnectFromRemotePeer).reason == "enough"
    early = only(story.offer(BOB), e.RefuseOffer)
    assert early.not_before_s == 50.0
    story.pass_time(49)
    assert story.peer(BOB).connection_state == "DISCONNECTED"
    story.pass_time(2)
    assert story.peer(BOB).connection_state == "CONNECTING"
    assert "not known" in ignored(story.do(a.DisconnectFromRemotePeer(CAROL)))


def test_somebody_disconnects_while_dialling() -> None:
    story = Story()
    story.announce(BOB)
    attempt = story.attempt(BOB)
    assert only(story.do(a.DisconnectFromRemotePeer(BOB)), e.AbortAttempt).attempt == attempt
    closed = only(story.arrive(BOB, dialled=True, attempt=attempt), e.ScheduleDisconnectFromRemotePeer)
    assert closed.reason == "too early"


def test_somebody_connects_against_all_odds() -> None:
    story = Story(Settings(peers_max=3, inbound_reserved=2))
    story.meet(AMY)
    story.announce(BOB)
    assert story.peer(BOB).connection_state == "DISCONNECTED", "the one slot for dialling is taken"
    story.do(a.ConnectToRemotePeer(BOB))
    assert story.peer(BOB).connection_state == "CONNECTING"
    story.fail(BOB)
    story.do(a.ConnectToRemotePeer(BOB, Route("address", "net:10.0.0.1:8008")))
    assert story.peer(BOB).failures == 0
    assert [known.route.via for known in story.peer(BOB).routes] == ["hub", "address"]
    story.fail(BOB)
    story.do(a.DisconnectFromRemotePeer(BOB))
    assert not story.peer(BOB).asked


def test_somebody_wants_a_peer_that_nobody_has_heard_of() -> None:
    story = Story()
    story.do(a.ConnectToRemotePeer(BOB, Route("inbound", "somewhere")))
    view = peer_view(story.state, BOB)
    assert view is not None
    assert view.routes == ()
    assert "announces itself" in view.reason
    story.pass_time(600)
    story.announce(BOB)
    assert story.peer(BOB).connection_state == "CONNECTING"


def test_a_wish_that_nothing_came_of_is_forgotten() -> None:
    story = Story()
    story.do(a.ConnectToRemotePeer(BOB))
    story.pass_time(1_900)
    assert BOB not in story.state.peers
    story.do(a.PeerBlocked(BOB))
    assert "blocked" in ignored(story.do(a.ConnectToRemotePeer(BOB)))


def test_an_address_does_not_go_stale() -> None:
    story = Story(Settings(peers_max=0))
    story.do(a.ConnectToRemotePeer(BOB, Route("address", "net:10.0.0.1:8008")))
    story.pass_time(5_000)
    assert BOB in story.state.peers


def test_blocking_ends_all() -> None:
    story = Story()
    story.meet(AMY)
    story.announce(BOB)
    assert only(story.do(a.PeerBlocked(AMY)), e.ScheduleDisconnectFromRemotePeer).reason == "blocked"
    assert only(story.do(a.PeerBlocked(BOB)), e.AbortAttempt).reason == "blocked"
    assert not story.state.peers
    assert only(story.arrive(AMY), e.ScheduleDisconnectFromRemotePeer).reason == "the peer is blocked"
    assert "already" in ignored(story.do(a.PeerBlocked(AMY)))
    story.do(a.PeerUnblocked(AMY))
    assert "not blocked" in ignored(story.do(a.PeerUnblocked(AMY)))
    story.announce(AMY)
    assert AMY in story.state.peers


def test_who_can_be_blocked() -> None:
    story = Story(Settings(blocked_max=1))
    assert "other peer" in ignored(story.do(a.PeerBlocked(ME)))
    assert "other peer" in ignored(story.do(a.PeerBlocked(PeerId("x"))))
    assert story.do(a.PeerBlocked(ZOE)) == ()
    assert "full" in ignored(story.do(a.PeerBlocked(AMY)))


def test_forged_announcements_of_thousands_leave_links_and_caps_alone() -> None:
    story = Story(Settings(known_peers_max=50, peers_max=4, inbound_reserved=1))
    story.meet(AMY, BOB)
    for number in range(300):
        story.announce(peer_id(0x90 + number // 256, number % 256))
    assert len(story.state.peers) == 50
    assert story.peer(AMY).connection_state == "CONNECTED"
