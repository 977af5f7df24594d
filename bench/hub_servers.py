"""The hubs that are measured, as processes, and what each costs."""

from __future__ import annotations

import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench.hub_load import HOST, Dialect, Signalhub, YWebrtc

NODE_MODULES = Path(__file__).resolve().parent.parent / ".node" / "node_modules"
START_LIMIT_S = 15.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
OURS = [sys.executable, "-c", "import sys; from ssb_rtc.cli.main import main; sys.exit(main())", "hub", "serve"]


@dataclass(frozen=True)
class Kind:
    """How to start one kind of hub. `port_variable`: it can't take any free port, so it is given one in this way."""

    name: str
    argv: Sequence[str]
    dialect: Callable[[], Dialect] = Signalhub
    port_variable: str | None = None


@dataclass(frozen=True)
class Hub:
    """A hub that runs, in one process or several."""

    dialect: Dialect
    pids: list[int]
    ports: list[int]

    def cpu_s(self) -> float:
        """The CPU time of all threads so far."""
        threads = [thread for pid in self.pids for thread in Path(f"/proc/{pid}/task").iterdir()]
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9

    def resident_bytes(self) -> int:
        """The memory now."""
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES for pid in self.pids)


def kinds(node_modules: Path) -> list[Kind]:
    """What can run here; what can't is said on stderr."""
    signalhub, ywebrtc = node_modules / "signalhub" / "bin.js", node_modules / "y-webrtc" / "bin" / "server.js"
    node = shutil.which("node") or "node"
    npm = Kind("npm", [node, str(signalhub), "listen", "--quiet", "--port=0", f"--host={HOST}"])
    found = []
    for kind in (npm, Kind("y-webrtc", [node, str(ywebrtc)], YWebrtc, "PORT")):
        if shutil.which(node) and Path(kind.argv[1]).is_file():
            found.append(kind)
        else:
            print(f"{kind.name} is left out: no Node.js, or no {kind.argv[1]}", file=sys.stderr)
    found.append(ours("asyncio"))
    if find_spec("uvloop"):
        found.append(ours("uvloop"))
    else:
        print("ours on uvloop is left out: no uvloop", file=sys.stderr)
    return found


def ours(loop: str, *more: str) -> Kind:
    """Our own, as `ssb-rtc hub serve` runs it."""
    return Kind(f"ours {loop}", [*OURS, "--port", "0", "--json", "--loop", loop, *more])


@contextmanager
def running(kind: Kind, processes: int = 1) -> Iterator[Hub]:
    """The hub until the end of the block."""
    with ExitStack() as stack:
        made = [stack.enter_context(_process(kind)) for _ in range(processes)]
        yield Hub(kind.dialect(), [pid for pid, _ in made], [port for _, port in made])


@contextmanager
def redis() -> Iterator[str]:
    """A redis-server of its own; gives its address. Raises FileNotFoundError where there is none."""
    program = shutil.which("redis-server")
    if program is None:
        raise FileNotFoundError("no redis-server")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "redis.sock"
        argv = [program, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", folder]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _until(path.exists, "redis-server")
            yield f"unix://{path}"
        finally:
            _end(process)


@contextmanager
def _process(kind: Kind) -> Iterator[tuple[int, int]]:
    port = _free_port() if kind.port_variable else 0
    environment = os.environ | ({kind.port_variable: str(port)} if kind.port_variable else {})
    process = subprocess.Popen(kind.argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        if kind.port_variable:
            _until(lambda: _takes(port), kind.name)
        else:
            port = _said_port(process, kind.name)
        yield process.pid, port
    finally:
        _end(process)


def _said_port(process: subprocess.Popen[str], name: str) -> int:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], START_LIMIT_S)
    found = re.search(r'port"?:? ?(\d+)', process.stdout.readline()) if readable else None
    if found is None:
        raise SystemExit(f"{name} did not start")
    return int(found[1])


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    # Not gracefully: a drain of thousands of streams takes its time, and nothing here depends on it.
    process.kill()
    process.wait()


def _until(done: Callable[[], bool], name: str) -> None:
    limit_s = time.monotonic() + START_LIMIT_S
    while not done():
        if time.monotonic() > limit_s:
            raise SystemExit(f"{name} did not start")
        time.sleep(0.01)


def _takes(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((HOST, port)) == 0


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])
