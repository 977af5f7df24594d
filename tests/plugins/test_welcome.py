"""Invitations between real peers on a real hub: who gets in with which code, and who does not."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc import Peer, Settings
from ssb_rtc.errors import RemoteCallError
from ssb_rtc.feeds.keys import keys_from_seed
from ssb_rtc.hub.server import serve
from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.plugins import joins
from ssb_rtc.plugins import welcome as welcomes
from ssb_rtc.types import FeedId, peer_of
from ssb_rtc.wire.welcome import LAST_DAY_MAX, format_welcome, parse_welcome
from tests.runtime.watching import Watched
from tests.signalhub.sealed_party import NETWORK

LIMIT_S = 30.0
HIDDEN = Settings(network_key=NETWORK, lan=False, strangers_max=0)
DAY_MS = 24 * 60 * 60 * 1000


@pytest.fixture
async def hub() -> AsyncIterator[str]:
    server = await serve("127.0.0.1", 0)
    yield server.url
    await server.close()


@pytest.fixture
async def host(tmp_path: Path, hub: str) -> AsyncIterator[Peer]:
    """Somebody who shows nothing to strangers, and has a friend already."""
    async with Peer(tmp_path / "host", replace(HIDDEN, hub=(hub,))) as peer:
        await peer.follow(FeedId(keys_from_seed(b"f" * 32).id))
        yield peer


@pytest.fixture
async def guests(tmp_path: Path) -> AsyncIterator[Any]:
    """Makes peers that know of no hub."""
    async with AsyncExitStack() as stack:

        async def make(name: str, settings: Settings = HIDDEN) -> Peer:
            return await stack.enter_async_context(Peer(tmp_path / name, settings))

        yield make


async def call(peer: Peer, name: str, *args: Any) -> Any:
    async with peer.local_link() as link:
        return await link.call(name, *args)


async def outcome(peer: Peer, inviter: Peer) -> dict[str, Any]:
    """How it ended with the code."""
    last: dict[str, Any] = {}
    async with asyncio.timeout(LIMIT_S), peer.local_link() as link:
        async for told in link.source("welcome.progress", inviter.id):
            last = dict(told)
    return last


def follows(peer: Peer, other: Peer) -> bool:
    return other.id in peer.context.log.graph.follows(peer.id)


async def until(condition: Any, what: str) -> None:
    try:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what} did not come about") from None


async def test_a_code_makes_friends_of_two_who_hide_from_strangers(host: Peer, guests: Any, hub: str) -> None:
    made = await call(host, "welcome.create", {"note": "for Ann"})
    assert (made["hubs"], made["address"], made["running"]) == ([hub], None, True)
    ann = await guests("ann")
    told: list[str] = []
    host.context.tell = ann.context.tell = told.append
    assert (await call(ann, "welcome.join", made["code"]))["state"] == "waiting"
    assert (await outcome(ann, host))["state"] == "joined"
    assert follows(host, ann)
    assert follows(ann, host)
    assert told == [
        f"{ann.id} used your invitation {made['id']} (for Ann): you follow it",
        f"the invitation of {host.id} worked: you follow each other now",
    ]
    assert {record.url: record.source for record in ann.context.contacts.hubs()} == {hub: "invite"}
    [record] = await call(host, "welcome.list")
    assert (record["used"], record["usable"], record["note"]) == (1, False, "for Ann")
    # Once both know how to find each other as friends do, the code is forgotten, and nobody is pinned for good.
    await until(lambda: not ann._welcome._store.joins(), "the code being forgotten")
    assert ann._inboxes.inboxes.of(peer_of(host.id)) == host._inboxes.inboxes.own
    assert not ann._inboxes.inboxes.is_invited_by(peer_of(host.id))
    network = ann.controls.network
    assert network is not None
    await until(lambda: not network._driver.state.pinned, "nobody being pinned")
    # What the code says is of no use any more, and the second one hears so.
    eve = await guests("eve")
    await call(eve, "welcome.join", made["code"])
    ended = await outcome(eve, host)
    assert (ended["state"], ended["text"]) == ("refused", welcomes.USED_UP)
    await until(lambda: not eve.context.contacts.hubs(), "the hub of a code of which nothing came being forgotten")
    assert not follows(host, eve)
    assert not follows(eve, host)
    # The first one may come with it again: nothing is said twice.
    await call(ann, "welcome.join", made["code"])
    assert (await outcome(ann, host))["state"] == "joined"
    assert len(ann.ids_by_feed()[ann.id]) == 1


async def test_it_does_not_matter_who_comes_first_nor_that_one_starts_anew(
    tmp_path: Path, hub: str, guests: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joins, "PAUSE_MIN_S", 0.5)
    monkeypatch.setattr(joins, "LOOK_S", 0.1)
    settings = replace(HIDDEN, hub=(hub,))
    async with Peer(tmp_path / "host", settings) as host:
        made = await call(host, "welcome.create")
    async with Peer(tmp_path / "ann", HIDDEN, online=False) as ann:
        assert (await call(ann, "welcome.join", made["code"]))["state"] == "stored"
    async with Peer(tmp_path / "ann", HIDDEN) as ann:
        await until(lambda: "does not answer" in ann._welcome.joins._joins[peer_of(host.id)].text, "a reason")
    ann = await guests("ann")
    async with Peer(tmp_path / "host", settings) as host:
        assert (await outcome(ann, host))["state"] == "joined"
        assert follows(host, ann)


async def test_a_hub_that_was_for_this_run_only_is_kept(host: Peer, guests: Any, hub: str) -> None:
    code = (await call(host, "welcome.create"))["code"]
    ann = await guests("ann", replace(HIDDEN, hub=(hub,)))
    await call(ann, "welcome.join", code)
    assert (await outcome(ann, host))["state"] == "joined"
    assert [(record.url, record.source) for record in ann.context.contacts.hubs()] == [(hub, "user")]


async def test_who_is_blocked_gets_no_answer(host: Peer, guests: Any) -> None:
    made = await call(host, "welcome.create")
    eve = await guests("eve")
    await host.block(eve.id)
    watched = Watched(host)
    await call(eve, "welcome.join", made["code"])
    refused = await watched.heard(e.RefuseOffer)
    assert (refused.peer, refused.not_before_s) == (peer_of(eve.id), None)
    assert not watched.all(e.AcceptOffer)
    assert peer_of(eve.id) not in host._welcome._expected


async def test_who_has_no_code_hears_nothing_where_its_holders_knock(host: Peer, guests: Any, hub: str) -> None:
    """The hub's operator sees the name of that inbox."""
    code = parse_welcome((await call(host, "welcome.create"))["code"])
    eve = await guests("eve", replace(HIDDEN, hub=(hub,)))
    watched, hers = Watched(host), Watched(eve)
    assert eve._inboxes.inboxes.keep(peer_of(host.id), code.inbox, 1)
    hers.network.expecting.seek(peer_of(host.id))
    refused = await watched.heard(e.RefuseOffer)
    assert (refused.peer, refused.not_before_s) == (peer_of(eve.id), None)
    assert not watched.all(e.AcceptOffer)
    assert not hers.network.expecting.was_busy(peer_of(host.id))


