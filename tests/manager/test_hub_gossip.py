"""Hubs that others vouch for: when they are believed, asked, tried, spare, and forgotten."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager import hub_probe
from ssb_rtc.manager.explain import explain_hub
from ssb_rtc.manager.hubs import is_spare
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import State, Witness
from ssb_rtc.manager.view import hubs_view
from ssb_rtc.manager.vouching import host_of
from ssb_rtc.types import HubUrl
from tests.manager.names import AMY, BOB, CAROL, ONE, THREE, TWO
from tests.manager.story import Story, ignored, none, only

FOUR, FIVE = HubUrl("https://four.example"), HubUrl("https://five.example")
A, B = Witness(AMY, AMY), Witness(BOB, BOB)
SLOW = Settings(tick_s=900, sweep_s=900, announce_s=1e6, announce_max_s=1e6)
"""For stories that take days."""


def befriended(settings: Settings | None = None) -> Story:
    """Amy and Bob are followed and linked; Carol, whom one of them follows, is linked."""
    story = Story(settings)
    story.do(a.HopsDidChange(((AMY, 1), (BOB, 1), (CAROL, 2))))
    story.meet(AMY, BOB, CAROL)
    return story


def vouch(story: Story, *hubs: HubUrl, by: tuple[Witness, ...] = (A, B)) -> tuple[e.Effect, ...]:
    """Both friends vouch for these hubs, unless told otherwise."""
    return story.do(a.HubVouchersDidChange(tuple((hub, by) for hub in hubs)))


def spare(state: State) -> set[HubUrl]:
    return {hub.url for hub in state.hubs.values() if is_spare(state, hub)}


def asked(effects: tuple[e.Effect, ...]) -> set[HubUrl]:
    return {effect.hub for effect in effects if isinstance(effect, e.ScheduleProbeHub)}


def answer(story: Story, hub: HubUrl, *, there: bool = True, reached: bool = True) -> tuple[e.Effect, ...]:
    """The question to a hub is answered."""
    probe = story.hub(hub).probe
    assert probe is not None
    if there:
        return story.do(a.HubProbeSucceeded(hub, probe))
    return story.do(a.HubProbeFailed(hub, probe, "an empty page", reached))


def until_asked(story: Story, *, within_s: float = 3_600.0) -> HubUrl:
    """Time passes until one of them is asked; which one."""
    until_s = story.now.mono_s + within_s
    while story.now.mono_s < until_s:
        if found := asked(story.pass_time(5)):
            (hub,) = found
            return hub
    raise AssertionError("none is asked")


def answer_all(story: Story) -> None:
    for hub in list(story.state.hubs.values()):
        if hub.probe is not None:
            answer(story, hub.url)


def tried(story: Story) -> HubUrl:
    """Time passes until all were asked, one is tried, and it works; which one."""
    for _ in range(1_000):
        answer_all(story)
        for hub in story.state.hubs.values():
            if hub.source == "gossip" and hub.connection is not None:
                story.hub_up(hub.url)
                return hub.url
        story.pass_time(5)
    raise AssertionError("none is tried")


def hour(story: Story) -> None:
    """An hour passes, and questions are answered."""
    for _ in range(190):
        story.pass_time(20)
        answer_all(story)


def test_a_hub_for_which_two_vouch_is_asked_within_an_hour_then_tried() -> None:
    story = befriended()
    vouch(story, ONE, TWO, by=(A,))
    assert TWO not in story.state.hubs
    vouch(story, TWO, by=(A, Witness(CAROL, AMY)))
    assert TWO not in story.state.hubs, "both came through one friend"
    vouch(story, TWO, by=(A, Witness(AMY, BOB)))
    assert TWO not in story.state.hubs, "one signer is one signer"
    effects = vouch(story, TWO, by=(A, Witness(CAROL, BOB)))
    assert none(effects, e.ScheduleSaveHubs), "it may be none"
    assert story.hub(TWO).connection is None
    assert until_asked(story) == TWO
    assert story.hub(TWO).connection is None
    assert only(answer(story, TWO), e.ScheduleConnectToHub).hub == TWO


def test_one_that_a_person_removes_does_not_come_back_on_the_same_day() -> None:
    story = befriended(SLOW)
    vouch(story, TWO)
    story.do(a.HubAddressRemoved(TWO))
    story.pass_time(80_000)
    assert set(story.state.hubs) == {ONE}


def test_without_any_hub_it_is_asked_within_half_a_minute() -> None:
    story = befriended()
    story.hub_lost()
    vouch(story, TWO)
    assert TWO in asked(story.pass_time(31))


def test_what_tells_nothing() -> None:
    story = befriended()
    vouch(story, TWO, by=(A,))
    assert ignored(vouch(story, TWO, by=(A,))) == "nothing in it is new"
    assert ignored(vouch(story, THREE, by=())) == "nothing in it is new"
    assert ignored(vouch(story, HubUrl(""), HubUrl("x" * 3_000))) == "nothing in it is new"
    vouch(story, TWO, by=())
    assert not story.state.vouched


def test_only_who_is_within_our_hops_and_not_blocked_counts() -> None:
    for undo in (
        a.HopsDidChange(((AMY, None),)),
        a.HopsDidChange(((AMY, 2),)),
        a.HopsDidChange(((CAROL, None),)),
        a.PeerBlocked(AMY),
        a.PeerBlocked(CAROL),
    ):
        story = befriended()
        story.do(undo)
        vouch(story, TWO, by=(Witness(CAROL, AMY), B))
        assert TWO not in story.state.hubs, undo
    story = befriended()
    vouch(story, TWO, by=(Witness(CAROL, AMY), B))
    assert TWO in story.state.hubs


def test_a_hub_for_which_nobody_vouches_when_its_time_has_come_is_not_asked() -> None:
    story = befriended()
    vouch(story, TWO)
    vouch(story, TWO, by=(A,))
    assert not asked(story.pass_time(3_700))
    assert TWO not in story.state.hubs


def test_a_host_is_asked_once_a_day_whatever_hubs_are_said_to_be_there() -> None:
    story = befriended(SLOW)
    same = HubUrl("https://two.example:8443/hub")
    vouch(story, TWO, same)
    first = until_asked(story)
    effects = answer(story, first, there=False)
    assert first not in story.state.hubs
    assert "an empty page" in only(effects, e.CancelTimer).reason
    assert not asked(story.pass_time(80_000))
    assert set(story.state.hubs) == {ONE}
    until_asked(story, within_s=11_400)


def names(domain: str) -> list[HubUrl]:
    return [HubUrl(f"https://{number}.{domain}.example") for number in range(40)]


def asked_within(story: Story, seconds: float, domain: str, by: tuple[Witness, ...] = (A, B)) -> int:
    """How many are asked while friends name one host after the other under a domain where each name leads somewhere."""
    found, until_s = 0, story.now.mono_s + seconds
    while story.now.mono_s < until_s:
        vouch(story, *names(f"{domain}{round(story.now.mono_s)}"), by=by)
        effects = story.pass_time(1_800)
        found += len(asked(effects))
        answer_all(story)
    return found


def test_whoever_names_hosts_without_end_has_few_of_them_asked_in_a_day() -> None:
    story = befriended(SLOW)
    assert asked_within(story, 40_000, "a") == 32
    vouch(story, TWO)
    assert TWO not in story.state.hubs, "nor does the table fill with what may not be asked"
    told = explain_hub(story.state, TWO)
    assert told.next == ("it waits: as many hosts were asked within a day as may be asked whether a hub is there",)
    while story.state.vouched:
        vouch(story, *list(story.state.vouched)[:64], by=())
    vouch(story, TWO)
    story.pass_time(40_000)
    assert until_asked(story, within_s=20_000) == TWO, "the next day"


def test_on_no_hub_at_all_as_many_again_are_asked() -> None:
    story = befriended(SLOW)
    assert asked_within(story, 20_000, "a") == 32
    story.hub_lost()
    for _ in range(8):
        story.pass_time(60)
        if (connection := story.hub(ONE).connection) is not None:
            story.do(a.HubConnectionFailed(ONE, connection, "down"))
        vouch(story, *names(f"b{round(story.now.mono_s)}"), by=(A,))
    assert 32 < len(story.state.probes) <= 64


def test_what_earlier_runs_asked_counts_for_the_day() -> None:
    story = befriended(SLOW)
    for number in range(32):
        story.do(a.HubWasProbed(f"{number}.example", 80_000.0))
    vouch(story, TWO)
    assert TWO not in story.state.hubs
    assert until_asked(story, within_s=11_000) == TWO


@pytest.mark.parametrize("hosts", [("two.example",), [f"{number}.example" for number in range(32)]])
def test_what_earlier_runs_asked_counts_for_a_hub_that_waits_already(hosts: Iterable[str]) -> None:
    """Its own host was asked, or as many others as a day has questions."""
    story = befriended(SLOW)
    vouch(story, TWO)
    for host in hosts:
        story.do(a.HubWasProbed(host, 10.0))
    assert not asked(story.pass_time(3_700))
    assert TWO not in story.state.hubs


def test_no_answer_is_an_answer() -> None:
    story = befriended(SLOW)
    vouch(story, TWO)
    effects = story.pass_time(3_700)
    assert asked(effects) == {TWO}
    assert TWO not in story.state.hubs
    probe = only(effects, e.ScheduleProbeHub).probe
    late = "that question to the hub was superseded"
    assert ignored(story.do(a.HubProbeSucceeded(TWO, probe))) == late
    assert ignored(story.do(a.HubProbeFailed(TWO, probe, "late"))) == late


def test_what_an_earlier_run_asked_counts() -> None:
    story = befriended(SLOW)
    story.do(a.HubWasProbed("two.example", 80_000.0))
    for ago_s in (-1.0, float("nan"), 86_400.0):
        assert ignored(story.do(a.HubWasProbed("three.example", ago_s)))
    assert ignored(story.do(a.HubWasProbed("", 1.0)))
    vouch(story, TWO)
    assert not asked(story.pass_time(6_000))
    assert until_asked(story, within_s=5_200) == TWO


def test_hosts_are_remembered_within_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_probe, "PROBES_MAX", 2)
    story = befriended(SLOW)
    story.do(a.HubWasProbed("a.example", 86_000.0))
    story.do(a.HubWasProbed("b.example", 200.0))
    story.do(a.HubWasProbed("b.example", 300.0))
    assert story.state.probes["b.example"] == story.now.mono_s - 200
    story.do(a.HubWasProbed("c.example", 100.0))
    assert set(story.state.probes) == {"b.example", "c.example"}, "the oldest went"
    story.pass_time(86_250)
    story.do(a.HubWasProbed("d.example", 0.0))
    assert set(story.state.probes) == {"c.example", "d.example"}, "what is over a day old went"


def test_when_nobody_could_be_asked_it_is_tried_again_soon() -> None:
    story = befriended(Settings(hub_failures_max=3))
    vouch(story, TWO)
    until_asked(story)
    for _ in range(2):
        answer(story, TWO, there=False, reached=False)
        assert TWO in story.state.hubs
        assert "two.example" not in story.state.probes
        assert until_asked(story, within_s=790) == TWO
    answer(story, TWO, there=False, reached=False)
    assert TWO not in story.state.hubs, "for now"


def test_when_the_network_is_back_what_could_not_be_asked_is_asked_at_once() -> None:
    story = befriended()
    vouch(story, TWO, THREE)
    first = until_asked(story)
    assert not asked(story.do(a.NetworkDidReconnect())), "one is being asked, the other waits for its time"
    answer(story, first, there=False, reached=False)
    assert asked(story.do(a.NetworkDidReconnect())) == {first}


def test_hubs_that_are_vouched_for_are_few_and_those_of_the_busiest_way_go_first() -> None:
    story = befriended(Settings(vouched_max=3))
    vouch(story, TWO, by=(A,))
    vouch(story, *(HubUrl(f"https://z{number}.example") for number in range(20)), by=(Witness(CAROL, BOB),))
    assert len(story.state.vouched) == 3
    assert TWO in story.state.vouched
    vouch(story, TWO)
    assert TWO in story.state.hubs


def test_long_lists_do_not_overflow_the_table() -> None:
    story = befriended()
    for batch in range(5):
        vouch(story, *(HubUrl(f"https://y{batch}-{number}.example") for number in range(64)))
    assert len(story.state.hubs) == story.state.settings.hubs_max
    assert len(story.state.vouched) == 256
    story.do(a.HubAddressRemoved(next(hub for hub in story.state.hubs if hub != ONE)))
    story.pass_time(65)
    assert len(story.state.hubs) == story.state.settings.hubs_max, "another one came in its place"


def test_those_with_most_witnesses_enter_first() -> None:
    story = befriended(Settings(hubs_max=2))
    story.do(a.HopsDidChange(((CAROL, 1),)))
    many = tuple((HubUrl(f"https://z{number}.example"), (A, B)) for number in range(9))
    story.do(a.HubVouchersDidChange((*many, (TWO, (A, B, Witness(CAROL, CAROL))))))
    assert set(story.state.hubs) == {ONE, TWO}


def test_a_full_table_takes_no_more_of_them_and_gives_way_to_a_persons() -> None:
    story = befriended(Settings(hubs_max=2))
    vouch(story, TWO)
    vouch(story, THREE)
    assert set(story.state.hubs) == {ONE, TWO}
    assert "full" in ignored(story.do(a.HubAddressAdded(FOUR, "gossip")))
    story.do(a.HubAddressAdded(FIVE, "user"))
    assert set(story.state.hubs) == {ONE, FIVE}
    assert "full" in ignored(story.do(a.HubAddressAdded(FOUR, "user")))


def test_no_more_of_them_are_connected_than_there_are_others() -> None:
    story = befriended()
    vouch(story, TWO, THREE)
    first = tried(story)
    hour(story)
    (other,) = spare(story.state)
    assert {first, other} == {TWO, THREE}
    view = next(view for view in hubs_view(story.state) if view.url == other)
    assert view.reason == "1 of the hubs that others told us of are in use already"


def test_when_one_fails_the_next_has_its_turn() -> None:
    story = befriended()
    vouch(story, TWO, THREE)
    first = tried(story)
    hour(story)
    (other,) = spare(story.state)
    assert only(story.hub_lost(first), e.ScheduleConnectToHub).hub == other
    story.do(a.NetworkDidReconnect())
    assert sum(hub.connection is not None for hub in story.state.hubs.values() if hub.source == "gossip") == 1


def test_one_that_fails_too_often_is_forgotten_for_the_day() -> None:
    story = befriended(Settings(hub_failures_max=3, hub_probe_spread_s=1))
    vouch(story, TWO)
    story.pass_time(2)
    answer(story, TWO)
    assert story.hub(TWO).connection is not None
    story.pass_time(700)
    assert TWO not in story.state.hubs, "three attempts of 30 s and their pauses are over"


def test_one_that_a_person_adds_is_connected_however_far_it_is() -> None:
    story = befriended()
    vouch(story, TWO, THREE, FOUR)
    assert only(story.do(a.HubAddressAdded(FOUR)), e.ScheduleConnectToHub).hub == FOUR, "it waited for its time"
    story.hub_up(FOUR)
    hub = until_asked(story)
    probe = story.hub(hub).probe or 0
    assert only(story.do(a.HubAddressAdded(hub)), e.ScheduleConnectToHub).hub == hub, "it was being asked"
    assert ignored(story.do(a.HubProbeFailed(hub, probe, "late")))
    assert story.hub(hub).source == "user"


def test_only_hubs_that_were_seen_at_work_are_passed_on() -> None:
    story = befriended(Settings(hub_probe_spread_s=1, broadcast_delay_s=1))
    told = only(story.pass_time(1.5), e.ScheduleBroadcastKnownHubs)
    assert [hub.url for hub in told.hubs] == [ONE]
    vouch(story, TWO)
    assert until_asked(story) == TWO
    answer(story, TWO)
    story.hub_up(TWO)
    saved = [x for x in story.pass_time(80) if isinstance(x, e.ScheduleSaveHubs)]
    assert [hub.url for hub in saved[-1].hubs] == [ONE, TWO]
    assert story.hub(TWO).last_success_wall_s is not None
    story.do(a.HubsSaved(story.books.unsaved[-1]))
    told = only(story.pass_time(1.5), e.ScheduleBroadcastKnownHubs)
    assert told.hubs[1].url == TWO
    assert told.hubs[1].last_success_wall_s == pytest.approx(story.now.wall_s, abs=2)


def test_what_others_said_is_passed_on_in_bunches_also_by_who_has_no_hub_that_works() -> None:
    story = Story(hubs=())
    story.arrive(AMY)
    assert none(story.pass_time(600), e.ScheduleBroadcastKnownHubs), "there is nothing to tell"
    story.do(a.HubEntriesReceived())
    story.pass_time(60)
    story.do(a.HubEntriesReceived())
    told = only(story.pass_time(61), e.ScheduleBroadcastKnownHubs)
    assert (told.hubs, told.peers) == ((), (AMY,))
    assert none(story.pass_time(600), e.ScheduleBroadcastKnownHubs)
    story.do(a.HubEntriesReceived())
    story.arrive(BOB)
    told = only(story.pass_time(6), e.ScheduleBroadcastKnownHubs)
    assert told.peers == (AMY, BOB), "a new link is told sooner, and the others with it"


def test_stored_ones_are_tried_in_the_order_of_their_scores() -> None:
    story = Story(hubs=())
    vouch(story, TWO)
    story.do(a.HopsDidChange(((AMY, 1), (BOB, 1))))
    effects = story.do(a.HubAddressAdded(TWO, "gossip", stored=True, last_success_wall_s=None))
    assert asked(effects) == {TWO}, "it was never seen at work"
    answer(story, TWO)
    assert story.hub(TWO).connection is not None, "there is room for one"
    story.do(a.HubAddressAdded(THREE, "gossip", stored=True, last_success_wall_s=story.now.wall_s - 10))
    story.do(a.HubAddressAdded(FOUR, "gossip", stored=True, last_success_wall_s=story.now.wall_s - 1e6))
    assert none(story.do(a.HubConnectionFailed(TWO, story.connection(TWO), "refused")), e.IgnoreAction)
    assert story.hub(THREE).connection is not None
    assert [view.url for view in hubs_view(story.state)] == [THREE, FOUR, TWO]


def test_on_no_hub_at_all_one_friends_word_is_enough() -> None:
    story = befriended(Settings(gossiped_hubs_max=1))
    vouch(story, TWO, by=(A,))
    vouch(story, THREE)
    tried(story)
    assert set(story.state.hubs) == {ONE, THREE}
    story.do(a.HubAddressRemoved(THREE))
    vouch(story, THREE, by=())
    vouch(story, FOUR, by=(B,))
    vouch(story, FIVE, by=(Witness(CAROL, AMY),))
    story.do(a.HopsDidChange(((BOB, None),)))
    story.hub_lost()
    story.pass_time(25)
    assert set(story.state.hubs) == {ONE}
    assert until_asked(story, within_s=45) == TWO
    assert set(story.state.hubs) == {ONE, TWO}, "Amy is a friend, Bob is none any longer, Carol is none of ours"


def test_a_hub_that_waits_for_its_time_is_asked_soon_when_all_others_are_gone() -> None:
    story = befriended(Settings(hub_probe_spread_s=1e6))
    vouch(story, TWO)
    story.hub_lost()
    assert TWO in asked(story.pass_time(100))


@pytest.mark.parametrize(
    ("hub", "host"),
    [
        ("https://hub.example.org", "hub.example.org"),
        ("https://hub.example.org:8443/path", "hub.example.org"),
        ("https://user:pass@hub.example.org/x@y", "hub.example.org"),
        ("https://[2001:db8::1]:8443", "2001:db8::1"),
        ("", ""),
    ],
)
def test_hosts(hub: str, host: str) -> None:
    assert host_of(HubUrl(hub)) == host


@pytest.mark.parametrize("first", [True, False], ids=["wrong ones first", "the hub first"])
def test_other_ports_of_a_host_are_not_asked_in_place_of_the_hub(first: bool) -> None:
    story = befriended(SLOW)
    wrong = [HubUrl(f"{TWO}:{port}") for port in range(1000, 1031)]
    if first:
        vouch(story, *wrong)
        vouch(story, TWO)
    else:
        vouch(story, TWO)
        vouch(story, *wrong)
    assert until_asked(story) == TWO
    answer(story, TWO)
    assert story.hub(TWO).probed
