"""Attempts and links: slots, failures, which of two links stays, what a lost link means."""

from __future__ import annotations

import pytest

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.slots import count
from ssb_rtc.manager.state import Route
from ssb_rtc.types import PeerId
from tests.manager.names import AMY, BOB, CAROL, DAVE, ME, ONE, PEERS, TWO, ZOE, peer_id
from tests.manager.story import Story, ignored, none, only

CROWD = [peer_id(0x90, number) for number in range(20)]


def test_three_attempts_at_a_time() -> None:
    story = Story()
    for peer in CROWD:
        story.announce(peer)
    assert count(story.state).dialling == 3
    story.fail(story.state.trying[0])
    assert count(story.state).dialling == 3


def test_two_slots_are_for_those_who_come_to_us() -> None:
    story = Story()
    story.meet(*CROWD[:6])
    story.announce(CROWD[6])
    assert story.peer(CROWD[6]).connection_state == "DISCONNECTED"
    story.arrive(CROWD[7])
    only(story.offer(CROWD[8]), e.AcceptOffer)
    story.succeed(CROWD[8])
    closed = only(story.arrive(CROWD[9]), e.ScheduleDisconnectFromRemotePeer)
    assert "slots" in closed.reason
    assert closed.not_before_s is not None
    assert 30 < closed.not_before_s < 90
    assert len(story.state.linked) == 8


def test_attempts_take_slots_too() -> None:
    story = Story(Settings(peers_max=4, inbound_reserved=2))
    story.meet(AMY)
    story.announce(BOB)
    story.announce(CAROL)
    assert story.peer(BOB).connection_state == "CONNECTING"
    assert story.peer(CAROL).connection_state == "DISCONNECTED"


def test_a_slot_that_is_free_again_is_taken_at_once() -> None:
    story = Story()
    story.meet(*CROWD[:6])
    story.announce(CROWD[6])
    effects = story.end(CROWD[0], clean=True)
    assert only(effects, e.ScheduleConnectToRemotePeer).peer == CROWD[6]


def test_an_attempt_has_one_time_out() -> None:
    story = Story()
    story.announce(BOB)
    story.pass_time(29)
    assert story.peer(BOB).connection_state == "CONNECTING"
    story.pass_time(2)
    assert story.peer(BOB).connection_state == "DISCONNECTED"
    assert story.peer(BOB).failures == 1


def test_failures_back_off_with_jitter_up_to_an_end() -> None:
    story = Story(Settings(peer_failures_max=100, announcement_ttl_s=1e9, tick_s=1e4))
    story.announce(BOB)
    pauses = []
    for _ in range(20):
        story.fail(BOB)
        pauses.append(story.peer(BOB).ready_s - story.now.mono_s)
        story.pass_time(pauses[-1] + 0.001)
    for failures, pause_s in enumerate(pauses):
        should_s = min(3600, 5 * 2**failures)
        assert 0.7 * should_s <= pause_s <= 1.3 * should_s
    assert len({round(pause_s / min(3600, 5 * 2**at), 6) for at, pause_s in enumerate(pauses)}) == 20


def test_the_route_that_fails_less_is_taken() -> None:
    story = Story(hubs=(ONE, TWO))
    story.announce(BOB, ONE)
    story.announce(BOB, TWO)
    story.fail(BOB)
    story.pass_time(7)
    attempt = story.peer(BOB).attempt
    assert attempt is not None
    assert attempt.route == Route("hub", TWO)


def test_a_route_that_worked_is_as_good_as_new() -> None:
    story = Story()
    story.announce(BOB)
    story.fail(BOB)
    assert [known.failures for known in story.peer(BOB).routes] == [1]
    story.pass_time(7)
    story.succeed(BOB)
    assert [known.failures for known in story.peer(BOB).routes] == [0]


def test_failed_too_often_is_forgotten_until_it_is_heard_again() -> None:
    story = Story(Settings(peer_failures_max=2))
    story.announce(BOB)
    story.fail(BOB)
    story.pass_time(7)
    story.fail(BOB)
    assert story.peer(BOB).routes == ()
    story.pass_time(100)
    assert story.peer(BOB).connection_state == "DISCONNECTED"
    story.announce(BOB)
    assert story.peer(BOB).connection_state == "CONNECTING"
    story.fail(BOB)
    story.pass_time(1_900)
    assert BOB not in story.state.peers


def test_busy_is_no_failure_and_keeps_us_waiting() -> None:
    story = Story()
    story.announce(BOB)
    story.fail(BOB, not_before_s=100.0)
    assert story.peer(BOB).failures == 0
    story.pass_time(99)
    assert story.peer(BOB).connection_state == "DISCONNECTED"
    story.pass_time(31)
    assert story.peer(BOB).connection_state == "CONNECTING"


