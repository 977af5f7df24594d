"""What opens private messages, and the group keys that it learns."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.feeds import bfe, box2, canonical, groups, private
from ssb_rtc.feeds.box2 import Place, TrialKey
from ssb_rtc.feeds.groups import GroupKey
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.feeds.refs import feed_id, msg_id
from ssb_rtc.storage.database import open_database
from ssb_rtc.storage.group_keys import KEYS_MAX, KEYS_OF_ONE_MAX, STRANGERS_KEYS_MAX, GroupKeys
from ssb_rtc.storage.unboxer import Unboxer
from ssb_rtc.types import FeedId, MsgId
from tests.storage.feedmaker import Store, keys_of

OURS, FRIEND, STRANGER = keys_of(1), keys_of(2), keys_of(3)
GROUP_KEY = bytes(range(32))
GROUP = f"%{b64encode(bytes(32)).decode()}.cloaked"
BEFORE = msg_id(bytes(range(32)))
TEXT = {"type": "post", "text": "hush"}


def envelope(content: Any, author: Keys, keys: list[TrialKey], previous: MsgId | None = BEFORE) -> str:
    place = Place(bfe.encode(author.id), bfe.encode(previous))
    return b64encode(box2.box(canonical.compact(content), place, b"\x07" * 32, keys)).decode() + ".box2"


def to_us(content: Any, author: Keys = FRIEND, *others: Keys) -> str:
    return envelope(content, author, [groups.direct_key(author, one.id) for one in (*others, OURS)])


def to_group(content: Any, author: Keys = FRIEND, previous: MsgId | None = BEFORE) -> str:
    return envelope(content, author, [TrialKey(GROUP_KEY, groups.GROUP)], previous)


def add_member(key: bytes = GROUP_KEY) -> dict[str, Any]:
    return {
        "type": "group/add-member",
        "version": "v1",
        "groupKey": b64encode(key).decode(),
        "root": BEFORE,
        "recps": [GROUP, OURS.id],
        "tangles": {},
    }


def told_by(author: int, number: int) -> GroupKey:
    return GroupKey(author.to_bytes(16, "big") + number.to_bytes(16, "big"), GROUP, BEFORE, keys_of(author).id)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "db", OURS)
    yield opened
    await opened.close()


@pytest.fixture
def unboxer(store: Store) -> Unboxer:
    return Unboxer(OURS, GroupKeys(store.database))


async def test_both_kinds_open(unboxer: Unboxer) -> None:
    boxed = private.box(TEXT, [OURS.id, FRIEND.id], random=bytes(range(88)))
    assert unboxer.unbox(boxed, FRIEND.id, BEFORE) == TEXT
    assert unboxer.unbox(to_us(TEXT), FRIEND.id, BEFORE) == TEXT
    assert unboxer.unbox(to_us(TEXT, FRIEND, *[keys_of(at) for at in range(10, 25)]), FRIEND.id, BEFORE) == TEXT


async def test_what_is_not_for_us_stays_shut(unboxer: Unboxer) -> None:
    boxed = private.box(TEXT, [FRIEND.id], random=bytes(range(88)))
    assert unboxer.unbox(boxed, FRIEND.id, BEFORE) is None
    assert unboxer.unbox(to_us(TEXT), STRANGER.id, BEFORE) is None
    assert unboxer.unbox(to_us(TEXT), FRIEND.id, None) is None
    assert unboxer.unbox(to_us(TEXT).removesuffix("2"), FRIEND.id, BEFORE) is None
    assert unboxer.unbox(to_us(TEXT).replace(".box2", ".box3"), FRIEND.id, BEFORE) is None
    assert unboxer.unbox(to_us(TEXT), OURS.id, BEFORE) is None
    assert unboxer.unbox(to_us(TEXT), feed_id(bytes(32)), BEFORE) is None
    assert unboxer.unbox(to_us(TEXT)[:-12] + ".box2", FRIEND.id, BEFORE) is None
    assert unboxer.unbox("A" * private.BOXED_MAX_BYTES + ".box2", FRIEND.id, BEFORE) is None


async def test_a_group_key_opens_what_came_before_it(unboxer: Unboxer, store: Store) -> None:
    early = to_group(TEXT, STRANGER, None)
    assert unboxer.unbox(early, STRANGER.id, None) is None
    heard: list[GroupKey] = []
    unboxer.group_keys.subscribe(heard.append)
    for _ in range(2):
        assert unboxer.unbox(to_us(add_member()), FRIEND.id, BEFORE) == add_member()
    assert heard == [GroupKey(GROUP_KEY, GROUP, BEFORE, FRIEND.id)]
    assert unboxer.group_keys.count == 1
    assert unboxer.unbox(early, STRANGER.id, None) == TEXT
    # Even our own, written by another program with the same secret.
    assert unboxer.unbox(to_group(TEXT, OURS), OURS.id, BEFORE) == TEXT
    assert Unboxer(OURS, GroupKeys(store.database)).unbox(early, STRANGER.id, None) == TEXT


async def test_a_key_told_inside_a_transaction_is_part_of_it(unboxer: Unboxer, store: Store) -> None:
    connection = store.database.connection
    connection.execute("BEGIN")
    unboxer.unbox(to_us(add_member()), FRIEND.id, BEFORE)
    connection.execute("ROLLBACK")
    assert GroupKeys(store.database).count == 0
    with store.database.transaction():
        unboxer.unbox(to_us(add_member(bytes(32))), FRIEND.id, BEFORE)
    assert GroupKeys(store.database).count == 1


async def test_nobody_takes_all_the_room(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    kept = GroupKeys(store.database)
    with caplog.at_level(logging.WARNING):
        added = [kept.add(told_by(1, number)) for number in range(KEYS_OF_ONE_MAX + 1)]
    assert added == [True] * KEYS_OF_ONE_MAX + [False]
    assert "not kept" in caplog.text
    for author in range(2, KEYS_MAX):
        kept.add(told_by(author, 0))
    assert kept.count == KEYS_MAX
    assert len(GroupKeys(store.database).keys) == KEYS_MAX


async def test_strangers_leave_room_for_friends(store: Store) -> None:
    kept = GroupKeys(store.database, lambda author: author == FRIEND.id)
    told = [kept.add(told_by(author, 0)) for author in range(10, 10 + STRANGERS_KEYS_MAX + 5)]
    assert told == [True] * STRANGERS_KEYS_MAX + [False] * 5
    assert kept.add(told_by(2, 0))
    assert told_by(2, 0).added_by == FRIEND.id


async def test_messages_in_the_log(unboxer: Unboxer, store: Store) -> None:
    public = await store.author.publish({"type": "post", "text": 'a "quoted.box" in public'})
    sealed = await store.author.publish({**TEXT, "recps": [FRIEND.id, OURS.id]})
    shut = await store.author.publish({**TEXT, "recps": [FRIEND.id]})
    odd = await store.author.publish({"type": "post", "text": ".box"})
    assert [unboxer.unbox_stored(one) for one in (public, sealed, shut, odd)] == [
        None,
        {**TEXT, "recps": [FRIEND.id, OURS.id]},
        None,
        None,
    ]
    assert b"hush" not in sealed.raw


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Any:
    database = open_database(tmp_path_factory.mktemp("unboxer") / "db", create=True)
    unboxer = Unboxer(OURS, GroupKeys(database))
    unboxer.unbox(to_us(add_member()), FRIEND.id, BEFORE)
    yield unboxer
    database.close()


@given(st.binary(max_size=400) | st.binary(max_size=60).map(lambda tail: bytes(32) + tail))
def test_no_bytes_raise(lasting: Unboxer, data: bytes) -> None:
    assert lasting.unbox(b64encode(data).decode() + ".box2", FRIEND.id, BEFORE) is None


@given(st.text(max_size=60), st.text(max_size=60), st.none() | st.text(max_size=60))
def test_no_text_raises(lasting: Unboxer, text: str, author: str, previous: str | None) -> None:
    assert lasting.unbox(f"{text}.box2", FeedId(author), MsgId(previous) if previous is not None else None) is None
    assert lasting.unbox_value({"content": text, "author": author, "previous": previous}) is None


@given(st.binary(min_size=1, max_size=100))
def test_a_member_may_write_anything(lasting: Unboxer, plain: bytes) -> None:
    place = Place(bfe.encode(FRIEND.id), bfe.encode(BEFORE))
    boxed = box2.box(plain, place, b"\x07" * 32, [TrialKey(GROUP_KEY, groups.GROUP)])
    lasting.unbox(b64encode(boxed).decode() + ".box2", FRIEND.id, BEFORE)
