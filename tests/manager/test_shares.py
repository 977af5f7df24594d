"""One hub that lies gets its part of the table, the attempts and the answers, never all."""

from __future__ import annotations

from collections import Counter

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.view import peer_view
from tests.manager.names import AMY, BOB, ONE, TWO, peer_id
from tests.manager.story import Story, ignored, none, only

GHOSTS = [peer_id(number) for number in range(1, 60)]


def test_a_flood_over_one_hub_leaves_an_attempt_to_another() -> None:
    story = Story(hubs=(ONE, TWO))
    for ghost in GHOSTS:
        story.announce(ghost, ONE)
    assert [story.peer(peer).attempt is not None for peer in GHOSTS[:3]] == [True, True, False]
    view = peer_view(story.state, GHOSTS[2])
    assert view is not None
    assert view.reason == "enough peers of its hub are being dialled"
    dialled = only(story.announce(BOB, TWO), e.ScheduleConnectToRemotePeer)
    assert (dialled.peer, dialled.route.where) == (BOB, TWO)
    story.fail(BOB)
    assert Counter(story.peer(peer).attempt is not None for peer in GHOSTS)[True] == 2
    story.fail(GHOSTS[0])
    assert Counter(story.peer(peer).attempt is not None for peer in GHOSTS)[True] == 2


def test_who_is_heard_on_a_second_hub_is_dialled_over_that() -> None:
    story = Story(hubs=(ONE, TWO))
    for ghost in GHOSTS[:5]:
        story.announce(ghost, ONE)
    assert only(story.announce(GHOSTS[4], TWO), e.ScheduleConnectToRemotePeer).route.where == TWO


def test_a_single_hub_gets_all_attempts() -> None:
    story = Story(hubs=(ONE, TWO))
    for ghost in GHOSTS[:5]:
        story.announce(ghost, ONE)
    assert only(story.hub_lost(TWO), e.ScheduleConnectToRemotePeer).route.where == ONE
    alone = Story(hubs=(ONE,))
    for ghost in GHOSTS[:5]:
        alone.announce(ghost, ONE)
    assert len(alone.state.trying) == 3


def test_forged_offers_over_one_hub_leave_an_answer_to_another() -> None:
    story = Story(hubs=(ONE, TWO))
    for ghost in GHOSTS[:2]:
        only(story.offer(ghost, hub=ONE), e.AcceptOffer)
    assert "enough" in only(story.offer(GHOSTS[2], hub=ONE), e.RefuseOffer).reason
    only(story.offer(BOB, hub=TWO), e.AcceptOffer)


def test_a_table_that_one_hub_fills_has_room_for_peers_of_another() -> None:
    story = Story(Settings(known_peers_max=20), hubs=(ONE, TWO))
    for ghost in GHOSTS[:20]:
        story.announce(ghost, ONE)
    story.announce(BOB, TWO)
    story.succeed(BOB)
    story.announce(AMY, TWO)
    assert {AMY, BOB} <= set(story.state.peers)
    assert len(story.state.peers) == 20
    assert "full" in ignored(story.announce(GHOSTS[30], ONE))
    assert none(story.offer(peer_id(0x77), hub=TWO), e.RefuseOffer)
    for newcomer in GHOSTS[31:50]:
        story.announce(newcomer, TWO)
    heard = Counter(row.connected_hubs for row in story.state.peers.values())
    assert abs(heard[(ONE,)] - heard[(TWO,)]) <= 2


def test_peers_that_wait_for_their_hub_make_room_first() -> None:
    story = Story(Settings(known_peers_max=10), hubs=(ONE, TWO))
    for ghost in GHOSTS[:10]:
        story.announce(ghost, ONE)
    for ghost in story.state.trying:
        story.do(a.RemotePeerConnectionFailed(ghost, story.attempt(ghost), "nobody is there"))
    story.hub_lost(ONE)
    story.pass_time(30)
    only(story.announce(BOB, TWO), e.ScheduleConnectToRemotePeer)


def test_callers_that_come_and_go_lock_nobody_out() -> None:
    story = Story(Settings(known_peers_max=10), hubs=(ONE,))
    for ghost in GHOSTS[:30]:
        story.arrive(ghost)
        assert story.peer(ghost).link is not None
        story.end(ghost)
    assert len(story.state.peers) == 10
    assert "full" not in str(story.announce(BOB))
    story.succeed(BOB)
    story.arrive(AMY)
    assert story.peer(AMY).link is not None


def test_whom_somebody_here_sent_away_is_forgotten_last() -> None:
    story = Story(Settings(known_peers_max=3), hubs=(ONE,))
    story.arrive(BOB)
    story.do(a.DisconnectFromRemotePeer(BOB))
    for ghost in GHOSTS[:10]:
        story.arrive(ghost)
        story.end(ghost)
    assert BOB in story.state.peers
