"""Why a peer or a hub is connected or not, in words that a person understands."""

from __future__ import annotations

from ssb_rtc.manager import actions as a
from ssb_rtc.manager.explain import Explanation, explain_hub, explain_peer
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import Route, Witness
from ssb_rtc.types import HubUrl, PeerId
from tests.manager.names import AMY, BOB, CAROL, DAVE, ME, ONE, THREE, TWO, ZOE
from tests.manager.story import Story


def peer(story: Story, peer: PeerId) -> Explanation:
    return explain_peer(story.state, peer)


def hub(story: Story, hub: HubUrl) -> Explanation:
    return explain_hub(story.state, hub)


def test_peers_that_are_not_known() -> None:
    story = Story()
    story.do(a.PeerBlocked(BOB))
    assert peer(story, AMY).because == (
        "it has not announced itself on any of our hubs or in our local network, or was forgotten since",
    )
    assert "announces itself" in peer(story, AMY).next[0]
    assert peer(story, BOB).because == ("the peer is blocked",)
    assert peer(story, BOB).next == ("nothing, until it is unblocked",)
    assert peer(story, PeerId("amy")).because == ("that is no peer id",)
    assert peer(story, ME).because == ("that is ourselves",)


def test_a_friend_that_was_never_met_while_strangers_are_not_wanted() -> None:
    story = Story(Settings(strangers_max=0))
    story.do(a.HopsDidChange(((AMY, 1),)))
    assert peer(story, AMY).because[0].startswith("its inbox is not known here")
    assert "introduces us" in peer(story, AMY).next[0]
    assert "announces itself" in peer(story, BOB).next[0], "a stranger"
    story.do(a.InboxesDidChange(((AMY, True),)))
    assert peer(story, AMY).because[0].startswith("nothing came of our knocks")


def test_a_peer_that_fails() -> None:
    story = Story()
    story.announce(AMY)
    told = peer(story, AMY)
    assert told.state == "CONNECTING"
    assert told.because[0] == "we are dialling it"
    assert told.next == ("it is linked, or the attempt is given up in 30 s",)
    story.fail(AMY)
    told = peer(story, AMY)
    assert "it failed once, the last time: ice failed" in told.because
    assert "a stranger: we don't fetch its feed" in told.because
    assert f"known over the hub {ONE}, heard 0 s ago" in told.because
    assert ("failures", -1.0) in told.terms
    assert told.next[0].startswith("it is dialled when its turn comes, in ")
    story.pass_time(10)
    story.fail(AMY)
    assert "it failed 2 times in a row, the last time: ice failed" in peer(story, AMY).because
    story.offer(BOB)
    assert peer(story, BOB).because[0] == "we are answering its offer"
    story.do(a.ShutdownRequested())
    assert peer(story, AMY).because[0] == "this peer is shutting down"


def test_a_peer_that_waits() -> None:
    story = Story(Settings(peers_max=1, inbound_reserved=0))
    story.do(a.HopsDidChange(((CAROL, 2),)))
    story.announce(AMY)
    story.announce(CAROL)
    story.succeed(AMY)
    told = peer(story, CAROL)
    assert told.because[:2] == ("the only slot is taken", "a friend at distance 2")
    assert told.next == ("it is dialled when a slot is free, by its score among those who are due",)
    assert ("nearness", 8.0) in told.terms
    story.do(a.ConnectToRemotePeer(DAVE))
    assert peer(story, DAVE).because[0].startswith("no way to it is known")
    assert peer(story, DAVE).next == ("it is dialled when it is heard of on a connected hub",)


def test_a_peer_that_is_held_off_or_came_back_too_early() -> None:
    story = Story()
    story.meet(AMY, BOB)
    story.do(a.DisconnectFromRemotePeer(AMY))
    assert peer(story, AMY).because[0] == "somebody here disconnected from it: it is dialled in 600 s"
    assert "its own offers are refused for another 600 s" in peer(story, AMY).because
    story.end(BOB, "busy", clean=True, not_before_s=100.0)
    assert peer(story, BOB).because[0].startswith("it is left alone, as one side asked for: it is dialled in 1")
    assert "the last time: it said goodbye: busy" in peer(story, BOB).because


def test_a_peer_whose_hub_is_gone() -> None:
    story = Story(Settings(peers_max=1, inbound_reserved=0))
    story.meet(AMY)
    story.announce(BOB)
    story.hub_lost()
    story.end(AMY, clean=True)
    story.pass_time(40)
    assert peer(story, BOB).because[0] == "none of its hubs is connected"


def test_linked_peers() -> None:
    story = Story(Settings(peers_max=3, inbound_reserved=0, random_picks=1, lifetime_s=600))
    story.do(a.HopsDidChange(((ZOE, 1),)))
    story.meet(AMY)
    story.do(a.PeerPinned(AMY))
    link = story.books.used[AMY]
    told = peer(story, AMY)
    assert told.because[0] == f"linked for 0 s over the hub {ONE}; we dialled it"
    assert "idle for 0 s" in told.because
    assert told.next == ("it stays: it is pinned",)
    story.do(a.DownloadStarted(AMY, link, 7))
    assert "busy: 7 messages are missing" in peer(story, AMY).because
    story.pass_time(45)
    assert "stuck: 7 messages are missing" in peer(story, AMY).because
    assert peer(story, AMY).next == ("it ends as soon as there is another link",)
    story.arrive(ZOE)
    assert "a friend at distance 1" in peer(story, ZOE).because
    assert "linked for 0 s over our listener, from net:somewhere; it dialled us" in peer(story, ZOE).because
    story.do(a.RemotePeerDidTell(ZOE, story.books.used[ZOE], only_link=False, downloading=True))
    assert "busy: the peer fetches from us" in peer(story, ZOE).because
    assert peer(story, ZOE).next == ("it stays: the peer is downloading over it",)
    story.arrive(ZOE)
    assert any(line.startswith("a second link") for line in peer(story, ZOE).because)
    story.do(a.ConnectToRemotePeer(BOB, None))
    story.announce(BOB)
    story.succeed(BOB)
    assert peer(story, BOB).next[0].startswith("in ")
    story.pass_time(900)
    assert peer(story, BOB).next == ("it stays: nobody waits for the slot",)
    story.offer(CAROL)
    story.arrive(DAVE)
    story.offer(CAROL)
    assert peer(story, BOB).next == ("it may end for somebody who waits",)


