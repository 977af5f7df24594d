"""The replication state machine alone, and several of them over a wire that a test delivers in any order."""

from __future__ import annotations

import sys
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssb_rtc.feeds import ebt
from ssb_rtc.feeds.ebt import FLIGHT_MESSAGES, LAG_S, SLOW_S, STALL_S, WITHHELD_S, Replicator
from ssb_rtc.feeds.ebt_session import encode_note, note_receives, note_sequence
from ssb_rtc.feeds.keys import keys_from_seed
from ssb_rtc.types import FeedId, PeerId, peer_of

FEEDS = [keys_from_seed(bytes([n] * 32)).id for n in range(1, 5)]
F, G = FEEDS[:2]
PEERS = [peer_of(feed) for feed in FEEDS]


def replicator(heads: dict[FeedId, int] | None = None, wanted: list[FeedId] | None = None) -> Replicator:
    return Replicator(heads or {}, FEEDS if wanted is None else wanted)


@pytest.mark.parametrize(
    ("note", "sequence", "receives"),
    [(-1, -1, False), (0, 0, True), (1, 0, False), (20000, 10000, True), (5, 2, False)],
)
def test_notes_as_the_field_writes_them(note: int, sequence: int, receives: bool) -> None:
    assert (note_sequence(note), note_receives(note)) == (sequence, receives)
    if note >= 0:
        assert encode_note(sequence, receive=receives) == note


def test_the_acceptor_speaks_first_and_the_dialler_waits() -> None:
    r = replicator({F: 3}, [F, G])
    r.connect("in", PEERS[1], dialled=False)
    assert r.take_notes("in") == {F: 6, G: 0}
    assert r.take_notes("in") is None
    r.connect("out", PEERS[2], dialled=True)
    assert r.take_notes("out") is None
    r.receive_notes("out", {}, 0)
    assert r.take_notes("out") == {F: 7, G: 1}


def test_what_they_ask_for_is_sent_from_there_on_and_kept_up() -> None:
    r = replicator({F: 3})
    r.connect("a", PEERS[1], dialled=False)
    r.receive_notes("a", {F: 2}, 0)
    assert r.next_send("a") == (F, 1)
    r.sent("a", F, 1, 3)
    assert r.next_send("a") is None
    r.advanced(F, 4, 0)
    assert r.next_send("a") == (F, 3)
    r.receive_notes("a", {F: 7}, 0)
    assert r.next_send("a") is None
    r.take_notes("a")
    r.advanced(F, 5, 0)
    assert r.next_send("a") is None
    assert r.take_notes("a") == {F: 10}


def test_a_place_that_was_asked_anew_is_not_overwritten_by_what_was_sent_before() -> None:
    r = replicator({F: 9})
    r.connect("a", PEERS[1], dialled=False)
    r.receive_notes("a", {F: 0}, 0)
    assert r.next_send("a") == (F, 0)
    r.receive_notes("a", {F: 4}, 0)
    r.sent("a", F, 0, 9)
    assert r.next_send("a") == (F, 2)


def test_what_they_sent_is_not_sent_back_and_what_they_no_longer_lack_neither() -> None:
    r = replicator({}, [F])
    r.connect("a", PEERS[1], dialled=False)
    r.receive_notes("a", {F: 0}, 0)
    r.received("a", F, 1, 0)
    r.advanced(F, 1, 0)
    assert r.next_send("a") is None
    r.advanced(F, 2, 0)
    assert r.next_send("a") == (F, 1)
    r.receive_notes("a", {F: 4}, 0)
    assert r.next_send("a") is None


def test_who_falls_back_behind_us_is_told_where_we_are() -> None:
    r = replicator({F: 5}, [F])
    r.connect("b", PEERS[2], dialled=False)
    r.receive_notes("b", {F: 17}, 0)
    r.connect("a", PEERS[1], dialled=False)
    r.receive_notes("a", {F: 17}, 0)
    r.take_notes("a")
    r.advanced(F, 6, 0)
    assert r.take_notes("a") is None
    r.receive_notes("a", {F: 3}, 0)
    assert r.take_notes("a") == {F: 13}


