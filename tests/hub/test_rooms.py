"""The rooms against a hub that a child would write: every subscriber hears every post in order, once a subscription."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.hub.rooms import Rooms, RoomsFull


def rooms_of(channels_max: int = 100, subscribers_max: int = 100, each_max: int = 8) -> Rooms[str]:
    return Rooms(
        channels_max=channels_max,
        subscribers_max=subscribers_max,
        channels_per_subscriber_max=each_max,
        heartbeat_s=30.0,
    )


def taken(rooms: Rooms[str]) -> dict[str, list[bytes]]:
    heard: dict[str, list[bytes]] = defaultdict(list)
    for frames, readers in rooms.take():
        for reader in readers:
            heard[reader] += frames
    return dict(heard)


def test_a_post_is_heard_by_those_who_listen_now() -> None:
    rooms = rooms_of()
    rooms.subscribe("ann", [b"a/x"], 0.0)
    rooms.subscribe("bob", [b"a/x", b"a/y"], 0.0)
    assert rooms.post(b"a/x", b"1") == 2
    assert rooms.post(b"a/y", b"2") == 1
    assert rooms.post(b"a/z", b"3") == 0
    assert taken(rooms) == {"ann": [b"1"], "bob": [b"1", b"2"]}
    assert taken(rooms) == {}
    assert not rooms.pending


def test_a_name_given_twice_is_heard_twice_and_counts_twice() -> None:
    rooms = rooms_of()
    rooms.subscribe("ann", [b"a/dup", b"a/dup"], 0.0)
    assert rooms.subscriptions == 2
    assert rooms.channels == 1
    assert rooms.post(b"a/dup", b"1") == 2
    assert taken(rooms) == {"ann": [b"1", b"1"]}
    rooms.unsubscribe("ann")
    assert (rooms.subscriptions, rooms.channels) == (0, 0)


def test_readers_of_one_channel_share_one_batch() -> None:
    rooms = rooms_of()
    for name in ("ann", "bob", "cy"):
        rooms.subscribe(name, [b"a/x"], 0.0)
    rooms.post(b"a/x", b"1")
    rooms.post(b"a/x", b"2")
    batches = [(list(frames), list(readers)) for frames, readers in rooms.take()]
    assert batches == [([b"1", b"2"], ["ann", "bob", "cy"])]


def test_heartbeats_come_for_each_channel_in_its_own_time() -> None:
    rooms = rooms_of()
    rooms.subscribe("ann", [b"a/x"], 0.0)
    rooms.subscribe("bob", [b"a/y", b"a/z"], 10.0)
    rooms.beat(b":", 29.9)
    assert taken(rooms) == {}
    rooms.beat(b":", 30.0)
    assert taken(rooms) == {"ann": [b":"]}
    rooms.beat(b":", 41.0)
    assert taken(rooms) == {"bob": [b":", b":"]}
    rooms.unsubscribe("ann")
    rooms.subscribe("ann", [b"a/x"], 50.0)
    rooms.beat(b":", 79.0)
    assert taken(rooms) == {"bob": [b":", b":"]}
    rooms.beat(b":", 80.0)
    assert taken(rooms) == {"ann": [b":"]}


def test_limits_refuse_and_change_nothing() -> None:
    rooms = rooms_of(channels_max=2, subscribers_max=3, each_max=2)
    with pytest.raises(RoomsFull, match="more than 2 channels in one request"):
        rooms.subscribe("ann", [b"a/1", b"a/2", b"a/3"], 0.0)
    rooms.subscribe("ann", [b"a/1", b"a/2"], 0.0)
    with pytest.raises(RoomsFull, match="2 channels"):
        rooms.subscribe("bob", [b"a/3"], 0.0)
    rooms.subscribe("bob", [b"a/1"], 0.0)
    with pytest.raises(RoomsFull, match="3 subscribers"):
        rooms.subscribe("cy", [b"a/1"], 0.0)
    assert (rooms.subscriptions, rooms.channels) == (3, 2)


NAMES = st.sampled_from([b"a/1", b"a/2", b"b/1"])
WHO = st.sampled_from(["ann", "bob", "cy"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("subscribe"), WHO, st.lists(NAMES, min_size=1, max_size=4)),
        st.tuples(st.just("unsubscribe"), WHO, st.just([])),
        st.tuples(st.just("post"), st.just(""), st.lists(NAMES, min_size=1, max_size=3)),
        st.tuples(st.just("take"), st.just(""), st.just([])),
    ),
    max_size=40,
)


@given(STEPS)
def test_like_the_plain_model(steps: list[tuple[str, str, list[bytes]]]) -> None:
    rooms = rooms_of()
    model: dict[str, list[bytes]] = {}
    expected: dict[str, list[bytes]] = {}
    number = 0
    for what, who, names in steps:
        if what == "subscribe" and who not in model:
            if rooms.pending:
                assert taken(rooms) == expected
                expected = {}
            rooms.subscribe(who, names, 0.0)
            model[who] = names
        elif what == "unsubscribe":
            rooms.unsubscribe(who)
            model.pop(who, None)
            expected.pop(who, None)
        elif what == "post":
            for name in names:
                number += 1
                frame = b"%d" % number
                deliveries = 0
                for listener, heard in model.items():
                    times = heard.count(name)
                    if times:
                        deliveries += times
                        expected.setdefault(listener, []).extend([frame] * times)
                assert rooms.post(name, frame) == deliveries
        elif what == "take":
            assert taken(rooms) == expected
            expected = {}
        assert rooms.subscriptions == sum(map(len, model.values()))
        assert rooms.channels == len({name for names in model.values() for name in names})
    assert taken(rooms) == expected
