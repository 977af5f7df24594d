"""The randomness of a run: SplitMix64 from a seed and a name, so that one part's draws don't shift another's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

from ssb_rtc.manager.chance import mix

T = TypeVar("T")

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_GAMMA = 0x9E37_79B9_7F4A_7C15


def number_of(text: str) -> int:
    """64 bits that are the same for a text on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


class Dice:
    """A stream of random numbers."""

    __slots__ = ("_at",)

    def __init__(self, seed: int, name: str) -> None:
        self._at = number_of(f"{seed}/{name}")

    def bits(self) -> int:
        """64 of them."""
        self._at = (self._at + _GAMMA) & _MASK
        return mix(self._at)

    def uniform(self, low: float, high: float) -> float:
        """A number from `low` up to `high`."""
        return low + (high - low) * ((self.bits() >> 11) / (1 << 53))

    def chance(self, probability: float) -> bool:
        """Whether something of this probability happens now."""
        return (self.bits() >> 11) / (1 << 53) < probability

    def below(self, limit: int) -> int:
        """A whole number from 0 up to, not including, `limit`."""
        return self.bits() % limit

    def pick(self, among: Sequence[T]) -> T:
        """One of them."""
        return among[self.below(len(among))]

    def shuffled(self, among: Sequence[T]) -> list[T]:
        """All of them in a random order."""
        left = list(among)
        for at in range(len(left) - 1, 0, -1):
            other = self.below(at + 1)
            left[at], left[other] = left[other], left[at]
        return left

    def some(self, among: Sequence[T], number: int) -> list[T]:
        """So many different ones, or all where there are fewer."""
        return self.shuffled(among)[:number]