def test_feeds_take_turns() -> None:
    r = replicator({F: 500, G: 500})
    r.connect("a", PEERS[1], dialled=False)
    r.receive_notes("a", {F: 0, G: 0}, 0)
    order = []
    while (following := r.next_send("a")) is not None:
        order.append(following[0])
        r.sent("a", *following, following[1] + 250)
    assert order == [F, G, F, G]


def test_unwanted_and_blocked_feeds_are_refused() -> None:
    r = Replicator({F: 3, G: 3}, [F, G], is_blocked=lambda feed, peer: feed == F and peer == PEERS[1])
    r.connect("a", PEERS[1], dialled=False)
    assert r.take_notes("a") == {G: 6}
    r.receive_notes("a", {F: 0, FEEDS[2]: 8, FEEDS[3]: -1}, 0)
    assert r.take_notes("a") == {F: -1, FEEDS[2]: -1}
    assert r.next_send("a") is None
    r.advanced(F, 4, 0)
    assert r.take_notes("a") is None


def test_a_feed_that_comes_to_be_held_is_served_to_who_asked_before() -> None:
    r = replicator({}, [F])
    r.connect("a", PEERS[3], dialled=False)
    r.receive_notes("a", {G: 0}, 0)
    assert r.take_notes("a") == {F: 1, G: -1}
    r.advanced(G, 2, 0)
    assert r.take_notes("a") == {G: encode_note(2, receive=False)}
    assert r.next_send("a") == (G, 0)


def test_each_feed_is_asked_of_one_and_moves_when_that_one_leaves() -> None:
    r = replicator({F: 1}, [F])
    for key, peer in (("a", PEERS[1]), ("b", PEERS[2]), ("c", PEERS[3])):
        r.connect(key, peer, dialled=False)
    assert [r.take_notes(key) for key in "abc"] == [{F: 2}, {F: 3}, {F: 3}]
    for key, sequence in (("a", 9), ("b", 5), ("c", 7)):
        r.receive_notes(key, {F: sequence * 2 + 1}, 0)
    assert [r.take_notes(key) for key in "abc"] == [None, None, None]
    assert (r.missing("a"), r.missing("b")) == (8, 0)
    r.disconnect("a", 0)
    assert r.source(F) == "c"
    assert (r.take_notes("b"), r.take_notes("c")) == (None, {F: 2})
    r.receive_notes("c", {F: -1}, 0)
    assert (r.source(F), r.take_notes("b")) == ("b", {F: 2})


def test_strangers_who_take_turns_do_not_keep_a_feed_from_those_we_replicate() -> None:
    r = replicator({}, [F, G])
    for key, peer, note in (("liar", PEERS[2], 200), ("next liar", PEERS[3], 400), ("friend", peer_of(G), 18)):
        r.connect(key, peer, dialled=False)
        r.receive_notes(key, {F: note}, 0)
    assert r.source(F) == "liar"
    r.disconnect("liar", 1)
    assert r.source(F) == "friend"


def test_what_strangers_claim_counts_only_where_we_dialled_them() -> None:
    r = replicator({}, [F, G])
    r.connect("stranger", PEERS[2], dialled=False)
    r.receive_notes("stranger", {F: 2**31}, 0)
    assert r.claimed(F) == 0
    r.connect("friend", peer_of(G), dialled=False)
    r.receive_notes("friend", {F: 20}, 0)
    assert r.claimed(F) == 10
    r.connect("pub", PEERS[3], dialled=True)
    r.receive_notes("pub", {F: 40}, 0)
    assert r.claimed(F) == 20


