"""Actions a second of the peers state manager's `step`, on one core, with 10, 1,000 and 10,000 known peers.

    python bench/bench_step.py [--peers 10 1000 10000] [--actions 20000] [--rounds 5] [--profile] [--kinds] [--json]

A life is made up first, from one seed: peers announce themselves and say goodbye, offers come, attempts fail, succeed
or are never heard of again, links carry downloads and end, hubs fail, timers expire. Each of its actions is recorded
with its clocks; then the same record is replayed from the same state, and only `step` is measured, in CPU time. The
life has the same mix at each size, about 50 actions a second of its own time, so a tick comes once in about 500.
"""

from __future__ import annotations

import argparse
import base64
import cProfile
import gc
import hashlib
import heapq
import json
import pstats
import random
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import Link, Now, Route, State, Witness, initial
from ssb_rtc.manager.step import step
from ssb_rtc.types import HubUrl, PeerId

HUBS = [HubUrl(f"https://hub-{number}.example") for number in range(3)]
SEED = 20_181_111
EVENTS_A_SECOND = 50.0
FRIENDS_SHARE = 0.2
PROFILE_LINES = 15

Recorded = tuple[a.Action, Now]


class Life(NamedTuple):
    """What is replayed."""

    start: State
    actions: list[Recorded]
    effects: int


def peer_id(number: int) -> PeerId:
    """A well-formed id; nobody has its secret."""
    return PeerId(f"@{base64.b64encode(hashlib.sha256(b'peer %d' % number).digest()).decode()}.ed25519")


