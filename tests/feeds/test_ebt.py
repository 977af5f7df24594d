"""The replication state machine alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from ssb_rtc.feeds import ebt
from ssb_rtc.feeds.ebt import LAG_S, STALL_S, WITHHELD_S, Replicator
from ssb_rtc.feeds.ebt_session import encode_note, note_receives, note_sequence
from ssb_rtc.types import FeedId, PeerId, peer_of
from tests.feeds.replicators import FEEDS, PEERS, F, G, feeds_of, replicator


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