def test_a_peer_picked_at_random() -> None:
    story = Story(Settings(peers_max=3, inbound_reserved=0, random_picks=2, attempts_max=1))
    for each in (AMY, BOB, CAROL):
        story.announce(each)
    for _ in range(3):
        (trying,) = story.state.trying
        story.succeed(trying)
    picked = [
        each for each in (AMY, BOB, CAROL) if "it was picked at random, against clusters" in peer(story, each).because
    ]
    assert len(picked) == 1, "the second; for the third there was no choice"


def test_nothing_is_announced_where_no_strangers_are_wanted() -> None:
    assert hub(Story(Settings(strangers_max=0)), ONE).next == ("we announce nothing there, as no strangers are wanted",)


def test_a_hub_where_peers_like_ours_announce_nothing() -> None:
    plain = HubUrl("swarm+https://one.example")
    story = Story(hubs=())
    story.do(a.HubAddressAdded(plain, announces=False))
    story.hub_up(plain)
    assert hub(story, plain).next == (
        "nothing is announced there, as it is in use for webrtc-swarm's peers: we dial those that we hear",
    )
    only_theirs = "announces itself, as webrtc-swarm's do on our hubs, but peers like ours don't"
    assert peer(story, AMY).next[0].startswith(f"it is dialled when it {only_theirs}, or ")
    story.do(a.ConnectToRemotePeer(AMY, Route("inbound", "somewhere")))
    assert peer(story, AMY).because[0].endswith(only_theirs)
    story.do(a.HopsDidChange(((BOB, 1),)))
    story.do(a.InboxesDidChange(((BOB, True),)))
    assert "knock" not in str(peer(story, BOB)), "on no hub of ours can anybody be knocked at"
    story.do(a.HubAddressAdded(ONE))
    assert "webrtc-swarm" not in str(peer(story, AMY))
    assert "knock" in str(peer(story, BOB))


def test_hubs() -> None:
    story = Story()
    told = hub(story, ONE)
    assert told.state == "CONNECTED"
    assert told.because[:2] == ("connected for 0 s", "it came from: user")
    assert "0 peers are heard there" in told.because
    assert told.next[0].startswith("we announce ourselves there in ")
    story.do(a.HubAddressAdded(TWO, private=True))
    told = hub(story, TWO)
    assert told.because[0] == "it is being connected to"
    assert "private: it is not told to other peers" in told.because
    assert told.next == ("it confirms our subscription, or is given up in 30 s",)
    story.do(a.HubConnectionFailed(TWO, story.connection(TWO), "refused"))
    told = hub(story, TWO)
    assert told.because[0].startswith("it is tried again in ")
    assert "the last time: refused" in told.because
    assert "tried in vain once since it last did well" in told.because
    assert told.next[0].startswith("it is tried again in ")
    story.do(a.ShutdownRequested())
    assert hub(story, TWO).because[0] == "this peer is shutting down"
    assert hub(story, TWO).next == ("nothing",)


def test_hubs_that_others_tell_of() -> None:
    story = Story(Settings(tick_s=900, sweep_s=900, announce_s=1e6, announce_max_s=1e6))
    assert hub(story, TWO).because == ("nobody near us vouches for it",)
    story.do(a.HopsDidChange(((AMY, 1), (BOB, 1))))
    story.meet(AMY, BOB)
    amy, bob = Witness(AMY, AMY), Witness(BOB, BOB)
    story.do(a.HubVouchersDidChange(((TWO, (amy,)), (THREE, (amy,)))))
    told = hub(story, TWO)
    assert told.because == (
        "1 within our hops vouch for it, through one of those whom we follow; it is asked when 2 do",
    )
    assert told.next == ("it waits for another one who vouches for it",)
    story.do(a.HubVouchersDidChange(((TWO, (amy, bob)),)))
    told = hub(story, TWO)
    assert told.because[0].startswith("it is asked in ")
    assert "others vouch for it" in told.because
    assert ("ours", 0.0) in told.terms
    for _ in range(180):
        story.pass_time(20)
        if probe := story.hub(TWO).probe:
            break
    assert hub(story, TWO).because[0] == "it is being asked whether it is a hub"
    story.do(a.HubProbeFailed(TWO, probe or 0, "nothing there"))
    story.pass_time(3_600)
    told = hub(story, TWO)
    assert told.because[0].startswith("2 within our hops vouch for it, through 2 different ones whom we follow")
    assert told.because[1].startswith("its host was asked ")
    assert told.next[0].startswith("its host may be asked again in 23.")


def test_a_hub_for_which_the_table_has_no_room() -> None:
    story = Story(Settings(hubs_max=1))
    story.do(a.HopsDidChange(((AMY, 1), (BOB, 1))))
    story.do(a.HubVouchersDidChange(((TWO, (Witness(AMY, AMY), Witness(BOB, BOB))),)))
    assert hub(story, TWO).next == ("it enters the table within a minute, if that has room",)
