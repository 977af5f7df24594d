"""The secrets of friend inboxes: ours, and those that friends told us. See docs/signalling.md."""

from __future__ import annotations

import secrets
from typing import Final

from ssb_rtc.storage.database import Database
from ssb_rtc.types import PeerId

SECRET_BYTES: Final = 32
INBOXES_MAX: Final = 10_000
_OWN: Final = "inbox"


class Inboxes:
    """The table, held in memory too: it is asked for each letter that goes out."""

    def __init__(self, database: Database) -> None:
        self._database = database
        rows = database.query("SELECT peer, secret FROM inboxes ORDER BY told_ms DESC, peer")
        self._secrets: dict[PeerId, bytes] = {PeerId(peer): bytes(secret) for peer, secret in rows}
        kept = database.query("SELECT value FROM meta WHERE key = ?", (_OWN,))
        self._own = bytes.fromhex(kept[0][0]) if kept else self.renew()

    @property
    def own(self) -> bytes:
        """Ours, 32 random bytes."""
        return self._own

    def renew(self) -> bytes:
        """Make up another one of our own: who knew the old one finds us there no more."""
        self._own = secrets.token_bytes(SECRET_BYTES)
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO meta(key, value) VALUES (?, ?)", (_OWN, self._own.hex()))
        return self._own

    def of(self, peer: PeerId) -> bytes | None:
        """What this friend told us."""
        return self._secrets.get(peer)

    def peers(self) -> list[PeerId]:
        """All who told us, those first who did so last."""
        return list(self._secrets)

    def keep(self, peer: PeerId, secret: bytes, now_ms: int) -> bool:
        """Keeps what a friend tells; False where that was known, or the table is full."""
        if self._secrets.get(peer) == secret or (peer not in self._secrets and len(self._secrets) >= INBOXES_MAX):
            return False
        self._secrets[peer] = secret
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO inboxes(peer, secret, told_ms) VALUES (?, ?, ?)", (peer, secret, now_ms)
            )
        return True

    def forget(self, peer: PeerId) -> bool:
        """Forgets it; False where there was none."""
        if self._secrets.pop(peer, None) is None:
            return False
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM inboxes WHERE peer = ?", (peer,))
        return True