@pytest.mark.parametrize(("asked_s", "believed_s"), [(1e9, 3600.0), (-1.0, 5.0), (float("inf"), None)])
def test_a_remote_is_not_believed_without_end(asked_s: float, believed_s: float | None) -> None:
    story = Story()
    story.announce(BOB)
    story.fail(BOB, not_before_s=asked_s)
    if believed_s is None:
        assert story.peer(BOB).failures == 1
    else:
        assert story.peer(BOB).not_before_s == story.now.mono_s + believed_s


def test_an_offer_that_comes_to_nothing_blames_nobody() -> None:
    story = Story()
    story.offer(BOB)
    story.fail(BOB)
    assert story.peer(BOB).failures == 0
    assert story.peer(BOB).ready_s > story.now.mono_s


def test_results_of_superseded_attempts_are_ignored() -> None:
    story = Story()
    story.announce(BOB)
    assert "superseded" in ignored(story.do(a.RemotePeerConnectionFailed(BOB, 999, "late")))
    assert "superseded" in ignored(story.do(a.RemotePeerConnectionFailed(CAROL, 999, "late")))
    story.succeed(BOB)
    assert "superseded" in ignored(story.do(a.RemotePeerConnectionFailed(BOB, 999, "late")))


def test_a_link_is_told_once() -> None:
    story = Story()
    story.meet(BOB)
    again = a.RemotePeerConnectionSucceeded(BOB, 1, Route("hub", ONE), True)
    assert "before" in ignored(story.do(again))


@pytest.mark.parametrize(("peer", "why"), [(ME, "ourselves"), (PeerId("x"), "no peer id")])
def test_links_to_nobody_are_closed(peer: PeerId, why: str) -> None:
    assert why in only(Story().arrive(peer), e.ScheduleDisconnectFromRemotePeer).reason


def befriended(settings: Settings | None = None) -> Story:
    """We follow everybody: only friends get two links for a while."""
    story = Story(settings)
    story.do(a.HopsDidChange(tuple((peer, 1) for peer in PEERS.values() if peer != ME)))
    return story


def settle(story: Story, peer: PeerId) -> tuple[e.Effect, ...]:
    """The link that is checked answers its ping."""
    row = story.peer(peer)
    assert row.link is not None
    assert row.rival is not None
    checked = max((row.link, row.rival), key=lambda link: link.checked_s)
    return story.do(a.LinkDidAnswer(peer, checked.id, 0.05))


def test_of_two_links_by_one_dialler_the_newest_stays() -> None:
    for dialled in (True, False):
        for peer in (AMY, ZOE):
            story = befriended()
            story.arrive(peer, dialled=dialled)
            assert only(story.arrive(peer, dialled=dialled), e.CheckLink).link == 2
            assert story.books.used == {peer: 1}, "the first replicates until the second one works"
            closed = only(settle(story, peer), e.ScheduleDisconnectFromRemotePeer)
            assert (closed.link, closed.reason) == (1, "duplicate")
            assert story.books.used == {peer: 2}


@pytest.mark.parametrize(
    ("peer", "first_dialled", "stays"),
    [(AMY, True, 1), (AMY, False, 2), (ZOE, True, 2), (ZOE, False, 1)],
)
def test_between_two_diallers_the_greater_keys_link_stays(peer: PeerId, first_dialled: bool, stays: int) -> None:
    story = befriended()
    story.arrive(peer, dialled=first_dialled)
    assert only(story.arrive(peer, dialled=not first_dialled), e.CheckLink).link == stays
    closed = only(settle(story, peer), e.ScheduleDisconnectFromRemotePeer)
    assert (closed.link, closed.reason) == (3 - stays, "duplicate")
    assert set(story.books.links) == {stays}
    assert story.peer(peer).failures == 0
    assert story.peer(peer).rtt_s == 0.05


@pytest.mark.parametrize(("first_dialled", "dies"), [(True, 1), (False, 2)])
def test_a_link_that_should_stay_but_is_dead_gives_way(first_dialled: bool, dies: int) -> None:
    story = befriended()
    story.arrive(AMY, dialled=first_dialled)
    story.arrive(AMY, dialled=not first_dialled)
    effects = story.do(a.RemotePeerLinkEnded(AMY, dies, "it did not answer a ping"))
    assert none(effects, e.ScheduleDisconnectFromRemotePeer)
    assert story.books.used == {AMY: 3 - dies}
    assert story.peer(AMY).failures == 0


def test_both_links_are_pinged_after_sleep_and_the_heir_once_more() -> None:
    story = befriended()
    story.arrive(AMY)
    story.arrive(AMY)
    checks = [effect.link for effect in story.do(a.DidWakeUp(100.0)) if isinstance(effect, e.CheckLink)]
    assert checks == [1, 2]
    heir = only(story.do(a.RemotePeerLinkEnded(AMY, 1, "it did not answer a ping")), e.CheckLink)
    assert heir.link == 2


