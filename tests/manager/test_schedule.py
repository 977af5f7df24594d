"""Time: who is dialled when, hubs that come and go, a network that comes back, the end."""

from __future__ import annotations

import pytest

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager import schedule
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import Now, Route, initial
from ssb_rtc.manager.step import step
from ssb_rtc.manager.turn import CONNECT
from ssb_rtc.manager.view import hubs_view, peer_view
from ssb_rtc.types import HubUrl, PeerId
from tests.manager.names import AMY, BOB, CAROL, DAVE, ME, ONE, START, TWO, peer_id
from tests.manager.story import Story, ignored, none, only

SLOW = HubUrl("https://slow.example")


def test_a_peer_whose_hub_is_gone_waits_for_it() -> None:
    story = Story()
    story.meet(BOB)
    story.hub_lost()
    story.end(BOB, clean=True)
    story.pass_time(45)
    view = peer_view(story.state, BOB)
    assert view is not None
    assert "none of its hubs" in view.reason
    assert CONNECT not in story.state.timers, "nothing to wait for in vain"
    story.do(a.NetworkDidReconnect())
    assert only(story.hub_up(), e.ScheduleConnectToRemotePeer).peer == BOB


def test_a_wish_for_a_peer_on_a_hub_that_is_only_being_connected() -> None:
    story = Story()
    story.do(a.HubAddressAdded(TWO))
    story.do(a.ConnectToRemotePeer(BOB, Route("hub", TWO)))
    assert story.peer(BOB).parked
    assert only(story.hub_up(TWO), e.ScheduleConnectToRemotePeer).peer == BOB


def test_a_hub_that_comes_wakes_only_those_who_wait_for_it() -> None:
    story = Story(Settings(attempts_max=1), hubs=(ONE, TWO))
    story.meet(BOB, hub=TWO)
    story.meet(CAROL)
    story.hub_lost(ONE)
    story.hub_lost(TWO)
    for peer in (BOB, CAROL):
        story.end(peer, clean=True)
    story.pass_time(45)
    while story.hub(ONE).connection_state != "CONNECTING":
        story.pass_time(1)
    assert only(story.hub_up(ONE), e.ScheduleConnectToRemotePeer).peer == CAROL
    assert story.peer(BOB).parked


def test_an_announcement_wakes_a_parked_peer() -> None:
    story = Story(hubs=(ONE, TWO))
    story.meet(BOB)
    story.hub_lost()
    story.end(BOB, clean=True)
    story.pass_time(45)
    story.announce(BOB, TWO)
    assert story.peer(BOB).connection_state == "CONNECTING"


