"""Which private messages we can read.

Only their places in the log are kept: nothing that was decrypted is written to the disk. When a key arrives that older
messages may have been sealed with, `Indexes.rebuild(["private"])` looks again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

from ssb_rtc.storage.log import Stored
from ssb_rtc.types import Json

Unbox = Callable[[Stored], Json | None]
"""The content of a private message that we can read; None for any other message."""

_SEALED: Final = b'"content":"'


class PrivateIndex:
    """The table `private`: the place in the log of each message that `unbox` opens."""

    name: Final = "private"
    version: Final = 1

    def __init__(self, unbox: Unbox) -> None:
        self.unbox = unbox

    def prepare(self, stored: Sequence[Stored]) -> Sequence[tuple[int]]:
        """See Index."""
        return [(one.rowid,) for one in stored if is_sealed(one) and self.unbox(one) is not None]

    def add(self, connection: sqlite3.Connection, rows: Sequence[tuple[int]]) -> None:
        """See Index."""
        connection.executemany("INSERT OR IGNORE INTO private(message) VALUES (?)", rows)

    def remove(self, connection: sqlite3.Connection, stored: Sequence[Stored]) -> None:
        """See Index."""
        connection.executemany("DELETE FROM private WHERE message = ?", [(one.rowid,) for one in stored])

    def clear(self, connection: sqlite3.Connection) -> None:
        """See Index."""
        connection.execute("DELETE FROM private")


def is_sealed(stored: Stored) -> bool:
    """Whether the content is a text: that of a private message."""
    return _SEALED in stored.raw and isinstance(stored.value()["content"], str)
