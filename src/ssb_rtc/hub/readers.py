"""Which subscribers read too slowly to be kept. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ssb_rtc.hub.limits import HubLimits

S = TypeVar("S")


def too_slow(behind: Sequence[tuple[S, int, float]], limits: HubLimits, now_s: float) -> list[S]:
    """Who is too far or too long behind, then the furthest until all fit.

    behind: (subscriber, bytes that wait for it, since when it has been behind).
    """
    dropped: list[S] = []
    kept: list[tuple[int, S]] = []
    for reader, size_bytes, since_s in behind:
        if size_bytes > limits.reader_buffer_bytes or now_s - since_s > limits.reader_stall_s:
            dropped.append(reader)
        else:
            kept.append((size_bytes, reader))
    excess_bytes = sum(size_bytes for size_bytes, _ in kept) - limits.buffers_bytes
    if excess_bytes > 0:
        for size_bytes, reader in sorted(kept, key=_size, reverse=True):
            dropped.append(reader)
            excess_bytes -= size_bytes
            if excess_bytes <= 0:
                break
    return dropped


def _size(entry: tuple[int, S]) -> int:
    return entry[0]