def test_a_stalled_source_loses_its_feed_and_a_lagging_one_sooner() -> None:
    r = replicator({}, [F])
    r.connect("a", PEERS[1], dialled=False)
    r.connect("b", PEERS[2], dialled=False)
    r.take_notes("a"), r.take_notes("b")
    r.receive_notes("a", {F: 0}, 0)
    r.receive_notes("b", {F: 1}, 0)
    r.receive_notes("b", {F: 19}, 0)
    r.tick(LAG_S / 2)
    assert r.source(F) == "a"
    r.tick(LAG_S)
    assert r.source(F) == "b"
    assert (r.take_notes("a"), r.take_notes("b")) == ({F: 1}, {F: 0})
    r.receive_notes("a", {F: 21}, LAG_S)
    r.received("b", F, 1, 5)
    r.advanced(F, 1, 5)
    r.tick(5 + STALL_S - 1)
    assert r.source(F) == "b"
    r.tick(5 + STALL_S)
    assert r.source(F) == "a"
    r.tick(5 + 2 * STALL_S)
    assert r.source(F) == "b"


def test_who_was_ahead_when_we_met_is_asked_at_once() -> None:
    r = replicator({}, [F])
    r.connect("a", PEERS[1], dialled=False)
    r.receive_notes("a", {F: 0}, 0)
    r.connect("b", PEERS[2], dialled=False)
    r.take_notes("a"), r.take_notes("b")
    r.receive_notes("b", {F: 19}, 0)
    assert (r.source(F), r.take_notes("a"), r.take_notes("b")) == ("b", {F: 1}, {F: 0})


def test_the_author_is_asked_for_its_own_feed() -> None:
    r = replicator({}, [F, G])
    r.connect("other", PEERS[2], dialled=False)
    r.receive_notes("other", {F: 20, G: 20}, 0)
    r.connect("author", peer_of(F), dialled=False)
    assert (r.source(F), r.source(G)) == ("author", "other")
    r.disconnect("author", 0)
    assert r.source(F) == "other"


def test_a_busy_source_is_not_a_stalled_one_but_may_not_withhold_a_feed_for_ever() -> None:
    r = replicator({}, [F, G])
    for key, peer in (("a", PEERS[2]), ("b", PEERS[3])):
        r.connect(key, peer, dialled=False)
        r.receive_notes(key, {F: 20, G: 20_000}, 0)
    for second in range(1, int(WITHHELD_S)):
        for sequence in range(20 * second - 19, 20 * second + 1):
            r.received("a", G, sequence, second)
            r.advanced(G, sequence, second)
        r.tick(second)
    assert (r.source(F), r.source(G)) == ("a", "a")
    r.tick(WITHHELD_S)
    assert (r.source(F), r.source(G)) == ("b", "a")


def test_the_only_one_that_is_ahead_is_asked_again() -> None:
    r = replicator({}, [F])
    r.connect("a", PEERS[1], dialled=False)
    r.take_notes("a")
    r.receive_notes("a", {F: 18}, 0)
    r.tick(STALL_S)
    assert r.take_notes("a") == {F: 0}
    r.ask_again(F, STALL_S)
    assert r.take_notes("a") == {F: 0}


def test_a_forked_feed_is_served_and_not_asked_for() -> None:
    r = replicator({F: 3}, [F])
    r.connect("a", PEERS[1], dialled=False)
    r.take_notes("a")
    r.set_forked(F, True, 0)
    assert r.take_notes("a") == {F: 7}
    r.receive_notes("a", {F: 2}, 0)
    assert r.next_send("a") == (F, 1)
    r.connect("b", PEERS[2], dialled=False)
    assert r.take_notes("b") == {F: 7}
    r.receive_notes("b", {F: 20}, 0)
    r.tick(100)
    assert (r.take_notes("a"), r.take_notes("b")) == (None, None)
    r.set_forked(F, False, 100)
    assert r.take_notes("b") == {F: 6}


def test_wanting_and_not_wanting_while_connected() -> None:
    r = Replicator({F: 3}, [], may_serve=lambda _feed: False)
    r.connect("a", PEERS[1], dialled=False)
    assert r.take_notes("a") is None
    r.receive_notes("a", {F: 0, G: 8}, 0)
    assert r.take_notes("a") == {F: -1, G: -1}
    r.want([F, G, FEEDS[2]], 0)
    assert r.take_notes("a") == {F: 6, G: 0, FEEDS[2]: 1}
    assert r.next_send("a") == (F, 0)
    r.unwant([F, FEEDS[3]])
    assert r.take_notes("a") == {F: -1}
    assert r.next_send("a") is None
    assert r.source(F) is None


