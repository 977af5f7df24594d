"""The one loop that drives the manager: take an action, step, record, start the effects, take the next.

    dispatch -> queue -> step(state, action, now) -> trace -> timers / performer.perform(effect) -> tasks -> dispatch

Effects of one step are started in order before the next action is taken; only saves are awaited. What a performer
raises becomes the action that answers the failed effect (`failed`), so that nothing waits for an answer that never
comes. One timer of the event loop is armed, for the earliest entry of the table.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.state import Now, State
from ssb_rtc.manager.step import step
from ssb_rtc.runtime.timers import TimerTable
from ssb_rtc.runtime.trace import Trace

ACTIONS_MAX = 10_000
"""Actions that wait; beyond it what remote sides cause is dropped, and counted."""
YIELD_EVERY_ACTIONS = 64
SLEEP_JUMP_S = 60.0
"""The wall clock ran so much further than the monotonic one: the machine slept."""

REMOTE_ACTIONS = (a.RemotePeerDidAnnounce, a.RemotePeerDidDisconnect, a.RemotePeerDidOffer, a.RemotePeerDidAppear)
"""What anybody on a hub or in our local network can cause, as often as they like."""

_log = logging.getLogger(__name__)


class Performer(Protocol):
    """Turns effects into I/O."""

    def perform(self, effect: e.Effect) -> Coroutine[Any, Any, None] | None:
        """Do what the effect orders: at once and return None, or return a coroutine that the driver runs as a task.

        Never gets timers and IGNORE_ACTION. What it raises, here or in the coroutine, becomes the failing action.
        """


Observer = Callable[[State, a.Action, tuple[e.Effect, ...]], None]
"""Called after each step with the new state; must not block. What it raises is logged."""


def failed(effect: e.Effect, reason: str) -> a.Action | None:
    """The action that tells the manager of a failed effect, or None where it needs no telling."""
    match effect:
        case e.ScheduleConnectToHub():
            return a.HubConnectionFailed(effect.hub, effect.connection, reason)
        case e.ScheduleAnnounceToHub():
            return a.AnnounceToHubFailed(effect.hub, effect.connection, reason)
        case e.ScheduleConnectToRemotePeer() | e.AcceptOffer():
            return a.RemotePeerConnectionFailed(effect.peer, effect.attempt, reason)
        case e.ScheduleSaveHubs():
            return a.SaveHubsFailed(effect.revision, reason)
        case e.ScheduleProbeHub():
            return a.HubProbeFailed(effect.hub, effect.probe, reason)
        case _:
            return None


class Driver:
    """Owns the state, the queue, the timers and the tasks of effects. One a peer, on one event loop."""

    def __init__(
        self,
        state: State,
        performer: Performer,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        trace: Trace | None = None,
        actions_max: int = ACTIONS_MAX,
    ) -> None:
        self.state = state
        self.dropped: Counter[str] = Counter()
        """Remote actions that found the queue full, by kind."""
        self.ignored: Counter[str] = Counter()
        """Actions that changed nothing, by kind."""
        self.actions: Counter[str] = Counter()
        """Actions that were taken, by kind."""
        self.effects: Counter[str] = Counter()
        """Effects that were ordered, by kind."""
        self.step_sum_s = 0.0
        """How long all steps took together; the longest took `step_max_s`."""
        self.step_max_s = 0.0
        self.faults = 0
        """Steps that raised, which is a bug of ours: the action was put aside, the state kept."""
        self._performer = performer
        self._monotonic = monotonic
        self._wall = wall
        self._trace = trace
        self._actions_max = actions_max
        self._queue: deque[a.Action] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._timers = TimerTable()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_s: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop_task: asyncio.Task[None] | None = None
        self._observers: list[Observer] = []
        self._closed = False
        self._clock_gap_s = wall() - monotonic()

    def start(self) -> None:
        """Begin to take actions. Needs a running event loop."""
        self._loop_task = asyncio.get_running_loop().create_task(self._run(), name="driver")

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Have `observer` called after each step; the returned function ends that."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    def dispatch(self, action: a.Action) -> bool:
        """Queue an action, from this event loop's thread. False where it was dropped.

        Only REMOTE_ACTIONS are dropped, when the queue is full; whoever keeps something for one (an offer) lets it go
        then. After `close` everything is.
        """
        if self._closed:
            return False
        if len(self._queue) >= self._actions_max and isinstance(action, REMOTE_ACTIONS):
            self.dropped[action.kind] += 1
            return False
        self._queue.append(action)
        self._wake.set()
        self._idle.clear()
        return True

    async def settled(self) -> None:
        """Wait until no action waits. Effects that were started may still be under way."""
        await self._idle.wait()

    async def close(self, *, grace_s: float = 5.0) -> None:
        """End: queued actions are still taken, effects get `grace_s` to finish, then all tasks are cancelled.

        Dispatch SHUTDOWN_REQUESTED before it for goodbyes to hubs and peers.
        """
        if self._loop_task is not None and not self._loop_task.done():
            try:
                await asyncio.wait_for(self._finished(), grace_s)
            except TimeoutError:
                _log.warning("%d effects were still under way after %s s: cancelled", len(self._tasks), grace_s)
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = [*self._tasks, *([self._loop_task] if self._loop_task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._queue.clear()
        if self._trace is not None:
            self._trace.close()

    async def _finished(self) -> None:
        await self._idle.wait()
        while self._tasks:
            await asyncio.wait(self._tasks)
            await self._idle.wait()

    async def _run(self) -> None:
        taken = 0
        while True:
            if not self._queue:
                self._idle.set()
                self._wake.clear()
                await self._wake.wait()
            effects = self._take(self._queue.popleft())
            taken += 1
            started = False
            for effect in effects:
                if isinstance(effect, e.ScheduleSaveHubs):
                    await self._attempt(effect)
                else:
                    started |= self._start_effect(effect)
            self._arm()
            if started or taken % YIELD_EVERY_ACTIONS == 0:
                await asyncio.sleep(0)  # tasks run their first lines before the next action

    def _take(self, action: a.Action) -> tuple[e.Effect, ...]:
        now = Now(self._monotonic(), self._wall())
        before = self.state
        began_s = time.perf_counter()
        try:
            self.state, effects = step(before, action, now)
        except Exception:
            self.faults += 1
            _log.exception("the step failed on %s: the action is put aside", action.kind)
            return ()
        self._count(action, effects, time.perf_counter() - began_s)
        if self._trace is not None:
            self._trace.record(before, now, action, effects)
        for observer in tuple(self._observers):
            try:
                observer(self.state, action, effects)
            except Exception:
                _log.exception("an observer failed on %s", action.kind)
        return effects

    def _count(self, action: a.Action, effects: tuple[e.Effect, ...], took_s: float) -> None:
        self.actions[action.kind] += 1
        for effect in effects:
            self.effects[effect.kind] += 1
        self.step_sum_s += took_s
        self.step_max_s = max(self.step_max_s, took_s)

    @property
    def waiting(self) -> int:
        """Actions in the queue."""
        return len(self._queue)

    def _start_effect(self, effect: e.Effect) -> bool:
        """Start it; True where a task came of it."""
        match effect:
            case e.ArmTimer() | e.SchedulePeersUpdateTick():
                self._timers.arm(effect.key, effect.due_mono_s)
            case e.CancelTimer():
                self._timers.cancel(effect.key)
            case e.IgnoreAction():
                self.ignored[effect.action] += 1
            case _:
                coroutine = self._perform(effect)
                if coroutine is not None:
                    task = asyncio.get_running_loop().create_task(self._answered(effect, coroutine), name=effect.kind)
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                    # A task that is cancelled before its first line never awaits its coroutine.
                    task.add_done_callback(lambda _: coroutine.close())
                    return True
        return False

    def _perform(self, effect: e.Effect) -> Coroutine[Any, Any, None] | None:
        try:
            return self._performer.perform(effect)
        except Exception as error:
            self._tell(effect, error)
            return None

    async def _attempt(self, effect: e.Effect) -> None:
        coroutine = self._perform(effect)
        if coroutine is not None:
            await self._answered(effect, coroutine)

    async def _answered(self, effect: e.Effect, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except Exception as error:
            self._tell(effect, error)

    def _tell(self, effect: e.Effect, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        action = failed(effect, reason)
        if action is None:
            _log.warning("%s failed: %s", effect.kind, reason)
        else:
            _log.debug("%s failed: %s", effect.kind, reason)
            self.dispatch(action)

    def _arm(self) -> None:
        due_s = self._timers.next_due_s()
        if due_s == self._timer_due_s:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_due_s = due_s
        if due_s is not None:
            delay_s = max(0.0, due_s - self._monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._timer_due_s = None
        gap_s = self._wall() - self._monotonic()
        slept_s, self._clock_gap_s = gap_s - self._clock_gap_s, gap_s
        if slept_s > SLEEP_JUMP_S:
            self.dispatch(a.DidWakeUp(slept_s))
        for key, due_s in self._timers.take_due(self._monotonic()):
            self.dispatch(a.TimerExpired(key, due_s))
        self._arm()
