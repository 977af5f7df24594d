"""Effects that reach hubs and WebRTC: what a hub does not take fails its attempt, what may be dead is renewed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from ssb_rtc.errors import ConnectFailed, DatabaseUnusable, MisuseError, TransportFault
from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.state import Route
from ssb_rtc.runtime.driver import failed
from ssb_rtc.runtime.effects import EffectPerformer
from ssb_rtc.signalhub.guarded import NotAsked
from ssb_rtc.signalhub.signalling import Busy, HubDown, HubUp, Signalling
from ssb_rtc.transport.base import Stream
from ssb_rtc.transport.rtc import PeerBusy
from ssb_rtc.types import HubUrl, PeerId
from ssb_rtc.wire.swarm import Signal
from tests.manager.names import AMY, BOB, ONE, TWO, peer_id

LIMIT_S = 5.0
OFFER = Signal("offer", sdp="v=0")


class Hubs(Signalling):
    """Hubs that are up at once, and that refuse what they are told to."""

    def __init__(self, performer: EffectPerformer) -> None:
        super().__init__(performer.on_signalling)
        self.refuse: Exception | None = None
        self.log: list[tuple[str, HubUrl]] = []
        self.up: set[HubUrl] = set()
        self.busy: list[tuple[HubUrl, PeerId, str, float]] = []
        self.sent: list[tuple[HubUrl, PeerId, str, Signal]] = []

    @property
    def hubs(self) -> frozenset[HubUrl]:
        return frozenset(self.up)

    @property
    def dropped(self) -> Mapping[str, int]:
        return {}

    def knocks(self, hub: HubUrl) -> bool:
        return False

    async def connect(self, hub: HubUrl) -> None:
        self.log.append(("connect", hub))
        self.up.add(hub)
        self._emit(HubUp(hub))

    async def disconnect(self, hub: HubUrl) -> None:
        self.log.append(("disconnect", hub))
        self.up.discard(hub)
        await asyncio.sleep(0)

    async def announce(self, hub: HubUrl, free_slots: int | None = None) -> None:
        raise NotImplementedError

    async def leave(self, hub: HubUrl) -> None:
        raise NotImplementedError

    async def send(self, hub: HubUrl, to: PeerId, session: str, signal: Signal) -> None:
        await asyncio.sleep(0)
        if self.refuse is not None:
            raise self.refuse
        self.sent.append((hub, to, session, signal))

    async def say_busy(self, hub: HubUrl, to: PeerId, session: str, not_before_s: float) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.busy.append((hub, to, session, not_before_s))

    async def close(self) -> None:
        self.up.clear()


class Rtc:
    """Writes down what it is told; is refused everything."""

    def __init__(self) -> None:
        self.unsent: list[tuple[PeerId, str, Signal, str]] = []
        self.told = asyncio.Event()
        self.log: list[tuple[str, HubUrl, PeerId, str]] = []
        self.busy: list[tuple[HubUrl, PeerId, str, float]] = []

    def listen_on(self, hub: HubUrl) -> None: ...

    def refuse(self, hub: HubUrl, peer: PeerId, session: str) -> None:
        self.log.append(("refuse", hub, peer, session))

    def refused(self, hub: HubUrl, peer: PeerId, session: str, not_before_s: float) -> None:
        self.busy.append((hub, peer, session, not_before_s))

    async def offer(self, hub: HubUrl, peer: PeerId, session: str, **options: bool) -> Stream:
        raise PeerBusy(42.0)

    def not_sent(self, peer: PeerId, session: str, signal: Signal, reason: str) -> None:
        self.unsent.append((peer, session, signal, reason))
        self.told.set()


class Prober:
    """Answers questions to hubs as it is told to."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.asked: list[tuple[HubUrl, str]] = []

    async def ask(self, hub: HubUrl, host: str) -> None:
        await asyncio.sleep(0)
        self.asked.append((hub, host))
        if self.fault is not None:
            raise self.fault


class Desk:
    """A performer between doubles, and the actions that it dispatched."""

    def __init__(self) -> None:
        self.actions: list[a.Action] = []
        nothing = cast(Any, None)
        self.performer = EffectPerformer(nothing, nothing, nothing, self._dispatch, lambda: 0)
        self.hubs, self.rtc = Hubs(self.performer), Rtc()
        self.prober = Prober()
        self.performer.attach(self.hubs, cast(Any, self.rtc), cast(Any, self.prober))

    def _dispatch(self, action: a.Action) -> bool:
        self.actions.append(action)
        return True

    async def connect(self, hub: HubUrl, connection: int) -> None:
        work = self.performer.perform(e.ScheduleConnectToHub(hub, connection, "a test"))
        assert work is not None
        await work


async def test_what_comes_of_a_question_to_a_hub_is_told() -> None:
    desk = Desk()
    order = e.ScheduleProbeHub(ONE, 7, "one.example", "a test")
    answers: dict[Exception | None, a.Action] = {
        None: a.HubProbeSucceeded(ONE, 7),
        NotAsked("we are offline"): a.HubProbeFailed(ONE, 7, "we are offline", asked=False),
    }
    for fault, answer in answers.items():
        desk.prober.fault = fault
        work = desk.performer.perform(order)
        assert work is not None
        await work
        assert desk.actions.pop() == answer
    assert desk.prober.asked == [(ONE, "one.example")] * 2
    for fault in (TransportFault("an empty page"), DatabaseUnusable("the disk is full")):
        assert failed(order, str(fault)) == a.HubProbeFailed(ONE, 7, str(fault))