def test_what_we_hold_and_do_not_want_is_served_to_who_asks_and_never_asked_for() -> None:
    r = replicator({F: 3}, [])
    r.connect("a", PEERS[1], dialled=False)
    assert r.take_notes("a") is None
    r.receive_notes("a", {F: 0, G: 0}, 0)
    assert r.take_notes("a") == {F: 7, G: -1}
    assert r.next_send("a") == (F, 0)
    r.sent("a", F, 0, 3)
    r.advanced(F, 4, 0)
    assert r.next_send("a") == (F, 3)
    r.advanced(G, 1, 0)
    assert r.take_notes("a") == {G: 3}
    assert r.source(F) is r.source(G) is None
    r.receive_notes("a", {F: 20}, 0)
    r.tick(100)
    assert (r.take_notes("a"), r.is_behind) == (None, False)


def test_who_comes_back_to_a_feed_is_asked_again() -> None:
    r = replicator({}, [F])
    r.connect("a", PEERS[1], dialled=False)
    r.receive_notes("a", {F: 8}, 0)
    assert r.take_notes("a") == {F: 0}
    r.receive_notes("a", {F: -1}, 0)
    r.receive_notes("a", {F: 8}, 0)
    assert r.take_notes("a") == {F: 0}


def test_a_second_session_tells_only_what_changed() -> None:
    r = replicator({F: 3, G: 3}, [F, G])
    r.connect("a", PEERS[1], dialled=False)
    r.receive_notes("a", {F: 6, G: 4}, 0)
    r.connect("b", PEERS[1], dialled=False, remembered=r.disconnect("a", 0))
    assert r.take_notes("b") == {G: 6}
    r.advanced(F, 4, 0)
    assert r.take_notes("b") == {F: 9}
    r.receive_notes("b", {F: 6}, 0)
    assert r.next_send("b") == (F, 3)


def test_of_clocks_only_what_matters_here_is_remembered() -> None:
    r = replicator({F: 3}, [G])
    r.connect("a", PEERS[1], dialled=False)
    r.receive_notes("a", dict.fromkeys(FEEDS, 8), 0)
    assert r.disconnect("a", 0) == {G: 8}


def test_bad_notes_are_ignored_and_their_number_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    r = replicator({}, [F])
    r.connect("a", PEERS[1], dialled=False)
    r.take_notes("a")
    bad = {F: 1.5, "@x.ed25519": 2, G: True, FEEDS[2]: -2, FEEDS[3]: 2**40}
    assert r.receive_notes("a", bad, 0) == 5
    assert r.take_notes("a") is None
    monkeypatch.setattr(ebt, "REFUSED_MAX", 2)
    assert r.receive_notes("a", dict.fromkeys(FEEDS, 2), 0) == 0
    assert r.take_notes("a") == {F: 0, G: -1, FEEDS[2]: -1}
    assert r.receive_notes("a", dict.fromkeys(FEEDS, 4), 0) == 0
    assert r.take_notes("a") is None
    assert r.receive_notes("nobody", {F: 2}, 0) == 0


def test_notes_are_told_in_bodies_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ebt, "NOTES_A_BODY_MAX", 3)
    r = replicator()
    r.connect("a", peer_of(feeds_of(1)[0]), dialled=False)
    first, second = r.take_notes("a"), r.take_notes("a")
    assert first is not None
    assert second is not None
    assert (len(first), len(second)) == (3, 1)
    assert {**first, **second} == dict.fromkeys(FEEDS, 1)


def feeds_of(count: int) -> list[FeedId]:
    return [FeedId(f"@{b64encode(n.to_bytes(32, 'big')).decode()}.ed25519") for n in range(count)]


def steps_of(work: Callable[[], object]) -> int:
    """How many lines of feeds.ebt run; unlike time it is the same on every machine."""
    lines = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace if "feeds/ebt" in frame.f_code.co_filename else None

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    return lines


