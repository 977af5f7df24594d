"""Real peers behind real NATs, with a real hub and a real STUN and TURN server between them: who meets, and who learns
why not."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc.config import MAIN_NETWORK_KEY, Settings
from ssb_rtc.peer import Peer, connect_local
from ssb_rtc.transport.ice import candidate_lines, parse_candidate
from ssb_rtc.types import Json, PeerId
from ssb_rtc.wire.swarm import ALL, app_name, format_connect
from tests.e2e.processes import Running, eventually, run, running
from tests.nat.lab import HOMES, PUB, ROUTERS, STUN_PORT, NatLab, Place, run_here

pytestmark = pytest.mark.netns

STUN = ("--stun", f"{PUB[0]}:{STUN_PORT}")
TURN = ("--turn", f"turn:{NatLab.turn.username}:{NatLab.turn.credential}@{PUB[0]}:{STUN_PORT}")
OVERHEAR = Path(__file__).with_name("overhear.py")
MESSAGES = 2
"""What each has in its own feed from the start."""
FAILURE_LIMIT_S = 30.0
LOSS_LIMIT_S = 20.0
RETURN_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Home:
    """A peer and its folder."""

    path: Path
    id: str

    async def ask(self, method: str, *args: Json) -> Any:
        """A call to the running peer over its local socket, as the command line makes it."""
        link = await connect_local(self.path)
        try:
            return await link.call(method, *args)
        finally:
            await link.close()

    async def row(self, peer: Home) -> dict[str, Any]:
        """What it says of another peer in `ssb-rtc peers --all --json`; {} where it does not know it."""
        rows = await self.ask("rtc.peers", {"all": True})
        return next((row for row in rows if row["id"] == peer.id), {})

    async def is_linked(self, peer: Home) -> bool:
        """Whether it has a link to the other peer, over WebRTC."""
        row = await self.row(peer)
        return row.get("state") == "CONNECTED" and row["transport"] == "rtc"

    async def holds(self, feeds: dict[str, int]) -> bool:
        """Whether it has these feeds up to these sequences."""
        held = (await self.ask("rtc.status"))["feeds"]
        return all(held.get(feed, 0) >= sequence for feed, sequence in feeds.items())


async def _settle(folder: Path) -> dict[str, Home]:
    """Two identities that follow each other and have something to say."""
    homes: dict[str, Home] = {}
    for name in "ab":
        async with Peer(folder / name, Settings(), online=False) as peer:
            homes[name] = Home(folder / name, peer.keys.id)
    for name, other in ("ab", "ba"):
        async with Peer(homes[name].path, Settings(), online=False) as peer:
            await peer.publish({"type": "contact", "contact": homes[other].id, "following": True})
            await peer.publish({"type": "post", "text": f"hello from behind NAT {name}"})
    return homes


@asynccontextmanager
async def _hub(lab: NatLab, logs: Path) -> AsyncIterator[str]:
    """A hub of ours in the public network; its address."""
    words = ("hub", "serve", "--host", lab.hub_host, "--port", "0")
    async with running(logs, *words, prefix=lab.prefix("pub")) as hub:
        yield hub.ready["url"]


@asynccontextmanager
async def _started(lab: NatLab, place: Place, home: Home, hub: str, *flags: str) -> AsyncIterator[Running]:
    words = ("start", "--path", str(home.path), "--hub", hub, "--allow-http", lab.hub_host, *flags)
    async with running(home.path.parent / f"logs-{place}", *words, prefix=lab.prefix(place)) as peer:
        yield peer


async def _gossip(homes: dict[str, Home]) -> None:
    """Waits until each is linked to the other over WebRTC and holds its feed."""
    everything = {home.id: MESSAGES for home in homes.values()}
    for home, other in _both_ways(homes):
        await eventually(f"a link of {home.path.name}", partial(home.is_linked, other))
        await eventually(f"both feeds at {home.path.name}", partial(home.holds, everything))


def _both_ways(homes: dict[str, Home]) -> list[tuple[Home, Home]]:
    a, b = homes["a"], homes["b"]
    return [(a, b), (b, a)]


async def test_two_home_routers_are_crossed_with_stun(tmp_path: Path) -> None:
    """By aiortc; `_cut_off_and_back` does it by wrtc."""
    homes = await _settle(tmp_path)
    flags = (*STUN, "--rtc-backend", "aiortc")
    async with (
        NatLab("cone", "cone") as lab,
        _hub(lab, tmp_path / "logs") as hub,
        _started(lab, "a", homes["a"], hub, *flags),
        _started(lab, "b", homes["b"], hub, *flags),
    ):
        await _gossip(homes)


async def test_two_symmetric_nats_are_crossed_with_turn(tmp_path: Path) -> None:
    homes = await _settle(tmp_path)
    async with (
        NatLab("symmetric", "symmetric") as lab,
        _hub(lab, tmp_path / "logs") as hub,
        _started(lab, "a", homes["a"], hub, *TURN),
        _started(lab, "b", homes["b"], hub, *TURN),
    ):
        await _gossip(homes)


async def test_who_cannot_meet_learns_why_and_who_was_cut_off_meets_again(tmp_path: Path) -> None:
    """Both mostly wait, so they do it at the same time, each in a lab of its own."""
    for name in ("walled", "cut"):
        (tmp_path / name).mkdir()
    async with asyncio.TaskGroup() as both:
        both.create_task(_no_way_without_a_relay(tmp_path / "walled"))
        both.create_task(_cut_off_and_back(tmp_path / "cut"))


async def _no_way_without_a_relay(folder: Path) -> None:
    """A symmetric NAT and a port-restricted cone can't be crossed by STUN: no link, and both sides name the remedy."""
    homes = await _settle(folder)
    async with (
        NatLab("symmetric", "cone") as lab,
        _hub(lab, folder / "logs") as hub,
        _started(lab, "a", homes["a"], hub, *STUN),
        _started(lab, "b", homes["b"], hub, *STUN),
    ):
        for home, other in _both_ways(homes):

            async def tried(home: Home = home, other: Home = other) -> bool:
                return "no route" in (await home.row(other)).get("reason", "")

            await eventually(f"{home.path.name} giving a reason", tried, limit_s=FAILURE_LIMIT_S)
            done = await run("peers", "--all", "--json", "--path", str(home.path))
            assert done.code == 0, done.err
            (row,) = done.json
            assert row["id"] == other.id
            assert row["state"] != "CONNECTED"
            assert row["transport"] is None
            assert "NAT" in row["reason"]
            assert "--turn" in row["reason"]
            assert not await home.holds({other.id: 1})


