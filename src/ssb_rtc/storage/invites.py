"""The invites that we gave out. Of a code only the public key of its seed is kept: the table lets nobody in."""

from __future__ import annotations

from dataclasses import dataclass

from ssb_rtc.storage.database import Database


@dataclass(frozen=True, slots=True)
class InviteRecord:
    """An invite: how often it may be used and was, and what it says about itself. Times are wall ms."""

    id: str
    """The public key of the seed, spelled as a peer's id."""
    uses: int
    used: int
    note: str | None
    created_ms: int
    expires_ms: int

    def usable(self, now_ms: int) -> bool:
        """Somebody can still use it."""
        return self.used < self.uses and now_ms < self.expires_ms


class Invites:
    """The table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[InviteRecord]:
        """Every invite, the oldest first."""
        rows = self._database.query(
            "SELECT id, uses, used, note, created_ms, expires_ms FROM invites ORDER BY created_ms, id"
        )
        return [InviteRecord(*row) for row in rows]

    def get(self, invite: str) -> InviteRecord | None:
        """The invite of this key."""
        rows = self._database.query(
            "SELECT id, uses, used, note, created_ms, expires_ms FROM invites WHERE id = ?", (invite,)
        )
        return InviteRecord(*rows[0]) if rows else None

    def add(self, record: InviteRecord) -> None:
        """Keeps a new invite."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO invites(id, uses, used, note, created_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?)",
                (record.id, record.uses, record.used, record.note, record.created_ms, record.expires_ms),
            )

    def take(self, invite: str, now_ms: int) -> bool:
        """Counts one use; False when there is none left."""
        with self._database.transaction() as connection:
            changed = connection.execute(
                "UPDATE invites SET used = used + 1 WHERE id = ? AND used < uses AND expires_ms > ?", (invite, now_ms)
            )
            return changed.rowcount > 0

    def give_back(self, invite: str) -> None:
        """Undoes one `take`, whose use came to nothing."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE invites SET used = used - 1 WHERE id = ? AND used > 0", (invite,))

    def remove(self, invite: str) -> bool:
        """Forgets an invite; False when it was not there."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM invites WHERE id = ?", (invite,)).rowcount > 0