def a_day_of(feeds: list[FeedId]) -> None:
    """Sessions come, tell, send, stall, are blocked and go."""
    r = Replicator(dict.fromkeys(feeds, 5), feeds)
    for key in range(6):
        r.connect(key, PeerId(feeds[key]), dialled=False)
        r.take_notes(key)
        r.receive_notes(key, dict.fromkeys(feeds, 12 + key), 0)
    for second in (1, 2, 20):
        r.tick(second)
    for feed in feeds:
        r.received(5, feed, 6, 21)
        r.advanced(feed, 6, 21)
        r.blocks_changed(feed, 21)
    for key in range(6):
        while following := r.next_send(key):
            r.sent(key, *following, 6)
        r.missing(key)
    r.unwant(feeds[::2])
    r.want(feeds[::2], 30)
    for key in range(6):
        clock = r.disconnect(key, 31)
        r.connect(key, PeerId(feeds[key]), dialled=True, remembered=clock)
        r.receive_notes(key, {}, 31)


def test_ten_times_the_feeds_are_ten_times_the_work() -> None:
    few, many = steps_of(lambda: a_day_of(feeds_of(200))), steps_of(lambda: a_day_of(feeds_of(2_000)))
    assert many < 10.5 * few


# --- slow, idle and blocked ones ---


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


# --- several machines and a wire ---


@dataclass
class Node:
    """A peer with a log that is only sequences; a message is its feed and sequence."""

    log: dict[FeedId, int]
    wanted: list[FeedId]
    machine: Replicator = field(init=False)

    def __post_init__(self) -> None:
        self.machine = Replicator(self.log, self.wanted)