async def test_a_code_written_by_hand_has_nobody_call_what_it_likes(host: Peer, guests: Any, hub: str) -> None:
    made = parse_welcome((await call(host, "welcome.create"))["code"])
    key = base64.b64encode(made.key).decode()
    ann = await guests("ann")
    for bad in (
        replace(made, address=f"ws://127.0.0.1:631/admin?x=1~shs:{key}"),
        replace(made, hubs=(f"swarm+{hub}",)),
        replace(made, last_day=LAST_DAY_MAX),
    ):
        with pytest.raises(RemoteCallError, match="ask for another one"):
            await call(ann, "welcome.join", format_welcome(bad))
    assert await call(ann, "welcome.joins") == []
    assert ann.context.contacts.hubs() == []


async def test_what_was_taken_back_is_heard_no_more(host: Peer, guests: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = [await call(host, "welcome.create") for _ in range(2)]
    monkeypatch.setattr(joins, "PAUSE_MIN_S", 0.5)
    assert await call(host, "welcome.revoke", first["id"])
    assert list(host._inboxes.inboxes.codes()) == [second["id"]]
    assert [record["id"] for record in await call(host, "welcome.list")] == [second["id"]]
    with pytest.raises(RemoteCallError, match="no such invitation"):
        await call(host, "welcome.revoke", first["id"])
    ann = await guests("ann")
    await call(ann, "welcome.join", first["code"])
    await until(lambda: "does not answer" in ann._welcome.joins._joins[peer_of(host.id)].text, "a reason")
    # Nor is it of use to who comes another way.
    somebody = peer_of(FeedId(keys_from_seed(b"a" * 32).id))
    with pytest.raises(RemoteCallError, match="not known here"):
        await host._welcome._welcome(somebody, parse_welcome(first["code"]).token)
    # A newer code of the same inviter takes the place of the older.
    await call(ann, "welcome.join", second["code"])
    assert (await outcome(ann, host))["state"] == "joined"


async def test_tokens_are_not_guessed(host: Peer, guests: Any, hub: str) -> None:
    """Not by a holder of the inbox's secret alone, who is let in to the door."""
    made = await call(host, "welcome.create")
    good = parse_welcome(made["code"])
    eve = await guests("eve", replace(HIDDEN, hub=(hub,)))
    eve._inboxes.inboxes.hold_invitation(peer_of(host.id), good.inbox)
    network = eve.controls.network
    assert network is not None
    network.expecting.seek(peer_of(host.id))
    await until(eve.context.links.live, "a link")
    [link] = eve.context.links.live()
    for nonsense in ((), (None,), (1,), ("x",), ("x" * 60_000,), ({"token": "x"},)):
        with pytest.raises(RemoteCallError, match="32 bytes in base64"):
            await link.call("welcome.use", *nonsense)
    guess = base64.b64encode(bytes(32)).decode()
    for _ in range(welcomes.TRIES_AT_ONCE):
        with pytest.raises(RemoteCallError, match="not known here"):
            await link.call("welcome.use", guess)
    with pytest.raises(RemoteCallError, match="too many attempts"):
        await link.call("welcome.use", base64.b64encode(good.token).decode())
    for local in ("welcome.create", "welcome.list", "welcome.join", "welcome.knock"):
        with pytest.raises(RemoteCallError, match="not in list of allowed methods"):
            await link.call(local)
    assert not follows(host, eve)
    # The stranger does not stay.
    await until(lambda: all(link.remote != eve.id for link in host.context.links.live()), "the link's end")


async def test_codes_that_lead_nowhere_are_refused_before_anything_is_kept(host: Peer, tmp_path: Path) -> None:
    code = (await call(host, "welcome.create"))["code"]
    good = parse_welcome(code)
    with pytest.raises(RemoteCallError, match="our own invitation"):
        await call(host, "welcome.join", code)
    now = [host.context.now_ms()]
    async with Peer(tmp_path / "ann", HIDDEN, online=False, now_ms=lambda: now[0]) as ann:
        for text, why in (
            (format_welcome(replace(good, network=b"othr")), "another network"),
            (format_welcome(replace(good, hubs=("http://hub.example.org",))), "http is not encrypted"),
            (code[:-1] + ("a" if code[-1] != "a" else "b"), "character of this invitation is wrong"),
            ("nonsense", "no invitation"),
        ):
            with pytest.raises(RemoteCallError, match=why) as refused:
                await call(ann, "welcome.join", text)
            assert len(text) < 20 or text[10:40] not in str(refused.value)
        now[0] += 9 * DAY_MS
        with pytest.raises(RemoteCallError, match="is over"):
            await call(ann, "welcome.join", code)
        now[0] -= 9 * DAY_MS
        await ann.block(host.id)
        with pytest.raises(RemoteCallError, match="we block"):
            await call(ann, "welcome.join", code)
        await ann.unblock(host.id)
        assert await call(ann, "welcome.joins") == []
        assert not ann.context.contacts.hubs()
        await call(ann, "welcome.join", code)
        [waiting] = await call(ann, "welcome.joins")
        assert (waiting["id"], waiting["state"]) == (host.id, "stored")
        assert [record.source for record in ann.context.contacts.hubs()] == ["invite"]
        assert await call(ann, "welcome.forget", host.id)
        assert await call(ann, "welcome.joins") == []
        assert ann.context.contacts.hubs() == [], "a code of which nothing came leaves no hub"


async def test_a_code_is_over_for_its_maker_too(tmp_path: Path) -> None:
    now = [1_800_000_000_000]
    settings = replace(HIDDEN, hub=("https://hub.example.org",))
    async with Peer(tmp_path / "host", settings, online=False, now_ms=lambda: now[0]) as host:
        made = await call(host, "welcome.create", {"days": 1, "uses": 2})
        plugin, token = host._welcome, parse_welcome(made["code"]).token
        now[0] = made["expiresMs"]
        with pytest.raises(RemoteCallError, match="is over"):
            await plugin._welcome(peer_of(FeedId(keys_from_seed(b"a" * 32).id)), token)
        plugin._settle()
        assert not host._inboxes.inboxes.codes()
        assert await call(host, "welcome.list") == []
        for options in ({"uses": 0}, {"days": 366}, {"note": "x" * 201}, {"uses": True}, {"odd": 1}, "x"):
            with pytest.raises(RemoteCallError):
                await call(host, "welcome.create", options)
        for _ in range(welcomes.CODES_MAX):
            await call(host, "welcome.create")
        with pytest.raises(RemoteCallError, match="invitations already"):
            await call(host, "welcome.create")


async def test_private_hubs_and_those_with_passwords_are_in_no_code(tmp_path: Path) -> None:
    async with Peer(tmp_path / "host", HIDDEN, online=False) as host:
        with pytest.raises(RemoteCallError, match="add a hub that both can reach"):
            await call(host, "welcome.create")
        host.controls.add_hub("https://private.example", private=True)
        host.controls.add_hub("https://user:word@hub.example")
        host.controls.add_hub("swarm+https://hub.example")
        with pytest.raises(RemoteCallError, match="add a hub that both can reach"):
            await call(host, "welcome.create")
        host.controls.add_hub("http://127.0.0.1:9")
        assert (await call(host, "welcome.create"))["hubs"] == ["http://127.0.0.1:9"]
        host.controls.add_hub("https://public.example")
        assert (await call(host, "welcome.create"))["hubs"] == ["https://public.example"]


async def test_without_a_hub_an_address_will_do(tmp_path: Path, guests: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes with the code is expected there, though no stranger finds room."""
    monkeypatch.setattr(welcomes, "reaches", lambda _address, scope: scope == "local")
    async with Peer(tmp_path / "host", replace(HIDDEN, net=0)) as host:
        friend = await guests("friend", replace(HIDDEN, net=0))
        await host.follow(friend.id)
        await friend.follow(host.id)
        await host.connect(friend.addresses[0])
        made = await call(host, "welcome.create")
        assert (made["hubs"], made["address"]) == ([], host.addresses[0])
        watched = Watched(host)
        ann = await guests("ann")
        await call(ann, "welcome.join", made["code"])
        assert (await outcome(ann, host))["state"] == "joined"
        assert follows(host, ann)
        assert not [one for one in watched.all(e.ScheduleDisconnectFromRemotePeer) if one.peer == ann.id]


async def test_a_full_house_makes_room(tmp_path: Path, hub: str, guests: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger who has others goes for whoever comes with a code; as long as nobody can go, that is what is said."""
    monkeypatch.setattr(joins, "PAUSE_MIN_S", 0.5)
    monkeypatch.setattr(joins, "LOOK_S", 0.1)
    full = replace(HIDDEN, hub=(hub,), peers_max=1, strangers_max=1, net=0)
    async with Peer(tmp_path / "host", full) as host:
        stranger = await guests("stranger")
        await stranger.connect(host.addresses[0])
        watched = Watched(host)
        await watched.until(lambda: watched.state.linked == (peer_of(stranger.id),), "the stranger")
        code = (await call(host, "welcome.create"))["code"]
        ann = await guests("ann")
        await call(ann, "welcome.join", code)
        await until(lambda: "no room" in ann._welcome.joins._joins[peer_of(host.id)].text, "the reason")
        other = await guests("other", replace(HIDDEN, net=0))
        await stranger.connect(other.addresses[0])
        assert (await outcome(ann, host))["state"] == "joined"
        await watched.until(lambda: watched.state.linked == (peer_of(ann.id),), "the stranger's end")


async def test_who_calls_an_address_costs_nobody_a_link(
    tmp_path: Path, guests: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says who is about to come, and proves nothing of that."""
    monkeypatch.setattr(welcomes, "reaches", lambda _address, scope: scope == "local")
    monkeypatch.setattr(welcomes, "EXPECTED_S", 0.1)
    async with Peer(tmp_path / "host", replace(HIDDEN, net=0, strangers_max=3)) as host:
        bystander = await guests("bystander")
        link = await bystander.connect(host.addresses[0])
        code = parse_welcome((await call(host, "welcome.create"))["code"])
        watched = Watched(host)
        guest = await host.controls.visit(code.address, peer_of(host.id), keys_from_seed(code.guest_seed))
        for nonsense in ((), ("x",), (1,)):
            with pytest.raises(RemoteCallError, match="takes a peer's id"):
                await guest.call("welcome.knock", *nonsense)
        for name in ("welcome.use", "welcome.list", "whoami", "blobs.has"):
            with pytest.raises(RemoteCallError, match="not in list of allowed methods"):
                await guest.call(name)
        assert await guest.call("welcome.knock", bystander.id)
        await watched.heard(a.PeerPinned)
        await watched.heard(a.PeerUnpinned)
        assert not watched.all(a.DisconnectFromRemotePeer)
        assert not link.closed.done()
        nobody = peer_of(FeedId(keys_from_seed(b"n" * 32).id))
        assert await guest.call("welcome.knock", nobody)
        assert (await watched.heard(a.DisconnectFromRemotePeer)).peer == nobody
        await guest.close()
