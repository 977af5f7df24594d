"""Offers: accepted while there is room, refused with a time, and glare."""

from __future__ import annotations

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import Route
from ssb_rtc.types import PeerId
from tests.manager.names import AMY, BOB, CAROL, DAVE, ONE, TWO, ZOE, peer_id
from tests.manager.story import Story, ignored, none, only


def test_an_offer_is_answered_while_there_is_room() -> None:
    story = Story()
    accepted = only(story.offer(BOB, "s7"), e.AcceptOffer)
    assert (accepted.hub, accepted.peer, accepted.session) == (ONE, BOB, "s7")
    story.succeed(BOB)
    link = story.peer(BOB).link
    assert link is not None
    assert not link.dialled
    assert story.peer(BOB).connected_hubs == (ONE,), "it was heard there"


def test_offers_that_cannot_be_answered() -> None:
    story = Story()
    assert "hub" in only(story.offer(BOB, hub=TWO), e.RefuseOffer).reason
    assert "session" in only(story.offer(BOB, "s" * 129), e.RefuseOffer).reason
    only(story.offer(CAROL, "s" * 128), e.AcceptOffer)
    story.do(a.PeerBlocked(BOB))
    silent = only(story.offer(BOB), e.RefuseOffer)
    assert silent.not_before_s is None, "who is blocked gets no answer"
    story.do(a.ShutdownRequested())
    assert only(story.offer(CAROL), e.RefuseOffer).reason == "shutdown"


def test_a_full_house_says_when_to_come_again_and_remembers_who_asked() -> None:
    story = Story(Settings(peers_max=1))
    story.meet(AMY)
    refused = only(story.offer(BOB), e.RefuseOffer)
    assert refused.not_before_s is not None
    assert 40 < refused.not_before_s < 80
    assert story.peer(BOB).connected_hubs == (ONE,)


def test_offers_being_answered_leave_room_for_own_attempts() -> None:
    story = Story()
    for number in range(3):
        story.offer(peer_id(0x90, number))
    refused = only(story.offer(peer_id(0x90, 3)), e.RefuseOffer)
    assert "being answered" in refused.reason
    assert refused.not_before_s is not None
    assert refused.not_before_s < 10
    story.announce(BOB)
    assert story.peer(BOB).connection_state == "CONNECTING"


def test_glare_with_the_lesser_key_ours_is_sent_again() -> None:
    story = Story()
    story.announce(AMY)
    attempt = story.attempt(AMY)
    effects = story.offer(AMY)
    assert [effect.kind for effect in effects] == ["RESEND_OFFER"]
    assert only(effects, e.ResendOffer).attempt == attempt
    assert story.attempt(AMY) == attempt


def test_glare_with_the_greater_key_ours_ends_without_failure() -> None:
    story = Story()
    story.announce(ZOE)
    effects = story.offer(ZOE)
    kinds = [effect.kind for effect in effects]
    assert kinds.index("ABORT_ATTEMPT") < kinds.index("ACCEPT_OFFER")
    assert story.peer(ZOE).failures == 0
    assert story.attempt(ZOE) == only(effects, e.AcceptOffer).attempt


def test_glare_needs_no_free_slot() -> None:
    story = Story(Settings(peers_max=1))
    story.announce(ZOE)
    only(story.offer(ZOE), e.AcceptOffer)


def test_an_offer_while_we_dial_an_address() -> None:
    story = Story()
    story.do(a.ConnectToRemotePeer(AMY, Route("address", "net:10.0.0.1:8008")))
    assert only(story.offer(AMY), e.RefuseOffer).not_before_s == 30


def test_a_second_copy_counts_once_and_a_newer_one_replaces() -> None:
    story = Story(hubs=(ONE, TWO))
    first = only(story.offer(BOB, "s1", ONE), e.AcceptOffer)
    assert "already" in ignored(story.offer(BOB, "s1", TWO))
    effects = story.offer(BOB, "s2", TWO)
    assert only(effects, e.AbortAttempt).attempt == first.attempt
    assert only(effects, e.AcceptOffer).session == "s2"


def test_an_offer_beside_a_link_that_would_stay() -> None:
    story = Story()
    story.meet(AMY)
    assert only(story.offer(AMY, "s1"), e.CheckLink).link == 1
    effects = story.offer(AMY, "s2")
    assert none(effects, e.CheckLink), "asked a moment ago"
    assert only(effects, e.RefuseOffer).session == "s2"
    story.pass_time(30)
    only(story.offer(AMY, "s3"), e.CheckLink)


def test_an_offer_beside_a_link_that_would_give_way() -> None:
    story = Story(Settings(handovers_max=1))
    story.meet(ZOE)
    story.arrive(BOB)
    only(story.offer(ZOE), e.AcceptOffer)
    assert story.peer(ZOE).connection_state == "CONNECTED"
    assert "handovers" in only(story.offer(BOB), e.RefuseOffer).reason
    assert story.succeed(ZOE) in story.books.links


def test_handovers_are_answers_too() -> None:
    story = Story(Settings(inbound_attempts_max=1))
    story.arrive(BOB)
    story.offer(CAROL)
    assert "handovers" in only(story.offer(BOB), e.RefuseOffer).reason


def test_a_handover_that_fails_leaves_the_link() -> None:
    story = Story()
    story.arrive(DAVE)
    story.offer(DAVE)
    story.pass_time(31)
    assert story.peer(DAVE).connection_state == "CONNECTED"
    assert story.peer(DAVE).attempt is None


# --- who gets an answer where the dialect hides who is there ------------------------------------------------------


def knock(story: Story, peer: PeerId, session: str = "k") -> e.RefuseOffer:
    return only(story.do(a.RemotePeerDidOffer(ONE, peer, session, settled=True)), e.RefuseOffer)


def test_a_stranger_s_knock_that_is_not_wanted_gets_no_answer_at_all() -> None:
    story = Story(Settings(peers_max=2, strangers_max=1))
    story.do(a.HopsDidChange(((AMY, 1),)))
    story.arrive(BOB)
    assert knock(story, CAROL).not_before_s is None, "the place for strangers is taken"
    story.arrive(AMY)
    assert knock(story, CAROL, "again").not_before_s is None, "the house is full"
    story.do(a.DisconnectFromRemotePeer(BOB, "a test"))
    assert knock(story, BOB, "held").not_before_s is None, "somebody here wanted no link with it"


def test_a_friend_s_knock_is_told_when_to_come_again() -> None:
    story = Story(Settings(peers_max=1))
    story.do(a.HopsDidChange(((AMY, 1), (BOB, 1))))
    story.meet(AMY)
    told = knock(story, BOB).not_before_s
    assert told is not None
    assert told > 40
    story.do(a.DisconnectFromRemotePeer(AMY, "a test"))
    assert knock(story, AMY).not_before_s is not None


def test_who_wants_no_strangers_answers_none_however_alone() -> None:
    story = Story(Settings(strangers_max=0))
    assert knock(story, BOB).not_before_s is None
    story.do(a.HopsDidChange(((AMY, 1),)))
    assert knock(story, BOB, "again").not_before_s is None
    only(story.do(a.RemotePeerDidOffer(ONE, AMY, "k", settled=True)), e.AcceptOffer)


def test_a_blocked_peer_s_knock_gets_no_answer() -> None:
    story = Story()
    story.do(a.HopsDidChange(((AMY, 1),)))
    story.do(a.PeerBlocked(AMY))
    assert knock(story, AMY).not_before_s is None