def test_many_parked_peers_are_not_gone_through_in_one_step() -> None:
    story = Story(Settings(known_peers_max=500, announcement_ttl_s=1e6))
    crowd = [peer_id(0x90 + number // 256, number % 256) for number in range(200)]
    for peer in crowd:
        story.announce(peer)
    story.hub_lost()
    effects = story.fail(story.state.trying[0])
    assert sum(row.parked for row in story.state.peers.values()) == schedule.DIALS_LOOKED_AT_MAX
    assert only(effects, e.ArmTimer).due_mono_s == story.now.mono_s
    while story.state.trying:
        story.fail(story.state.trying[0])
    story.pass_time(9)
    assert all(row.parked for row in story.state.peers.values())


def test_the_timer_is_not_armed_twice_for_the_same_time() -> None:
    story = Story()
    for peer in (BOB, CAROL):
        story.announce(peer)
    story.fail(BOB)
    due_s = story.state.timers[CONNECT]
    assert none(story.fail(CAROL, not_before_s=1_000.0), e.ArmTimer)
    assert story.state.timers[CONNECT] == due_s


def test_the_timer_is_armed_for_the_first_of_all_who_wait() -> None:
    story = Story()
    story.do(a.ConnectToRemotePeer(BOB, Route("hub", ONE)))
    story.announce(CAROL)
    story.announce(AMY)
    story.fail(BOB, not_before_s=100.0)
    story.fail(CAROL)
    story.fail(AMY, not_before_s=200.0)
    assert story.state.timers[CONNECT] == story.peer(CAROL).ready_s
    story.pass_time(7)
    assert story.state.timers[CONNECT] == story.peer(BOB).ready_s


def test_a_timer_that_was_armed_anew_does_not_expire_early() -> None:
    story = Story()
    story.announce(BOB)
    old_s = story.state.timers[f"peer:{BOB}"]
    story.fail(BOB)
    story.pass_time(8)
    assert "armed anew" in ignored(story.do(a.TimerExpired(f"peer:{BOB}", old_s)))


def test_clocks_that_go_back_do_no_harm() -> None:
    story = Story()
    story.announce(BOB)
    story.now = Now(0.0, START.wall_s - 1e6)
    story.fail(BOB)
    assert story.state.now == Now(START.mono_s, START.wall_s - 1e6)
    assert story.peer(BOB).ready_s > START.mono_s


def test_a_network_that_comes_back_ends_all_waiting() -> None:
    story = Story(hubs=(ONE, TWO))
    story.meet(AMY)
    story.announce(BOB)
    for _ in range(4):
        story.fail(BOB)
        story.pass_time(max(0.0, story.peer(BOB).ready_s - story.now.mono_s) + 0.001)
    story.fail(BOB)
    story.announce(CAROL)
    story.fail(CAROL, not_before_s=500.0)
    story.hub_lost(TWO)
    story.do(a.HubAddressAdded(SLOW))
    effects = story.do(a.NetworkDidReconnect())
    assert only(effects, e.ScheduleConnectToHub).hub == TWO
    assert only(effects, e.CheckLink).peer == AMY
    assert story.hub(SLOW).connection_state == "CONNECTING"
    assert story.hub(SLOW).connection_attempts == 0
    story.pass_time(1.01)
    assert story.peer(BOB).connection_state == "CONNECTING"
    assert story.peer(BOB).failures == 0
    assert story.peer(CAROL).connection_state == "DISCONNECTED", "what it asked for holds"


def test_a_hub_hears_us_again_soon_after_waking_up() -> None:
    story = Story()
    story.meet(AMY)
    story.pass_time(3_000)
    effects = story.do(a.DidWakeUp(3_600.0))
    assert "slept for 3600 s" in only(effects, e.CheckLink).reason
    assert story.state.timers[f"announce:{ONE}"] <= story.now.mono_s + 30


def test_the_end_says_goodbye_to_everybody() -> None:
    story = Story(hubs=(ONE, TWO))
    story.do(a.HubAddressAdded(SLOW))
    story.do(a.SaveHubsFailed(1, "disk full"))
    story.meet(AMY)
    story.announce(BOB)
    story.offer(CAROL)
    story.hub_lost(TWO)
    effects = story.do(a.ShutdownRequested("the power goes"))
    kinds = [effect.kind for effect in effects]
    assert kinds.count("ABORT_ATTEMPT") == 2
    assert only(effects, e.ScheduleDisconnectFromRemotePeer).reason == "the power goes"
    assert only(effects, e.ScheduleAnnounceLeaveToHub).hub == ONE
    assert kinds.count("SCHEDULE_DISCONNECT_FROM_HUB") == 2
    assert only(effects, e.ScheduleSaveHubs).revision == 1
    assert not story.books.timers
    assert not story.books.connections
    assert "shutting down" in ignored(story.announce(AMY))
    assert only(story.arrive(AMY), e.ScheduleDisconnectFromRemotePeer).reason == "shutdown"
    view = peer_view(story.state, AMY)
    assert view is not None
    assert "shutting down" in view.reason


def test_reasons_that_people_read() -> None:
    story = Story(Settings(peers_max=2, inbound_reserved=0))
    story.announce(AMY)
    assert reason(story, AMY) == "we are dialling it"
    story.offer(BOB)
    assert reason(story, BOB) == "we are answering its offer"
    story.announce(CAROL)
    assert reason(story, CAROL) == "all 2 slots are taken"
    story.fail(AMY)
    assert reason(story, CAROL) == "we are dialling it"
    story.succeed(BOB)
    assert reason(story, BOB) == ""
    story.fail(CAROL)
    assert reason(story, AMY).startswith("it is dialled in ")
    story.now = Now(story.now.mono_s + 20, story.now.wall_s)
    story.do(a.PeerUnblocked(AMY))
    assert reason(story, AMY) == "it is dialled next"
    assert peer_view(story.state, peer_id(1)) is None


def reason(story: Story, peer: PeerId) -> str:
    view = peer_view(story.state, peer)
    assert view is not None
    return view.reason


def test_attempts_under_way_are_a_reason() -> None:
    story = Story(Settings(attempts_max=1))
    story.announce(AMY)
    story.announce(BOB)
    assert reason(story, BOB) == "the only attempt is under way"


def test_hubs_for_people() -> None:
    story = Story()
    story.do(a.HubAddressAdded(TWO))
    story.do(a.HubConnectionFailed(TWO, story.connection(TWO), "refused"))
    story.now = Now(story.now.mono_s + 0.25, story.now.wall_s)
    story.do(a.PeerUnblocked(AMY))
    one, two = hubs_view(story.state)
    assert (one.url, one.state, one.connected_for_s, one.retry_in_s) == (ONE, "CONNECTED", 0.25, None)
    assert (two.url, two.state, two.connected_for_s, two.last_error) == (TWO, "DISCONNECTED", None, "refused")
    assert two.retry_in_s is not None
    assert 0 < two.retry_in_s < 30


def test_a_crowd_takes_turns_with_a_stranger_that_announces_itself() -> None:
    """Of many who hear a stranger with two slots, about two dial it soon, and not at the same moment."""
    settings = Settings(attempts_max=0)
    soon = []
    for seed in range(100):
        state = initial(ME, seed=seed, settings=settings, now=START)
        state, _ = step(state, a.HubAddressAdded(ONE), START)
        for number in range(100):
            state, _ = step(state, a.RemotePeerDidAnnounce(ONE, peer_id(0x90, number)), START)
        state, _ = step(state, a.RemotePeerDidAnnounce(ONE, DAVE, free_slots=2), START)
        soon.append(state.peers[DAVE].ready_s - START.mono_s)
    assert 0 < sum(delay_s <= 2 for delay_s in soon) < 12
    assert len(set(soon)) == len(soon)
    assert max(soon) <= 600


def test_a_friend_or_one_with_slots_for_all_is_dialled_at_once() -> None:
    story = Story()
    story.do(a.SettingsDidChange(Settings(attempts_max=0)))
    for number in range(20):
        story.announce(peer_id(0x90, number))
    story.do(a.HopsDidChange(((CAROL, 2),)))
    story.do(a.RemotePeerDidAnnounce(ONE, CAROL, free_slots=0))
    story.do(a.RemotePeerDidAnnounce(ONE, DAVE, free_slots=60))
    for peer in (CAROL, DAVE):
        assert story.peer(peer).ready_s == story.now.mono_s


def test_where_everybody_is_full_we_ask_ever_more_rarely() -> None:
    story = Story()
    for number in range(200):
        story.announce(peer_id(0x90, number))
    dials = []
    for _ in range(150):
        for peer in story.state.trying:
            story.fail(peer, not_before_s=60.0)
        effects = story.pass_time(10)
        dials.append(sum(isinstance(effect, e.ScheduleConnectToRemotePeer) for effect in effects))
    assert sum(dials[60:]) < 15, "one in five minutes, three at a time"
    view = peer_view(story.state, peer_id(0x90, 7))
    assert view is not None
    assert "dials in a row came to nothing" in view.reason
    assert story.peer(peer_id(0x90, 7)).routes, "being busy is no failure"
    story.do(a.ConnectToRemotePeer(peer_id(0x90, 7)))
    assert peer_id(0x90, 7) in story.state.trying, "a wish does not wait"
    story.succeed(peer_id(0x90, 7))
    assert len(story.state.trying) > 1, "somebody has room: quickly again"


def test_one_that_is_busy_again_and_again_is_asked_ever_more_rarely() -> None:
    story = Story()
    story.announce(BOB)
    holds = []
    for _ in range(8):
        story.announce(BOB)
        story.fail(BOB, not_before_s=60.0)
        holds.append(story.peer(BOB).not_before_s - story.now.mono_s)
        wait_s = story.peer(BOB).ready_s - story.now.mono_s + 1
        while wait_s > 0:
            story.announce(BOB)
            story.pass_time(min(wait_s, 1_000))
            wait_s -= 1_000
    assert holds[:4] == pytest.approx([60, 120, 240, 480])
    assert holds[-1] == 3_600
