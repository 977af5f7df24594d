"""Invites between two of our peers: what a code gives, how often, how long, and to whom nothing."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc import Peer
from ssb_rtc.config import Settings
from ssb_rtc.errors import ConnectFailed, RemoteCallError
from ssb_rtc.feeds.keys import Keys, keys_from_seed
from ssb_rtc.plugins import invite as invites
from ssb_rtc.runtime.links import GUESTS_OF_A_CODE_MAX
from ssb_rtc.transport.link import Link
from ssb_rtc.types import peer_of
from ssb_rtc.wire.invite import parse_invite

HERE = {"external": "127.0.0.1"}
DAY_MS = 24 * 60 * 60 * 1000


class Clock:
    """Wall time that a test moves, in ms."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000

    def __call__(self) -> int:
        self.now_ms += 1
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def host(tmp_path: Path, clock: Clock) -> AsyncIterator[Peer]:
    async with Peer(tmp_path / "host", Settings(net=0), now_ms=clock) as peer:
        yield peer


async def call(peer: Peer, name: str, *args: Any) -> Any:
    async with peer.local_link() as link:
        return await link.call(name, *args)


async def as_guest(host: Peer, code: str, *, by: Peer | None = None) -> Link:
    """The link that the holder of a code gets."""
    found = parse_invite(code)
    return await (by or host).controls.visit(found.address, peer_of(host.id), keys_from_seed(found.seed))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


def somebody(letter: str) -> str:
    return keys_from_seed(letter.encode() * 32).id


async def test_both_follow_each_other_and_are_linked(host: Peer, tmp_path: Path) -> None:
    code = await call(host, "invite.create", {**HERE, "note": "from the fair"})
    async with Peer(tmp_path / "guest", Settings()) as guest:
        accepted = await call(guest, "invite.accept", code)
        assert accepted == {"id": host.id, "address": host.addresses[0], "connected": True}
        assert host.context.log.graph.follows(host.id) == [guest.id]
        assert guest.context.log.graph.follows(guest.id) == [host.id]
        [said] = host.context.log.read_feed(host.id, 0)
        assert b'"note":"from the fair"' in said.raw.replace(b": ", b":")
        # A second time does no harm, though the code is used up, and says nothing twice.
        assert (await call(guest, "invite.accept", code))["id"] == host.id
        assert len(guest.ids_by_feed()[guest.id]) == 1
    async with Peer(tmp_path / "guest", Settings()) as guest:
        await until(lambda: [link.remote for link in guest.context.links.live()] == [peer_of(host.id)])
    async with Peer(tmp_path / "late", Settings()) as late:
        with pytest.raises(RemoteCallError, match="invite has expired"):
            await call(late, "invite.accept", code)
        assert not late.ids_by_feed()


async def test_a_guest_may_use_its_invite_and_nothing_else(host: Peer) -> None:
    code = await call(host, "invite.create", HERE)
    link = await as_guest(host, code)
    for name in ("manifest", "whoami", "invite.create", "invite.list", "rtc.status", "publish", "blobs.has"):
        with pytest.raises(RemoteCallError, match="not in list of allowed methods"):
            await link.call(name)
    with pytest.raises(RemoteCallError, match="not in list of allowed methods"):
        await link.source("createHistoryStream", {"id": host.id}).read_batch()
    for nonsense in ((), (None,), ("x",), ({"feed": "nobody"},), ({"feed": 1},)):
        with pytest.raises(RemoteCallError, match="feed to follow is missing"):
            await link.call("invite.use", *nonsense)
    # It is no peer: nobody is told of it, and it takes no place.
    assert (await call(host, "rtc.peers", {"all": True})) == []
    assert (await link.call("invite.use", {"feed": somebody("f")}))["value"]["content"]["contact"] == somebody("f")
    await link.close()


async def test_an_invite_is_used_as_often_as_it_says(host: Peer) -> None:
    code = await call(host, "invite.create", {**HERE, "uses": 2})
    links = await asyncio.gather(*(as_guest(host, code) for _ in range(GUESTS_OF_A_CODE_MAX)))
    uses = zip([*links, links[0]], "abc", strict=True)
    answers = await asyncio.gather(
        *(link.call("invite.use", {"feed": somebody(letter)}) for link, letter in uses),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, RemoteCallError) for answer in answers) == 1
    followed = host.context.log.graph.follows(host.id)
    assert len(followed) == 2
    # Those whom we follow, ourselves, and those whom we block use nothing up.
    more = await call(host, "invite.create", HERE)
    link = await as_guest(host, more)
    await call(host, "friends.block", somebody("z"), {})
    for feed, why in ((host.id, "not accepted"), (somebody("z"), "not accepted"), (followed[0], "already following")):
        with pytest.raises(RemoteCallError, match=why):
            await link.call("invite.use", {"feed": feed})
    [_, record] = await call(host, "invite.list")
    assert (record["used"], record["usable"]) == (0, True)
    await asyncio.gather(*(each.close() for each in [*links, link]))


