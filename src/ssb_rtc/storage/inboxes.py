"""The secrets of inboxes on hubs: ours, those that friends told us, and invitations'. See docs/signalling.md."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
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
        self._codes: dict[str, bytes] = {}
        self._invited_by: dict[PeerId, bytes] = {}
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
        """What this friend told us; or, as long as an invitation of this peer is in our hands, that of its inbox."""
        return self._invited_by.get(peer) or self._secrets.get(peer)

    # --- invitations: plugins.welcome has their tables, and says here what is in force ---

    def is_invited_by(self, peer: PeerId) -> bool:
        """Whether what `of` gives is an invitation's."""
        return peer in self._invited_by

    def hold_invitation(self, peer: PeerId, inbox: bytes | None) -> None:
        """An invitation of this peer is in our hands from now on; with None, no longer."""
        if inbox is None:
            self._invited_by.pop(peer, None)
        else:
            self._invited_by[peer] = inbox

    def codes(self) -> Mapping[str, bytes]:
        """The secrets of the inboxes of our own invitations, by their ids."""
        return self._codes

    def replace_codes(self, codes: Mapping[str, bytes]) -> bool:
        """Listen for holders of exactly these; whether that changes anything."""
        changed = self._codes != codes
        self._codes = dict(codes)
        return changed

    # --- friends ---

    def knows(self, peer: PeerId) -> bool:
        """Whether this friend told us."""
        return peer in self._secrets

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
