"""Fan-out of a signalhub: npm's and ours in turn, in one run, each in a process of its own.

    python bench/bench_hub.py --subscribers 100 1000 --rounds 3 --depth 1 --json out.json

One channel, `--depth` posters that each wait for the answer before they post again. The load generator shares the
machine with the server and is often the slower of the two, so deliveries per second of the server's CPU time count
more than deliveries per second. Needs Linux (/proc), and Node with signalhub for npm's side.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import re
import resource
import select
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ssb_rtc.hub.server import serve

NODE_MODULES = Path(__file__).resolve().parent.parent / ".node" / "node_modules"
HOST = "127.0.0.1"
BODY = b'{"from":"@' + b"x" * 176 + b'"}'
START_LIMIT_S = 15.0
RUN_LIMIT_S = 120.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    """One run: `server` is npm or ours."""

    server: str
    subscribers: int
    depth: int
    posts: int
    deliveries_s: float
    deliveries_cpu_s: float
    post_p50_ms: float
    post_p99_ms: float
    kib_per_subscriber: float


@contextmanager
def running(argv: list[str]) -> Iterator[tuple[int, int]]:
    """A server process; gives its process id and port, which it prints in its first line."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], START_LIMIT_S)
        found = re.search(r"port (\d+)", process.stdout.readline()) if readable else None
        if found is None:
            raise SystemExit(f"the server did not start: {' '.join(argv)}")
        yield process.pid, int(found[1])
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_s(pid: int) -> float:
    """The CPU time of a process's threads so far."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def resident_kib(pid: int) -> float:
    """The memory of a process now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES / 1024


def subscribe(port: int, count: int) -> list[socket.socket]:
    """Subscribers of one channel whose subscription is confirmed."""
    made = []
    for _ in range(count):
        sock = socket.create_connection((HOST, port))
        sock.sendall(b"GET /v1/bench/all HTTP/1.1\r\nHost: x\r\n\r\n")
        made.append(sock)
    for sock in made:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(65536)
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"a subscription was refused: {head[:60]!r}")
        sock.setblocking(False)
    return made


class Posters:
    """Posts in flight, one a connection; each waits for its answer."""

    def __init__(self, port: int, depth: int, posts: int) -> None:
        self.left = posts
        self.latencies_s: list[float] = []
        self._request = b"POST /v1/bench/all HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
        self.sockets = {sock.fileno(): sock for sock in (socket.create_connection((HOST, port)) for _ in range(depth))}
        self._since_s: dict[int, float] = {}
        self._got = dict.fromkeys(self.sockets, b"")
        for sock in self.sockets.values():
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        for number in self.sockets:
            self._post(number)

    def readable(self, number: int) -> None:
        self._got[number] += self.sockets[number].recv(65536)
        if self._got[number].endswith(b"\r\n\r\n"):
            self._got[number] = b""
            self.latencies_s.append(time.perf_counter() - self._since_s[number])
            self._post(number)

    def _post(self, number: int) -> None:
        if self.left:
            self.left -= 1
            self._since_s[number] = time.perf_counter()
            self.sockets[number].sendall(self._request)