def test_an_heir_is_not_pinged_where_the_remote_closed_the_other_as_a_duplicate() -> None:
    story = befriended()
    story.arrive(AMY)
    story.arrive(AMY)
    effects = story.do(a.RemotePeerLinkEnded(AMY, 1, "duplicate", True))
    assert none(effects, e.CheckLink)
    assert story.books.used == {AMY: 2}


def test_the_second_link_goes_when_nothing_is_heard() -> None:
    story = befriended()
    story.arrive(AMY, dialled=True)
    story.arrive(AMY, dialled=True)
    story.pass_time(10.5)
    assert story.books.links == {1: AMY}
    assert ignored(story.do(a.LinkDidAnswer(AMY, 2, 0.1))) == "that link was given up before"


def test_a_third_link_takes_the_place_of_the_second() -> None:
    story = befriended()
    for _ in range(3):
        story.arrive(AMY)
    assert sorted(story.books.links) == [1, 3]
    story.do(a.LinkDidAnswer(AMY, 1, 0.1))
    assert sorted(story.books.links) == [1, 3], "the one that replicates works, but it is not the one to stay"
    settle(story, AMY)
    assert story.books.used == {AMY: 3}


def test_no_more_handovers_at_once_than_allowed() -> None:
    story = befriended(Settings(handovers_max=1))
    for peer in (AMY, BOB):
        story.arrive(peer)
    story.pass_time(7)
    story.arrive(AMY)
    assert only(story.arrive(BOB), e.ScheduleDisconnectFromRemotePeer).link == 2, "settled at once"
    story.do(a.PeerBlocked(AMY))
    assert story.books.links == {4: BOB}


def test_two_peers_close_the_same_one_of_two_links() -> None:
    for first_by_me in (True, False):
        mine, hers = befriended(), befriended()
        mine.arrive(ZOE, dialled=first_by_me)
        mine.arrive(ZOE, dialled=not first_by_me)
        settle(mine, ZOE)
        # Seen from the other end: the same two links, dialled by the other, and a peer with the lesser key.
        hers.arrive(AMY, dialled=not first_by_me)
        hers.arrive(AMY, dialled=first_by_me)
        settle(hers, AMY)
        assert set(mine.books.links) == set(hers.books.links)


@pytest.mark.parametrize(
    ("peer", "first_dialled", "stays"),
    [(AMY, True, 1), (AMY, False, 2), (ZOE, True, 2), (ZOE, False, 1)],
)
def test_with_a_stranger_the_same_is_settled_at_once(peer: PeerId, first_dialled: bool, stays: int) -> None:
    story = Story()
    story.arrive(peer, dialled=first_dialled)
    effects = story.arrive(peer, dialled=not first_dialled)
    assert only(effects, e.ScheduleDisconnectFromRemotePeer).link == 3 - stays
    assert story.books.used == {peer: stays}
    assert none(effects, e.CheckLink) == (stays == 2), "the one that stays may be dead"


def test_one_who_comes_again_and_again_does_not_have_replication_begin_anew_each_time() -> None:
    story = Story()
    story.arrive(AMY)
    used = sum(not none(story.arrive(AMY), e.UseLink) for _ in range(50))
    assert used == 0
    story.pass_time(7)
    assert not none(story.arrive(AMY), e.UseLink)


def test_who_brought_a_second_link_in_vain_has_to_wait() -> None:
    story = befriended()
    for _ in range(2):
        story.arrive(AMY)
    story.pass_time(5)
    story.arrive(AMY)
    story.pass_time(6)
    assert not story.state.handovers, "a third link does not prolong it"
    story.arrive(AMY)
    assert not story.state.handovers
    story.pass_time(61)
    story.arrive(AMY)
    assert story.state.handovers == (AMY,)


def test_a_link_that_comes_while_we_dial() -> None:
    story = Story()
    story.announce(ZOE)
    attempt = story.attempt(ZOE)
    assert only(story.arrive(ZOE), e.AbortAttempt).attempt == attempt, "hers stands anyhow"
    story.announce(AMY)
    assert none(story.arrive(AMY), e.AbortAttempt), "ours would stand: let it come"
    link = story.succeed(AMY)
    assert AMY in story.state.linked
    assert link in story.books.links
    story.announce(BOB)
    story.arrive(BOB)
    story.fail(BOB)
    assert story.peer(BOB).connection_state == "CONNECTED"
    assert story.peer(BOB).failures == 0


def test_a_full_house_takes_the_link_of_one_whom_it_dials() -> None:
    story = Story(Settings(peers_max=1))
    story.announce(ZOE)
    story.arrive(ZOE)
    assert story.state.linked == (ZOE,)


