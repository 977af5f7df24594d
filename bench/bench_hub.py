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
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.hub_load import Run, join
from bench.hub_servers import NODE_MODULES, Kind, kinds, ours, redis, running

DESCRIPTORS_SPARE = 200
WARM_S = 0.3
MIB = 1024 * 1024
NOTE = """y-webrtc speaks another protocol: JSON over WebSockets, no answer to a post (its echo to the poster, which
comes last, is taken for one), each delivery encoded anew, no limits. Its posts are of the same size."""


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
    """What subscribers cost before they hear anything; `whole_mib`: the process with them, after the load."""

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
Row = dict[str, float | str]
Columns = dict[str, tuple[str, str]]


def medians(samples: Sequence[Sample], *keys: str) -> list[Row]:
    """One row for each combination of `keys`, in the order of appearance; what was lost is added up."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for sample in map(asdict, samples):
        groups.setdefault(tuple(sample[key] for key in keys), []).append(sample)
    return [{name: _middle(name, [sample[name] for sample in group]) for name in group[0]} for group in groups.values()]


def _middle(name: str, values: list[float | str]) -> float | str:
    numbers = [value for value in values if not isinstance(value, str)]
    if not numbers:
        return values[0]
    return sum(numbers) if name == "lost" else statistics.median(numbers)


FAN = {
    "hub": ("hub", "14"),
    "subscribers": ("subs", ">6.0f"),
    "in_flight": ("in", ">4.0f"),
    "deliveries_s": ("per s", ">11,.0f"),
    "deliveries_cpu_s": ("per CPU s", ">11,.0f"),
    "p50_ms": ("p50 ms", ">9.2f"),
    "p99_ms": ("p99 ms", ">9.2f"),
    "lost": ("lost", ">6.0f"),
    "server_share": ("server", ">8.0%"),
    "load_share": ("load", ">7.0%"),
}
"""What a column is called, and its form."""
MEMORY = {
    "hub": ("hub", "14"),
    "subscribers": ("subs", ">6.0f"),
    "bytes_each": ("bytes each", ">12,.0f"),
    "empty_mib": ("empty MiB", ">11.1f"),
    "whole_mib": ("whole MiB", ">11.1f"),
}
STORM = {
    "hub": ("hub", "14"),
    "subscribers": ("subs", ">6.0f"),
    "whole_s": ("all s", ">8.2f"),
    "p50_ms": ("p50 ms", ">9.0f"),
    "p99_ms": ("p99 ms", ">9.0f"),
    "retries": ("retries", ">9.0f"),
    "server_cpu_s": ("CPU s", ">8.2f"),
    "lost": ("lost", ">6.0f"),
}
RATIO = {
    "hub": ("hub", "14"),
    "subscribers": ("subs", ">6.0f"),
    "in_flight": ("in", ">4.0f"),
    "deliveries_s": ("per s", ">8.2f"),
    "deliveries_cpu_s": ("per CPU s", ">11.2f"),
    "p99_ms": ("p99", ">8.2f"),
    "whole_mib": ("memory", ">8.2f"),
}


def show(title: str, columns: Columns, rows: list[Row]) -> None:
    """One table."""
    widths = [form.partition(".")[0].rstrip(",") for _, form in columns.values()]
    print(f"\n{title}")
    print("".join(format(head, width) for (head, _), width in zip(columns.values(), widths, strict=True)))
    for row in rows:
        print("".join(format(row[name], form) for name, (_, form) in columns.items()))
    sys.stdout.flush()


def ratios(fans: list[Row], memories: list[Row], to: str) -> list[Row]:
    """Each of ours by `to`, in the same place of the same run; more is better but for p99 and memory."""
    places = {(row["hub"], row["subscribers"], row["in_flight"]): row for row in fans}
    whole = {(row["hub"], row["subscribers"]): float(row["whole_mib"]) for row in memories}
    found = []
    for (hub, subscribers, depth), mine in places.items():
        theirs = places.get((to, subscribers, depth))
        if theirs is not None and str(hub).startswith("ours"):
            row = dict(mine)
            for name in ("deliveries_s", "deliveries_cpu_s", "p99_ms"):
                row[name] = float(mine[name]) / float(theirs[name])
            row["whole_mib"] = whole[hub, subscribers] / whole[to, subscribers]
            found.append(row)
    return found


def past_one_process(options: argparse.Namespace) -> list[Fan]:
    """One and two of our processes on one Redis, with the same subscribers and posters."""
    found: list[Fan] = []
    with redis() as url:
        argv = ours("auto", "--broker", url).argv
        for _ in range(options.rounds):
            for processes, name in ((1, "one process"), (2, "two processes")):
                for subscribers in options.redis_subscribers:
                    kind = Kind(name, argv)
                    found += fan_outs(kind, subscribers, options.in_flight, options.seconds, processes)[0]
    return found


def show_past_one_process(options: argparse.Namespace) -> list[Fan]:
    """Says why not, where there is no Redis."""
    try:
        fans = past_one_process(options)
    except FileNotFoundError as error:
        print(f"\nseveral processes are left out: {error}")
        return []
    rows = medians(fans, "subscribers", "in_flight", "hub")
    show(
        "on one Redis, whose CPU time is not counted; two processes gain nothing without a second free core", FAN, rows
    )
    half = len(rows) // 2
    for one, two in zip(rows[:half], rows[half:], strict=True):
        where = f"{one['subscribers']:.0f} subscribers, {one['in_flight']:.0f} in flight"
        print(f"two / one, {where}: {float(two['deliveries_s']) / float(one['deliveries_s']):.2f}")
    return fans


def raise_descriptors(wanted: int) -> int:
    """As many descriptors as allowed, for us and the servers; returns how many subscribers that makes at most."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY or hard >= wanted + DESCRIPTORS_SPARE:
        return wanted
    most = hard - DESCRIPTORS_SPARE
    print(f"only {hard} descriptors are allowed here (ulimit -Hn): no more than {most} subscribers\n")
    return most


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
    parser.add_argument("--only", nargs="+", metavar="HUB", help="names as in the tables")
    parser.add_argument("--node-modules", type=Path, default=NODE_MODULES)
    parser.add_argument("--json", type=Path, help="write all samples to this file")
    return parser.parse_args()


