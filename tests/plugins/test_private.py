"""`private.*`: what local callers publish and open, and what older messages a new group key opens."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc.errors import RemoteCallError
from ssb_rtc.feeds import bfe, box2, canonical, groups, message, private, validate
from ssb_rtc.feeds.box2 import Place, TrialKey
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.feeds.validate import Checked
from ssb_rtc.plugins.feed import Feed
from ssb_rtc.plugins.indexes import IndexKeeping
from ssb_rtc.plugins.private import Private
from ssb_rtc.storage.query import Query
from ssb_rtc.transport.link import Link, open_plain_link
from ssb_rtc.transport.memory import stream_pair
from ssb_rtc.types import PeerId
from tests.plugins.machines import Machine, connect
from tests.storage.feedmaker import keys_of

POST = {"type": "post", "text": "hush"}
GROUP_KEY = bytes(range(32))


class Writer:
    """Somebody else's feed with private messages in it."""

    def __init__(self, number: int) -> None:
        self.keys = keys_of(number)
        self.made: list[Checked] = []

    def write(self, content: Any, *recipients: TrialKey) -> None:
        """A message of the second kind, or with no recipients just this content."""
        head = self.made[-1].head if self.made else None
        if recipients:
            place = Place(bfe.encode(self.keys.id), bfe.encode(head.id if head else None))
            boxed = box2.box(canonical.compact(content), place, b"\x07" * 32, recipients)
            content = b64encode(boxed).decode() + ".box2"
        sequence = head.sequence + 1 if head else 1
        value = message.create(
            self.keys, content, previous=head.id if head else None, sequence=sequence, timestamp_ms=1e12 + sequence
        )
        self.made.append(validate.check(head, value))

    def add_member(self, member: Keys, key: bytes = GROUP_KEY) -> None:
        content = {
            "type": "group/add-member",
            "version": "v1",
            "groupKey": b64encode(key).decode(),
            "root": self.made[0].key,
            "recps": [f"%{b64encode(bytes(32)).decode()}.cloaked", member.id],
        }
        self.write(content, TrialKey(key, groups.GROUP), groups.direct_key(self.keys, member.id))


def machine(folder: Path, number: int = 1) -> Machine:
    made = Machine(folder / f"{number}.db", number)
    for plugin in (Feed(), IndexKeeping(), Private()):
        made.registry.add(plugin)
    return made


async def local_link(to: Machine) -> Link:
    ours, theirs = stream_pair()
    await open_plain_link(theirs, own=PeerId(to.keys.id), router=to.registry, dialled=False)
    return await open_plain_link(ours, own=PeerId(to.keys.id), router=to.registry, dialled=True)


async def test_published_privately_and_read_by_both(tmp_path: Path) -> None:
    one, other = machine(tmp_path, 1), machine(tmp_path, 2)
    link = await local_link(one)
    recps = [one.keys.id, {"link": other.keys.id, "name": "other"}]
    made = await link.call("private.publish", POST, recps)
    text = made["value"]["content"]
    assert text.endswith(".box")
    assert await link.call("private.unbox", text) == POST
    opened = await link.call("private.unbox", made)
    assert opened["value"]["content"] == POST
    assert opened["value"]["private"] is True
    assert opened["value"]["meta"]["original"]["content"] == text
    assert {**opened, "value": made["value"]} == made
    assert private.unbox(text, other.keys) == POST
    listed = [item async for item in link.source("createLogStream", {"private": True})]
    assert listed == [opened]
    assert [item async for item in link.source("createLogStream")] == [made]
    await link.close()
    for each in (one, other):
        await each.close()


async def test_publish_encrypts_for_whom_the_content_names(tmp_path: Path) -> None:
    """Nobody who names recipients expects the world to read it, whichever method they call."""
    one = machine(tmp_path)
    link = await local_link(one)
    content = {**POST, "recps": [one.keys.id, keys_of(9).id]}
    made = await link.call("publish", content)
    assert await link.call("private.unbox", made["value"]["content"]) == content
    for odd in ([], ["nobody"], "%x", 7):
        with pytest.raises(RemoteCallError, match="recipient"):
            await link.call("publish", {**POST, "recps": odd})
    assert one.sequence(one.keys.id) == 1
    await link.close()
    await one.close()


