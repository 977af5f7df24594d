"""`ssb-rtc trace`: the steps of the peers state manager, live, or a recorded run once more."""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from ssb_rtc.cli import output
from ssb_rtc.cli.local import run_with_link
from ssb_rtc.errors import LinkClosed, NoPeerRuns

if TYPE_CHECKING:
    from ssb_rtc.runtime.trace import Mismatch
    from ssb_rtc.transport.link import Link

MISMATCHES_SHOWN = 10


def trace(arguments: argparse.Namespace) -> int:
    """Follow the running peer until interrupted, or replay a file."""
    if arguments.replay is not None:
        return _replay(arguments.replay, as_json=arguments.json)

    if arguments.peer is not None:
        return run_with_link(arguments, partial(_follow_peer, arguments), need_peer=True)

    async def body(link: Link) -> int:
        try:
            async for step in link.source("rtc.trace"):
                if arguments.json:
                    output.print_json(step)
                else:
                    _print_step(step)
        except LinkClosed:
            raise NoPeerRuns("the peer has ended, and the trace with it; `ssb-rtc start` runs it again") from None
        return 0

    return run_with_link(arguments, body, need_peer=True)


async def _follow_peer(arguments: argparse.Namespace, link: Link) -> int:
    try:
        async for line in link.source("rtc.timeline", arguments.peer):
            if arguments.json:
                output.print_json(line)
            else:
                print(milestone(line), flush=True)
    except LinkClosed:
        raise NoPeerRuns("the peer has ended, and the trace with it") from None
    return 0


def milestone(line: Any) -> str:
    """A line of a timeline, for people."""
    when = time.strftime("%H:%M:%S", time.localtime(line["wall_s"]))
    again = f" ({line['times']} times)" if line["times"] > 1 else ""
    return output.printable(f"{when} {line['at_s']:+9.3f} s  {line['what']:17} {line['detail']}{again}").rstrip()


def _print_step(step: Any) -> None:
    if "missed" in step:
        print(f"({step['missed']} steps were missed: this output is too slow)")
    when = time.strftime("%H:%M:%S", time.localtime(step["wall_s"]))
    print(f"{when} {_line(step['action'])}", flush=True)
    for effect in step["effects"]:
        print(f"{'':8}   -> {_line(effect, step['mono_s'])}", flush=True)


def _line(record: Any, now_s: float | None = None) -> str:
    """An action or an effect on one line: its name, what it is about, and why.

    now_s: the manager's clock, where it is known; it counts from nowhere, so what is due is told from now on.
    """
    fields = {name: value for name, value in record.items() if name not in {"kind", "reason"}}
    if now_s is not None and "due_mono_s" in fields:
        fields["due_in_s"] = round(max(0.0, fields.pop("due_mono_s") - now_s), 1)
    told = " ".join(f"{name}={_value(value)}" for name, value in fields.items() if value not in (None, [], ""))
    reason = f"  ({record['reason']})" if record.get("reason") else ""
    return output.printable(f"{record['kind']} {told}{reason}")


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(map(_value, value.values()))
    if isinstance(value, list):
        return f"[{' '.join(map(_value, value))}]"
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _replay(file: str, *, as_json: bool) -> int:
    import msgspec

    from ssb_rtc.runtime.trace import replay_file

    with output.open_input(file) as source:
        count, differing, cut = replay_file(source)
    if as_json:
        mismatches = [msgspec.to_builtins(mismatch) for mismatch in differing]
        output.print_json({"steps": count, "same": not differing, "cut": cut, "mismatches": mismatches})
        return 1 if differing else 0
    if cut:
        print("the last line of the file was cut off; the steps before it:")
    if not differing:
        print(f"{count} steps: the same effects")
    else:
        print(f"{len(differing)} of {count} steps have other effects than recorded")
        for mismatch in differing[:MISMATCHES_SHOWN]:
            _print_mismatch(mismatch)
        if len(differing) > MISMATCHES_SHOWN:
            print("(after the first, others may differ only because it did; --json has all)")
    return 1 if differing else 0


def _print_mismatch(mismatch: Mismatch) -> None:
    import msgspec

    print(f"step {mismatch.record}:")
    for sign, effects in (("-", mismatch.recorded), ("+", mismatch.replayed)):
        for effect in effects:
            print(f"  {sign} {_line(msgspec.to_builtins(effect))}")
