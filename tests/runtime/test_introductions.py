"""Introductions among real peers in one process, without any hub: links in memory, then WebRTC through a go-between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio
from msgspec.structs import replace

from ssb_rtc import RemoteCallError
from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.plugins.introductions import PASSED_ALL_BURST, PASSED_BURST, TAKEN_BURST, Introductions
from ssb_rtc.testing import Swarm, keys_of
from ssb_rtc.transport.link import Link
from ssb_rtc.types import Json, PeerId, go_between, peer_of
from tests.runtime.watching import Watched

ENVELOPE = '"' + "A" * 683 + '="'
"""What could be one, for all that a go-between sees."""
SLACK = 20
"""What a bucket takes beyond its burst while a test fills it."""

HandOver = Callable[[Introductions, Link, PeerId, str], Awaitable[None]]


@pytest_asyncio.fixture
async def meeting(tmp_path: Path) -> AsyncIterator[Swarm]:
    async with Swarm(tmp_path / "swarm", introductions=True) as made:
        yield made


async def line(swarm: Swarm) -> tuple[Watched, Watched, Watched]:
    """Ann and Cid, who follow each other, are linked with Ben and with nobody else; none of them introduces itself."""
    ann, ben, cid = [Watched(peer) for peer in await swarm.peers("ann", "ben", "cid")]
    for each in (ann, ben, cid):
        settings = replace(each.state.settings, introduce_delay_s=0.0, introduce_s=0.1, introducers_max=0, tick_s=0.1)
        each.network._dispatch(a.SettingsDidChange(settings))
    await swarm.befriend()
    await swarm.connect((ann.peer, ben.peer), (cid.peer, ben.peer))
    await swarm.converged()
    return ann, ben, cid


def asks(watched: Watched) -> None:
    """From now on it asks go-betweens, at each tick."""
    watched.network._dispatch(a.SettingsDidChange(replace(watched.state.settings, introducers_max=2)))
    watched.network._dispatch(a.TimerExpired("tick", watched.state.timers["tick"]))


def id_of(watched: Watched) -> PeerId:
    return peer_of(watched.peer.id)


def link_to(watched: Watched, other: Watched) -> Link:
    return watched.peer.rpc(other.peer.id)


def dropped(watched: Watched) -> dict[str, int]:
    return dict(watched.network._sealed.dropped)


async def introduced(one: Watched, other: Watched) -> None:
    await one.until(lambda: id_of(other) in one.state.linked, "the link through the go-between")
    await other.until(lambda: id_of(one) in other.state.linked, "the link through the go-between")


def have_ben(monkeypatch: pytest.MonkeyPatch, hand_over: HandOver) -> HandOver:
    """The go-between does this with what it is given; what it should do."""
    honest: HandOver = Introductions._hand_over
    monkeypatch.setattr(Introductions, "_hand_over", hand_over)
    return honest


async def test_friends_who_share_a_linked_peer_meet_without_any_hub(meeting: Swarm) -> None:
    ann, ben, cid = await line(meeting)
    asks(ann)
    await introduced(ann, cid)
    link = ann.state.peers[id_of(cid)].link
    assert link is not None
    assert (link.route.via, link.route.where) == ("hub", go_between(id_of(ben)))
    assert not ann.state.hubs
    await meeting.cut((ann.peer, ben.peer))
    await ann.peer.publish({"type": "post", "text": "past the one who introduced us"})
    await meeting.converged(ann.peer, cid.peer)


async def test_both_ask_at_once_and_one_link_comes_of_it(meeting: Swarm) -> None:
    ann, _, cid = await line(meeting)
    asks(ann)
    asks(cid)
    await introduced(ann, cid)
    assert len([link for link in ann.peer.context.links.live() if link.remote == id_of(cid)]) == 1


async def test_the_answer_is_the_same_whoever_is_there_and_comes_before_anything_is_passed_on(
    meeting: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, ben, cid = await line(meeting)
    dan = await meeting.peer("dan")
    await ben.peer.block(dan.id)
    handed: list[PeerId] = []

    async def for_ever(_self: Introductions, _link: Link, to: PeerId, _body: str) -> None:
        handed.append(to)
        await asyncio.Event().wait()

    have_ben(monkeypatch, for_ever)
    there, absent, blocked = id_of(cid), peer_of(keys_of("nobody").id), peer_of(dan.id)
    for to in (there, absent, blocked, id_of(ben), id_of(ann)):
        assert await link_to(ann, ben).call("introductions.pass", to, ENVELOPE, timeout_s=5.0) is True
    await meeting.until(lambda: len(handed) == 5, "all of them, none of which comes to an end")


async def test_only_what_looks_sealed_is_passed_on(meeting: Swarm) -> None:
    ann, ben, cid = await line(meeting)
    wrong: list[list[Json]] = [
        [],
        [id_of(cid)],
        [id_of(cid), "hello"],
        [id_of(cid), ENVELOPE[:-1]],
        [id_of(cid), '"' + "A" * 682 + '!="'],
        ["cid", ENVELOPE],
        [None, ENVELOPE],
        [id_of(cid), 7],
        [{"id": id_of(cid)}, ENVELOPE],
    ]
    for arguments in wrong:
        with pytest.raises(RemoteCallError, match=r"takes a peer's id and a sealed envelope"):
            await link_to(ann, ben).call("introductions.pass", *arguments)
    assert dropped(cid) == {}


async def test_whom_a_friend_has_blocked_hears_nothing_through_others(meeting: Swarm) -> None:
    ann, _, cid = await line(meeting)
    await cid.peer.block(ann.peer.id)
    asks(ann)
    refused = await cid.heard(e.RefuseOffer)
    assert (refused.peer, refused.not_before_s) == (id_of(ann), None)
    assert not cid.all(e.AcceptOffer)
    assert not ann.all(a.RemotePeerDidOffer)


async def test_a_go_between_that_keeps_all_for_itself_costs_an_attempt_and_no_more(
    meeting: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, ben, cid = await line(meeting)
    kept: list[str] = []

    async def keep(_self: Introductions, _link: Link, _to: PeerId, body: str) -> None:
        kept.append(body)

    honest = have_ben(monkeypatch, keep)
    asks(ann)
    await meeting.until(lambda: kept, "a knock")
    assert ann.state.linked == (id_of(ben),)
    assert not ann.state.trying
    assert cid.peer.id not in "".join(kept)
    have_ben(monkeypatch, honest)
    await introduced(ann, cid)


async def test_a_go_between_that_plays_everything_twice_brings_one_link(
    meeting: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, ben, cid = await line(meeting)
    old: list[str] = []

    async def twice(self: Introductions, link: Link, to: PeerId, body: str) -> None:
        if to == id_of(cid):
            old.append(body)
        await honest(self, link, to, body)
        await honest(self, link, to, body)

    honest = have_ben(monkeypatch, twice)
    asks(ann)
    await introduced(ann, cid)
    assert dropped(cid)["copy"] >= 1
    before = len(cid.all(a.RemotePeerDidOffer))
    for body in old:
        await link_to(ben, cid).call("introductions.take", body)
    assert len(cid.all(a.RemotePeerDidOffer)) == before, "none of it counts once more"
    assert len([link for link in ann.peer.context.links.live() if link.remote == id_of(cid)]) == 1


async def test_a_go_between_that_turns_letters_to_others_is_not_believed(
    meeting: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, ben, cid = await line(meeting)

    async def turned(self: Introductions, link: Link, _to: PeerId, body: str) -> None:
        await honest(self, link_to(ben, cid), link.remote, body)  # back to whom it came from

    honest = have_ben(monkeypatch, turned)
    asks(ann)
    await meeting.until(lambda: dropped(ann).get("invalid"), "the knock that came back")
    assert not ann.all(a.RemotePeerDidOffer)


async def test_a_flood_from_a_go_between_is_cut_before_it_is_read(meeting: Swarm) -> None:
    _, ben, cid = await line(meeting)
    said: list[Json] = [ENVELOPE, "garbage", None, {"a": 1}, '"' + "B" * 9_999 + '"']
    for body in said:
        assert await link_to(ben, cid).call("introductions.take", body) is True
    assert dropped(cid) == {"invalid": 1}
    for _ in range(2 * TAKEN_BURST):
        assert await link_to(ben, cid).call("introductions.take", ENVELOPE) is True
    assert TAKEN_BURST - len(said) <= dropped(cid)["invalid"] <= TAKEN_BURST + SLACK
    assert not cid.all(a.RemotePeerDidOffer)


async def test_who_asks_too_much_is_passed_on_no_longer_and_hears_the_same(
    meeting: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, ben, cid = await line(meeting)
    handed: list[PeerId] = []

    async def count(_self: Introductions, _link: Link, to: PeerId, _body: str) -> None:
        handed.append(to)

    have_ben(monkeypatch, count)
    for _ in range(2 * PASSED_BURST):
        assert await link_to(ann, ben).call("introductions.pass", id_of(cid), ENVELOPE) is True
    assert PASSED_BURST <= len(handed) <= PASSED_BURST + SLACK
    assert await link_to(cid, ben).call("introductions.pass", id_of(ann), ENVELOPE) is True
    await meeting.until(lambda: id_of(ann) in handed, "another's, which has a bucket of its own")


@dataclass(eq=False)
class Caller:
    """Stands for a link over which `pass` is called."""

    remote: PeerId


async def test_who_asks_too_much_leaves_room_for_others_at_the_receiver(meeting: Swarm) -> None:
    ann, ben, cid = await line(meeting)
    passed = ben.peer.registry._handlers["introductions", "pass"]

    def read() -> int:
        return dropped(cid).get("invalid", 0)

    for _ in range(2 * PASSED_BURST):
        await link_to(ann, ben).call("introductions.pass", id_of(cid), ENVELOPE)
    await meeting.until(lambda: read() >= PASSED_BURST, "all that is passed on for one")
    eve, before = peer_of(keys_of("eve").id), read()
    for _ in range(4):
        assert await passed(cast("Link", Caller(eve)), id_of(cid), ENVELOPE) is True
    await meeting.until(lambda: read() >= before + 4, "another's, which the receiver still reads")


async def test_who_comes_again_is_passed_on_no_more_and_strangers_keep_no_friend_out(
    meeting: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, ben, cid = await line(meeting)
    handed: list[PeerId] = []

    async def count(_self: Introductions, asker: Link, _to: PeerId, _body: str) -> None:
        handed.append(asker.remote)

    have_ben(monkeypatch, count)
    passed = ben.peer.registry._handlers["introductions", "pass"]
    eves = [peer_of(keys_of(f"eve {number}").id) for number in range(8)]
    for _ in range(3 * PASSED_BURST):
        assert await passed(cast("Link", Caller(eves[0])), id_of(cid), ENVELOPE) is True
    await meeting.until(lambda: len(handed) >= PASSED_BURST, "what one may")
    assert len(handed) <= PASSED_BURST + SLACK, "each of these was a link of its own"
    for eve in eves[1:]:
        for _ in range(PASSED_BURST):
            await passed(cast("Link", Caller(eve)), id_of(cid), ENVELOPE)
    await meeting.until(lambda: len(handed) >= PASSED_ALL_BURST, "what all strangers may")
    assert len(handed) <= PASSED_ALL_BURST + SLACK
    await link_to(ann, ben).call("introductions.pass", id_of(cid), ENVELOPE)
    await meeting.until(lambda: id_of(ann) in handed, "the friend's")


async def test_who_does_not_know_how_is_asked_once(meeting: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, ben, _ = await line(meeting)
    calls = 0

    async def unknown(*_: Json) -> Json:
        nonlocal calls
        calls += 1
        raise RemoteCallError("method:introductions.pass is not in list of allowed methods")

    monkeypatch.setitem(ben.peer.registry._handlers, ("introductions", "pass"), unknown)
    asks(ann)
    assert (await ann.heard(a.RemotePeerWontIntroduce)).peer == id_of(ben)
    ticks = len(ann.all(e.SchedulePeersUpdateTick))
    await ann.until(lambda: len(ann.all(e.SchedulePeersUpdateTick)) > ticks + 5, "some more ticks")
    assert calls == 1