class World:
    """All that is outside of one manager: hubs, other peers, the runtime. Made of one seed."""

    def __init__(self, known: int) -> None:
        self._known = known
        self._random = random.Random(SEED + known)
        self._numbers = count(1)
        self._links = count(1)
        self._heap: list[tuple[float, int, Callable[[], a.Action | None]]] = []
        self._sessions = count(1)
        self.now_s = 1_000.0
        self.record: list[Recorded] | None = None
        self.effects = 0
        self.taken = 0
        settings = Settings(known_peers_max=2 * known + 100)
        self.state = initial(peer_id(0), seed=SEED, settings=settings, now=self._now())
        self._newcomers = count(known + 1)
        self.present = [peer_id(number) for number in range(1, known + 1)]
        self._begin()

    def _begin(self) -> None:
        for hub in HUBS:
            self._take(a.HubAddressAdded(hub, stored=True))
        self.run(2 * len(HUBS), noise=False)
        friends = self.present[: max(2, int(len(self.present) * FRIENDS_SHARE))]
        self._take(a.HopsDidChange(tuple((peer, 1 + number % 3) for number, peer in enumerate(friends))))
        for hub in HUBS:
            for peer in self.present:
                self._take(a.RemotePeerDidAnnounce(hub, peer, free_slots=2))

    def run(self, actions: int, *, noise: bool = True) -> None:
        """Let so many actions be taken."""
        until = self.taken + actions
        while self.taken < until:
            pause_s = self._random.expovariate(EVENTS_A_SECOND) if noise else 1.0
            before_s = self.now_s + pause_s
            if self._heap and self._heap[0][0] <= before_s:
                at_s, _, event = heapq.heappop(self._heap)
                self.now_s = max(self.now_s, at_s)
                self._take(event())
            elif noise:
                self.now_s = before_s
                self._take(self._noise())
            else:
                self.now_s = before_s

    def _now(self) -> Now:
        return Now(self.now_s, 1_700_000_000.0 + self.now_s)

    def _take(self, action: a.Action | None) -> None:
        if action is None:
            return
        now = self._now()
        if self.record is not None:
            self.record.append((action, now))
        self.state, effects = step(self.state, action, now)
        self.taken += 1
        self.effects += len(effects)
        for effect in effects:
            self._perform(effect)

    def _later(self, delay_s: float, event: a.Action | Callable[[], a.Action | None]) -> None:
        happens = event if callable(event) else lambda: event
        heapq.heappush(self._heap, (self.now_s + delay_s, next(self._numbers), happens))

    def _hub(self) -> HubUrl:
        """One over which something can be heard."""
        connected = [hub for hub in HUBS if self.state.hubs[hub].connected_s is not None]
        return self._random.choice(connected or HUBS)

    def _somebody(self) -> PeerId:
        return self._random.choice(self.present)

    def _newcomer(self) -> PeerId:
        peer = peer_id(next(self._newcomers))
        self.present.append(peer)
        return peer

    def _leave(self) -> a.Action | None:
        """Somebody says goodbye on every hub, unless too few would be left."""
        if len(self.present) <= self._known // 2 + 1:
            return None
        at = self._random.randrange(len(self.present))
        self.present[at], self.present[-1] = self.present[-1], self.present[at]
        peer = self.present.pop()
        for hub in HUBS[1:]:
            self._later(0.01, a.RemotePeerDidDisconnect(hub, peer))
        return a.RemotePeerDidDisconnect(HUBS[0], peer)

    def _linked(self) -> tuple[PeerId, Link] | None:
        if not self.state.linked:
            return None
        peer = self._random.choice(self.state.linked)
        link = self.state.peers[peer].link
        return None if link is None else (peer, link)

    def _noise(self) -> a.Action | None:
        """What happens without our doing; None where there is nobody whom it could happen to."""
        draw = self._random.random()
        for share, make in self._shares():
            draw -= share
            if draw < 0:
                return make()
        return a.RemotePeerDidAnnounce(self._hub(), self._somebody(), self._random.randrange(4))

    def _shares(self) -> tuple[tuple[float, Callable[[], a.Action | None]], ...]:
        return (
            (0.02, lambda: a.RemotePeerDidAnnounce(self._hub(), self._newcomer())),
            (0.03, self._leave),
            (0.10, lambda: self._offer(self._somebody())),
            (0.01, lambda: self._offer(self._newcomer())),
            (0.01, lambda: self._arrival(self._somebody(), Route("inbound", "net:there"), False, None)),
            (0.04, self._told),
            (0.01, self._hub_list),
            (0.01, lambda: a.HopsDidChange(((self._somebody(), self._random.choice((None, 1, 2))),))),
            (0.002, lambda: a.ConnectToRemotePeer(self._somebody())),
            (0.001, lambda: a.DisconnectFromRemotePeer(self._somebody(), not_before_s=30.0)),
            (0.0003, self._hub_lost),
        )

    def _offer(self, peer: PeerId) -> a.Action:
        return a.RemotePeerDidOffer(self._hub(), peer, f"session {next(self._sessions)}", self._random.random() < 0.1)

    def _told(self) -> a.Action | None:
        found = self._linked()
        if found is None:
            return None
        return a.RemotePeerDidTell(found[0], found[1].id, self._random.random() < 0.2, self._random.random() < 0.5)

    def _hub_list(self) -> a.Action | None:
        found = self._linked()
        named = HubUrl(f"https://named-{self._random.randrange(40)}.example")
        if found is None:
            return None
        return a.HubVouchersDidChange(tuple((hub, (Witness(found[0], found[0]),)) for hub in (*HUBS, named)))

    def _hub_lost(self) -> a.Action | None:
        hub = self.state.hubs.get(self._hub())
        return None if hub is None or hub.connection is None else a.HubConnectionLost(hub.url, hub.connection, "silent")

    def _arrival(self, peer: PeerId, route: Route, dialled: bool, attempt: int | None) -> a.Action:
        link = next(self._links)
        self._later(self._random.expovariate(1 / 90.0), lambda: self._link_end(peer, link))
        return a.RemotePeerConnectionSucceeded(peer, link, route, dialled, attempt)

    def _link_end(self, peer: PeerId, link: int) -> a.Action | None:
        if not self._is_up(peer, link):
            return None
        return a.RemotePeerLinkEnded(peer, link, "reset", clean=self._random.random() < 0.5)

    def _is_up(self, peer: PeerId, link: int) -> bool:
        row = self.state.peers.get(peer)
        return row is not None and any(each is not None and each.id == link for each in (row.link, row.rival))

    def _perform(self, effect: e.Effect) -> None:
        match effect:
            case e.ArmTimer() | e.SchedulePeersUpdateTick():
                key, due_s = effect.key, effect.due_mono_s
                self._later(due_s - self.now_s, lambda: self._expiry(key, due_s))
            case e.ScheduleConnectToHub(hub, connection):
                good = self._random.random() < 0.9
                kept = a.HubConnectionSucceeded(hub, connection)
                self._later(0.2, kept if good else a.HubConnectionFailed(hub, connection, "refused"))
            case e.ScheduleSaveHubs(revision):
                self._later(0.01, a.HubsSaved(revision))
            case e.ScheduleAnnounceToHub(hub) if self._random.random() < 0.05:
                self._later(0.1, a.HubDidLimit(hub, 60.0))
            case e.ScheduleConnectToRemotePeer(peer, route, attempt):
                self._try(peer, route, True, attempt)
            case e.AcceptOffer(hub, peer, _, attempt):
                self._try(peer, Route("hub", hub), False, attempt)
            case e.ScheduleDisconnectFromRemotePeer(peer, link):
                self._later(0.1, a.RemotePeerLinkEnded(peer, link, "closed"))
            case e.UseLink(peer, link):
                self._later(0.2, lambda: self._download(peer, link, self._random.randrange(5, 60)))
            case e.CheckLink(peer, link):
                self._later(0.1, lambda: a.LinkDidAnswer(peer, link, 0.1) if self._is_up(peer, link) else None)
            case _:
                pass

    def _expiry(self, key: str, due_s: float) -> a.Action | None:
        return a.TimerExpired(key, due_s) if self.state.timers.get(key) == due_s else None

    def _try(self, peer: PeerId, route: Route, dialled: bool, attempt: int) -> None:
        fate = self._random.random()
        if fate < 0.5:
            self._later(self._random.uniform(0.5, 3.0), lambda: self._arrival(peer, route, dialled, attempt))
        elif fate < 0.75:
            self._later(self._random.uniform(0.5, 20.0), a.RemotePeerConnectionFailed(peer, attempt, "ice failed"))
        elif fate < 0.9:
            busy = a.RemotePeerConnectionFailed(peer, attempt, "busy", not_before_s=60.0)
            self._later(0.3, busy)

    def _download(self, peer: PeerId, link: int, seconds: int) -> a.Action | None:
        if not self._is_up(peer, link):
            return None
        progress = a.DownloadProgressed(peer, link, 200, 1_000)
        for second in range(1, seconds):
            self._later(second, lambda: progress if self._is_up(peer, link) else None)
        self._later(seconds, lambda: a.DownloadEnded(peer, link) if self._is_up(peer, link) else None)
        return a.DownloadStarted(peer, link, 10_000)


