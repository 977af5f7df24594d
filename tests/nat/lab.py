"""Two homes behind NAT on one machine: network namespaces, routers of nftables, and coturn.

    home a 10.0.1.2 -- router a 203.0.113.11 --+
                                               +-- pub 203.0.113.1, 203.0.113.2: coturn, and the hub of the test
    home b 10.0.2.2 -- router b 203.0.113.12 --+

Linux's masquerade keeps the inner port where it can, which makes it a port-restricted cone; `fully-random` makes it
symmetric (RFC 4787: endpoint-independent against address-and-port-dependent mapping). A full cone also lets in what
nobody asked for, by a rule that leads all UDP at the router to the home. There is no way out of the lab.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

import pytest

from tests.conftest import require_program, require_root
from tests.interop.processes import LineProcess

NatKind = Literal["cone", "full cone", "symmetric"]
Place = Literal["a", "b", "pub"]

PREFIX = "ssbrtc"
PUB = ("203.0.113.1", "203.0.113.2")
VOID = "203.0.113.254"
ROUTERS = {"a": "203.0.113.11", "b": "203.0.113.12"}
HOMES = {"a": "10.0.1.2", "b": "10.0.2.2"}
STUN_PORT = 3478
TURN_START_LIMIT_S = 10.0
COMMAND_LIMIT_S = 20.0

_counter = itertools.count(1)

# A router without the input chain would itself take a packet that arrives before its home's own; conntrack would keep
# that entry, the home's packet would get another port, and a cone would look symmetric.
_ROUTER_RULES = """
table ip nat {{
  chain outbound {{ type nat hook postrouting priority srcnat; oifname "wan" {masquerade}; }}
  chain inbound {{ type nat hook prerouting priority dstnat; {forward} }}
}}
table ip guard {{
  chain through {{
    type filter hook forward priority filter; policy drop;
    iifname "lan" accept
    ct state established,related accept
    ct status dnat accept
  }}
  chain inward {{
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    iifname "lan" accept
    ct state established,related accept
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Turn:
    """A TURN server as a WebRTC configuration takes it."""

    url: str
    username: str
    credential: str


def run_here(argv: Sequence[str], text: str | None = None) -> str:
    """Runs a program to its end; what it wrote. Raises OSError with its last words."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def _namespaces() -> list[str]:
    return [line.split()[0] for line in run_here(["ip", "netns", "list"]).splitlines() if line.startswith(f"{PREFIX}-")]


def _pid_lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def delete(namespaces: Sequence[str]) -> None:
    """Ends what still runs in them, and them."""
    there = set(_namespaces())
    for name in namespaces:
        if name not in there:
            continue
        for pid in run_here(["ip", "netns", "pids", name]).split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
        run_here(["ip", "netns", "delete", name])


def sweep() -> list[str]:
    """Removes the namespaces of test runs that were killed; their names."""
    stale = [name for name in _namespaces() if not _pid_lives(int(name.split("-")[1]))]
    delete(stale)
    return stale


class NatLab:
    """The lab, as an async context manager: `async with NatLab("cone", "symmetric") as lab`.

    Skips the test where it can't be built, and says what to install. Whatever the test does, the namespaces and all
    that runs in them are gone afterwards; those of a killed run go with the next one.
    """

    stun = f"stun:{PUB[0]}:{STUN_PORT}"
    turn = Turn(f"turn:{PUB[0]}:{STUN_PORT}?transport=udp", "user", "password")
    hub_host = PUB[0]
    """Where a hub listens that both homes shall reach."""

    def __init__(self, a: NatKind = "cone", b: NatKind = "cone") -> None:
        self.kinds: dict[str, NatKind] = {"a": a, "b": b}
        self._name = f"{PREFIX}-{os.getpid()}-{next(_counter)}"
        self._coturn: LineProcess | None = None
        self._started: list[LineProcess] = []
        self._pid_file = Path(tempfile.gettempdir(), f"{self._name}.coturn.pid")

    def namespace(self, place: str) -> str:
        """The name of a namespace: `a`, `b` (the homes), `ra`, `rb` (the routers) or `pub`."""
        return f"{self._name}-{place}"

    async def __aenter__(self) -> NatLab:
        require_root()
        for program, package in (("ip", "iproute2"), ("nft", "nftables"), ("turnserver", "coturn")):
            require_program(program, package)
        sweep()
        self._remove()  # of a killed run that had our process id
        atexit.register(self._remove)
        try:
            try:
                run_here(["ip", "netns", "add", self.namespace("pub")])
            except OSError as refused:
                pytest.skip(f"this machine allows no network namespaces: {refused}")
            self._build()
            await self._start_coturn()
        except BaseException:
            await self._tear_down()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tear_down()

    async def _tear_down(self) -> None:
        try:
            for process in (*self._started, *([self._coturn] if self._coturn else [])):
                await process.stop()
        finally:
            self._remove()
            self._pid_file.unlink(missing_ok=True)
            atexit.unregister(self._remove)

    def _remove(self) -> None:
        delete([self.namespace(place) for place in ("a", "b", "ra", "rb", "pub")])

    def _build(self) -> None:
        pub = self.namespace("pub")
        lines = [f"netns add {self.namespace(place)}" for place in ("a", "b", "ra", "rb")]
        for side in ("a", "b"):
            home, router = self.namespace(side), self.namespace(f"r{side}")
            lines += [
                f"link add wan netns {router} type veth peer name home-{side} netns {pub}",
                f"link add lan netns {router} type veth peer name eth0 netns {home}",
            ]
        run_here(["ip", "-batch", "-"], "\n".join(lines) + "\n")
        addresses = [f"address add {own}/24 dev bridge" for own in PUB]
        masters = [f"link set dev home-{side} master bridge" for side in ("a", "b")]
        self._configure("pub", ["link add bridge type bridge", *addresses, *masters], up=("home-a", "home-b", "bridge"))
        self._lead_into_the_void("pub", "bridge")
        for side in ("a", "b"):
            inner = HOMES[side].rsplit(".", 1)[0] + ".1"
            addresses = [f"address add {ROUTERS[side]}/24 dev wan", f"address add {inner}/24 dev lan"]
            self._configure(f"r{side}", addresses, up=("wan", "lan"))
            self._lead_into_the_void(f"r{side}", "wan")
            self._configure(side, [f"address add {HOMES[side]}/24 dev eth0"], up=("eth0",))
            run_here(["ip", "-n", self.namespace(side), "route", "add", "default", "via", inner])
            masquerade = "masquerade fully-random" if self.kinds[side] == "symmetric" else "masquerade"
            filtering = [*self.prefix(f"r{side}"), "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward && exec nft -f -"]
            everything = f'iifname "wan" meta l4proto udp dnat to {HOMES[side]};'
            forward = everything if self.kinds[side] == "full cone" else ""
            run_here(filtering, _ROUTER_RULES.format(masquerade=masquerade, forward=forward))

    def _lead_into_the_void(self, place: str, device: str) -> None:
        """Packets to nowhere vanish, as they do out there; coturn drops a session whose send finds no route at all."""
        neighbour = f"neighbour add {VOID} lladdr 02:00:00:00:00:fe dev {device} nud permanent"
        run_here(["ip", "-n", self.namespace(place), "-batch", "-"], f"{neighbour}\nroute add default via {VOID}\n")

    def _configure(self, place: str, lines: Sequence[str], *, up: Sequence[str]) -> None:
        every = [*lines, *(f"link set dev {device} up" for device in ("lo", *up))]
        run_here(["ip", "-n", self.namespace(place), "-batch", "-"], "\n".join(every) + "\n")

    async def _start_coturn(self) -> None:
        argv = ["turnserver", "-n", *(f"--listening-ip={address}" for address in PUB), f"--relay-ip={PUB[0]}"]
        argv += [f"--listening-port={STUN_PORT}", f"--user={self.turn.username}:{self.turn.credential}"]
        argv += ["--realm=lab", "--lt-cred-mech", "--no-cli", "--no-tls", "--no-dtls", "--log-file=stdout"]
        argv += [f"--pidfile={self._pid_file}"]
        self._coturn = await LineProcess.start("coturn", [*self.prefix("pub"), *argv])
        table = Path(f"/proc/{self._coturn.pid}/net/udp")
        deadline = asyncio.get_running_loop().time() + TURN_START_LIMIT_S
        while table.read_text().count(f":{STUN_PORT:04X} ") < len(PUB):
            if not self._coturn.alive or asyncio.get_running_loop().time() > deadline:
                raise self._coturn.failure("does not listen")
            await asyncio.sleep(0.02)

    def prefix(self, place: str) -> list[str]:
        """What to put before a command line to run it there; JsPeer and NpmHub take it as `argv_prefix`."""
        return ["ip", "netns", "exec", self.namespace(place)]

    async def run(self, place: Place, argv: Sequence[str]) -> asyncio.subprocess.Process:
        """Starts a program there, with pipes; it dies with the lab at the latest."""
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *self.prefix(place), *argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )

    async def start(self, place: Place, argv: Sequence[str], *, name: str = "") -> LineProcess:
        """Starts a program there that talks in lines; it is stopped with the lab."""
        process = await LineProcess.start(name or f"{argv[0]} in {place}", [*self.prefix(place), *argv])
        self._started.append(process)
        return process

    async def start_python(self, place: Place, script: Path, *argv: str) -> LineProcess:
        """Starts a script there, with the interpreter of the tests."""
        return await self.start(place, [sys.executable, str(script), *argv], name=f"{script.name} in {place}")
