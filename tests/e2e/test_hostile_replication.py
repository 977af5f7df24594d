"""What a hostile peer can send as replication: nothing wrong is stored, honest feeds go on, forks are kept as proof."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ssb_rtc.errors import SsbRtcError
from ssb_rtc.feeds import canonical
from ssb_rtc.feeds.keys import Keys, sign
from ssb_rtc.feeds.message import create, message_id, signed_bytes
from ssb_rtc.transport.link import Duplex, Link
from ssb_rtc.types import JsonObject
from tests.e2e.hostile import Victim, attacker_id, attacker_keys, linked, victim
from tests.e2e.processes import eventually


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """One peer with an open port, which takes all the attacks of this file."""
    with victim(tmp_path_factory.mktemp("hostile") / "peer", "--net", "0") as running:
        yield running


def feed(keys: Keys, length: int, text: str = "", previous: Sequence[JsonObject] = ()) -> list[JsonObject]:
    """`length` messages on top of `previous`."""
    made = list(previous)
    for _ in range(length):
        head = made[-1] if made else None
        made.append(
            create(
                keys,
                {"type": "post", "text": f"{len(made)}{text}"},
                previous=message_id(head) if head else None,
                sequence=len(made) + 1,
                timestamp_ms=1_700_000_000_000 + len(made),
            )
        )
    return made[len(previous) :]


def signed(keys: Keys, **parts: Any) -> JsonObject:
    """A message that is signed and otherwise as wrong as its parts."""
    value = {"previous": None, "sequence": 1, "author": keys.id, "timestamp": 1.0, "hash": "sha256", **parts}
    text = base64.b64encode(sign(keys, signed_bytes(canonical.encode(value), None))).decode()
    return {**value, "signature": f"{text}.sig.ed25519"}


@asynccontextmanager
async def replicating(peer: Victim, keys: Keys | None = None) -> AsyncIterator[tuple[Link, Duplex]]:
    """A link on which ebt.replicate is open; what the peer says there is read, its first notes before all else."""
    async with linked(peer, keys) as link:
        duplex = link.duplex("ebt.replicate", {"version": 3, "format": "classic"})
        async with asyncio.timeout(5):
            await duplex.read_batch()
        reading = asyncio.create_task(_read_all(duplex))
        try:
            yield link, duplex
        finally:
            reading.cancel()


async def _read_all(duplex: Duplex) -> None:
    with contextlib.suppress(SsbRtcError):
        while await duplex.read_batch():
            pass


async def send(duplex: Duplex, *values: JsonObject) -> None:
    """Messages or notes, as they are."""
    await duplex.send_encoded([json.dumps(value, separators=(",", ":")).encode() for value in values])


async def ended(link: Link, limit_s: float = 5.0) -> str:
    """Why the other side ended the link, which it must."""
    async with asyncio.timeout(limit_s):
        return await link.closed


async def stored(peer: Victim, author: Keys) -> list[str]:
    """The keys of the messages of this feed."""
    async with peer.local() as link:
        return [str(m["key"]) async for m in link.source("createLogStream", {"author": author.id})]


async def wanted(peer: Victim) -> Keys:
    """Somebody whom the peer follows."""
    keys = attacker_keys()
    await peer.follow(keys.id)
    return keys


def forks(peer: Victim) -> list[str]:
    """The feeds that the peer holds for forked."""
    database = sqlite3.connect(f"file:{peer.path}/ssb-rtc.sqlite?mode=ro", uri=True)
    try:
        rows = database.execute("SELECT a.feed FROM forks AS f JOIN authors AS a ON a.id = f.author").fetchall()
    finally:
        database.close()
    return [str(feed) for (feed,) in rows]


async def holds(peer: Victim, author: Keys, sequence: int) -> None:
    """Waits until the peer has this feed up to there."""

    async def look() -> bool:
        return await peer.holds(author.id) == sequence

    await eventually(f"holding message {sequence}", look, limit_s=5, pause_s=0.02)


def _bad_signature(author: Keys, head: JsonObject) -> JsonObject:
    message = feed(author, 1, previous=[head])[0]
    return {**message, "signature": base64.b64encode(os.urandom(64)).decode() + ".sig.ed25519"}


def _too_long(author: Keys, head: JsonObject) -> JsonObject:
    content = {"type": "post", "text": "x" * 8_000}
    return signed(author, previous=message_id(head), sequence=2, content=content)


WRONG_MESSAGES: dict[str, Callable[[Keys, JsonObject], JsonObject]] = {
    "a bad signature": _bad_signature,
    "longer than 8192": _too_long,
    "far longer": lambda author, head: signed(
        author, previous=message_id(head), sequence=2, content={"type": "post", "text": "x" * 200_000}
    ),
    "a wrong previous, unsigned": lambda author, head: {
        **signed(author, previous="%" + "A" * 43 + "=.sha256", sequence=2, content={"type": "post"}),
        "signature": base64.b64encode(bytes(64)).decode() + ".sig.ed25519",
    },
    "another message 1, unsigned": lambda author, head: {**head, "content": {"type": "post", "text": "forged"}},
    "no content": lambda author, head: signed(author, previous=message_id(head), sequence=2),
    "a wrong hash": lambda author, head: signed(
        author, previous=message_id(head), sequence=2, content={"type": "post"}, hash="md5"
    ),
    "deep content": lambda author, head: {**head, "sequence": 2, "content": json.loads("[" * 900 + "]" * 900)},
    "a sequence that is none": lambda author, head: {**head, "sequence": 1.5},
    "an author that is none": lambda author, head: {**head, "author": "@nobody"},
}


@pytest.mark.parametrize("what", WRONG_MESSAGES)
async def test_a_wrong_message_ends_the_link_and_is_not_stored(peer: Victim, what: str) -> None:
    author = await wanted(peer)
    async with peer.watched():
        async with replicating(peer) as (link, duplex):
            first = feed(author, 1)[0]
            await send(duplex, {author.id: 4}, first)
            await holds(peer, author, 1)
            await send(duplex, WRONG_MESSAGES[what](author, first))
            if what != "an author that is none":
                await ended(link)
        assert await stored(peer, author) == [message_id(first)]
        assert author.id not in forks(peer)
        async with replicating(peer) as (link, duplex):
            await send(duplex, {author.id: 4}, *feed(author, 1, previous=[first]))
            await holds(peer, author, 2)


async def test_a_signed_conflict_marks_the_feed_and_our_branch_goes_on(peer: Victim) -> None:
    author = await wanted(peer)
    ours = feed(author, 3)
    other = feed(author, 4, " on the other branch")
    async with peer.watched():
        async with replicating(peer) as (_, duplex):
            await send(duplex, {author.id: 6}, *ours)
            await holds(peer, author, 3)
        async with replicating(peer) as (link, duplex):
            await send(duplex, {author.id: 8}, *other)

            async def marked() -> bool:
                return author.id in forks(peer)

            await eventually("the fork being on record", marked, limit_s=5, pause_s=0.05)
            assert not link.closed.done()
            await send(duplex, *feed(author, 1, previous=ours))
            assert await link.call("whoami") == {"id": peer.id}
        kept = [message_id(message) for message in ours]
        assert await stored(peer, author) == kept
        async with linked(peer) as link:
            served = link.source("createHistoryStream", {"id": author.id, "keys": False})
            assert [message_id(value) async for value in served] == kept


async def test_feeds_that_nobody_asked_for_are_not_stored(peer: Victim) -> None:
    uninvited, author = attacker_keys(), await wanted(peer)
    messages = [message for _ in range(20) for message in feed(attacker_keys(), 5)]
    async with peer.watched():
        before = (await peer.ask("rtc.status"))["messages"]
        async with replicating(peer) as (_, duplex):
            await send(duplex, {uninvited.id: 40, author.id: 2}, *feed(uninvited, 20), *messages, *feed(author, 1))
            await holds(peer, author, 1)
        status = await peer.ask("rtc.status")
        assert uninvited.id not in status["feeds"]
        assert status["messages"] == before + 1


async def test_messages_out_of_order_are_left_out_and_fetched_in_order(peer: Victim) -> None:
    author = await wanted(peer)
    messages = feed(author, 20)
    async with peer.watched():
        async with replicating(peer) as (link, duplex):
            await send(duplex, {author.id: 40}, *reversed(messages), messages[0], messages[0], messages[5])
            await holds(peer, author, 2 - 1)
            await send(duplex, *messages[::-3], *messages)
            await holds(peer, author, 20)
            assert not link.closed.done()
        assert await stored(peer, author) == [message_id(message) for message in messages]


NOT_NOTES = [b"[" * 60_000, b'{"a":' * 10_000, b"[]", b"7", b'"x"', b"null", b"{", b"\xff\xfe", b"[{}]" * 3]


@pytest.mark.parametrize("body", NOT_NOTES, ids=lambda body: repr(body[:8]))
async def test_what_is_neither_message_nor_note_ends_the_link(peer: Victim, body: bytes) -> None:
    async with replicating(peer) as (link, duplex):
        await duplex.send_encoded([body])
        await ended(link)
    assert (await peer.ask("whoami"))["id"] == peer.id


async def test_floods_of_notes_are_forgotten(peer: Victim) -> None:
    """Clocks of feeds that nobody wants, from one identity after the other."""
    names = [attacker_id() for _ in range(40_000)]
    bodies = [json.dumps(dict.fromkeys(names[n : n + 10_000], 14)).encode() for n in range(0, len(names), 10_000)]
    odd = {f"no feed {n}": n for n in range(5_000)}
    async with peer.watched():
        for _ in range(8):
            async with replicating(peer) as (link, duplex):
                await duplex.send_encoded(bodies)
                await send(duplex, odd, {names[0]: True, names[1]: -2, names[2]: 2**40, names[3]: 1e300, names[4]: "x"})
                assert await link.call("whoami") == {"id": peer.id}


async def test_claims_about_our_own_feed_do_not_break_it(peer: Victim) -> None:
    await peer.ask("publish", {"type": "post", "text": "before"})
    async with peer.watched():
        before = await peer.holds(peer.id)
        async with replicating(peer) as (link, duplex):
            await duplex.send_encoded([b'{"%s":%s}' % (peer.id.encode(), b"8" * digits) for digits in (20, 400, 4_000)])
            await send(duplex, {peer.id: -1}, {peer.id: 2**31 - 2}, {peer.id: None}, {peer.id: 1.5})
            forged = {**feed(attacker_keys(), 1)[0], "author": peer.id, "sequence": before + 1}
            await send(duplex, forged)
            await ended(link)
        status = await peer.ask("rtc.status")
        assert status["feeds"][peer.id] == before
        assert all(len(warning) < 500 for warning in status["warnings"])
        await peer.ask("publish", {"type": "post", "text": "after"}, {"force": True})
        assert await peer.holds(peer.id) == before + 1
