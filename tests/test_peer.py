"""The front door: what an application does with a peer, and what it hears when it does it wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ssb_rtc import (
    AuthorFault,
    BlobId,
    BlobMissing,
    ConfigFault,
    ConnectFailed,
    Context,
    Handler,
    LinkClosed,
    ListenFailed,
    Message,
    MisuseError,
    MsgId,
    Peer,
    PermissionLists,
    RemoteCallError,
    Settings,
    StorageFault,
)
from ssb_rtc.errors import DatabaseLocked, IdentityMissing, NoPeerRuns
from ssb_rtc.storage.contacts import Contacts
from ssb_rtc.storage.database import open_database
from ssb_rtc.storage.hub_entries import HubEntries
from ssb_rtc.testing import Swarm

ABSENT = BlobId(f"&{'A' * 43}=.sha256")


def offline(folder: Path, **given: object) -> Peer:
    return Peer(folder, online=False, **given)  # type: ignore[arg-type]


# --- life ---


async def test_a_folder_is_one_identity_with_its_messages(tmp_path: Path) -> None:
    async with offline(tmp_path / "new" / "folder") as peer:
        first = await peer.publish({"type": "post", "text": "hello"})
        own = peer.id
    async with offline(tmp_path / "new" / "folder") as again:
        assert again.id == own == again.keys.id
        assert again.get(first.key) == first
        assert again.ids_by_feed() == {own: [first.key]}


async def test_what_is_not_open_says_so(tmp_path: Path) -> None:
    peer = offline(tmp_path)
    for use in (lambda: peer.id, lambda: peer.keys, peer.ids_by_feed, peer.status, lambda: peer.rpc("@x")):
        with pytest.raises(MisuseError, match="this peer is not open: use it inside `async with"):
            use()
    with pytest.raises(MisuseError, match="this peer is not open"):
        await peer.publish({"type": "post"})
    with pytest.raises(AttributeError, match="'Peer' object has no attribute 'pubish'"):
        peer.pubish  # noqa: B018


async def test_a_peer_opens_once(tmp_path: Path) -> None:
    peer = offline(tmp_path)
    async with peer:
        with pytest.raises(MisuseError, match="this peer was opened before: make another one"):
            await peer.__aenter__()
        await peer.publish({"type": "post"})
    with pytest.raises(MisuseError, match="make another one"):
        await peer.__aenter__()


async def test_a_folder_has_one_peer_at_a_time(tmp_path: Path) -> None:
    async with offline(tmp_path):
        with pytest.raises(DatabaseLocked, match="try again in a moment"):
            await offline(tmp_path).__aenter__()
    async with offline(tmp_path):
        pass


async def test_no_identity_is_made_where_none_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(IdentityMissing, match="ssb-rtc init"):
        await offline(tmp_path / "peer", create=False).__aenter__()
    assert not (tmp_path / "peer").exists()


async def test_a_peer_that_can_not_listen_leaves_nothing_behind(tmp_path: Path) -> None:
    async with Peer(tmp_path / "one", Settings(net=0)) as one:
        port = int(one.addresses[0].split(":")[2].partition("~")[0])
        with pytest.raises(ListenFailed, match=f"can't listen on 127.0.0.1 port {port}"):
            await Peer(tmp_path / "two", Settings(net=port)).__aenter__()
        assert not (tmp_path / "two" / "socket").exists()
        async with offline(tmp_path / "two") as two:
            await two.publish({"type": "post"})


async def test_a_start_that_fails_anywhere_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also before the network has begun to open its parts."""
    monkeypatch.setattr(Contacts, "hubs", lambda _self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await Peer(tmp_path, Settings(net=0)).__aenter__()
    assert not (tmp_path / "socket").exists()
    async with offline(tmp_path):
        pass  # the folder was let go of


async def test_going_online_later(tmp_path: Path) -> None:
    async with offline(tmp_path, settings=Settings(net=0)) as peer:
        assert (peer.addresses, peer.status()["running"]) == ([], False)
        with pytest.raises(NoPeerRuns, match="no peer runs in"):
            await peer.connect("net:127.0.0.1:1~shs:" + "A" * 43 + "=")
        await peer.start()
        assert peer.addresses[0].startswith("net:127.0.0.1:")
        assert peer.status()["running"] is True
        with pytest.raises(MisuseError, match="this peer is online already"):
            await peer.start()


async def test_an_error_of_the_program_ends_the_peer_in_order(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with offline(tmp_path):
            1 / 0  # noqa: B018
    async with offline(tmp_path):
        pass


# --- plugins ---


class Broken:
    """A plugin that fails where a test tells it to."""

    name = "broken"
    version = "1.0.0"
    permissions: ClassVar[PermissionLists] = {"remote": ["broken.count"]}

    def __init__(self, *, manifest: Mapping[str, str], fails: bool = False) -> None:
        self.manifest = manifest
        self._fails = fails
        self.counted = 0
        self.ended = asyncio.Event()

    def init(self, context: Context) -> Mapping[str, Handler]:
        if self._fails:
            raise OSError("no such device")
        self.own = context.keys.id
        return {"broken.count": self._count}

    async def _count(self, _link: object, pause_s: float = 0) -> AsyncIterator[int]:
        try:
            while True:
                self.counted += 1
                yield self.counted
                await asyncio.sleep(pause_s)
        finally:
            self.ended.set()


COUNT = {"broken.count": "source"}


@pytest.mark.parametrize(
    ("plugin", "error", "says"),
    [
        (Broken(manifest=COUNT, fails=True), OSError, "no such device"),
        (Broken(manifest={}), MisuseError, "a manifest and handlers that differ: broken.count"),
        (Broken(manifest={"broken.count": "sauce"}), MisuseError, "a method of no kind"),
    ],
)
async def test_a_plugin_that_fails_keeps_the_peer_closed(
    tmp_path: Path, plugin: Broken, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        await offline(tmp_path, plugins=[plugin]).__aenter__()
    async with offline(tmp_path, plugins=[Broken(manifest=COUNT)]):
        pass  # the folder was let go of


async def test_a_hub_that_was_removed_stays_away_after_a_restart_too(tmp_path: Path) -> None:
    hub = "https://hub.example.org"
    async with offline(tmp_path) as peer:
        peer.controls.add_hub(hub)
        peer.controls.remove_hub(hub)
    database = open_database(tmp_path / "ssb-rtc.sqlite", create=False)
    try:
        assert list(HubEntries(database).probes(0)) == ["hub.example.org"], "as if it had been asked just now"
    finally:
        database.close()


async def test_a_plugin_that_nobody_has_installed(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match="there is no plugin 'nonesuch'"):
        await offline(tmp_path, settings=Settings(plugin=("nonesuch",))).__aenter__()


# --- publishing ---


async def test_what_was_published_is_there(swarm: Swarm) -> None:
    (peer,) = await swarm.peers("ann")
    message = await peer.publish({"type": "post", "text": "hello"}, durable=True)
    assert (message.author, message.sequence, message.type, message.is_private) == (peer.id, 1, "post", False)
    assert message.content == {"type": "post", "text": "hello"}
    assert message.timestamp_ms == message.received_ms == swarm.clock() - 1
    assert peer.get(message.key) == message
    assert peer.get(MsgId("%" + "A" * 43 + "=.sha256")) is None
    many = await asyncio.gather(*(peer.publish({"type": "number", "n": n}) for n in range(50)))
    assert [one.sequence for one in many] == list(range(2, 52))


@pytest.mark.parametrize(
    "content",
    [{}, {"type": ""}, {"type": 7}, [], 1, {"type": "post", "text": "x" * 9_000}, {"type": "post", "n": 1e400}],
)
async def test_content_that_is_none_is_refused(swarm: Swarm, content: Any) -> None:
    (peer,) = await swarm.peers("ann")
    with pytest.raises(MisuseError):
        await peer.publish(content)
    assert (await peer.publish({"type": "post"})).sequence == 1


async def test_a_restored_peer_writes_nothing_before_it_has_heard_from_others(tmp_path: Path) -> None:
    async with offline(tmp_path, restored=True) as peer:
        with pytest.raises(AuthorFault, match="Publishing now could fork it"):
            await peer.publish({"type": "post"})
        assert peer.status()["warnings"]


# --- reading ---


async def found(peer: Peer, **wanted: Any) -> list[object]:
    return [message.content["text"] async for message in peer.messages(**wanted)]


async def test_messages_by_what_they_are(swarm: Swarm) -> None:
    ann, ben = await swarm.peers("ann", "ben")
    await swarm.connect("line")
    await swarm.befriend()
    question = await ann.publish({"type": "post", "text": "who is there?"})
    await swarm.converged()
    await ben.publish({"type": "post", "text": "I am", "root": question.key})
    await ben.publish({"type": "vote", "text": "+1", "vote": {"link": question.key, "value": 1}})
    await swarm.converged()
    assert await found(ann, type="post") == ["who is there?", "I am"]
    assert await found(ann, author=ben.id, type="post") == ["I am"]
    assert await found(ann, links_to=question.key) == ["I am", "+1"]
    assert await found(ann, links_to=question.key, rel="root") == ["I am"]
    assert await found(ann, type="post", newest_first=True, limit=1) == ["I am"]
    assert [message.type async for message in ann.messages(author=ann.id)] == ["contact", "post"]


async def test_live_messages_come_once_and_without_a_gap(swarm: Swarm) -> None:
    ann, ben = await swarm.peers("ann", "ben")
    await swarm.connect("line")
    await swarm.befriend()
    for number in range(3):
        await ann.publish({"type": "post", "text": f"before {number}"})
    await swarm.converged()
    reading = ben.messages(type="post", live=True)
    heard = [(await anext(reading)).content["text"]]
    for number in range(3):
        await ann.publish({"type": "post", "text": f"after {number}"})
    async with asyncio.timeout(30):
        heard += [(await anext(reading)).content["text"] for _ in range(5)]
    assert heard == [f"{when} {number}" for when in ("before", "after") for number in range(3)]
    await reading.aclose()
    only_new = ben.messages(type="post", old=False, live=True)
    waiting = asyncio.ensure_future(anext(only_new))
    await asyncio.sleep(0)
    await ann.publish({"type": "post", "text": "now"})
    async with asyncio.timeout(30):
        assert (await waiting).content["text"] == "now"
    await only_new.aclose()


async def test_a_live_reader_may_be_cancelled(swarm: Swarm) -> None:
    (ann,) = await swarm.peers("ann")
    heard: list[object] = []

    async def read() -> None:
        heard.extend([message.content async for message in ann.messages(live=True)])

    reader = asyncio.create_task(read())
    await ann.publish({"type": "post"})
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await ann.publish({"type": "post"})


async def test_closing_a_peer_ends_whoever_waits_for_it(tmp_path: Path) -> None:
    async with offline(tmp_path) as peer:
        heard: asyncio.Queue[Message] = asyncio.Queue()

        async def read() -> None:
            async for message in peer.messages(live=True):
                heard.put_nowait(message)

        reader = asyncio.create_task(read())
        fetcher = asyncio.create_task(peer.blobs.want(ABSENT))
        sent = await peer.publish({"type": "post"})
        async with asyncio.timeout(30):
            assert await heard.get() == sent
    async with asyncio.timeout(30):
        await reader
        with pytest.raises(BlobMissing, match="stays wanted"):
            await fetcher
    with pytest.raises(StorageFault, match="has ended"):
        peer.status()


async def test_private_messages_are_read_by_whom_they_are_for(swarm: Swarm) -> None:
    ann, ben, cleo = await swarm.peers("ann", "ben", "cleo")
    await swarm.connect("line")
    await swarm.befriend()
    secret = await ann.publish({"type": "post", "text": "psst"}, to=[ben.id])
    assert secret.is_private
    await swarm.converged()
    assert await found(ann, type="post", private=True) == await found(ben, type="post", private=True) == ["psst"]
    assert await found(cleo, type="post", private=True) == []
    sealed = cleo.get(secret.key)
    assert sealed is not None
    assert (sealed.type, sealed.is_private) == (None, False)
    assert str(sealed.content).endswith(".box")


# --- whom we follow ---


async def test_follows_decide_what_is_fetched(swarm: Swarm) -> None:
    ann, ben = await swarm.peers("ann", "ben")
    await swarm.connect("line")
    await ben.publish({"type": "post", "text": "one"})
    followed = await ann.follow(ben.id)
    assert followed.content == {"type": "contact", "contact": ben.id, "following": True}
    await swarm.converged()
    assert await found(ann, author=ben.id) == ["one"]
    await ann.unfollow(ben.id)
    assert ben.id not in ann.context.wanted
    await ben.publish({"type": "post", "text": "two"})
    await ann.follow(ben.id)
    await swarm.converged()
    assert await found(ann, author=ben.id) == ["one", "two"]


async def test_no_link_is_held_with_whom_we_block(swarm: Swarm) -> None:
    ann, ben = await swarm.peers("ann", "ben")
    await swarm.connect("line")
    await ann.block(ben.id, "spam")
    await swarm.until(lambda: not ann.context.links.live() and not ben.context.links.live(), "the end of the link")
    with pytest.raises(ConnectFailed):
        await ben.connect(ann.addresses[0])
    with pytest.raises(ConnectFailed, match="we block"):
        await ann.connect(ben.addresses[0])
    await ann.unblock(ben.id)
    await ben.connect(ann.addresses[0])


# --- others ---


async def test_methods_of_others_are_called_over_a_link(swarm: Swarm) -> None:
    plugin = Broken(manifest=COUNT)
    ann = await swarm.peer("ann", plugins=[lambda: plugin])
    ben = await swarm.peer("ben")
    with pytest.raises(ConnectFailed, match=r"there is no link to .* now: connect to it first"):
        ben.rpc(ann.id)
    link = await ben.connect(ann.addresses[0])
    assert link is ben.rpc(ann.id)
    counted = []
    async for number in link.source("broken.count"):
        counted.append(number)
        if number == 3:
            break
    assert counted == [1, 2, 3]
    with pytest.raises(RemoteCallError, match="method:rtc,status is not in list of allowed methods"):
        await link.call("rtc.status")
    await swarm.stop(ann)
    await swarm.until(lambda: not ben.context.links.live(), "the end of the link")
    with pytest.raises(ConnectFailed):
        ben.rpc(ann.id)


async def test_addresses_that_lead_nowhere(swarm: Swarm) -> None:
    ann, ben = await swarm.peers("ann", "ben")
    with pytest.raises(MisuseError, match="this is our own address"):
        await ann.connect(ann.addresses[0])
    with pytest.raises(ConfigFault):
        await ann.connect("nonsense")
    with pytest.raises(MisuseError, match="add ~shs:KEY"):
        await ann.connect("net:ben:1")
    stranger = ben.addresses[0].replace("net:ben", "net:nobody")
    with pytest.raises(ConnectFailed, match="no peer of this swarm listens at nobody:1"):
        await ann.connect(stranger)


async def test_the_owner_may_call_everything_from_within(swarm: Swarm) -> None:
    (peer,) = await swarm.peers("ann")
    async with peer.local_link() as link:
        assert link.local
        status = await link.call("rtc.status")
        assert status == peer.status()
        assert await link.call("rtc.plugins") == []


async def test_closing_while_others_stream(swarm: Swarm) -> None:
    plugin = Broken(manifest=COUNT)
    ann = await swarm.peer("ann", plugins=[lambda: plugin])
    ben = await swarm.peer("ben")
    link = await ben.connect(ann.addresses[0])
    reading = link.source("broken.count", 0.01)
    assert await anext(reading) == 1
    await swarm.stop(ann)
    with pytest.raises(LinkClosed):
        async for _ in reading:
            pass
    async with asyncio.timeout(10):
        await plugin.ended.wait()