class Net:
    """Links between nodes; each direction is a queue that a schedule empties a frame at a time."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.wires: dict[tuple[int, int], deque[object]] = {}
        self.now_s = 0.0

    def connect(self, dialler: int, acceptor: int) -> None:
        if (dialler, acceptor) in self.wires:
            return
        for one, other, dialled in ((dialler, acceptor, True), (acceptor, dialler, False)):
            self.wires[one, other] = deque()
            self.nodes[one].machine.connect(other, PEERS[other], dialled=dialled, now_s=self.now_s)
            if not dialled:
                self.wires[one, other].append(self.nodes[one].machine.take_notes(other) or {})

    def disconnect(self, one: int, other: int) -> None:
        if (one, other) in self.wires:
            for a, b in ((one, other), (other, one)):
                del self.wires[a, b]
                self.nodes[a].machine.disconnect(b, self.now_s)

    def append(self, node: int, feed: FeedId) -> None:
        log = self.nodes[node].log
        log[feed] = log.get(feed, 0) + 1
        self.nodes[node].machine.advanced(feed, log[feed], self.now_s)

    def toggle(self, one: int, feed: FeedId) -> None:
        node = self.nodes[one]
        if feed in node.wanted:
            node.wanted.remove(feed)
            node.machine.unwant([feed])
        else:
            node.wanted.append(feed)
            node.machine.want([feed], self.now_s)

    def speak(self, one: int, other: int) -> bool:
        """Puts what `one` has for `other` on the wire, a frame of notes or up to three messages."""
        machine, wire = self.nodes[one].machine, self.wires[one, other]
        notes = machine.take_notes(other)
        if notes:
            wire.append(notes)
            return True
        following = machine.next_send(other)
        if following is None:
            return False
        feed, after = following
        upto = min(after + 3, self.nodes[one].log.get(feed, 0))
        machine.sent(other, feed, after, upto)
        wire.extend((feed, sequence) for sequence in range(after + 1, upto + 1))
        return True

    def deliver(self, one: int, other: int) -> bool:
        wire = self.wires[one, other]
        if not wire:
            return False
        frame, node = wire.popleft(), self.nodes[other]
        if isinstance(frame, dict):
            node.machine.receive_notes(one, frame, self.now_s)
            return True
        assert isinstance(frame, tuple)
        feed, sequence = frame
        if feed not in node.wanted:
            return True
        node.machine.received(one, feed, sequence, self.now_s)
        if sequence == node.log.get(feed, 0) + 1:
            node.log[feed] = sequence
            node.machine.advanced(feed, sequence, self.now_s)
        return True

    def settle(self) -> int:
        """Runs until nothing moves, with time passing; returns the frames that it took."""
        frames = 0
        for _ in range(60):
            moved = True
            while moved:
                moved = False
                for one, other in list(self.wires):
                    while self.speak(one, other):
                        moved = True
                    while self.deliver(one, other):
                        moved = True
                        frames += 1
                        assert frames < 20_000, "they never stop talking"
            self.now_s += 1
            for node in self.nodes:
                node.machine.tick(self.now_s)
        return frames


pairs = st.sampled_from([(a, b) for a in range(3) for b in range(3) if a != b])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("speak"), pairs),
        st.tuples(st.just("deliver"), pairs),
        st.tuples(st.just("deliver"), pairs),
        st.tuples(st.just("connect"), pairs),
        st.tuples(st.just("disconnect"), pairs),
        st.tuples(st.just("append"), pairs),
        st.tuples(st.just("tick"), pairs),
        st.tuples(st.just("toggle"), pairs),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(script=steps, links=st.sampled_from([[(0, 1)], [(0, 1), (1, 2)], [(0, 1), (2, 1), (0, 2)], [(1, 0), (2, 0)]]))
def test_any_schedule_ends_with_everybody_whole(
    script: list[tuple[str, tuple[int, int]]], links: list[tuple[int, int]]
) -> None:
    """Three nodes write their own feeds while links come and go; at the end those that are linked hold the same."""
    net = Net([Node({FEEDS[n]: 4 + n}, list(FEEDS[:3])) for n in range(3)])
    for one, other in links:
        net.connect(one, other)
    for what, (one, other) in script:
        if what == "connect" and (one, other) not in net.wires:
            net.connect(one, other)
        elif what == "disconnect":
            net.disconnect(one, other)
        elif what == "append":
            net.append(one, FEEDS[one])
        elif what == "toggle":
            net.toggle(one, FEEDS[other])
        elif what == "tick":
            net.now_s += 1
            for node in net.nodes:
                node.machine.tick(net.now_s)
        elif what in ("speak", "deliver") and (one, other) in net.wires:
            (net.speak if what == "speak" else net.deliver)(one, other)
    for one, other in links:
        if (one, other) not in net.wires:
            net.connect(one, other)
    for number, node in enumerate(net.nodes):
        for feed in set(FEEDS[:3]) - set(node.wanted):
            net.toggle(number, feed)
    net.settle()
    linked = sorted({n for link in [*links, *net.wires] for n in link})
    for feed in FEEDS[: len(linked)]:
        held = {net.nodes[n].log.get(feed, 0) for n in linked}
        assert held == {max(net.nodes[n].log.get(feed, 0) for n in range(3))}, (feed, [n.log for n in net.nodes])


@settings(max_examples=100)
@given(wants=st.lists(st.lists(st.sampled_from(FEEDS), unique=True, max_size=4), min_size=3, max_size=3))
def test_nobody_gets_what_it_does_not_want(wants: list[list[FeedId]]) -> None:
    net = Net([Node({FEEDS[n]: 5}, [*{FEEDS[n], *wants[n]}]) for n in range(3)])
    for one, other in ((0, 1), (1, 2), (0, 2)):
        net.connect(one, other)
    net.settle()
    for n, node in enumerate(net.nodes):
        assert set(node.log) <= {FEEDS[n], *wants[n]}
        for feed in wants[n]:
            if feed in FEEDS[:3]:
                assert node.log.get(feed) == 5


def test_live_messages_travel_once_over_a_triangle() -> None:
    net = Net([Node({}, FEEDS[:3]) for _ in range(3)])
    for one, other in ((0, 1), (1, 2), (0, 2)):
        net.connect(one, other)
    net.settle()
    for _ in range(100):
        net.append(0, FEEDS[0])
    frames = net.settle()
    assert all(node.log[FEEDS[0]] == 100 for node in net.nodes)
    assert frames < 320