async def _cut_off_and_back(folder: Path) -> None:
    """A home whose network goes down loses its link, with a reason, and has it again soon after the network is back."""
    homes = await _settle(folder)
    async with (
        NatLab("cone", "cone") as lab,
        _hub(lab, folder / "logs") as hub,
        _started(lab, "a", homes["a"], hub, *STUN),
        _started(lab, "b", homes["b"], hub, *STUN),
    ):
        await _gossip(homes)
        _ip(lab, "link set dev eth0 down")
        for home, other in _both_ways(homes):

            async def lost(home: Home = home, other: Home = other) -> bool:
                return not await home.is_linked(other)

            await eventually(f"{home.path.name} noticing it", lost, limit_s=LOSS_LIMIT_S)
            assert "vanished" in (await home.row(other))["reason"]
        await homes["a"].ask("publish", {"type": "post", "text": "written without a network"})
        _ip(lab, "link set dev eth0 up")
        # The kernel forgot it with the link, as it would with a cable that is pulled; a DHCP client brings it back.
        _ip(lab, f"route add default via {HOMES['a'].rpartition('.')[0]}.1")
        news = {homes["a"].id: MESSAGES + 1}
        await eventually("the news reaching b", partial(homes["b"].holds, news), limit_s=RETURN_LIMIT_S)


def _ip(lab: NatLab, words: str) -> None:
    """`ip` in the home a."""
    subprocess.run(["ip", "-n", lab.namespace("a"), *words.split()], check=True, timeout=10)


