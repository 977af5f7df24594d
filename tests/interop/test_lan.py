"""Peers of one local network meet without a hub: ours and npm ssb-lan, ours and ours; and who shall not, does not."""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc.peer import connect_local
from tests.e2e.processes import Running, eventually, run_ok, running
from tests.interop.jspeer import require_node
from tests.interop.processes import LineProcess
from tests.nat.lan import ADDRESSES, LanLab, Machine

pytestmark = pytest.mark.netns

SCRIPT = Path(__file__).with_name("lan.cjs")
LIMIT_S = 20.0
LAN = {"SSB_RTC_LAN": "yes"}
EVERYWHERE = ("--net", "8008", "--host", "0.0.0.0")


def _ours(lab: LanLab, machine: Machine, folder: Path, *words: str) -> Any:
    start = ("start", "--path", str(folder / machine), *words)
    return running(folder / f"logs-{machine}", *start, env=LAN, prefix=lab.prefix(machine))


async def _linked(path: Path, peer: str) -> bool:
    link = await connect_local(path)
    try:
        rows = (await link.call("rtc.status"))["peers"]
    finally:
        await link.close()
    return any(row["id"] == peer and row["state"] == "CONNECTED" for row in rows)


async def _why(path: Path, peer: str) -> str:
    return (await run_ok("peers", "--why", peer, "--path", str(path))).out


async def test_ours_and_npm_ssb_lan_hear_each_other(node_packages: Path, tmp_path: Path) -> None:
    """Both ways, and ours dials."""
    if not (node_packages / "node_modules" / "ssb-lan").is_dir():
        pytest.skip("the npm packages are of an older version: run make test, which installs them")
    options = {"path": str(tmp_path / "js"), "host": ADDRESSES["b"], "packages": str(node_packages)}
    with LanLab() as lab:
        argv = [*lab.prefix("b"), require_node(), str(SCRIPT), json.dumps(options)]
        js = await LineProcess.start("ssb-lan", argv)
        try:
            said = json.loads(await js.read_line(LIMIT_S))
            assert said["address"].startswith(f"net:{ADDRESSES['b']}:8008~shs:")
            async with _ours(lab, "a", tmp_path, *EVERYWHERE) as ours:
                await _expect(js, ours, {"heard", "linked"})
                await eventually("a link", partial(_linked, tmp_path / "a", said["id"]))
                why = await _why(tmp_path / "a", said["id"])
                assert f"over the local network, at {said['address']}" in " ".join(why.split())
        finally:
            await js.stop()


async def _expect(js: LineProcess, ours: Running, wanted: set[str]) -> None:
    """Reads on until it has heard us and has a link with us."""
    address = f"net:{ADDRESSES['a']}:8008~shs:{ours.ready['id'][1:].removesuffix('.ed25519')}"
    async with asyncio.timeout(LIMIT_S):
        while wanted:
            line = json.loads(await js.read_line(LIMIT_S))
            if line.get("heard") == address:
                wanted.discard("heard")
            if line.get("linked") == ours.ready["id"]:
                wanted.discard("linked")


async def test_two_of_ours_meet_and_one_that_is_told_not_to_stays_alone(tmp_path: Path) -> None:
    """`b` listens on loopback only and hears `a`; with --no-lan, it hears nothing."""
    with LanLab() as lab:
        async with _ours(lab, "a", tmp_path, *EVERYWHERE) as a:
            async with _ours(lab, "b", tmp_path, "--no-lan") as quiet:
                table = await _udp_ports(lab, "b")
                assert 8008 not in table
                assert await quiet.end() == 0
            async with _ours(lab, "b", tmp_path, "--net", "0"):
                assert 8008 in await _udp_ports(lab, "b")
                await eventually("a link", partial(_linked, tmp_path / "b", a.ready["id"]))
                assert "the local network" in await _why(tmp_path / "b", a.ready["id"])
            assert "local network" not in a.stderr


async def _udp_ports(lab: LanLab, machine: Machine) -> set[int]:
    """The UDP ports that are bound there."""
    process = await LineProcess.start("ports", [*lab.prefix(machine), "cat", "/proc/net/udp"])
    try:
        ports: set[int] = set()
        await process.read_line(LIMIT_S)
        while found := re.search(r":([0-9A-F]{4}) ", await _line(process)):
            ports.add(int(found[1], 16))
        return ports
    finally:
        await process.stop()


async def _line(process: LineProcess) -> str:
    try:
        return await process.read_line(LIMIT_S)
    except AssertionError:
        return ""


async def test_two_that_were_told_nothing_meet(tmp_path: Path) -> None:
    """Without a flag and without a hub: each listens at its private address, at another port where 8008 is taken."""
    with LanLab() as lab:
        async with _ours(lab, "a", tmp_path) as a, _ours(lab, "b", tmp_path) as b:
            assert [address.rpartition("~")[0] for address in a.ready["addresses"]] == [f"net:{ADDRESSES['a']}:8008"]
            await eventually("a link", partial(_linked, tmp_path / "b", a.ready["id"]))
            second = running(
                tmp_path / "logs-c", "start", "--path", str(tmp_path / "c"), env=LAN, prefix=lab.prefix("b")
            )
            async with second as c:
                [address] = c.ready["addresses"]
                assert address.startswith(f"net:{ADDRESSES['b']}:")
                assert not address.startswith(f"net:{ADDRESSES['b']}:8008~")
            assert b.ready["id"] not in a.stderr
        async with _ours(lab, "a", tmp_path, "--no-lan") as quiet:
            assert quiet.ready["addresses"] == []
