"""The invitations that we gave out, and those of others in our hands (wire.welcome).

Of ours the token is kept hashed: whoever reads the table can knock with it, and use nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from ssb_rtc.storage.database import Database
from ssb_rtc.types import PeerId

HEARD_AFTER_MS = 24 * 60 * 60 * 1000
"""Who holds an invitation that is used up is heard so long after: its answer may have been lost, or it learns why."""


@dataclass(frozen=True, slots=True)
class WelcomeRecord:
    """An invitation of ours: how often it may be used and was. Times are wall ms."""

    id: str
    token_hash: bytes
    inbox: bytes
    """The secret of the inbox where its holders knock."""
    guest: str
    """The key under which its holders call an address of ours, spelled as a peer's id."""
    uses: int
    used: int
    note: str | None
    created_ms: int
    expires_ms: int
    used_ms: int | None = None
    """When it was last used."""

    def usable(self, now_ms: int) -> bool:
        """Somebody can still use it."""
        return self.used < self.uses and now_ms < self.expires_ms

    def heard(self, now_ms: int) -> bool:
        """Whoever holds it is heard: until it is over, and where it is used up, a day after."""
        return now_ms < self.expires_ms and (
            self.used < self.uses or now_ms < (self.used_ms or self.created_ms) + HEARD_AFTER_MS
        )


class Welcomes:
    """Both tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- ours ---

    def all(self) -> list[WelcomeRecord]:
        """Every one, the oldest first."""
        rows = self._database.query(
            "SELECT id, token_hash, inbox, guest, uses, used, note, created_ms, expires_ms, used_ms FROM welcomes"
            " ORDER BY created_ms, id"
        )
        return [WelcomeRecord(*row) for row in rows]

    def add(self, record: WelcomeRecord) -> None:
        """Keeps a new one."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO welcomes(id, token_hash, inbox, guest, uses, used, note, created_ms, expires_ms)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    record.id,
                    record.token_hash,
                    record.inbox,
                    record.guest,
                    record.uses,
                    record.used,
                    record.note,
                    record.created_ms,
                    record.expires_ms,
                ),
            )

    def take(self, welcome: str, now_ms: int) -> bool:
        """Counts one use; False when there is none left."""
        with self._database.transaction() as connection:
            changed = connection.execute(
                "UPDATE welcomes SET used = used + 1, used_ms = ? WHERE id = ? AND used < uses AND expires_ms > ?",
                (now_ms, welcome, now_ms),
            )
            return changed.rowcount > 0

    def give_back(self, welcome: str) -> None:
        """Undoes one `take`, whose use came to nothing."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE welcomes SET used = used - 1 WHERE id = ? AND used > 0", (welcome,))

    def remove(self, welcome: str) -> bool:
        """Forgets one; False when it was not there."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM welcomes WHERE id = ?", (welcome,)).rowcount > 0

    # --- those of others ---

    def joins(self) -> list[tuple[PeerId, str, int]]:
        """Who invites us, the code, and since when we have it: the oldest first."""
        rows = self._database.query("SELECT host, code, added_ms FROM joins ORDER BY added_ms, host")
        return [(PeerId(host), code, added_ms) for host, code, added_ms in rows]

    def keep_join(self, host: PeerId, code: str, now_ms: int) -> None:
        """Keeps a code until it is used or given up; a newer one of the same peer takes the place of the older."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO joins(host, code, added_ms) VALUES (?, ?, ?)", (host, code, now_ms)
            )

    def drop_join(self, host: PeerId) -> bool:
        """Forgets a code; False when there was none."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM joins WHERE host = ?", (host,)).rowcount > 0
