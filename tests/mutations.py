"""Bytes that were right once: what every fuzz run does with them."""

from __future__ import annotations

import random
from collections.abc import Sequence


def mutated(data: bytes, chance: random.Random, pieces: Sequence[bytes]) -> bytes:
    """The same, often, or with bytes changed, cut, doubled or inserted; `pieces` are what a parser of it looks for."""
    changed = bytearray(data)
    for _ in range(chance.choice((0, 0, 1, 2, 8))):
        where = chance.randrange(len(changed) + 1)
        match chance.randrange(5):
            case 0:
                changed[where : where + 1] = chance.randbytes(1)
            case 1:
                del changed[where : where + chance.randint(1, 40)]
            case 2:
                changed[where:where] = changed[where : where + chance.randint(1, 40)]
            case 3:
                changed[where:where] = chance.choice(pieces)
            case _:
                changed[where:where] = chance.randbytes(chance.randint(1, 300))
    return bytes(changed)
