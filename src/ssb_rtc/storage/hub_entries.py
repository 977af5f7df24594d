"""What signers say of hubs, and which hosts were asked whether a hub is there, between one run and the next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ssb_rtc.feeds.hub_entry import HubEntry
from ssb_rtc.storage.database import Database
from ssb_rtc.types import FeedId, HubUrl

DAY_MS: Final = 86_400_000


class HubEntries:
    """The two tables. How much is kept is its user's business (runtime.hub_book)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[HubEntry]:
        """Every entry."""
        rows = self._database.query("SELECT url, signer, time_ms, last_success_ms, signature FROM hub_entries")
        return [HubEntry(HubUrl(url), FeedId(signer), *rest) for url, signer, *rest in rows]

    def change(self, saved: Iterable[HubEntry], removed: Iterable[HubEntry] = ()) -> None:
        """Forgets entries, then keeps others, each in place of its signer's earlier one for the hub; in one go."""
        with self._database.transaction() as connection:
            connection.executemany(
                "DELETE FROM hub_entries WHERE signer = ? AND url = ?", [(one.signer, one.url) for one in removed]
            )
            connection.executemany(
                "INSERT OR REPLACE INTO hub_entries(url, signer, time_ms, last_success_ms, signature)"
                " VALUES (?, ?, ?, ?, ?)",
                [(one.url, one.signer, one.time_ms, one.last_success_ms, one.signature) for one in saved],
            )

    def probes(self, since_ms: int) -> dict[str, int]:
        """When each host was asked last, as far as that was after a time; the others are forgotten."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM hub_probes WHERE asked_ms <= ?", (since_ms,))
        return dict(self._database.query("SELECT host, asked_ms FROM hub_probes"))

    def note_probe(self, host: str, asked_ms: int) -> None:
        """A host is about to be asked; those that were asked a day before are forgotten."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM hub_probes WHERE asked_ms <= ?", (asked_ms - DAY_MS,))
            connection.execute("INSERT OR REPLACE INTO hub_probes(host, asked_ms) VALUES (?, ?)", (host, asked_ms))

    def forget_probe(self, host: str) -> None:
        """The host was not asked after all."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM hub_probes WHERE host = ?", (host,))