def measure(name: str, argv: list[str], subscribers: int, depth: int, posts: int) -> Sample:
    """One run of one server."""
    frame = b"data: " + BODY + b"\n\n"
    expected_bytes = (len(b"%x\r\n\r\n" % len(frame)) + len(frame)) * subscribers * posts
    with running(argv) as (pid, port):
        before_kib = resident_kib(pid)
        listeners = subscribe(port, subscribers)
        kib_each = (resident_kib(pid) - before_kib) / subscribers
        posters = Posters(port, depth, posts)
        epoll = select.epoll()
        for sock in [*listeners, *posters.sockets.values()]:
            epoll.register(sock, select.EPOLLIN)
        by_number = {sock.fileno(): sock for sock in listeners}
        buffer = bytearray(256 * 1024)
        got_bytes = 0
        cpu_before_s, start_s = cpu_s(pid), time.perf_counter()
        posters.start()
        while got_bytes < expected_bytes or len(posters.latencies_s) < posts:
            events = epoll.poll(5.0, 1024)
            if not events or time.perf_counter() - start_s > RUN_LIMIT_S:
                raise SystemExit(f"{name}: {got_bytes} of {expected_bytes} bytes came, and then no more")
            for number, _ in events:
                if number in posters.sockets:
                    posters.readable(number)
                    continue
                size = by_number[number].recv_into(buffer)
                if not size:
                    raise SystemExit(f"{name} dropped a subscriber")
                got_bytes += size
        wall_s, used_s = time.perf_counter() - start_s, cpu_s(pid) - cpu_before_s
        epoll.close()
        for sock in [*listeners, *posters.sockets.values()]:
            sock.close()
    deliveries = subscribers * posts
    ordered = sorted(posters.latencies_s)
    return Sample(
        name,
        subscribers,
        depth,
        posts,
        deliveries / wall_s,
        deliveries / used_s,
        ordered[len(ordered) // 2] * 1000,
        ordered[int(len(ordered) * 0.99)] * 1000,
        kib_each,
    )


def servers(node_modules: Path, use_uvloop: bool) -> dict[str, list[str]]:
    """The command of each server that can run here."""
    found = {}
    program, node = node_modules / "signalhub" / "bin.js", shutil.which("node")
    if node is None or not program.is_file():
        print("npm's side is left out: no Node, or no signalhub in", node_modules, file=sys.stderr)
    else:
        found["npm"] = [node, str(program), "listen", "--quiet", "--port=0", f"--host={HOST}"]
    found["ours"] = [sys.executable, __file__, "--serve", *(["--uvloop"] if use_uvloop else [])]
    return found


async def serve_ours() -> None:
    """Run our hub until the process is ended."""
    server = await serve(HOST, 0)
    print(f"listening on port {server.port}", flush=True)
    await asyncio.Event().wait()


def table(samples: list[Sample]) -> None:
    """The medians, one line for each server and size."""
    titles = ("server", "subs", "depth", "deliveries/s", "per CPU s", "p50 ms", "p99 ms", "KiB/sub")
    print("{:8}{:>6}{:>6}{:>14}{:>12}{:>8}{:>8}{:>9}".format(*titles))
    for subscribers, depth, name in sorted({(s.subscribers, s.depth, s.server) for s in samples}):
        mine = [s for s in samples if (s.subscribers, s.depth, s.server) == (subscribers, depth, name)]

        def middle(what: str, of: list[Sample] = mine) -> float:
            return float(statistics.median(getattr(sample, what) for sample in of))

        print(
            f"{name:8}{subscribers:6}{depth:6}{middle('deliveries_s'):14,.0f}{middle('deliveries_cpu_s'):12,.0f}"
            f"{middle('post_p50_ms'):8.2f}{middle('post_p99_ms'):8.2f}{middle('kib_per_subscriber'):9.1f}"
        )


def main() -> None:
    """Parse the arguments and run the rounds, the servers in turn."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--subscribers", type=int, nargs="+", default=[100, 1000], help="e.g. 100 1000 5000")
    parser.add_argument("--depth", type=int, nargs="+", default=[1], help="posts in flight")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--deliveries", type=int, default=200_000, help="in each run")
    parser.add_argument("--node-modules", type=Path, default=NODE_MODULES)
    parser.add_argument("--uvloop", action="store_true", help="run our server on uvloop")
    parser.add_argument("--json", type=Path, help="write all samples to this file")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        if options.uvloop:
            importlib.import_module("uvloop").run(serve_ours())
        else:
            asyncio.run(serve_ours())
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    samples = []
    commands = servers(options.node_modules, options.uvloop)
    for subscribers in options.subscribers:
        for depth in options.depth:
            posts = max(depth * 4, options.deliveries // subscribers)
            for _ in range(options.rounds):
                for name, argv in commands.items():
                    samples.append(measure(name, argv, subscribers, depth, posts))
    table(samples)
    if options.json:
        options.json.write_text(json.dumps([asdict(sample) for sample in samples], indent=2) + "\n")


if __name__ == "__main__":
    main()