def main() -> None:
    """Everything, one table after another."""
    options = arguments()
    most = raise_descriptors(max([*options.subscribers, options.idle, options.storm, *options.redis_subscribers]))
    hubs = [kind for kind in kinds(options.node_modules) if not options.only or kind.name in options.only]
    fans: list[Fan] = []
    memories: list[Memory] = []
    for subscribers in [min(count, most) for count in options.subscribers]:
        # In turns, so that what disturbs the machine meets all of them.
        for kind in hubs * options.rounds:
            some, memory = fan_outs(kind, subscribers, options.in_flight, options.seconds)
            fans += some
            memories.append(memory)
    fan_rows = medians(fans, "subscribers", "in_flight", "hub")
    if fans:
        show("deliveries, and from a post until it is heard", FAN, fan_rows)
        if any(kind.name == "y-webrtc" for kind in hubs):
            print(NOTE)
    if options.idle:
        memories += [idle(kind, min(options.idle, most)) for kind in hubs]
    memory_rows = medians(memories, "subscribers", "hub")
    if memories:
        show("memory of the process, empty and with subscribers", MEMORY, memory_rows)
    for other in ("npm", "y-webrtc"):
        if rows := ratios(fan_rows, memory_rows, other):
            show(f"ours / {other}", RATIO, rows)
    storms: list[Storm] = []
    if options.storm:
        storms = [storm(kind, min(options.storm, most)) for kind in hubs * options.rounds]
        show("all cut off, all back at once", STORM, medians(storms, "subscribers", "hub"))
    several = show_past_one_process(options) if options.redis_subscribers else []
    if options.json:
        samples: list[Sample] = [*fans, *memories, *storms, *several]
        options.json.write_text(json.dumps([asdict(sample) for sample in samples], indent=2) + "\n")


if __name__ == "__main__":
    main()