@pytest.mark.parametrize(
    ("content", "recps", "says"),
    [
        (POST, [], "1 to 7 recipients"),
        (POST, None, "recipient"),
        (POST, [keys_of(at).id for at in range(8)], "1 to 7 recipients, not 8"),
        (POST, ["%group.cloaked"], "recipient"),
        ("text", [keys_of(1).id], "type"),
        ({"text": "no type"}, [keys_of(1).id], "type"),
        ({**POST, "text": "x" * 9000}, [keys_of(1).id], "8192"),
    ],
)
async def test_what_is_not_published(tmp_path: Path, content: Any, recps: Any, says: str) -> None:
    one = machine(tmp_path)
    link = await local_link(one)
    with pytest.raises(RemoteCallError, match=says):
        await link.call("private.publish", content, recps)
    assert one.sequence(one.keys.id) == 0
    await link.close()
    await one.close()


async def test_what_is_not_opened(tmp_path: Path) -> None:
    one = machine(tmp_path)
    link = await local_link(one)
    foreign = private.box(POST, [keys_of(5).id], random=bytes(88))
    nothing: list[Any] = [
        None,
        7,
        [],
        "",
        "x.box",
        "x.box2",
        foreign,
        {},
        {"value": 7},
        {"value": {"content": foreign}},
    ]
    for boxed in nothing:
        assert await link.call("private.unbox", boxed) is None
    await link.close()
    await one.close()


async def test_remote_peers_may_not_call_it(tmp_path: Path) -> None:
    one, other = machine(tmp_path, 1), machine(tmp_path, 2)
    theirs, _ = await connect(other, one)
    boxed = private.box(POST, [one.keys.id], random=bytes(88))
    for name, arguments in (("private.unbox", [boxed]), ("private.publish", [POST, [other.keys.id]])):
        with pytest.raises(RemoteCallError, match="not in list of allowed methods"):
            await theirs.call(name, *arguments)
    for each in (one, other):
        await each.close()


async def test_a_group_key_opens_older_messages_and_survives_a_restart(tmp_path: Path) -> None:
    us, friend, member = machine(tmp_path), Writer(2), Writer(3)
    friend.write({"type": "post", "text": "public"})
    for writer in (member, friend):
        writer.write({**POST, "by": writer.keys.id}, TrialKey(GROUP_KEY, groups.GROUP))
    found = us.context.queries

    async def readable() -> list[str]:
        return [stored.author async for stored in found.old(Query(private=True))]

    await us.store.ingest.add([one.raw for one in (*member.made, *friend.made)], "test")
    assert await readable() == []
    friend.add_member(us.keys)
    await us.store.ingest.add([friend.made[-1].raw], "test")
    async with asyncio.timeout(10):
        while len(await readable()) < 3:
            await asyncio.sleep(0)
    assert sorted(await readable()) == sorted([member.keys.id, friend.keys.id, friend.keys.id])
    await us.close()

    us = machine(tmp_path)
    found = us.context.queries
    assert us.context.unboxer.group_keys.count == 1
    assert len(await readable()) == 3
    await us.close()


async def test_an_index_that_missed_a_key_is_made_anew_at_the_start(tmp_path: Path) -> None:
    """As after a crash between the arrival of a key and the end of the rebuild."""
    us, member = machine(tmp_path), Writer(3)
    member.write(POST, TrialKey(GROUP_KEY, groups.GROUP))
    await us.store.ingest.add([member.made[0].raw], "test")
    await us.context.indexes.caught_up()
    await us.registry.close()
    us.context.unboxer.group_keys.add(groups.GroupKey(GROUP_KEY, "%group.cloaked", member.made[0].key, member.keys.id))
    await us.store.close()

    us = machine(tmp_path)
    async with asyncio.timeout(10):
        while not [one async for one in us.context.queries.old(Query(private=True))]:
            await asyncio.sleep(0)
    await us.close()
