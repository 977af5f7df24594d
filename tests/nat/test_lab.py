"""The lab is what it claims: mappings by STUN, holes that open and holes that don't, and nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.interop.processes import LineProcess
from tests.nat.lab import HOMES, PREFIX, PUB, ROUTERS, NatKind, NatLab, Place, sweep

pytestmark = pytest.mark.netns

PROBE = Path(__file__).with_name("probe.py")
ANSWER_LIMIT_S = 10.0
SILENCE_S = 0.3


class Probe:
    """A socket in one place of the lab; see probe.py."""

    def __init__(self, process: LineProcess) -> None:
        self._process = process

    @classmethod
    async def start(cls, lab: NatLab, place: Place) -> Probe:
        return cls(await lab.start_python(place, PROBE))

    async def _order(self, order: dict[str, Any]) -> Any:
        await self._process.write_line(json.dumps(order))
        return json.loads(await self._process.read_line(ANSWER_LIMIT_S))

    async def stun(self, *hosts: str) -> list[list[Any]]:
        """How each STUN server sees this socket: [host, port]."""
        mapped: list[list[Any]] = await self._order({"stun": list(hosts)})
        return mapped

    async def send(self, to: list[Any], text: str) -> None:
        await self._order({"send": to, "text": text})

    async def receive(self) -> str | None:
        """The next text, None when none comes for a moment."""
        text: str | None = await self._order({"receive": SILENCE_S})
        return text


async def test_a_cone_keeps_its_mapping_and_a_symmetric_nat_does_not() -> None:
    async with NatLab("cone", "symmetric") as lab:
        cone, symmetric = await Probe.start(lab, "a"), await Probe.start(lab, "b")
        one, other = await cone.stun(*PUB)
        assert one == other
        assert one[0] == ROUTERS["a"]
        one, other = await symmetric.stun(*PUB)
        assert one[1] != other[1]
        assert one[0] == other[0] == ROUTERS["b"]


@pytest.mark.parametrize(("a", "b", "opens"), [("cone", "cone", True), ("symmetric", "cone", False)])
async def test_a_hole_opens_between_cones_only(a: NatKind, b: NatKind, *, opens: bool) -> None:
    async with NatLab(a, b) as lab:
        left, right = await Probe.start(lab, "a"), await Probe.start(lab, "b")
        (at_left,), (at_right,) = await left.stun(PUB[0]), await right.stun(PUB[0])
        # Nobody gets in before the home itself has sent there: the router drops a stranger's packet.
        await right.send(at_left, "too early")
        assert await left.receive() is None
        await left.send(at_right, "from the left")
        await right.send(at_left, "from the right")
        heard = (await right.receive(), await left.receive())
        assert heard == (("from the left", "from the right") if opens else (None, None))


async def test_a_stranger_reaches_no_home() -> None:
    async with NatLab() as lab:
        home, stranger = await Probe.start(lab, "a"), await Probe.start(lab, "pub")
        ((_, port),) = await home.stun(PUB[0])
        await stranger.send([ROUTERS["a"], port], "at the door")
        await stranger.send([HOMES["a"], port], "through the wall")
        assert await home.receive() is None


async def test_nothing_is_left_behind_and_a_killed_run_is_swept() -> None:
    left_running = None

    async def interrupted() -> None:
        nonlocal left_running
        async with NatLab() as lab:
            left_running = await lab.run("a", ["sleep", "60"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await interrupted()
    assert left_running is not None
    assert await left_running.wait() != 0
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert f"{PREFIX}-{os.getpid()}-" not in listed
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    stale = f"{PREFIX}-{dead.pid}-1-a"
    subprocess.run(["ip", "netns", "add", stale], check=True)
    assert stale in sweep()