async def test_who_relays_only_never_tells_an_address(tmp_path: Path) -> None:
    """Neither WebRTC library does: a has one, b the other. In the swarm dialect, because there one can read along."""
    homes = await _settle(tmp_path)
    flags = (*TURN, "--relay-only", "--rtc-backend")
    async with NatLab("cone", "cone") as lab, _hub(lab, tmp_path / "logs") as hub:
        channels = ",".join((ALL, *(home.id for home in homes.values())))
        path = f"/v1/{app_name(MAIN_NETWORK_KEY)}/{channels}"
        spy = await lab.start_python("pub", OVERHEAR, lab.hub_host, hub.rpartition(":")[2], path)
        assert await spy.read_line(10) == "status 200"
        async with (
            _started(lab, "a", homes["a"], f"swarm+{hub}", *flags, "wrtc") as a,
            _started(lab, "b", homes["b"], f"swarm+{hub}", *flags, "aiortc") as b,
        ):
            _say(lab, f"{hub}/v1/{app_name(MAIN_NETWORK_KEY)}/{ALL}", format_connect(PeerId(homes["a"].id)))
            await _gossip(homes)
            assert await a.end() == 0
            assert await b.end() == 0
        _say(lab, f"{hub}/v1/{app_name(MAIN_NETWORK_KEY)}/{ALL}", json.dumps({"type": "the end"}))
        heard: list[dict[str, Any]] = []
        while not heard or heard[-1].get("type") != "the end":
            heard.append(json.loads(await spy.read_line(10)))
    for name, home in homes.items():
        said = [message for message in heard if message.get("from") == home.id]
        candidates = [line for message in said for line in _candidates(message.get("signal", {}))]
        assert {parse_candidate(line).kind for line in candidates} == {"relay"}
        everything = json.dumps(said)
        assert PUB[0] in everything
        assert HOMES[name] not in everything
        assert ROUTERS[name] not in everything


async def test_with_strangers_only_the_relay_speaks(tmp_path: Path) -> None:
    """The home a keeps to relays with strangers: b's router never sees a packet of a's, and they are linked."""
    homes: dict[str, Home] = {}
    for name in "ab":
        async with Peer(tmp_path / name, Settings(), online=False) as peer:
            homes[name] = Home(tmp_path / name, peer.keys.id)
    async with NatLab("cone", "cone") as lab, _hub(lab, tmp_path / "logs") as hub:
        run_here([*lab.prefix("rb"), "nft", "-f", "-"], _COUNTS_A)
        async with (
            _started(lab, "a", homes["a"], hub, *TURN, "--relay-strangers"),
            _started(lab, "b", homes["b"], hub, *STUN),
        ):
            for home, other in _both_ways(homes):
                await eventually(f"a link of {home.path.name}", partial(home.is_linked, other))
        assert "packets 0 " in run_here([*lab.prefix("rb"), "nft", "list", "table", "ip", "seen"])
        code = f"import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'hello', ({ROUTERS['b']!r}, 9))"
        run_here([*lab.prefix("a"), sys.executable, "-c", code])
        assert "packets 1 " in run_here([*lab.prefix("rb"), "nft", "list", "table", "ip", "seen"]), "it does count"


_COUNTS_A = f"""
table ip seen {{
  chain first {{ type filter hook prerouting priority -300; ip saddr {ROUTERS["a"]} counter; }}
}}
"""


def _say(lab: NatLab, url: str, message: str) -> None:
    """A POST to the hub, from beside it."""
    code = "import sys, urllib.request as r; r.urlopen(sys.argv[1], sys.argv[2].encode(), 5).read()"
    subprocess.run([*lab.prefix("pub"), sys.executable, "-c", code, url, message], check=True, timeout=10)


def _candidates(signal: dict[str, Any]) -> list[str]:
    trickled = [signal["candidate"]["candidate"]] if "candidate" in signal else []
    return trickled + candidate_lines(signal.get("sdp", ""))
