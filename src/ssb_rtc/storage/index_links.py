"""Which messages link to a message, a feed or a blob.

A row holds three integers: 8 bytes of the target, the message's place in the log, and the number of the rel; about 15
bytes on the disk. Whoever reads looks into the message whether it really links there, so targets that share 8 bytes
and rels that have no number cost a look, never a wrong answer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from ssb_rtc.feeds.links import links_of, target_number
from ssb_rtc.storage.log import Stored

RELS_MAX: Final = 1_024
"""Rels that get a number; a stranger who invents one in each message must not make a table of them."""
REL_CHARACTERS_MAX: Final = 64
ANY_REL: Final = 0
"""The number of all rels that have none of their own."""

_Row = tuple[int, int, str]
"""Target, message, rel."""


class LinkIndex:
    """The table `links`: (target, message, rel), by target and then in the order of the log."""

    name: Final = "links"
    version: Final = 1

    def prepare(self, stored: Sequence[Stored]) -> Sequence[_Row]:
        """See Index."""
        return [
            (target_number(target), one.rowid, rel)
            for one in stored
            for rel, target in links_of(one.value()["content"])
        ]

    def add(self, connection: sqlite3.Connection, rows: Sequence[_Row]) -> None:
        """See Index."""
        numbers = rel_numbers(connection)
        for rel in {rel for _, _, rel in rows if rel not in numbers}:
            if len(numbers) < RELS_MAX and len(rel) <= REL_CHARACTERS_MAX and _has_utf8(rel):
                numbers[rel] = connection.execute("INSERT INTO link_rels(name) VALUES (?)", (rel,)).lastrowid or 0
        # Sorted, they hit one page of the table after the other.
        numbered = sorted((target, message, numbers.get(rel, ANY_REL)) for target, message, rel in rows)
        connection.executemany("INSERT OR IGNORE INTO links(target, message, rel) VALUES (?, ?, ?)", numbered)

    def remove(self, connection: sqlite3.Connection, stored: Sequence[Stored]) -> None:
        """See Index."""
        rows = [(target, message) for target, message, _ in self.prepare(stored)]
        connection.executemany("DELETE FROM links WHERE target = ? AND message = ?", rows)

    def clear(self, connection: sqlite3.Connection) -> None:
        """See Index. Rels keep their numbers: somebody may be reading by one."""
        connection.execute("DELETE FROM links")


def rel_numbers(connection: sqlite3.Connection) -> dict[str, int]:
    """The number of each rel that has one."""
    return {name: number for number, name in connection.execute("SELECT id, name FROM link_rels")}


def _has_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