def live(known: int, actions: int) -> Life:
    """Makes up a life and records it, after a while of getting used to the world."""
    world = World(known)
    world.run(3_000)
    start, effects = world.state, world.effects
    world.record = []
    world.run(actions)
    return Life(start, world.record, world.effects - effects)


def replay(life: Life) -> float:
    """Seconds of this thread's CPU time for the whole record: what else the machine does takes none of it."""
    state, effects = life.start, 0
    gc.collect()
    began = time.thread_time()
    for action, now in life.actions:
        state, ordered = step(state, action, now)
        effects += len(ordered)
    seconds = time.thread_time() - began
    assert effects == life.effects, "a replay gives other effects than the life that was recorded"
    return seconds


def by_kind(life: Life) -> dict[str, dict[str, float]]:
    """For each kind of action its share of all actions, and microseconds each; a timer goes by its key's first word."""
    times: dict[str, list[float]] = defaultdict(list)
    state = life.start
    for action, now in life.actions:
        kind = action.kind + (f" {action.key.partition(':')[0]}" if isinstance(action, a.TimerExpired) else "")
        began = time.perf_counter()
        state, _ = step(state, action, now)
        times[kind].append(time.perf_counter() - began)
    total = len(life.actions)
    rows = {kind: (len(spent) / total, statistics.fmean(spent) * 1e6) for kind, spent in times.items()}
    return {
        kind: {"share": round(share, 4), "us": round(us, 1)}
        for kind, (share, us) in sorted(rows.items(), key=lambda row: -row[1][0] * row[1][1])
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The rounds go through all sizes in turn, so that a machine that slows down slows all of them."""
    lives = {known: live(known, options.actions) for known in options.peers}
    seconds: dict[int, list[float]] = {known: [] for known in lives}
    for _ in range(options.rounds):
        for known, life in lives.items():
            seconds[known].append(replay(life))
    sizes = []
    for known, life in lives.items():
        rates = sorted(len(life.actions) / spent for spent in seconds[known])
        row = {"min": round(rates[0]), "median": round(statistics.median(rates)), "max": round(rates[-1])}
        sizes.append(
            {
                "peers": known,
                "known_peers_at_start": len(life.start.peers),
                "actions_a_second": row,
                "effects_an_action": round(life.effects / len(life.actions), 2),
                "kinds": by_kind(life) if options.kinds else dict(Counter(x.kind for x, _ in life.actions)),
            }
        )
    best = [row["actions_a_second"]["max"] for row in sizes]
    return {
        "bench": "step",
        "actions": options.actions,
        "rounds": options.rounds,
        "sizes": sizes,
        "cost_of_the_largest_to_the_smallest": round(best[0] / best[-1], 2),
    }


def profile(options: argparse.Namespace) -> None:
    """Where the time goes, at the size in the middle."""
    known = sorted(options.peers)[len(options.peers) // 2]
    life = live(known, options.actions)
    profiler = cProfile.Profile()
    profiler.runcall(replay, life)
    sys.stdout.write(f"{known} known peers, {len(life.actions)} actions\n")
    pstats.Stats(profiler, stream=sys.stdout).strip_dirs().sort_stats("tottime").print_stats(PROFILE_LINES)


def show(found: dict[str, Any], *, kinds: bool) -> None:
    """The report for a person."""
    lines = [f"{found['actions']} actions of a made-up life, {found['rounds']} rounds, one core, actions a second"]
    lines.append(f"  {'known peers':>12}{'min':>10}{'median':>10}{'max':>10}{'effects an action':>20}")
    for row in found["sizes"]:
        rates = row["actions_a_second"]
        lines.append(
            f"  {row['known_peers_at_start']:>12,}{rates['min']:>10,}{rates['median']:>10,}{rates['max']:>10,}"
            f"{row['effects_an_action']:>20}"
        )
    lines.append(f"  an action of the last costs {found['cost_of_the_largest_to_the_smallest']} of one of the first")
    for row in found["sizes"] if kinds else ():
        lines.append(f"  {row['peers']:,} peers:")
        lines += [f"    {kind:<34}{each['share']:>8.2%}{each['us']:>9} us" for kind, each in row["kinds"].items()]
    sys.stdout.write("\n".join(lines) + "\n")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", type=int, nargs="+", default=[10, 1_000, 10_000])
    parser.add_argument("--actions", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help=f"the {PROFILE_LINES} most expensive functions instead")
    parser.add_argument("--kinds", action="store_true", help="microseconds of each kind of action")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.actions < 1 or options.rounds < 1 or min(options.peers) < 2:
        parser.error("--actions and --rounds are at least 1, --peers at least 2")
    if options.profile:
        profile(options)
        return
    found = measure(options)
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        show(found, kinds=options.kinds)


if __name__ == "__main__":
    main()
