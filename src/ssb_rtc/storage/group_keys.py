"""The keys of private groups that we were told, between one run and the next."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from ssb_rtc.feeds.groups import GroupKey
from ssb_rtc.storage.database import Database
from ssb_rtc.types import FeedId, MsgId

logger = logging.getLogger(__name__)

KEYS_MAX: Final = 128
"""In all: each is tried on each private message of the second kind, 12 us a try."""
KEYS_OF_ONE_MAX: Final = 16
"""From one author, who could else take all the room."""
STRANGERS_KEYS_MAX: Final = 32
"""From all authors together whom we don't follow: there are always more names to take the room of friends with."""

OnAdded = Callable[[GroupKey], None]


class GroupKeys:
    """One table, held in memory. Used on the thread that opened the database."""

    def __init__(self, database: Database, follows: Callable[[FeedId], bool] = lambda _author: True) -> None:
        """follows: whether we follow this author."""
        self._database = database
        self._follows = follows
        self._on_added: list[OnAdded] = []
        self._keys: dict[bytes, GroupKey] = {}
        for key, group, root, added_by in database.query(
            "SELECT key, group_id, root, added_by FROM group_keys ORDER BY number"
        ):
            self._keys[key] = GroupKey(key, group, MsgId(root), FeedId(added_by))

    @property
    def keys(self) -> tuple[GroupKey, ...]:
        """All keys, the oldest first."""
        return tuple(self._keys.values())

    @property
    def count(self) -> int:
        """How many there are. It only grows: an index that was built with fewer can be built again and find more."""
        return len(self._keys)

    def add(self, told: GroupKey) -> bool:
        """Keeps a key; False when it is known, or there is no room for it (the log has a line then).

        May be called inside a transaction of the database, and is then part of it.
        """
        if told.key in self._keys:
            return False
        if not self._has_room(told.added_by):
            logger.warning("the key of the private group %s from %s is not kept: too many", told.group, told.added_by)
            return False
        self._save(told)
        self._keys[told.key] = told
        for listener in tuple(self._on_added):
            listener(told)
        return True

    def _has_room(self, author: FeedId) -> bool:
        authors = [known.added_by for known in self._keys.values()]
        if len(authors) >= KEYS_MAX or authors.count(author) >= KEYS_OF_ONE_MAX:
            return False
        return self._follows(author) or sum(not self._follows(each) for each in authors) < STRANGERS_KEYS_MAX

    def _save(self, told: GroupKey) -> None:
        statement = "INSERT OR IGNORE INTO group_keys(key, group_id, root, added_by) VALUES (?, ?, ?, ?)"
        row = (told.key, told.group, told.root, told.added_by)
        if self._database.connection.in_transaction:
            self._database.connection.execute(statement, row)
            return
        with self._database.transaction() as connection:
            connection.execute(statement, row)

    def subscribe(self, listener: OnAdded) -> Callable[[], None]:
        """Calls `listener(key)` for each new key, with which older messages may open; returns what ends that.

        The call can come in the middle of reading: a listener only notes that there is something to do.
        """
        self._on_added.append(listener)
        return lambda: self._on_added.remove(listener)
