"""From the arrival on a hub until the link: a stranger that announces itself, a friend that knocks, and JavaScript.

    python bench/bench_meet.py [--rounds 10] [--json]

One peer is there already; another one comes online. Time runs from the moment at which the hub has confirmed the
newcomer's subscription until it has a proven link. Friends know each other's inboxes and announce nothing. JavaScript
is webrtc-swarm 2.9 of npm on both sides, in Node, on the same hub; its time runs from when it says that its
subscriptions are open until its swarm reports the other one. All on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from ssb_rtc.config import MAIN_NETWORK_KEY, Settings
from ssb_rtc.manager import actions as a
from ssb_rtc.peer import Peer
from ssb_rtc.storage.inboxes import Inboxes
from ssb_rtc.types import peer_of
from ssb_rtc.wire.swarm import app_name
from tests.e2e.processes import running
from tests.interop.jspeer import JsPeer
from tests.runtime.watching import Watched

ROOT = Path(__file__).resolve().parent.parent
NODE_MODULES = ROOT / ".node" / "node_modules"
ROUNDS = 10


async def _until_linked(newcomer: Peer) -> float:
    """Seconds from the hub's confirmation to the link."""
    await newcomer.start()
    watched = Watched(newcomer)
    await watched.until(lambda: any(hub.connected_s is not None for hub in watched.state.hubs.values()), "the hub")
    connected_s = next(hub.connected_s for hub in watched.state.hubs.values() if hub.connected_s is not None)
    await watched.until(lambda: watched.state.linked, "the link")
    return watched.state.peers[watched.state.linked[0]].link.since_s - connected_s  # type: ignore[union-attr]


async def stranger(hub: str, folder: Path) -> float:
    """Nobody knows anybody; the newcomer announces itself."""
    settings = Settings(hub=(hub,))
    async with Peer(folder / "host", settings), Peer(folder / "guest", settings, online=False) as guest:
        return await _until_linked(guest)


async def friend(hub: str, folder: Path) -> float:
    """Each knows the other's inbox, and announces nothing."""
    settings = Settings(hub=(hub,), strangers_max=0)
    async with (
        Peer(folder / "host", settings, online=False) as host,
        Peer(folder / "guest", settings, online=False) as guest,
    ):
        for one, other in ((host, guest), (guest, host)):
            await one.follow(other.id)
            _inboxes(one).keep(peer_of(other.id), _inboxes(other).own, 0)
        await host.start()
        watched = Watched(host)
        if not watched.all(a.HubConnectionSucceeded):
            await watched.until(lambda: any(row.connected_s for row in watched.state.hubs.values()), "the hub")
        return await _until_linked(guest)


def _inboxes(peer: Peer) -> Inboxes:
    return peer._inboxes.inboxes


async def javascript(hub: str, folder: Path) -> float:
    """Stock webrtc-swarm on both sides."""
    swarm = {"hubs": [hub], "app": app_name(MAIN_NETWORK_KEY)}
    async with (
        await JsPeer.start(folder / "host", swarm=swarm) as host,
        await JsPeer.start(folder / "guest", swarm=swarm) as guest,
    ):
        began_s = time.perf_counter()
        await guest.met(host.id)
        return time.perf_counter() - began_s


MODES: dict[str, Callable[[str, Path], Awaitable[float]]] = {
    "a stranger, announced": stranger,
    "a friend, by a knock": friend,
    "webrtc-swarm 2.9": javascript,
}


async def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds of each round, by mode; the modes take turns."""
    modes = {name: mode for name, mode in MODES.items() if mode is not javascript or NODE_MODULES.is_dir()}
    took: dict[str, list[float]] = {name: [] for name in modes}
    with tempfile.TemporaryDirectory(prefix="bench-meet-") as name:
        base = Path(name)
        async with running(base, "hub", "serve", "--port", "0") as hub:
            for number in range(rounds):
                for at, (mode, run) in enumerate(modes.items()):
                    folder = base / f"{number}-{at}"
                    folder.mkdir()
                    took[mode].append(await run(hub.ready["url"], folder))
    return took


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    took = asyncio.run(measure(options.rounds))
    if options.json:
        print(json.dumps(took))
        return
    theirs = statistics.median(took.get("webrtc-swarm 2.9", [float("nan")]))
    print(f"{'from arrival to link':<24}{'median':>9}{'least':>9}{'most':>9}{'of JS':>8}")
    for mode, seconds in took.items():
        median = statistics.median(seconds)
        print(f"{mode:<24}{median:>7.2f} s{min(seconds):>7.2f} s{max(seconds):>7.2f} s{median / theirs:>8.2f}")
    if "webrtc-swarm 2.9" not in took:
        print("JavaScript is left out: make dev installs its packages", file=sys.stderr)


if __name__ == "__main__":
    main()
