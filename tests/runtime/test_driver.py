"""The driver: effects started in order, answers never missing, one timer, nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ssb_rtc.errors import ConnectFailed, DatabaseUnusable
from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import State, initial
from ssb_rtc.runtime.driver import Driver, failed
from ssb_rtc.runtime.trace import Trace
from ssb_rtc.types import HubUrl
from tests.manager.names import AMY, BOB, ME, ONE, START, TWO

LIMIT_S = 5.0

Work = Callable[[e.Effect], Coroutine[Any, Any, None] | None]


class Performer:
    """Writes down what it is asked for; each kind may have work to do."""

    def __init__(self) -> None:
        self.performed: list[e.Effect] = []
        self.log: list[str] = []
        self.work: dict[type[Any], Work] = {}

    def perform(self, effect: e.Effect) -> Coroutine[Any, Any, None] | None:
        self.performed.append(effect)
        self.log.append(f"start {effect.kind}")
        work = self.work.get(type(effect))
        return None if work is None else work(effect)

    def of(self, kind: type[Any]) -> list[Any]:
        return [effect for effect in self.performed if isinstance(effect, kind)]


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.mono_s, self.wall_s = START

    def monotonic(self) -> float:
        return self.mono_s

    def wall(self) -> float:
        return self.wall_s


@asynccontextmanager
async def driving(performer: Performer, **more: Any) -> AsyncIterator[Driver]:
    """A running driver; at the end no task is left."""
    before = asyncio.all_tasks()
    settings = more.pop("settings", None)
    driver = Driver(initial(ME, seed=1, now=START, settings=settings), performer, **more)
    driver.start()
    try:
        yield driver
    finally:
        await driver.close(grace_s=0.2)
    assert asyncio.all_tasks() == before


async def until(driver: Driver, condition: Callable[[State], bool]) -> None:
    """Wait until a step makes it true."""
    if condition(driver.state):
        return
    done = asyncio.Event()

    def look(state: State, _action: a.Action, _effects: tuple[e.Effect, ...]) -> None:
        if condition(state):
            done.set()

    stop = driver.observe(look)
    try:
        async with asyncio.timeout(LIMIT_S):
            await done.wait()
    finally:
        stop()


def hub_connects(driver: Driver) -> Work:
    async def work(effect: e.Effect) -> None:
        assert isinstance(effect, e.ScheduleConnectToHub)
        driver.dispatch(a.HubConnectionSucceeded(effect.hub, effect.connection))

    return work


async def test_effects_start_in_order_before_the_next_action() -> None:
    performer = Performer()

    async def connects(effect: e.Effect) -> None:
        performer.log.append("first line of connect")
        await asyncio.sleep(0)
        performer.log.append("second line of connect")

    async def saves(effect: e.Effect) -> None:
        await asyncio.sleep(0)
        performer.log.append("saved")

    performer.work = {e.ScheduleConnectToHub: connects, e.ScheduleSaveHubs: saves}
    async with driving(performer) as driver:
        driver.observe(lambda _state, action, _effects: performer.log.append(f"took {action.kind}"))
        driver.dispatch(a.HubAddressAdded(ONE))
        driver.dispatch(a.PeerBlocked(AMY))
        await driver.settled()
    assert performer.log[:3] == ["took HUB_ADDRESS_ADDED", "start SCHEDULE_CONNECT_TO_HUB", "start SCHEDULE_SAVE_HUBS"]
    assert performer.log.index("saved") < performer.log.index("took PEER_BLOCKED")
    assert performer.log.index("first line of connect") < performer.log.index("took PEER_BLOCKED")


async def test_a_failed_effect_is_answered() -> None:
    performer = Performer()

    async def refuses(effect: e.Effect) -> None:
        raise ConnectFailed("connection refused")

    def refuses_at_once(effect: e.Effect) -> None:
        raise DatabaseUnusable("disk full")

    performer.work = {e.ScheduleConnectToHub: refuses, e.ScheduleSaveHubs: refuses_at_once}
    async with driving(performer) as driver:
        driver.dispatch(a.HubAddressAdded(ONE))
        await until(driver, lambda state: state.hubs[ONE].last_error == "connection refused" if state.hubs else False)
        await until(driver, lambda state: "save" in state.timers)


async def test_an_effect_without_a_failing_action_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    performer = Performer()

    async def breaks(effect: e.Effect) -> None:
        raise RuntimeError

    performer.work[e.ScheduleDisconnectFromHub] = breaks
    async with driving(performer) as driver:
        driver.dispatch(a.HubAddressAdded(ONE, stored=True))
        driver.dispatch(a.HubAddressRemoved(ONE))
        await driver.settled()
        await asyncio.sleep(0)
    assert "SCHEDULE_DISCONNECT_FROM_HUB failed: RuntimeError" in caplog.text


@pytest.mark.parametrize("kind", [kind for kind, answers in e.ANSWERS.items() if answers])
def test_every_effect_that_may_fail_has_an_answer(kind: Any) -> None:
    fields: dict[str, Any] = {
        "hub": ONE,
        "peer": AMY,
        "attempt": 1,
        "connection": 1,
        "revision": 1,
        "link": 1,
        "probe": 1,
    }
    effect = kind(**{name: fields.get(name, "x") for name in kind.__struct_fields__})
    action = failed(effect, "why")
    if kind in (
        e.ArmTimer,
        e.SchedulePeersUpdateTick,
        e.ScheduleDisconnectFromRemotePeer,
        e.CheckLink,
        e.ScheduleKnock,
    ):
        assert action is None, "timers can't fail, a link tells of its own end, and a knock is best effort"
    else:
        assert type(action) in e.ANSWERS[kind]


async def test_a_timer_expires_as_an_action() -> None:
    performer = Performer()
    settings = Settings(hub_timeout_s=0.05)
    async with driving(performer, settings=settings) as driver:
        driver.dispatch(a.HubAddressAdded(ONE, stored=True))
        await until(driver, lambda state: bool(state.hubs) and "no answer" in state.hubs[ONE].last_error)
        assert performer.of(e.ScheduleDisconnectFromHub)


async def test_timers_follow_the_given_clock() -> None:
    performer, clock = Performer(), Clock()
    async with driving(performer, monotonic=clock.monotonic, wall=clock.wall) as driver:
        driver.dispatch(a.HubAddressAdded(ONE, stored=True))
        await driver.settled()
        assert driver._timer is not None
        clock.mono_s += 31
        clock.wall_s += 31
        driver._expire()
        await driver.settled()
        assert "no answer" in driver.state.hubs[ONE].last_error


async def test_sleep_is_noticed_by_the_clocks() -> None:
    performer, clock = Performer(), Clock()
    seen: list[str] = []
    async with driving(performer, monotonic=clock.monotonic, wall=clock.wall) as driver:
        driver.observe(lambda _state, action, _effects: seen.append(action.kind))
        driver.dispatch(a.HubAddressAdded(ONE, stored=True))
        await driver.settled()
        clock.wall_s += 3_600
        driver._expire()
        driver._expire()
        await driver.settled()
    assert seen.count("DID_WAKE_UP") == 1


async def test_a_flood_from_outside_is_dropped_and_counted_and_nothing_of_ours_is() -> None:
    performer = Performer()
    async with driving(performer, actions_max=10) as driver:
        taken = [driver.dispatch(a.RemotePeerDidAnnounce(ONE, AMY)) for _ in range(25)]
        assert taken == [True] * 10 + [False] * 15
        assert all(driver.dispatch(a.PeerBlocked(AMY)) for _ in range(25))
        await driver.settled()
        assert driver.dropped == {"REMOTE_PEER_DID_ANNOUNCE": 15}
        assert AMY in driver.state.blocked
        assert driver.ignored["REMOTE_PEER_DID_ANNOUNCE"] == 10


async def test_a_flood_leaves_others_their_turn() -> None:
    performer = Performer()
    async with driving(performer) as driver:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        for _ in range(1_000):
            driver.dispatch(a.RemotePeerDidAnnounce(ONE, AMY))
        await driver.settled()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert turns >= 1_000 / 64 - 1


async def test_a_step_that_fails_loses_its_action_only(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    performer = Performer()

    def broken(state: State, action: a.Action, now: Any) -> Any:
        raise ZeroDivisionError

    async with driving(performer) as driver:
        with monkeypatch.context() as patch:
            patch.setattr("ssb_rtc.runtime.driver.step", broken)
            driver.dispatch(a.PeerBlocked(AMY))
            await driver.settled()
        driver.dispatch(a.PeerBlocked(BOB))
        await driver.settled()
        assert driver.faults == 1
        assert set(driver.state.blocked) == {BOB}
    assert "the step failed on PEER_BLOCKED" in caplog.text


async def test_an_observer_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(state: State, action: a.Action, effects: tuple[e.Effect, ...]) -> None:
        raise ZeroDivisionError

    async with driving(Performer()) as driver:
        driver.observe(broken)
        driver.dispatch(a.PeerBlocked(AMY))
        await driver.settled()
        assert AMY in driver.state.blocked
    assert "an observer failed" in caplog.text


async def test_the_end_waits_for_goodbyes_and_takes_nothing_more() -> None:
    performer = Performer()
    said: list[HubUrl] = []

    async def says_goodbye(effect: e.Effect) -> None:
        assert isinstance(effect, e.ScheduleAnnounceLeaveToHub)
        await asyncio.sleep(0.01)
        said.append(effect.hub)

    performer.work[e.ScheduleAnnounceLeaveToHub] = says_goodbye
    async with driving(performer) as driver:
        performer.work[e.ScheduleConnectToHub] = hub_connects(driver)
        driver.dispatch(a.HubAddressAdded(ONE, stored=True))
        driver.dispatch(a.HubAddressAdded(TWO, stored=True))
        await until(driver, lambda state: sum(hub.connected_s is not None for hub in state.hubs.values()) == 2)
        driver.dispatch(a.ShutdownRequested())
        await driver.close()
        assert sorted(said) == [ONE, TWO]
        assert not driver.dispatch(a.PeerBlocked(AMY))


async def test_an_effect_that_never_ends_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    performer = Performer()
    cancelled = asyncio.Event()

    async def hangs(effect: e.Effect) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    performer.work[e.ScheduleConnectToHub] = hangs
    async with driving(performer) as driver:
        driver.dispatch(a.HubAddressAdded(ONE, stored=True))
        await driver.settled()
    assert cancelled.is_set()
    assert "1 effects were still under way" in caplog.text


async def test_closing_before_an_effect_has_begun_leaves_no_coroutine() -> None:
    performer = Performer()

    async def connects(effect: e.Effect) -> None:
        raise AssertionError("it must not begin")

    performer.work[e.ScheduleConnectToHub] = connects
    driver = Driver(initial(ME, seed=1, now=START), performer)
    driver._start_effect(e.ScheduleConnectToHub(ONE, 1, "why"))
    await driver.close()
    assert not driver._tasks


async def test_a_trace_is_kept_on_the_way() -> None:
    trace = Trace()
    async with driving(Performer(), trace=trace) as driver:
        driver.dispatch(a.PeerBlocked(AMY))
        await driver.settled()
    assert [record.action for record in trace.ring] == [a.PeerBlocked(AMY)]
