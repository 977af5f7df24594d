"""The book of what signers say of hubs: their signed entries and published messages, ours among them.

Kept are entries of those within our hops (`reaches`) alone, checked before they are kept, and told on as they were
signed. A signer has SIGNER_MAX hubs here; where the book is full, whoever has most in it loses the oldest, so that a
crowd of made-up names costs those who name a few hubs nothing.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final
from weakref import WeakKeyDictionary

from ssb_rtc.errors import StorageFault
from ssb_rtc.feeds.hub_entry import LIST_MAX, RENEWED_AFTER_MS, HubEntry, entry_key, sign_entry, verify_entry
from ssb_rtc.feeds.hub_message import HubMessage
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.manager.state import KnownHub
from ssb_rtc.storage.contacts import Contacts
from ssb_rtc.storage.hub_entries import HubEntries
from ssb_rtc.transport.link import Link
from ssb_rtc.types import FeedId, HubUrl, feed_of
from ssb_rtc.wire.hub_url import hub_host, is_loopback
from ssb_rtc.wire.told_hubs import is_fit

SIGNER_MAX: Final = 32
"""Hubs of one signer; as many as the manager's table has."""
ENTRIES_MAX: Final = 4_096
"""About 1 MiB."""
MESSAGES_MAX: Final = 4_096
"""The same for what was published, of which as many again may be here before it is looked at. All of it is gone through
whenever somebody says something, and a friend who follows a thousand made-up names has each of them say 32 things.
"""

logger = logging.getLogger(__name__)

_Told = tuple[FeedId, HubUrl, int]


