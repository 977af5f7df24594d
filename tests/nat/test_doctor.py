"""`ssb-rtc doctor` behind real NATs, with a real coturn: each is named rightly, with its remedy. About 16 s in all."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import run, running
from tests.nat.lab import HOMES, PUB, ROUTERS, STUN_PORT, NatLab, Place, run_here

pytestmark = pytest.mark.netns

STUN = ("--stun", f"{PUB[0]}:{STUN_PORT}")
TURN = ("--turn", f"turn:{NatLab.turn.username}:{NatLab.turn.credential}@{PUB[0]}:{STUN_PORT}")
WRONG_TURN = ("--turn", f"turn:{NatLab.turn.username}:wrong@{PUB[0]}:{STUN_PORT}")
DEAD_STUN = ("--stun", f"{PUB[1]}:9")
NO_RELAY_PORTS = """
table ip shut {
  chain inward { type filter hook input priority filter; iifname "bridge" udp dport 49152-65535 drop; }
}
"""

Found = dict[str, dict[str, Any]]


async def examined(lab: NatLab, place: Place, folder: Path, *flags: str, broken: bool = False) -> Found:
    """What the doctor finds there, by check and, where there are several, by subject too."""
    done = await run("doctor", "--json", "--path", str(folder / "absent"), *flags, prefix=lab.prefix(place))
    assert done.code == (1 if broken else 0), (done.out, done.err)
    assert not (folder / "absent").exists()
    findings = done.json["findings"]
    return {key: row for row in findings for key in (row["check"], f"{row['check']} {row['subject']}")}


async def test_a_symmetric_nat_and_a_full_cone(tmp_path: Path) -> None:
    async with (
        NatLab("symmetric", "full cone") as lab,
        running(tmp_path, "hub", "serve", "--host", lab.hub_host, "--port", "0", prefix=lab.prefix("pub")) as hub,
    ):
        met = ("--hub", hub.ready["url"], "--allow-http", lab.hub_host)
        symmetric, relayed, full, public = await asyncio.gather(
            examined(lab, "a", tmp_path, *met, *STUN),
            examined(lab, "a", tmp_path, *met, *TURN, "--relay-only"),
            examined(lab, "b", tmp_path, *STUN),
            examined(lab, "pub", tmp_path, *STUN),
        )
    row = symmetric["nat"]
    assert row["state"] == "warning"
    assert row["facts"]["mapping"] == "address-and-port-dependent"
    assert row["facts"]["public"] == ROUTERS["a"]
    assert "symmetric NAT" in row["seen"]
    assert "Set --turn" in row["remedy"]
    assert symmetric["turn"]["state"] == "skipped"
    assert (symmetric["hub"]["state"], symmetric["clock"]["state"], symmetric["channel"]["state"]) == ("ok",) * 3
    assert symmetric["ipv6"]["state"] == "skipped"
    assert "no IPv6 here" in symmetric["ipv6"]["seen"]

    assert relayed["turn"]["state"] == "ok"
    assert relayed["turn"]["facts"]["carries"] is True
    assert relayed["nat"]["state"] == "ok"
    assert relayed["channel"]["state"] == "ok"  # from relay to relay
    assert "the relay of --turn carries" in relayed["nat"]["seen"]

    row = full["nat"]
    assert row["state"] == "ok"
    assert (row["facts"]["mapping"], row["facts"]["filtering"]) == ("endpoint-independent", "endpoint-independent")
    assert "full-cone" in row["seen"]
    assert row["facts"]["public"] == ROUTERS["b"]

    row = public["nat"]
    assert (row["state"], row["facts"]["mapping"]) == ("ok", "none")


async def test_a_port_restricted_cone_and_servers_that_fail(tmp_path: Path) -> None:
    async with NatLab("cone", "cone") as lab:
        run_here([*lab.prefix("pub"), "nft", "-f", "-"], NO_RELAY_PORTS)
        cone, refused, shut, silent = await asyncio.gather(
            examined(lab, "a", tmp_path, *STUN),
            examined(lab, "a", tmp_path, *DEAD_STUN, *WRONG_TURN, broken=True),
            examined(lab, "b", tmp_path, *TURN),
            examined(lab, "b", tmp_path, *DEAD_STUN, broken=True),
        )
    row = cone["nat"]
    assert row["state"] == "ok"
    assert row["facts"]["mapping"] == "endpoint-independent"
    assert row["facts"]["filtering"] == "address-and-port-dependent"
    assert "port-restricted cone" in row["seen"]
    assert cone[f"stun {STUN[1]}"]["facts"]["mapped"][0] == ROUTERS["a"] != HOMES["a"]

    assert refused["stun"]["state"] == "warning"
    assert refused["nat"]["facts"]["mapping"] == "endpoint-independent"
    assert refused["turn"]["state"] == "broken"
    assert "user and password" in refused["turn"]["seen"]

    assert shut["turn"]["state"] == "warning"
    assert "no packet came through it" in shut["turn"]["seen"]
    assert "UDP ports" in shut["turn"]["remedy"]

    assert silent["stun"]["state"] == "broken"
    assert "no answer" in silent["stun"]["seen"]
    assert "firewall" in silent["stun"]["remedy"]
    assert silent["nat"]["state"] == "skipped"
