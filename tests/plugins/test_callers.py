"""Who a caller is, and what each kind of caller may call of everything that a whole peer offers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from ssb_rtc import Peer
from ssb_rtc.config import MAIN_NETWORK_KEY, Settings
from ssb_rtc.errors import (
    ConfigFault,
    ConnectFailed,
    DatabaseUnusable,
    HandshakeRefused,
    ListenFailed,
    RemoteCallError,
)
from ssb_rtc.feeds.keys import Keys, keys_from_seed
from ssb_rtc.peer import connect_local
from ssb_rtc.plugins.stack import reaches
from ssb_rtc.runtime import links
from ssb_rtc.runtime.links import GUESTS_OF_A_CODE_MAX
from ssb_rtc.transport.link import Caller, Link, ServesNothing, open_link
from ssb_rtc.transport.net import NetTransport
from ssb_rtc.types import peer_of
from tests.transport.certificates import write_certificate

FOR_EVERYBODY = {
    "manifest", "whoami", "createHistoryStream", "ebt.replicate", "gossip.ping",
    "blobs.get", "blobs.getSlice", "blobs.has", "blobs.createWants",
}  # fmt: skip
"""Replication, blobs, and what a caller asks before anything else. Whoever adds to it opens it to the whole world."""
FOR_PEERS_ALONE = {
    "peers.goodbye",
    "peers.tell",
    "hubs.tell",
    "inboxes.tell",
    "introductions.pass",
    "introductions.take",
    "welcome.use",
}
"""What a remote says of its own link or invitation, which an owner has no part in."""
FOR_GUESTS = {"invite.use", "welcome.knock"}
KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@dataclass
class Calling:
    caller: Caller


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Peer]:
    async with Peer(tmp_path, Settings(net=0)) as peer:
        yield peer


async def call(peer: Peer, name: str, *args: Any) -> Any:
    async with peer.local_link() as link:
        return await link.call(name, *args)


async def dial(peer: Peer, keys: Keys) -> Link:
    where = peer.addresses[0].removeprefix("net:").partition("~")[0]
    return await open_link(
        await NetTransport().connect(where),
        keys=keys,
        network_key=MAIN_NETWORK_KEY,
        remote=peer_of(peer.id),
        dialled=True,
        router=ServesNothing(),
    )


async def test_of_the_whole_manifest_each_caller_may_call_its_own_part(peer: Peer) -> None:
    allowed: dict[Caller, set[str]] = {caller: set() for caller in Caller}
    registry = peer.registry
    for name in registry.manifest:
        kind = registry.manifest.kind_of(name)
        assert kind is not None
        for caller in Caller:
            with contextlib.suppress(RemoteCallError):
                registry.find(name, kind, cast("Link", Calling(caller)))
                allowed[caller].add(".".join(name))
    assert allowed[Caller.PEER] == FOR_EVERYBODY | FOR_PEERS_ALONE
    assert allowed[Caller.GUEST] == FOR_GUESTS
    assert allowed[Caller.OWNER] == {".".join(name) for name in registry.manifest} - FOR_GUESTS - FOR_PEERS_ALONE


def test_what_remotes_may_call_stands_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")
    assert [name for name in sorted(FOR_EVERYBODY | FOR_PEERS_ALONE) if f"`{name}`" not in page] == []


async def test_who_holds_our_key_is_the_owner_and_no_peer(peer: Peer) -> None:
    link = await dial(peer, peer.keys)
    status = await link.call("rtc.status")
    assert (status["id"], status["peers"]) == (peer.id, [])
    assert peer.context.links.live() == []
    stranger = await dial(peer, keys_from_seed(b"s" * 32))
    with pytest.raises(RemoteCallError, match="not in list of allowed methods"):
        await stranger.call("rtc.status")
    await stranger.close()
    await link.close()


async def test_guests_are_few_and_stay_for_a_short_time(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "GUESTS_MAX", 1)
    monkeypatch.setattr(links, "GUEST_LIMIT_S", 0.2)
    guest = keys_from_seed(b"g" * 32)
    peer.context.guests.add(guest.id)
    link = await dial(peer, guest)
    with pytest.raises(HandshakeRefused):
        await dial(peer, guest)
    await link.closed
    second = await dial(peer, guest)
    await second.close()
    assert peer.status()["peers"] == []


async def test_who_holds_one_code_leaves_room_for_those_with_others(peer: Peer) -> None:
    greedy, other = keys_from_seed(b"g" * 32), keys_from_seed(b"h" * 32)
    peer.context.guests.update({greedy.id, other.id})
    came = await asyncio.gather(*(dial(peer, greedy) for _ in range(30)), return_exceptions=True)
    places = [each for each in came if isinstance(each, Link)]
    assert len(places) == GUESTS_OF_A_CODE_MAX, "however many come at once"
    assert all(isinstance(each, HandshakeRefused) for each in came if each not in places)
    await (await dial(peer, other)).close()
    await asyncio.gather(*(link.close() for link in places))
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(HandshakeRefused):
                await (await dial(peer, greedy)).close()  # its places are free again, as soon as the peer hears of it
                break


async def test_we_listen_and_stop_listening_while_we_run(peer: Peer, tmp_path: Path) -> None:
    [net] = peer.addresses
    [ws] = await call(peer, "rtc.listen", "ws:0")
    assert ws.startswith("ws://127.0.0.1:")
    assert await call(peer, "rtc.addresses") == [net, ws]
    async with Peer(tmp_path / "other", Settings()) as other:
        link = await other.connect(ws)
        assert link.transport == "ws"
        await call(peer, "rtc.unlisten", ws)
        assert await link.call("whoami") == {"id": peer.id}, "links live on"
        assert await call(peer, "rtc.addresses") == [net]
    async with Peer(tmp_path / "third", Settings()) as third:
        with pytest.raises(ConnectFailed, match="nobody listens there"):
            await third.connect(ws)
    await call(peer, "rtc.unlisten", net.partition("~")[0])
    assert await call(peer, "rtc.addresses") == []
    for name, where, says in (
        ("rtc.unlisten", net, "nothing listens"),
        ("rtc.unlisten", "ws:0", "nothing listens"),
        ("rtc.listen", "unix:/tmp/x", "no place to listen for peers"),
        ("rtc.listen", "net", "no place to listen"),
        ("rtc.listen", "net:here", "HOST:PORT"),
        ("rtc.listen", "wss:0", "--tls-cert"),
        ("rtc.listen", None, "as text"),
    ):
        with pytest.raises(RemoteCallError, match=says):
            await call(peer, name, where)


async def test_addresses_are_told_as_secret_stack_tells_them(peer: Peer) -> None:
    assert await call(peer, "address") == await call(peer, "getAddress", "device") == peer.addresses[0]
    assert await call(peer, "multiserver.address", "public") is None
    with pytest.raises(RemoteCallError, match="scope"):
        await call(peer, "address", "galaxy")
    text = f"net:h:8008~shs:{KEY};ws://h:8989~shs:{KEY}"
    assert await call(peer, "multiserver.parse", text) == [
        [{"name": "net", "data": ["h", "8008"]}, {"name": "shs", "data": [KEY]}],
        [{"name": "ws", "data": ["//h", "8989"]}, {"name": "shs", "data": [KEY]}],
    ]
    with pytest.raises(RemoteCallError, match="no multiserver address"):
        await call(peer, "multiserver.parse", "nonsense address")


@pytest.mark.parametrize(
    ("address", "scopes"),
    [
        (f"net:127.0.0.1:1~shs:{KEY}", {"device"}),
        (f"ws://localhost:1~shs:{KEY}", {"device"}),
        (f"net:192.168.1.7:1~shs:{KEY}", {"device", "local", "private"}),
        (f"wss://pub.example.org~shs:{KEY}", {"device", "local", "private", "public"}),
        (f"net:9.9.9.9:1~shs:{KEY}", {"device", "local", "private", "public"}),
        (f"rtc:hub.example.org~shs:{KEY}", {"device", "local", "private", "public"}),
        ("unix:/run/peer/socket~noauth", {"device"}),
    ],
)
def test_how_far_an_address_reaches(address: str, scopes: set[str]) -> None:
    assert {scope for scope in ("device", "local", "private", "public") if reaches(address, scope)} == scopes


async def test_a_whole_peer_works_in_a_folder_whose_path_is_long(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100) / ("y" * 100)
    async with Peer(folder, Settings()) as peer:
        assert (folder / "manifest.json").read_text().startswith('{\n  "')
        link = await connect_local(folder)
        assert await link.call("whoami") == {"id": peer.id}
        await link.close()


async def test_with_a_certificate_the_websockets_speak_tls(tmp_path: Path) -> None:
    chain, key = write_certificate(tmp_path)
    async with Peer(tmp_path / "peer", Settings(ws=0, tls_cert=chain, tls_key=key)) as peer:
        assert [address.partition(":")[0] for address in peer.addresses] == ["wss"]
    with pytest.raises(ConfigFault, match="go together"):
        async with Peer(tmp_path / "peer", Settings(ws=0, tls_cert=chain)):
            pass
    with pytest.raises(ListenFailed, match="can't use the certificate"):
        async with Peer(tmp_path / "peer", Settings(ws=0, tls_cert=key, tls_key=key)):
            pass


async def test_a_hub_that_can_not_be_kept_is_not_said_to_be(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_hub: object) -> None:
        raise DatabaseUnusable("the disk is full")

    monkeypatch.setattr(peer.context.contacts, "save_hub", full)
    with pytest.raises(RemoteCallError, match="the disk is full"):
        await call(peer, "rtc.addHub", "https://hub.example.org")
    assert await call(peer, "rtc.hubs") == []


async def test_who_runs_a_hub_on_every_address_meets_on_it_by_loopback(tmp_path: Path) -> None:
    async with Peer(tmp_path, Settings(with_hub=0, host="0.0.0.0")) as peer:
        [hub] = peer.status()["hubs"]
        assert hub["url"].startswith("http://127.0.0.1:")