class HubBook:
    """All that is said of hubs. `reaches` says whether a feed is within our hops; plugins.hubs sets it."""

    def __init__(
        self, store: HubEntries, contacts: Contacts, keys: Keys, network_key: bytes, now_ms: Callable[[], int]
    ) -> None:
        self.store = store
        self._contacts = contacts
        self._keys = keys
        self._key = entry_key(network_key)
        self._now_ms = now_ms
        self.reaches: Callable[[FeedId], bool] = lambda _feed: False
        self._entries: dict[FeedId, dict[HubUrl, HubEntry]] = {}
        self._count = 0
        self._messages: dict[FeedId, dict[HubUrl, HubMessage]] = {}
        self._message_count = 0
        self._told: WeakKeyDictionary[Link, set[_Told]] = WeakKeyDictionary()
        """What passed over each link, either way."""
        for entry in store.all():
            self._keep(entry)

    def __len__(self) -> int:
        return self._count

    # --- what comes in ---

    def hear(self, link: Link, entries: Iterable[HubEntry], *, allow_loopback: bool) -> set[HubUrl]:
        """Entries that a remote told: those that are new here are kept. The hubs of which somebody said something new.

        Raises StorageFault.
        """
        told = self._told.setdefault(link, set())
        saved: dict[tuple[FeedId, HubUrl], HubEntry] = {}
        removed: list[HubEntry] = []
        for entry in entries:
            if self._entries.get(entry.signer, {}).get(entry.url) == entry:
                told.add(_named(entry))
            elif self._is_news(entry, allow_loopback=allow_loopback) and verify_entry(entry, self._key):
                told.add(_named(entry))
                if self._keep(entry):
                    saved[entry.signer, entry.url] = entry
                    removed += self._shrink(entry.signer)
        if len(told) > 2 * ENTRIES_MAX:
            told.clear()  # some are told again then
        for entry in removed:
            saved.pop((entry.signer, entry.url), None)
        if saved or removed:
            self.store.change(saved.values(), removed)
        return {entry.url for entry in (*saved.values(), *removed)}

    def _is_news(self, entry: HubEntry, *, allow_loopback: bool) -> bool:
        """What costs little comes first: the signature is checked of what is worth it."""
        if entry.signer == self._keys.id or not self.reaches(entry.signer) or not entry.is_timely(self._now_ms()):
            return False
        known = self._entries.get(entry.signer, {}).get(entry.url)
        return (known is None or entry.time_ms > known.time_ms) and is_fit(entry.url, allow_loopback=allow_loopback)

    def _keep(self, entry: HubEntry) -> bool:
        hubs = self._entries.setdefault(entry.signer, {})
        known = hubs.get(entry.url)
        if known is not None and known.time_ms >= entry.time_ms:
            return False
        self._count += known is None
        hubs[entry.url] = entry
        return True

    def _shrink(self, signer: FeedId) -> list[HubEntry]:
        """What has to go after this signer got one more."""
        if len(self._entries[signer]) > SIGNER_MAX:
            return [self._drop_oldest(signer)]
        if self._count > ENTRIES_MAX:
            return [
                self._drop_oldest(max(self._entries, key=lambda other: (len(self._entries[other]), other == signer)))
            ]
        return []

    def _drop_oldest(self, signer: FeedId) -> HubEntry:
        oldest = min(self._entries[signer].values(), key=lambda entry: (entry.time_ms, entry.url))
        self._drop(oldest)
        return oldest

    def _drop(self, entry: HubEntry) -> None:
        del self._entries[entry.signer][entry.url]
        self._count -= 1
        if not self._entries[entry.signer]:
            del self._entries[entry.signer]

    def read(self, author: FeedId, message: HubMessage) -> bool:
        """A published message, in the order of its feed; whether it says something new."""
        if not is_fit(message.url, allow_loopback=True):
            return False
        said = self._messages.setdefault(author, {})
        if said.get(message.url) == message:
            return False
        self._message_count += message.url not in said
        said[message.url] = message
        if len(said) > SIGNER_MAX:
            self._forget_oldest(said, SIGNER_MAX)
        if self._message_count > 2 * MESSAGES_MAX:
            self._shrink_messages()
        return True

    def _forget_oldest(self, said: dict[HubUrl, HubMessage], most: int) -> None:
        for url in sorted(said, key=lambda url: (said[url].time_ms, url))[: max(0, len(said) - most)]:
            del said[url]
            self._message_count -= 1

    def _shrink_messages(self) -> None:
        """Those out of reach go, then the oldest of whoever said most, then authors by chance."""
        for author in [author for author in self._messages if not self.reaches(author)]:
            self._message_count -= len(self._messages.pop(author))
        most = SIGNER_MAX
        while most > 1 and sum(min(len(said), most) for said in self._messages.values()) > MESSAGES_MAX:
            most -= 1
        for said in self._messages.values():
            self._forget_oldest(said, most)
        surplus = max(0, len(self._messages) - MESSAGES_MAX)
        others = [author for author in self._messages if author != self._keys.id]
        for author in random.sample(others, min(surplus, len(others))):
            self._message_count -= len(self._messages.pop(author))

    def sweep(self) -> set[HubUrl]:
        """Forgets what is too old or of whom is out of reach; the hubs that it was about. Raises StorageFault."""
        now_ms = self._now_ms()
        gone = [
            entry
            for entry in self._all_entries()
            if not entry.is_timely(now_ms) or not (entry.signer == self._keys.id or self.reaches(entry.signer))
        ]
        for entry in gone:
            self._drop(entry)
        if gone:
            self.store.change((), gone)
        return {entry.url for entry in gone}

    def _all_entries(self) -> Iterator[HubEntry]:
        for hubs in self._entries.values():
            yield from hubs.values()

    # --- what it comes to ---

    def speakers(self, *, allow_loopback: bool) -> dict[HubUrl, list[FeedId]]:
        """Who within our hops speaks for each hub now: the latest word of each counts."""
        now_ms, found = self._now_ms(), dict[HubUrl, list[FeedId]]()
        for signer in self._entries.keys() | self._messages.keys():
            if signer == self._keys.id or not self.reaches(signer):
                continue
            entries, messages = self._entries.get(signer, {}), self._messages.get(signer, {})
            for url in entries.keys() | messages.keys():
                # All of them were looked at when they came; only what may be told on this machine hangs on the day.
                here = not allow_loopback and is_loopback(hub_host(url))
                if not here and _speaks(entries.get(url), messages.get(url), now_ms):
                    found.setdefault(url, []).append(signer)
        return found

    # --- what goes out ---

    def list_for(self, link: Link, working: Iterable[KnownHub]) -> list[HubEntry]:
        """What to tell over a link next: our word for the hubs that work for us, and what others said, as they said it.

        At most LIST_MAX that did not pass over the link yet, others' by chance, so that over many links all get around.
        """
        private = {hub.url for hub in self._contacts.hubs() if hub.private}
        own = self._vouch([hub for hub in working if hub.url not in private and is_fit(hub.url, allow_loopback=True)])
        told, now_ms, remote = self._told.get(link, set()), self._now_ms(), feed_of(link.remote)
        others = [
            entry
            for entry in self._all_entries()
            if entry.signer not in (self._keys.id, remote)
            and entry.url not in private
            and _named(entry) not in told
            and entry.is_timely(now_ms)
            and self.reaches(entry.signer)
        ]
        news = [entry for entry in own if _named(entry) not in told][:LIST_MAX]
        return news + random.sample(others, min(len(others), LIST_MAX - len(news)))

    def was_told(self, link: Link, entries: Iterable[HubEntry]) -> None:
        """The remote has taken these."""
        self._told.setdefault(link, set()).update(map(_named, entries))

    def _vouch(self, working: Collection[KnownHub]) -> list[HubEntry]:
        """Our entries for these hubs, signed anew where they are old; those for others are forgotten."""
        now_ms, own = self._now_ms(), self._keys.id
        before = dict(self._entries.get(own, {}))
        retired = {url for url, message in self._messages.get(own, {}).items() if message.retired}
        entries: list[HubEntry] = []
        for hub in working:
            known = before.get(hub.url)
            success_ms = min(now_ms, int((hub.last_success_wall_s or 0.0) * 1000))
            if hub.url in retired or len(entries) == SIGNER_MAX:
                continue
            if known is not None and -1 < now_ms - known.time_ms < RENEWED_AFTER_MS:
                entries.append(known)
            elif now_ms - success_ms < RENEWED_AFTER_MS:
                entries.append(sign_entry(self._keys, self._key, hub.url, time_ms=now_ms, last_success_ms=success_ms))
        kept = {entry.url for entry in entries}
        removed = [entry for url, entry in before.items() if url not in kept]
        saved = [entry for entry in entries if before.get(entry.url) != entry]
        try:
            if saved or removed:
                self.store.change(saved, removed)
        except StorageFault as fault:
            logger.warning("our entries of hubs were not stored: %s", fault)
        for entry in removed:
            self._drop(entry)
        for entry in saved:
            self._entries.setdefault(own, {}).pop(entry.url, None)
            self._count -= entry.url in before
            self._keep(entry)
        return entries


def _named(entry: HubEntry) -> _Told:
    return entry.signer, entry.url, entry.time_ms


def _speaks(entry: HubEntry | None, message: HubMessage | None, now_ms: int) -> bool:
    """Whether somebody speaks for a hub: what was published last is undone only by an entry signed after it."""
    if message is not None and message.counts(now_ms):
        return True
    if entry is None or not entry.is_timely(now_ms):
        return False
    return message is None or not message.retired or entry.time_ms > message.time_ms