async def test_an_invite_ends_with_its_time_or_when_it_is_revoked(host: Peer, clock: Clock) -> None:
    code = await call(host, "invite.create", {**HERE, "days": 2})
    link = await as_guest(host, code)
    clock.now_ms += 2 * DAY_MS
    with pytest.raises(RemoteCallError, match="invite has expired"):
        await link.call("invite.use", {"feed": somebody("f")})
    await link.close()
    second = await call(host, "invite.create", HERE)
    [record] = await call(host, "invite.list")  # the one that is over was forgotten
    await call(host, "invite.revoke", record["id"])
    assert await call(host, "invite.list") == []
    stranger = await as_guest(host, second)
    with pytest.raises(RemoteCallError, match="not in list of allowed methods"):
        await stranger.call("invite.use", {"feed": somebody("f")})
    await stranger.close()
    with pytest.raises(RemoteCallError, match="no such invite"):
        await call(host, "invite.revoke", record["id"])


async def test_invites_outlive_the_peer_and_their_seeds_are_not_kept(host: Peer, tmp_path: Path) -> None:
    code = await call(host, "invite.create", {**HERE, "uses": 3})
    seed = parse_invite(code).seed
    assert host.context.guests == {keys_from_seed(seed).id}
    for file in (tmp_path / "host").iterdir():
        if file.is_file():
            assert seed not in file.read_bytes()
            assert base64.b64encode(seed) not in file.read_bytes()
    async with Peer(tmp_path / "other", Settings(net=0)) as other:
        await call(other, "invite.create", HERE)
    async with Peer(tmp_path / "other", Settings(net=0)) as other:
        assert len(other.context.guests) == 1


async def test_a_use_that_can_not_be_written_is_given_back(host: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    code = await call(host, "invite.create", HERE)
    link = await as_guest(host, code)

    async def full(*_: object, **__: object) -> None:
        raise ConnectFailed("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(host.context.author, "publish", full)
        with pytest.raises(RemoteCallError, match=r"^internal error$"):
            await link.call("invite.use", {"feed": somebody("f")})
    await link.call("invite.use", {"feed": somebody("f")})
    await link.close()


async def test_codes_that_are_none_or_lead_nowhere(host: Peer, tmp_path: Path) -> None:
    own = await call(host, "invite.create", HERE)
    with pytest.raises(RemoteCallError, match="no invite code"):
        await call(host, "invite.accept", "nonsense")
    with pytest.raises(RemoteCallError, match="our own invite"):
        await call(host, "invite.accept", own)
    async with Peer(tmp_path / "guest", Settings()) as guest:
        elsewhere = own.replace(f":{host.addresses[0].split(':')[2].partition('~')[0]}:", ":9:")
        with pytest.raises(RemoteCallError, match="nobody listens there"):
            await call(guest, "invite.accept", elsewhere)
        await call(guest, "friends.block", host.id, {})
        with pytest.raises(RemoteCallError, match="unblock them first"):
            await call(guest, "invite.accept", own)


async def test_a_code_has_to_name_a_place_that_others_reach(host: Peer, tmp_path: Path) -> None:
    with pytest.raises(RemoteCallError, match="--external HOST"):
        await call(host, "invite.create")
    async with Peer(tmp_path / "hidden", Settings()) as hidden:
        with pytest.raises(RemoteCallError, match="listen first"):
            await call(hidden, "invite.create", HERE)
    code = await call(host, "invite.create", {"external": "peer.example.org"})
    assert parse_invite(code).address.startswith("net:peer.example.org:")
    modern = await call(host, "invite.create", {"external": "2001:db8::1", "modern": True, "uses": 5})
    assert modern.startswith("net:2001!:db8!:!:1:")
    assert [each["uses"] for each in await call(host, "invite.list")] == [1, 1]
    for odd in ({"uses": 0}, {"uses": True}, {"uses": "5"}, {"days": 10**9}, {"note": "x" * 1001}, {"colour": 1}, "x"):
        with pytest.raises(RemoteCallError):
            await call(host, "invite.create", {**HERE, **odd} if isinstance(odd, dict) else odd)
    for external in ("a b", "host:80", "x/y", "u@h", ""):
        with pytest.raises(RemoteCallError, match="is no host"):
            await call(host, "invite.create", {"external": external})


async def test_there_are_not_more_codes_than_the_limit(host: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invites, "INVITES_MAX", 2)
    for _ in range(2):
        await call(host, "invite.create", HERE)
    with pytest.raises(RemoteCallError, match="revoke some"):
        await call(host, "invite.create", HERE)


def test_keys_of_seeds_are_those_of_ssb_keys() -> None:
    # ssb-keys 8.5.0: generate('ed25519', Buffer.alloc(32, 1)).id
    made: Keys = keys_from_seed(b"\x01" * 32)
    assert made.id == "@iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=.ed25519"
