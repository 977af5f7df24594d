"""A mesh of real processes under faults: peers (`ssb-rtc start`), hubs (`ssb-rtc hub serve`), places that are cut off.

    python -m tests.soak.mesh [--peers 30] [--hubs 3] [--places 5] [--faults-s 300] [--seed 1]

All follow all. For a while hubs are killed and started again, places are cut off and healed, and everybody publishes
now and then; who does what when is planned from the seed before it begins. Then all is healed, each publishes once
more, and everybody has to hold every feed to its exact head within a bound, with no more memory and descriptors than
before.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ssb_rtc.peer import connect_local
from ssb_rtc.storage import folder as files
from ssb_rtc.storage.identity import create_identity
from ssb_rtc.testing.swarm import keys_of
from ssb_rtc.transport.link import Link
from tests.e2e.processes import LIMIT_S, Running, eventually, running
from tests.nat.star import Loopback, Star, why_no_star

STARTS_AT_ONCE = 2
SAMPLE_S = 2.0
LOOK_S = 0.5
SETTLE_LIMIT_S = 120.0
"""For what was open only for a moment to be closed."""
GROWTH_MAX = 1.3
GROWTH_FREE_KIB = 16 * 1024
"""What a process may grow by, a third and this: caches fill, and heaps have holes."""
DESCRIPTORS_FREE = 8
"""What a process may have open more than before, beside what its links need."""
DESCRIPTORS_A_LINK = 4


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a mesh is, and how bad its life."""

    peers: int
    hubs: int
    places: int
    faults_s: float
    hub_up_s: float
    """How long a hub lives, on average."""
    hub_down_s: float
    """How long it stays dead, at most."""
    whole_s: float
    """How long a place keeps its network, on average."""
    cut_s: float
    """How long it is cut off, at most."""
    silence_s: float
    """Between two messages of a peer, on average."""
    converge_s: float
    """The bound: after the healing everybody holds everything within this time."""


SMALL = Shape(
    peers=6, hubs=3, places=3, faults_s=20, hub_up_s=8, hub_down_s=5, whole_s=12, cut_s=8, silence_s=4, converge_s=120
)
LARGE = Shape(
    peers=30,
    hubs=3,
    places=5,
    faults_s=300,
    hub_up_s=30,
    hub_down_s=20,
    whole_s=60,
    cut_s=60,
    silence_s=15,
    converge_s=300,
)


class Event(NamedTuple):
    """Something that happens at a time of the life under faults."""

    at_s: float
    what: Literal["kill a hub", "start a hub", "cut", "heal", "publish"]
    who: int
    silent: bool = False


def planned(shape: Shape, seed: int) -> list[Event]:
    """All that happens, in order. The same for the same seed."""
    chance = random.Random(seed)
    events: list[Event] = []
    for hub in range(shape.hubs):
        at_s = chance.expovariate(1 / shape.hub_up_s)
        while at_s < shape.faults_s:
            events.append(Event(at_s, "kill a hub", hub))
            at_s += chance.uniform(0.5, shape.hub_down_s)
            events.append(Event(at_s, "start a hub", hub))
            at_s += chance.expovariate(1 / shape.hub_up_s)
    for place in range(shape.places):
        at_s = chance.expovariate(1 / shape.whole_s)
        while at_s < shape.faults_s:
            events.append(Event(at_s, "cut", place, silent=chance.random() < 0.5))
            at_s += chance.uniform(1.0, shape.cut_s)
            events.append(Event(at_s, "heal", place))
            at_s += chance.expovariate(1 / shape.whole_s)
    for peer in range(shape.peers):
        at_s = chance.expovariate(1 / shape.silence_s)
        while at_s < shape.faults_s:
            events.append(Event(at_s, "publish", peer))
            at_s += chance.expovariate(1 / shape.silence_s)
    return sorted(event for event in events if event.at_s < shape.faults_s)


class Usage(NamedTuple):
    """What a process holds now."""

    memory_kib: int
    descriptors: int


NOTHING = Usage(0, 0)


