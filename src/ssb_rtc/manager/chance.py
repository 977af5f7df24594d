"""Randomness that a recorded trace gives again: SplitMix64 over a seed and the number of the step.

Guy L. Steele, Doug Lea, Christine H. Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014. It spreads
load and breaks symmetry; nothing secret is made of it.
"""

from __future__ import annotations

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_GAMMA = 0x9E37_79B9_7F4A_7C15


def mix(value: int) -> int:
    """64 well-mixed bits of a 64-bit value."""
    value = ((value ^ (value >> 30)) * 0xBF58_476D_1CE4_E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D0_49BB_1331_11EB) & _MASK
    return value ^ (value >> 31)


def draw(seed: int, step: int, number: int) -> float:
    """The draw of this number in this step: uniform from 0 up to, not including, 1."""
    start = mix((seed + step * _GAMMA) & _MASK)
    return (mix((start + number * _GAMMA) & _MASK) >> 11) / (1 << 53)


def backoff_s(first_s: float, max_s: float, failures: int) -> float:
    """The pause after so many failures in a row: `first_s`, doubled with each one after the first, `max_s` at most."""
    return min(max_s, first_s * 2.0 ** min(max(failures - 1, 0), 32))