async def test_a_signal_that_no_hub_takes_is_told_to_its_attempt() -> None:
    desk = Desk()
    for fault in (ConnectFailed("Network is unreachable"), MisuseError("it is too large")):
        desk.hubs.refuse = fault
        desk.rtc.told.clear()
        desk.performer.send_signal(ONE, AMY, "s1", OFFER)
        async with asyncio.timeout(LIMIT_S):
            await desk.rtc.told.wait()
        assert desk.rtc.unsent.pop() == (AMY, "s1", OFFER, str(fault))
    await desk.performer.close()


async def test_a_signal_that_a_hub_takes_is_not() -> None:
    desk = Desk()
    desk.performer.send_signal(ONE, AMY, "s1", OFFER)
    (task,) = desk.performer._sending
    await task
    assert desk.rtc.unsent == []
    await desk.performer.close()


async def test_renewed_hubs_are_reported_lost_before_they_can_be_connected_to_again() -> None:
    desk = Desk()
    await desk.connect(ONE, 1)
    await desk.connect(TWO, 2)
    desk.actions.clear()
    await desk.performer.renew_hubs("the network changed")
    lost = [action for action in desk.actions if isinstance(action, a.HubConnectionLost)]
    assert {(action.hub, action.connection, action.reason) for action in lost} == {
        (ONE, 1, "the network changed"),
        (TWO, 2, "the network changed"),
    }
    assert len(desk.actions) == 2
    assert desk.hubs.hubs == frozenset()
    desk.performer.on_signalling(HubDown(ONE, "it is told late"))
    assert len(desk.actions) == 2, "what the old subscription still says is nothing to anybody"
    await desk.connect(ONE, 3)
    assert desk.actions[-1] == a.HubConnectionSucceeded(ONE, 3)
    assert desk.hubs.hubs == {ONE}


async def test_hubs_that_are_not_up_are_left_alone() -> None:
    desk = Desk()
    await desk.performer.renew_hubs("the network changed")
    assert desk.actions == []
    assert desk.hubs.log == []


@pytest.mark.parametrize(("not_before_s", "told"), [(60.0, True), (None, False)])
async def test_a_refusal_is_told_only_for_a_time(not_before_s: float | None, told: bool) -> None:
    desk = Desk()
    work = desk.performer.perform(e.RefuseOffer(ONE, AMY, "s1", "a test", not_before_s))
    assert desk.rtc.log == [("refuse", ONE, AMY, "s1")], "it is forgotten at once"
    assert (work is not None) == told
    if work is not None:
        await work
    assert desk.hubs.busy == ([(ONE, AMY, "s1", 60.0)] if told else [])


async def test_a_hub_that_does_not_take_a_refusal_is_no_failure() -> None:
    desk = Desk()
    desk.hubs.refuse = ConnectFailed("Network is unreachable")
    work = desk.performer.perform(e.RefuseOffer(ONE, AMY, "s1", "a test", 60.0))
    assert work is not None
    await work
    assert desk.actions == []


async def test_an_attempt_that_is_refused_fails_with_the_time_that_was_named() -> None:
    desk = Desk()
    work = desk.performer.perform(e.ScheduleConnectToRemotePeer(AMY, Route("hub", ONE), 7, "a test"))
    assert work is not None
    await work
    assert desk.actions == [a.RemotePeerConnectionFailed(AMY, 7, "it is busy", 42.0)]
    assert desk.performer._attempts == {}
    assert desk.performer._offers == {}


async def test_what_is_heard_of_being_busy_goes_to_the_attempts() -> None:
    desk = Desk()
    desk.performer.on_signalling(Busy(ONE, AMY, "s1", 42.0))
    assert desk.rtc.busy == [(ONE, AMY, "s1", 42.0)]
    assert desk.actions == []


async def test_knocks_at_one_peer_over_several_hubs_are_one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()

    async def knock(hub: HubUrl, *peers: PeerId) -> list[str]:
        work = desk.performer.perform(e.ScheduleKnock(hub, 1, peers, "a test", True))
        assert work is not None
        await work
        said, desk.hubs.sent = desk.hubs.sent, []
        assert [(where, to) for where, to, _, _ in said] == [(hub, peer) for peer in peers]
        return [session for _, _, session, signal in said if signal == Signal("knock", alone=True)]

    amy, bob = await knock(ONE, AMY, BOB)
    assert amy != bob
    assert await knock(TWO, BOB, AMY) == [bob, amy]
    monkeypatch.setattr("ssb_rtc.runtime.effects.SAME_KNOCK_S", 0.0)
    (later,) = await knock(TWO, AMY)
    assert later != amy


async def test_knocks_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssb_rtc.runtime.effects.KNOCKED_MAX", 3)
    desk = Desk()
    for number in range(9):
        work = desk.performer.perform(e.ScheduleKnock(ONE, 1, (peer_id(number),), "a test"))
        assert work is not None
        await work
    assert len(desk.performer._knocking) == len(desk.performer._knocked) == 3