def test_a_replaced_link_ends_the_attempt_beside_it() -> None:
    story = Story()
    story.arrive(ZOE)
    story.offer(ZOE)
    attempt = story.attempt(ZOE)
    story.pass_time(7)
    assert only(story.arrive(ZOE), e.AbortAttempt).attempt == attempt


def test_an_answer_that_loses_to_the_link_that_is_there() -> None:
    story = Story(Settings(handovers_max=1))
    story.arrive(ZOE, dialled=True)
    story.offer(ZOE)
    attempt = story.attempt(ZOE)
    story.arrive(ZOE, dialled=False)
    assert none(story.arrive(ZOE, dialled=True, attempt=attempt), e.AbortAttempt)
    assert story.peer(ZOE).attempt is None


def test_a_healthy_link_that_breaks_is_dialled_again_at_once() -> None:
    story = Story()
    story.announce(BOB)
    story.fail(BOB)
    story.pass_time(7)
    story.succeed(BOB)
    assert story.peer(BOB).failures == 1
    story.pass_time(60)
    story.end(BOB)
    assert story.peer(BOB).failures == 0
    story.pass_time(1.1)
    assert story.peer(BOB).connection_state == "CONNECTING"


def test_a_link_heals_while_it_lasts() -> None:
    story = Story()
    story.announce(BOB)
    story.fail(BOB)
    story.pass_time(7)
    story.succeed(BOB)
    story.pass_time(50)
    assert story.peer(BOB).failures == 1
    story.pass_time(25)
    assert story.peer(BOB).failures == 0


def test_a_link_that_breaks_at_once_is_a_failure() -> None:
    story = Story()
    story.meet(BOB)
    story.end(BOB)
    assert story.peer(BOB).failures == 1


def test_a_clean_close_is_none_and_is_not_stormed() -> None:
    story = Story()
    story.meet(BOB)
    story.end(BOB, clean=True)
    assert story.peer(BOB).failures == 0
    assert 20 < story.peer(BOB).ready_s - story.now.mono_s < 41


def test_a_duplicate_is_none_and_the_other_link_gets_time_to_show() -> None:
    story = Story()
    story.meet(BOB)
    story.end(BOB, "duplicate")
    assert story.peer(BOB).failures == 0
    assert 3 < story.peer(BOB).ready_s - story.now.mono_s < 8


def test_a_not_before_is_kept() -> None:
    story = Story()
    story.meet(BOB)
    story.end(BOB, "rotated", clean=True, not_before_s=100.0)
    story.do(a.NetworkDidReconnect())
    story.pass_time(99)
    assert story.peer(BOB).connection_state == "DISCONNECTED"
    only(story.offer(BOB), e.AcceptOffer)  # it has changed its mind
    story.succeed(BOB)
    story.end(BOB, "rotated", clean=True, not_before_s=100.0)
    story.arrive(BOB)
    assert BOB in story.state.linked


def test_a_link_that_we_forbade_is_closed_until_the_time_is_over() -> None:
    story = Story()
    story.meet(BOB)
    story.do(a.DisconnectFromRemotePeer(BOB, not_before_s=100.0))
    story.pass_time(99)
    closed = only(story.arrive(BOB), e.ScheduleDisconnectFromRemotePeer)
    assert closed.reason == "too early"
    assert closed.not_before_s is not None
    assert 0 < closed.not_before_s <= 1.01
    assert "before" in ignored(story.do(a.RemotePeerLinkEnded(BOB, closed.link, "too early")))
    story.pass_time(1)
    story.arrive(BOB)
    assert BOB in story.state.linked


def test_a_link_without_a_way_back_is_forgotten_with_its_end() -> None:
    story = Story()
    story.arrive(DAVE)
    story.pass_time(61)
    story.end(DAVE)
    assert DAVE not in story.state.peers


def test_reasons_from_outside_are_cut() -> None:
    story = Story()
    story.meet(BOB)
    story.end(BOB, "x" * 10_000)
    assert len(story.peer(BOB).last_error) == 200


def test_a_linked_peer_that_announces_itself_anew_is_pinged_and_met_again_at_once_when_the_link_is_dead() -> None:
    story = Story()
    story.meet(AMY)
    story.pass_time(31)
    checked = only(story.announce(AMY), e.CheckLink)
    assert checked.peer == AMY
    none(story.announce(AMY), e.CheckLink)
    story.pass_time(5)
    story.end(AMY)
    assert story.peer(AMY).ready_s - story.state.now.mono_s <= 1.0
    story.pass_time(1.5)
    story.succeed(AMY)
    story.pass_time(31)
    story.announce(AMY)
    story.end(AMY)
    assert story.peer(AMY).ready_s - story.state.now.mono_s > 3.0, "who is back again and again waits like any other"