def usage(pid: int) -> Usage:
    """Of a process that runs, from /proc."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    memory = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return Usage(memory, sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()))


@dataclass(slots=True)
class MeshPeer:
    """One peer: its process, the local link to it, and what is known of it."""

    name: str
    process: Running
    link: Link
    sequence: int = 0
    last_key: str = ""
    links_made: int = 0
    hubs_reached: int = 0
    samples: list[tuple[float, int]] = field(default_factory=list)
    """Memory over time."""
    before: Usage = NOTHING
    links_before: int = 0
    after: Usage = NOTHING
    links_after: int = 0
    converged_s: float | None = None

    @property
    def id(self) -> str:
        """Its feed."""
        return str(self.process.ready["id"])

    async def status(self) -> Any:
        """As `ssb-rtc status --json`."""
        return await self.link.call("rtc.status", timeout_s=LIMIT_S)

    async def publish(self, content: dict[str, Any]) -> None:
        """Publishes, and notes the new head."""
        message = await self.link.call("publish", content, timeout_s=LIMIT_S)
        self.sequence, self.last_key = message["value"]["sequence"], message["key"]

    async def links(self) -> int:
        """How many peers it is linked with."""
        return sum(row["state"] == "CONNECTED" for row in (await self.status())["peers"])

    async def count_trace(self) -> None:
        """Counts links and hub connections, until cancelled."""
        async for item in self.link.source("rtc.trace"):
            kind = item["action"]["kind"]
            self.links_made += kind == "REMOTE_PEER_CONNECTION_SUCCEEDED"
            self.hubs_reached += kind == "HUB_CONNECTION_SUCCEEDED"


class MeshHub:
    """A hub that comes back on the same port."""

    def __init__(self, logs: Path, host: str, prefix: list[str]) -> None:
        self._logs = logs
        self._host = host
        self._prefix = prefix
        self._life = AsyncExitStack()
        self._busy = asyncio.Lock()
        self.port = 0
        self.process: Running | None = None
        self.starts = 0

    async def start(self) -> None:
        """Start it, unless it runs."""
        async with self._busy:
            if self.process is None:
                words = ("hub", "serve", "--host", self._host, "--port", str(self.port))
                self.process = await self._life.enter_async_context(running(self._logs, *words, prefix=self._prefix))
                self.port = self.process.ready["port"]
                self.starts += 1

    async def kill(self) -> None:
        """kill -9, unless it is dead."""
        async with self._busy:
            if self.process is not None:
                self.process.kill()
                await self._life.aclose()
                self.process = None

    async def close(self) -> None:
        """End it in order."""
        await self._life.aclose()


class Mesh:
    """The whole; made by `mesh`."""

    def __init__(self, shape: Shape, seed: int, ground: Star | Loopback, folder: Path) -> None:
        self.shape = shape
        self.seed = seed
        self.ground = ground
        self.folder = folder
        self.peers: list[MeshPeer] = []
        self.hubs = [MeshHub(folder / f"hub{n}", ground.hub_host, ground.prefix(None)) for n in range(shape.hubs)]
        self.happened: Counter[str] = Counter()
        self.began_s = time.monotonic()
        self.started_s = 0.0
        self.first_s = 0.0

    async def start(self, life: AsyncExitStack, background: asyncio.TaskGroup) -> None:
        """Hubs, then peers, a few at a time: each costs a second of CPU."""
        for hub in self.hubs:
            life.push_async_callback(hub.close)
            await hub.start()
        gate = asyncio.Semaphore(STARTS_AT_ONCE)

        async def one(number: int) -> MeshPeer:
            async with gate:
                return await life.enter_async_context(self._peer(number))

        self.peers = list(await asyncio.gather(*(one(number) for number in range(self.shape.peers))))
        self.started_s = self._clock()
        self._counting = [background.create_task(peer.count_trace()) for peer in self.peers]
        self._counting.append(background.create_task(self._sample()))

    @asynccontextmanager
    async def _peer(self, number: int) -> AsyncIterator[MeshPeer]:
        path = self.folder / f"p{number}"
        path.mkdir(mode=0o700)
        create_identity(files.secret_path(path), keys_of(f"mesh {self.seed} {number}"))
        words = ["start", "--path", str(path), "--allow-http", self.ground.hub_host]
        for hub in self.hubs:
            words += ["--hub", f"http://{self.ground.hub_host}:{hub.port}"]
        prefix = self.ground.prefix(number % self.ground.places) if self.ground.places else []
        async with running(self.folder / f"log{number}", *words, prefix=prefix) as process:
            link = await connect_local(path)
            try:
                yield MeshPeer(f"p{number}", process, link)
            finally:
                await link.close()

    async def acquaint(self) -> None:
        """All follow all, and have heard so."""
        began_s = self._clock()
        for peer in self.peers:
            for other in self.peers:
                if other is not peer:
                    await peer.publish({"type": "contact", "contact": other.id, "following": True})
        await self.converge(self.shape.converge_s)
        self.first_s = self._clock() - began_s
        for peer in self.peers:
            peer.before, peer.links_before = usage(peer.process.process.pid), await peer.links()

    async def suffer(self) -> None:
        """The life under faults."""
        began_s = self._clock()
        async with asyncio.TaskGroup() as deeds:
            for event in planned(self.shape, self.seed):
                await asyncio.sleep(max(0.0, began_s + event.at_s - self._clock()))
                self.happened[event.what] += 1
                self._cause(event, deeds)
            await asyncio.sleep(max(0.0, began_s + self.shape.faults_s - self._clock()))

    def _cause(self, event: Event, deeds: asyncio.TaskGroup) -> None:
        match event.what:
            case "kill a hub":
                deeds.create_task(self.hubs[event.who].kill())
            case "start a hub":
                deeds.create_task(self.hubs[event.who].start())
            case "cut":
                self.ground.cut(event.who, silent=event.silent)
            case "heal":
                self.ground.heal(event.who)
            case "publish":
                text = f"message {self.peers[event.who].sequence + 1}, at {event.at_s:.1f} s"
                deeds.create_task(self.peers[event.who].publish({"type": "post", "text": text}))

    async def recover(self) -> None:
        """Everything works again, and each has a last thing to say, which all have to hear."""
        for place in range(self.ground.places):
            self.ground.heal(place)
        for hub in self.hubs:
            await hub.start()
        for peer in self.peers:
            await peer.publish({"type": "post", "text": "is everybody there?"})
        await self.converge(self.shape.converge_s)

    async def converge(self, limit_s: float) -> None:
        """Waits until everybody holds every feed up to its exact head."""
        heads = {peer.id: peer.sequence for peer in self.peers}
        began_s = self._clock()
        for peer in self.peers:
            peer.converged_s = None

        async def look() -> bool:
            for peer in self.peers:
                if peer.converged_s is None and (await peer.status())["feeds"] == heads:
                    peer.converged_s = self._clock() - began_s
            return all(peer.converged_s is not None for peer in self.peers)

        try:
            await eventually("everybody holding everything", look, limit_s=limit_s, pause_s=LOOK_S)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{await self.missing()}\n{self.table()}") from None

    async def missing(self) -> str:
        """Who lacks what, and how it stands with links and hubs."""
        heads = {peer.id: (peer.name, peer.sequence) for peer in self.peers}
        lines = []
        for peer in self.peers:
            status = await peer.status()
            lacks = {name: have for id_, (name, want) in heads.items() if (have := status["feeds"].get(id_, 0)) != want}
            linked = [
                heads[row["id"]][0] for row in status["peers"] if row["state"] == "CONNECTED" and row["id"] in heads
            ]
            hubs = [hub["state"] for hub in status["hubs"]]
            if lacks:
                lines.append(f"{peer.name} has other heads for {lacks}; linked with {linked}; hubs {hubs}")
        return "\n".join(lines)

    async def check(self) -> None:
        """The same messages everywhere, and no more memory and descriptors than before."""
        for peer in self.peers:
            for other in self.peers:
                await peer.link.call("get", other.last_key, timeout_s=LIMIT_S)
        await eventually("descriptors being closed", self._descriptors_closed, limit_s=SETTLE_LIMIT_S, pause_s=LOOK_S)
        for peer in self.peers:
            first_kib = self.memory_at_first(peer)
            assert peer.after.memory_kib <= first_kib * GROWTH_MAX + GROWTH_FREE_KIB, (
                f"{peer.name} grew\n{self.table()}"
            )
            assert "Traceback" not in peer.process.stderr, f"{peer.name}: {peer.process.stderr}"

    async def _descriptors_closed(self) -> bool:
        for peer in self.peers:
            peer.after, peer.links_after = usage(peer.process.process.pid), await peer.links()
        return all(peer.after.descriptors <= self.descriptors_max(peer) for peer in self.peers)

    @staticmethod
    def descriptors_max(peer: MeshPeer) -> int:
        """What it may have open, with the links that it has now."""
        more_links = max(0, peer.links_after - peer.links_before)
        return peer.before.descriptors + DESCRIPTORS_FREE + DESCRIPTORS_A_LINK * more_links

    def memory_at_first(self, peer: MeshPeer) -> int:
        """What it had a minute after everybody was acquainted, or at the end of the faults where those were shorter."""
        return next((kib for at_s, kib in peer.samples if at_s >= self._settled_s), peer.samples[-1][1])

    @property
    def _settled_s(self) -> float:
        return self.started_s + self.first_s + min(60.0, self.shape.faults_s)

    async def end(self) -> None:
        """Everybody ends in order when told so, and says nothing of errors."""
        for task in self._counting:
            task.cancel()
        codes = await asyncio.gather(*(peer.process.end() for peer in self.peers))
        for peer, code in zip(self.peers, codes, strict=True):
            assert code == 0, f"{peer.name} ended with {code}: {peer.process.stderr}"

    async def _sample(self) -> None:
        while True:
            for peer in self.peers:
                if peer.process.process.returncode is None:
                    peer.samples.append((self._clock(), usage(peer.process.process.pid).memory_kib))
            await asyncio.sleep(SAMPLE_S)

    def _clock(self) -> float:
        return time.monotonic() - self.began_s

    def table(self) -> str:
        """The run, for a person."""
        happened = ", ".join(f"{what} {times}" for what, times in sorted(self.happened.items()))
        size = f"{len(self.peers)} peers, {len(self.hubs)} hubs, {self.ground.described}"
        lines = [
            f"seed {self.seed}: {size}, {self.shape.faults_s:.0f} s of faults",
            f"started in {self.started_s:.0f} s, acquainted in {self.first_s:.0f} s more; {happened}",
            f"{'peer':<6}{'converged':>11}{'links':>7}{'made':>6}{'hubs':>6}"
            f"{'MiB then':>10}{'now':>7}{'fds then':>10}{'now':>6}",
        ]
        for peer in self.peers:
            converged = "never" if peer.converged_s is None else f"{peer.converged_s:.1f} s"
            then_mib, now_mib = self.memory_at_first(peer) / 1024 if peer.samples else 0, peer.after.memory_kib / 1024
            lines.append(
                f"{peer.name:<6}{converged:>11}{peer.links_after:>7}{peer.links_made:>6}{peer.hubs_reached:>6}"
                f"{then_mib:>10.0f}{now_mib:>7.0f}{peer.before.descriptors:>10}{peer.after.descriptors:>6}"
            )
        return "\n".join(lines)


async def run(shape: Shape, seed: int, folder: Path) -> Mesh:
    """One whole run; AssertionError says what was wrong."""
    missing = why_no_star()
    ground = Star(shape.places) if missing is None else Loopback(missing)
    shape = replace(shape, places=ground.places)
    async with AsyncExitStack() as life:
        if isinstance(ground, Star):
            life.enter_context(ground)
        mesh = Mesh(shape, seed, ground, folder)
        async with asyncio.TaskGroup() as background:
            await mesh.start(life, background)
            await mesh.acquaint()
            await mesh.suffer()
            await mesh.recover()
            await mesh.check()
            await mesh.end()
    return mesh


def main(words: Iterable[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--large", action="store_true", help="30 peers and five minutes in place of 6 and 20 s")
    for name in ("peers", "hubs", "places"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--faults-s", type=float)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(words)
    given = {n: v for n in ("peers", "hubs", "places", "faults_s") if (v := getattr(options, n)) is not None}
    base = LARGE if options.large else SMALL
    shape = Shape(**{name: given.get(name, getattr(base, name)) for name in base.__dataclass_fields__})
    with tempfile.TemporaryDirectory(prefix="mesh-") as folder:
        mesh = asyncio.run(run(shape, options.seed, Path(folder)))
    sys.stdout.write(mesh.table() + "\n")


if __name__ == "__main__":
    main()
