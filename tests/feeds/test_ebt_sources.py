"""Of whom the replication state machine asks what: slow, idle and blocked ones."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ssb_rtc.feeds.ebt import FLIGHT_MESSAGES, LAG_S, SLOW_S, STALL_S, Replicator
from ssb_rtc.types import FeedId, PeerId
from tests.feeds.replicators import FEEDS, PEERS, F, G, feeds_of, replicator


def ahead_of(r: Replicator, feeds: Sequence[FeedId], *keys: str, sequence: int = 50) -> None:
    for number, key in enumerate(keys):
        r.connect(key, PEERS[number + 1], dialled=False)
        r.receive_notes(key, dict.fromkeys(feeds, sequence * 2 + 1), 0)


def deliver(r: Replicator, key: str, feed: FeedId, sequence: int, now_s: float) -> None:
    r.received(key, feed, sequence, now_s)
    r.advanced(feed, sequence, now_s)


@pytest.mark.parametrize("every_s", [9.0, 1.0, 0.2])
def test_who_drips_loses_the_feed_to_who_has_it_too(every_s: float) -> None:
    r = replicator({}, [F])
    ahead_of(r, [F], "drip", "other", sequence=100_000)
    now_s, sequence, next_s = 0.0, 0, every_s
    while r.source(F) == "drip":
        now_s += LAG_S
        assert now_s < 3 * STALL_S
        if now_s >= next_s:
            sequence, next_s = sequence + 1, next_s + every_s
            deliver(r, "drip", F, sequence, now_s)
        r.receive_notes("drip", {F: 200_001}, now_s)  # a sign of life is no message
        r.tick(now_s)
    for tick in range(int(2 * STALL_S / LAG_S)):
        r.tick(now_s + tick * LAG_S)
    assert r.source(F) == "drip"  # the other sent nothing at all


def test_who_is_slow_and_alone_goes_on_and_is_not_pestered() -> None:
    r = replicator({}, [F])
    ahead_of(r, [F], "slow")
    r.take_notes("slow")
    for second in range(1, 40):
        deliver(r, "slow", F, second, second)
        r.tick(second)
    assert (r.source(F), r.take_notes("slow")) == ("slow", None)
    assert not r.given_up("slow", 39), "it is asked still"


def test_slow_on_one_feed_is_slow_on_all() -> None:
    r = replicator({}, [F, FEEDS[3]])
    ahead_of(r, [F, FEEDS[3]], "slow", "other")
    for second in range(1, 12):
        deliver(r, "slow", F, second, second)
        r.tick(second)
    assert (r.source(F), r.source(FEEDS[3])) == ("other", "other")


def test_who_was_too_slow_is_given_up_for_a_while_where_others_have_it_too() -> None:
    r = replicator({}, [F, FEEDS[3]])
    ahead_of(r, [F, FEEDS[3]], "slow", "other")
    assert not r.given_up("slow", 0)
    for second in range(1, 12):
        deliver(r, "slow", F, second, second)
        r.tick(second)
    assert (r.given_up("slow", 11), r.given_up("other", 11), r.given_up("nobody", 11)) == (True, False, False)
    assert (r.missing("slow"), r.missing("other")) == (0, 39 + 50)
    assert not r.given_up("slow", 11 + SLOW_S), "it may be asked again"
    deliver(r, "other", F, 50, 12)
    deliver(r, "other", FEEDS[3], 50, 12)
    assert not r.given_up("slow", 12), "nothing is missing"


def flight(r: Replicator, feeds: Sequence[FeedId], key: str) -> list[FeedId]:
    return [feed for feed in feeds if r.source(feed) == key]


def test_of_each_session_only_so_much_is_asked_and_more_when_it_has_come() -> None:
    feeds = feeds_of(400)
    r = replicator({}, feeds)
    ahead_of(r, feeds, "a", "b", "c")
    share = FLIGHT_MESSAGES // 50
    assert [flight(r, feeds, key) for key in "abc"] == [feeds[share * n : share * (n + 1)] for n in range(3)]
    asked = {feed for feed, note in (r.take_notes("b") or {}).items() if note == 0}
    assert asked == set(feeds[share : 2 * share])
    for feed in feeds[share : 2 * share]:  # what is asked next depends on who has sent, not on who came first
        for sequence in range(1, 51):
            deliver(r, "b", feed, sequence, 1)
    more = flight(r, feeds, "b")
    assert share + share // 2 <= len(more) - len(asked & set(more)) + share <= 2 * share
    assert not set(more[share:]) & set(feeds[: 3 * share])
    assert (len(flight(r, feeds, "a")), len(flight(r, feeds, "c"))) == (share, share)


def test_every_feed_comes_once_from_the_fast_and_the_slow() -> None:
    feeds = feeds_of(500)
    r = replicator({}, feeds)
    ahead_of(r, feeds, "fast", "slow", "gone")
    arrived, now_s = dict.fromkeys(feeds, 0), 0.0
    while sum(arrived.values()) < 500 * 50:
        now_s += 0.1
        assert now_s < 20
        for key, count in (("fast", 40), ("slow", 4), ("gone", 10)):
            for feed in flight(r, feeds, key)[:]:
                if count and arrived[feed] < 50:
                    count -= 1  # noqa: PLW2901
                    arrived[feed] += 25
                    deliver(r, key, feed, arrived[feed] - 24, now_s)
                    deliver(r, key, feed, arrived[feed], now_s)
        if now_s > 1:
            r.disconnect("gone", now_s)
        r.tick(now_s)
    assert set(arrived.values()) == {50}
    assert not r.is_behind
    assert len(flight(r, feeds, "fast")) > 3 * len(flight(r, feeds, "slow"))


def test_the_slow_are_asked_a_feed_at_a_time_while_nobody_else_has_it() -> None:
    feeds = feeds_of(100)
    r = replicator({}, [F, *feeds])
    ahead_of(r, [F], "slow", "other")
    for second in (1, 11.5):
        r.tick(second)
    assert r.source(F) == "other"
    r.receive_notes("slow", dict.fromkeys(feeds, 20), 12)
    assert flight(r, feeds, "slow") == feeds[:1]
    r.receive_notes("other", dict.fromkeys(feeds, 20), 12)
    assert flight(r, feeds, "other") == feeds[1:]


def test_blocks_stop_serving_and_asking_at_once_and_end() -> None:
    blocked: set[tuple[FeedId, PeerId]] = set()
    r = Replicator({F: 3, G: 3}, [F, G], is_blocked=lambda feed, peer: (feed, peer) in blocked)
    r.connect("a", PEERS[2], dialled=False)
    r.connect("b", PEERS[3], dialled=False)
    r.receive_notes("a", {F: 20, G: 0}, 0)
    r.receive_notes("b", {F: 20}, 0)
    r.take_notes("a"), r.take_notes("b")
    blocked.update({(F, PEERS[2]), (G, PEERS[2])})
    r.blocks_changed(F, 1)
    r.blocks_changed(G, 1)
    assert (r.source(F), r.next_send("a")) == ("b", None)
    assert (r.take_notes("a"), r.take_notes("b")) == ({F: -1, G: -1}, {F: 6, G: 6})
    r.advanced(G, 4, 1)
    assert (r.take_notes("a"), r.next_send("a")) == (None, None)
    blocked.clear()
    r.blocks_changed(G, 2)
    assert r.take_notes("a") == {G: 9}
    assert r.next_send("a") == (G, 0)
