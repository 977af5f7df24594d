"""The tables, as a list of migrations: entry n brings a database from schema n to n + 1.

A migration is never edited once it was released; a new one is appended. Statements run in one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

Migration = Sequence[str | Callable[[sqlite3.Connection], None]]

_FIRST: Final[Migration] = (
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # An author's head lives here and not in a query over messages: it changes in the transaction that appends.
    """CREATE TABLE authors(
        id INTEGER PRIMARY KEY, feed TEXT NOT NULL UNIQUE,
        head_key BLOB, head_sequence INTEGER NOT NULL DEFAULT 0, head_timestamp REAL)""",
    "CREATE TABLE types(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    # short_key is the first 8 bytes of the key as a signed integer: its index is a third of one over the whole key.
    """CREATE TABLE messages(
        rowid INTEGER PRIMARY KEY, author INTEGER NOT NULL, sequence INTEGER NOT NULL, key BLOB NOT NULL,
        short_key INTEGER NOT NULL, type INTEGER, received_ms INTEGER NOT NULL, raw BLOB NOT NULL)""",
    "CREATE UNIQUE INDEX messages_by_feed ON messages(author, sequence)",
    "CREATE INDEX messages_by_key ON messages(short_key)",
    "CREATE INDEX messages_by_type ON messages(type) WHERE type IS NOT NULL",
    # The newest contact message of source about target decides: 1 follows, -1 blocks, 0 neither any more.
    """CREATE TABLE edges(
        source INTEGER NOT NULL, target INTEGER NOT NULL, kind INTEGER NOT NULL,
        PRIMARY KEY (source, target)) WITHOUT ROWID""",
    # Both messages of a fork, as they came: the proof.
    """CREATE TABLE forks(
        author INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, ours BLOB NOT NULL, theirs BLOB NOT NULL,
        found_ms INTEGER NOT NULL)""",
    """CREATE TABLE hubs(
        url TEXT PRIMARY KEY, source TEXT NOT NULL, added_ms INTEGER NOT NULL, last_success_ms INTEGER,
        failures INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE peers(
        id TEXT PRIMARY KEY, address TEXT, last_seen_ms INTEGER, last_connected_ms INTEGER,
        failures INTEGER NOT NULL DEFAULT 0, pinned INTEGER NOT NULL DEFAULT 0, blocked INTEGER NOT NULL DEFAULT 0)""",
)

# See storage/blobs.py. `kept`: added, pushed or wanted by us, so never removed by itself.
_BLOBS: Final[Migration] = (
    """CREATE TABLE blobs(
        rowid INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, received_ms INTEGER NOT NULL,
        kept INTEGER NOT NULL)""",
    "CREATE INDEX blobs_to_evict ON blobs(received_ms) WHERE kept = 0",
    "CREATE TABLE blob_wants(digest BLOB PRIMARY KEY, size_limit INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE blob_pushes(digest BLOB PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE blob_holders(digest BLOB NOT NULL, peer TEXT NOT NULL, PRIMARY KEY (digest, peer)) WITHOUT ROWID",
)

# See storage/index_links.py and storage/index_private.py; how far they are stands in meta, as index.NAME.
_INDEXES: Final[Migration] = (
    """CREATE TABLE links(
        target INTEGER NOT NULL, message INTEGER NOT NULL, rel INTEGER NOT NULL,
        PRIMARY KEY (target, message, rel)) WITHOUT ROWID""",
    "CREATE TABLE link_rels(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    "CREATE TABLE private(message INTEGER PRIMARY KEY)",
)

_PRIVATE: Final[Migration] = (
    # Keys of private groups, as members told them to us.
    """CREATE TABLE group_keys(
        number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, group_id TEXT NOT NULL, root TEXT NOT NULL,
        added_by TEXT NOT NULL)""",
)

_REPLICATION: Final[Migration] = (
    # What a peer last told of its feeds: pairs of 32 bits, number of the author and note. See storage/clocks.py.
    "CREATE TABLE clocks(peer TEXT PRIMARY KEY, saved_ms INTEGER NOT NULL, notes BLOB NOT NULL) WITHOUT ROWID",
)

_FRIENDS: Final[Migration] = ()

_INVITES: Final[Migration] = (
    """CREATE TABLE invites(
        id TEXT PRIMARY KEY, uses INTEGER NOT NULL, used INTEGER NOT NULL DEFAULT 0, note TEXT,
        created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL) WITHOUT ROWID""",
)

_SECOND: Final[Migration] = (*_BLOBS, *_INDEXES, *_PRIVATE, *_REPLICATION, *_FRIENDS, *_INVITES)

# A private hub is never told to others.
_THIRD: Final[Migration] = ("ALTER TABLE hubs ADD COLUMN private INTEGER NOT NULL DEFAULT 0",)

_INBOXES: Final[Migration] = (
    # The secrets of friends' inboxes on hubs, as they told us; ours stands in meta.
    "CREATE TABLE inboxes(peer TEXT PRIMARY KEY, secret BLOB NOT NULL, told_ms INTEGER NOT NULL) WITHOUT ROWID",
)

_HUB_GOSSIP: Final[Migration] = (
    # Who vouches for which hub, as they signed it; and when each host was asked whether a hub is there.
    """CREATE TABLE hub_entries(
        signer TEXT NOT NULL, url TEXT NOT NULL, time_ms INTEGER NOT NULL, last_success_ms INTEGER NOT NULL,
        signature TEXT NOT NULL, PRIMARY KEY (signer, url)) WITHOUT ROWID""",
    "CREATE TABLE hub_probes(host TEXT PRIMARY KEY, asked_ms INTEGER NOT NULL) WITHOUT ROWID",
)

_FOURTH: Final[Migration] = (*_INBOXES, *_HUB_GOSSIP)

_FIFTH: Final[Migration] = (
    # See storage/welcomes.py: invitations of ours, and codes of others that are still to be used.
    """CREATE TABLE welcomes(
        id TEXT PRIMARY KEY, token_hash BLOB NOT NULL, inbox BLOB NOT NULL, guest TEXT NOT NULL,
        uses INTEGER NOT NULL, used INTEGER NOT NULL DEFAULT 0, note TEXT,
        created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, used_ms INTEGER) WITHOUT ROWID""",
    "CREATE TABLE joins(host TEXT PRIMARY KEY, code TEXT NOT NULL, added_ms INTEGER NOT NULL) WITHOUT ROWID",
)

MIGRATIONS: Final[tuple[Migration, ...]] = (_FIRST, _SECOND, _THIRD, _FOURTH, _FIFTH)
SCHEMA_VERSION: Final = len(MIGRATIONS)
