"""The hubs and peers that we know, between one run and the next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ssb_rtc.storage.database import Database
from ssb_rtc.types import HubUrl, PeerId

HUBS_MAX: Final = 1_000
PEERS_MAX: Final = 10_000
"""More rows than this are not kept; the oldest that nobody pinned or blocked go first."""


@dataclass(frozen=True, slots=True)
class HubRecord:
    """A hub: where its address came from (`user`, `gossip`, ...), when, and how it did. Times are wall ms."""

    url: HubUrl
    source: str
    added_ms: int
    last_success_ms: int | None = None
    failures: int = 0
    private: bool = False
    """Never told to others."""


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """A peer: a multiserver address if one is known, and how it did. Times are wall ms."""

    id: PeerId
    address: str | None = None
    last_seen_ms: int | None = None
    last_connected_ms: int | None = None
    failures: int = 0
    pinned: bool = False
    blocked: bool = False


class Contacts:
    """The two tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hubs(self) -> list[HubRecord]:
        """All hubs, in the order in which they were added."""
        rows = self._database.query(
            "SELECT url, source, added_ms, last_success_ms, failures, private FROM hubs ORDER BY added_ms, rowid"
        )
        return [
            HubRecord(HubUrl(url), source, added, succeeded, failures, bool(private))
            for url, source, added, succeeded, failures, private in rows
        ]

    def hub(self, url: HubUrl) -> HubRecord | None:
        """What is known of this hub."""
        return next((record for record in self.hubs() if record.url == url), None)

    def save_hub(self, hub: HubRecord) -> None:
        """Adds a hub or replaces what is known of it."""
        self._save_hubs([hub], replace_all=False)

    def save_hubs(self, hubs: Iterable[HubRecord]) -> None:
        """Makes the table exactly this, in one transaction."""
        self._save_hubs(list(hubs), replace_all=True)

    def remove_hub(self, url: HubUrl) -> bool:
        """Forgets a hub; False when it was not there."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM hubs WHERE url = ?", (url,)).rowcount > 0

    def _save_hubs(self, hubs: list[HubRecord], *, replace_all: bool) -> None:
        with self._database.transaction() as connection:
            if replace_all:
                connection.execute("DELETE FROM hubs")
            connection.executemany(
                "INSERT INTO hubs(url, source, added_ms, last_success_ms, failures, private) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT(url) DO UPDATE SET source = excluded.source, added_ms = excluded.added_ms,"
                " last_success_ms = excluded.last_success_ms, failures = excluded.failures, private = excluded.private",
                [
                    (hub.url, hub.source, hub.added_ms, hub.last_success_ms, hub.failures, int(hub.private))
                    for hub in hubs
                ],
            )
            connection.execute(
                "DELETE FROM hubs WHERE url IN (SELECT url FROM hubs ORDER BY"
                " source = 'user' DESC, coalesce(last_success_ms, 0) DESC, added_ms DESC LIMIT -1 OFFSET ?)",
                (HUBS_MAX,),
            )

    def peers(self) -> list[PeerRecord]:
        """All peers, those seen last first."""
        rows = self._database.query(
            "SELECT id, address, last_seen_ms, last_connected_ms, failures, pinned, blocked FROM peers"
            " ORDER BY last_seen_ms DESC, id"
        )
        return [
            PeerRecord(PeerId(peer), address, seen, connected, failures, bool(pinned), bool(blocked))
            for peer, address, seen, connected, failures, pinned, blocked in rows
        ]

    def peer(self, peer: PeerId) -> PeerRecord | None:
        """What is known of this peer."""
        return next((record for record in self.peers() if record.id == peer), None)

    def save_peers(self, peers: Iterable[PeerRecord]) -> None:
        """Adds peers or replaces what is known of them, in one transaction."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO peers(id, address, last_seen_ms, last_connected_ms, failures, pinned, blocked)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (p.id, p.address, p.last_seen_ms, p.last_connected_ms, p.failures, int(p.pinned), int(p.blocked))
                    for p in peers
                ],
            )
            connection.execute(
                "DELETE FROM peers WHERE id IN (SELECT id FROM peers ORDER BY"
                " pinned OR blocked DESC, coalesce(last_seen_ms, 0) DESC LIMIT -1 OFFSET ?)",
                (PEERS_MAX,),
            )

    def remove_peer(self, peer: PeerId) -> bool:
        """Forgets a peer; False when it was not there."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM peers WHERE id = ?", (peer,)).rowcount > 0
