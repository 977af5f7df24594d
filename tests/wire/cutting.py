"""Bytes cut anywhere: what a transport may do to what was sent."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st


def cuts(size: int) -> st.SearchStrategy[list[int]]:
    """Some places to cut `size` bytes at."""
    return st.lists(st.integers(0, size), max_size=12)


def cut_at(data: bytes, places: list[int]) -> list[bytes]:
    """The pieces of `data`, in order, some of them perhaps empty."""
    return [data[start:end] for start, end in pairwise([0, *sorted(places), len(data)])]
