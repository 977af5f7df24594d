"""A hub under load: npm signalhub, the signalling server of y-webrtc and ours, in turns within one run.

    python -m bench.bench_hub [--rounds 2] [--seconds 1] [--subscribers 100 1000 5000] [--idle 10000] [--json FILE]

One channel that all subscribers hear. With one post in flight each waits for the answer to the one before; with eight,
eight connections do. Latency is from before a post is sent until a subscriber has it. The servers' CPU time counts more
than deliveries a second, which both ends of the load share two cores for; `load` is the share of one core that the load
generator took: while it is well below 100 % it held nobody up. Medians; needs Linux (/proc).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.hub_load import Run, join
from bench.hub_servers import NODE_MODULES, Kind, kinds, ours, redis, running

DESCRIPTORS_SPARE = 200
WARM_S = 0.3
MIB = 1024 * 1024
NOTE = """y-webrtc speaks another protocol: JSON over WebSockets, no answer to a post (its echo to the poster, which comes
last, is taken for one), every delivery encoded anew, no limits. Posts are of the same size. All are processes of their own."""


@dataclass(frozen=True)
class Fan:
    """One fan-out; `lost` are deliveries."""

    hub: str
    subscribers: int
    in_flight: int
    deliveries_s: float
    deliveries_cpu_s: float
    p50_ms: float
    p99_ms: float
    lost: int
    server_share: float
    load_share: float


@dataclass(frozen=True)
class Memory:
    """What subscribers who hear nothing cost; `whole_mib` is the process with them, after the load where there was one."""

    hub: str
    subscribers: int
    bytes_each: float
    empty_mib: float
    whole_mib: float


@dataclass(frozen=True)
class Storm:
    """All subscribers are cut off and come back at once; `whole_s` until the last is subscribed."""

    hub: str
    subscribers: int
    whole_s: float
    p50_ms: float
    p99_ms: float
    retries: int
    server_cpu_s: float
    lost: int


def fan_outs(
    kind: Kind, subscribers: int, depths: Iterable[int], seconds: float, processes: int = 1
) -> tuple[list[Fan], Memory]:
    """Every depth with the same subscribers, after a short run that is not counted."""
    with running(kind, processes) as hub:
        empty_bytes = hub.resident_bytes()
        joined = join(hub.ports, hub.dialect, subscribers)
        each = (hub.resident_bytes() - empty_bytes) / subscribers
        Run(joined, hub.ports, hub.dialect, 1).go(WARM_S)
        found = []
        for depth in depths:
            run = Run(joined, hub.ports, hub.dialect, depth)
            before_s = hub.cpu_s()
            got = run.go(seconds)
            used_s = hub.cpu_s() - before_s
            p50_ms, p99_ms = percentiles(got.latencies_s)
            found.append(
                Fan(
                    hub=kind.name,
                    subscribers=subscribers,
                    in_flight=depth,
                    deliveries_s=got.deliveries / got.wall_s,
                    deliveries_cpu_s=got.deliveries / used_s,
                    p50_ms=p50_ms,
                    p99_ms=p99_ms,
                    lost=got.lost,
                    server_share=used_s / got.wall_s,
                    load_share=got.own_cpu_s / got.wall_s,
                )
            )
        memory = Memory(kind.name, subscribers, each, empty_bytes / MIB, hub.resident_bytes() / MIB)
        joined.close()
    return found, memory


def idle(kind: Kind, subscribers: int) -> Memory:
    """Subscribers who hear nothing."""
    with running(kind) as hub:
        empty_bytes = hub.resident_bytes()
        joined = join(hub.ports, hub.dialect, subscribers)
        whole_bytes = hub.resident_bytes()
        joined.close()
    return Memory(
        kind.name, subscribers, (whole_bytes - empty_bytes) / subscribers, empty_bytes / MIB, whole_bytes / MIB
    )


def storm(kind: Kind, subscribers: int) -> Storm:
    """Cut off and back; one post afterwards shows that all of them hear."""
    with running(kind) as hub:
        join(hub.ports, hub.dialect, subscribers).close()
        before_s = hub.cpu_s()
        joined = join(hub.ports, hub.dialect, subscribers, at_once=subscribers)
        used_s = hub.cpu_s() - before_s
        lost = Run(joined, hub.ports, hub.dialect, 1).go(0.0).lost
        joined.close()
    p50_ms, p99_ms = percentiles(joined.waits_s)
    return Storm(kind.name, subscribers, joined.wall_s, p50_ms, p99_ms, joined.retries, used_s, lost)


def percentiles(times_s: list[float]) -> tuple[float, float]:
    """The middle one and the one that 99 of 100 don't exceed, in ms."""
    ordered = sorted(times_s)
    return ordered[len(ordered) // 2] * 1000, ordered[int(len(ordered) * 0.99)] * 1000


Sample = Fan | Memory | Storm


def medians(samples: list[Sample], *keys: str) -> list[dict[str, float | str]]:
    """One row for each combination of `keys`, in the order of appearance; what was lost is added up."""
    groups: dict[tuple[object, ...], list[dict[str, float | str]]] = {}
    for sample in map(asdict, samples):
        groups.setdefault(tuple(sample[key] for key in keys), []).append(sample)
    return [{name: _middle(name, [sample[name] for sample in group]) for name in group[0]} for group in groups.values()]


def _middle(name: str, values: list[float | str]) -> float | str:
    numbers = [value for value in values if not isinstance(value, str)]
    if not numbers:
        return values[0]
    return sum(numbers) if name == "lost" else statistics.median(numbers)


FAN = (
    "{hub:14}{subscribers:>6}{in_flight:>4}{deliveries_s:>12,.0f}{deliveries_cpu_s:>12,.0f}{p50_ms:>9.2f}{p99_ms:>9.2f}"
    "{lost:>6}{server_share:>8.0%}{load_share:>7.0%}"
)
FAN_HEAD = f"{'hub':14}{'subs':>6}{'in':>4}{'per s':>12}{'per CPU s':>12}{'p50 ms':>9}{'p99 ms':>9}{'lost':>6}{'server':>8}{'load':>7}"
MEMORY = "{hub:14}{subscribers:>6}{bytes_each:>12,.0f}{empty_mib:>12.1f}{whole_mib:>12.1f}"
MEMORY_HEAD = f"{'hub':14}{'subs':>6}{'bytes each':>12}{'empty MiB':>12}{'whole MiB':>12}"
STORM = (
    "{hub:14}{subscribers:>6}{whole_s:>9.2f}{p50_ms:>9.0f}{p99_ms:>9.0f}{retries:>9.0f}{server_cpu_s:>10.2f}{lost:>6}"
)
STORM_HEAD = f"{'hub':14}{'subs':>6}{'all s':>9}{'p50 ms':>9}{'p99 ms':>9}{'retries':>9}{'CPU s':>10}{'lost':>6}"


def show(title: str, head: str, line: str, rows: list[dict[str, float | str]]) -> None:
    """One table."""
    print(f"\n{title}\n{head}")
    for row in rows:
        print(line.format(**row))
    sys.stdout.flush()


def ratios(fans: list[dict[str, float | str]], memories: list[dict[str, float | str]]) -> None:
    """Ours by npm's."""

    def of(rows: list[dict[str, float | str]], what: str, **keys: object) -> float | None:
        found = [row[what] for row in rows if all(row[key] == value for key, value in keys.items())]
        return float(found[0]) if found else None

    def ratio(rows: list[dict[str, float | str]], what: str, **keys: object) -> str:
        mine, theirs = (of(rows, what, **{**keys, "hub": name}) for name in (hub, "npm"))
        return f"{mine / theirs:10.2f}" if mine is not None and theirs else f"{'-':>10}"

    print(f"\nours / npm\n{'hub':14}{'subs':>6}{'in':>4}{'per s':>10}{'per CPU s':>10}{'p99':>10}{'memory':>10}")
    for row in fans:
        hub, subscribers, depth = row["hub"], row["subscribers"], row["in_flight"]
        if str(hub).startswith("ours "):
            where = {"subscribers": subscribers, "in_flight": depth}
            figures = "".join(ratio(fans, what, **where) for what in ("deliveries_s", "deliveries_cpu_s", "p99_ms"))
            print(f"{hub:14}{subscribers:>6}{depth:>4}{figures}{ratio(memories, 'whole_mib', subscribers=subscribers)}")


def in_turns(rounds: int, hubs: list[Kind], measure: Callable[[Kind], Iterable[Sample]]) -> list[Sample]:
    """The servers one after another, again and again, so that what disturbs the machine meets all of them."""
    return [sample for _ in range(rounds) for kind in hubs for sample in measure(kind)]


def past_one_process(options: argparse.Namespace) -> list[Sample]:
    """One and two of our processes on one Redis, with as many posts in flight as two processes have something to do."""
    found: list[Sample] = []
    with redis() as url:
        for _ in range(options.rounds):
            for processes in (1, 2):
                one = ours(options.redis_loop, "--broker", url)
                kind = Kind(f"ours, redis {processes}", one.argv)
                for subscribers in options.redis_subscribers:
                    fans, _ = fan_outs(kind, subscribers, options.redis_in_flight, options.seconds, processes)
                    found += fans
    return found


def raise_descriptors(wanted: int) -> int:
    """As many descriptors as allowed, for us and the servers; returns how many subscribers that makes at most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY or hard >= wanted + DESCRIPTORS_SPARE:
        return wanted
    print(f"only {hard} descriptors are allowed here (ulimit -Hn): with {hard - DESCRIPTORS_SPARE} subscribers at most")
    return hard - DESCRIPTORS_SPARE


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each fan-out")
    parser.add_argument("--subscribers", type=int, nargs="*", default=[100, 1000, 5000])
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 8], help="posts")
    parser.add_argument("--idle", type=int, default=10_000, help="subscribers who hear nothing; 0 leaves it out")
    parser.add_argument("--storm", type=int, default=5000, help="subscribers who come back at once; 0 leaves it out")
    parser.add_argument("--redis-subscribers", type=int, nargs="*", default=[2000], help="none leaves it out")
    parser.add_argument("--redis-in-flight", type=int, nargs="+", default=[8])
    parser.add_argument("--redis-loop", default="auto")
    parser.add_argument("--only", nargs="+", metavar="HUB", help="names as in the tables")
    parser.add_argument("--node-modules", type=Path, default=NODE_MODULES)
    parser.add_argument("--json", type=Path, help="write all samples to this file")
    return parser.parse_args()


def main() -> None:
    """Everything, one table after another."""
    options = arguments()
    most = raise_descriptors(max([*options.subscribers, options.idle, options.storm, *options.redis_subscribers]))
    hubs = [kind for kind in kinds(options.node_modules) if not options.only or kind.name in options.only]
    print(NOTE)
    fans: list[Sample] = []
    memories: list[Sample] = []
    for subscribers in [min(count, most) for count in options.subscribers]:
        for sample in in_turns(
            options.rounds,
            hubs,
            lambda kind, n=subscribers: _flat(fan_outs(kind, n, options.in_flight, options.seconds)),
        ):
            (memories if isinstance(sample, Memory) else fans).append(sample)
    fan_rows = medians(fans, "subscribers", "in_flight", "hub")
    if fans:
        show("fan-out: deliveries, and from a post until it is heard", FAN_HEAD, FAN, fan_rows)
    if options.idle:
        memories += in_turns(1, hubs, lambda kind: [idle(kind, min(options.idle, most))])
    memory_rows = medians(memories, "subscribers", "hub")
    show("memory of one process, empty and with subscribers", MEMORY_HEAD, MEMORY, memory_rows)
    ratios(fan_rows, memory_rows)
    storms: list[Sample] = []
    if options.storm:
        storms = in_turns(options.rounds, hubs, lambda kind: [storm(kind, min(options.storm, most))])
        show("all cut off, all back at once", STORM_HEAD, STORM, medians(storms, "subscribers", "hub"))
    several: list[Sample] = []
    if options.redis_subscribers:
        try:
            several = past_one_process(options)
        except FileNotFoundError as error:
            print(f"\nseveral processes are left out: {error}")
        else:
            rows = medians(several, "subscribers", "in_flight", "hub")
            show("one and two processes on one Redis (its own CPU time not counted)", FAN_HEAD, FAN, rows)
    if options.json:
        options.json.write_text(
            json.dumps([asdict(one) for one in (*fans, *memories, *storms, *several)], indent=2) + "\n"
        )


def _flat(found: tuple[list[Fan], Memory]) -> list[Sample]:
    fans, memory = found
    return [*fans, memory]


if __name__ == "__main__":
    main()
