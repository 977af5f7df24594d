"""Our own feed: publishing to it, making it durable, and not writing to it while it may not be whole.

Three promises:
- `publish` returns when killing the process can't lose the message (it is committed); `durable=True` also waits until
  the death of the machine can't.
- No message of our own leaves the host before it is on the disk: whoever sends asks `servable` first. A machine that
  dies may lose messages that nobody has seen, never messages that somebody has, which would fork the feed.
- We don't publish while our feed may go on elsewhere than here: a restored backup must not fork it.

Whose word counts for that, a claim being "I hold your feed up to message n":
- Whom we follow is believed. Its claim above our head freezes publishing until we hold as much, we no longer follow it,
  or the user overrides.
- Anybody else has to prove it, by sending the messages, which are signed and so taken like any others. Time for that is
  given: publishing waits DOUBT_MS, once every DOUBT_EVERY_MS whatever further strangers claim, so none can lock us out.
- After a secret was imported or a backup restored nobody is known to be believed: the follows are in the part of the
  feed that may be missing. Then every claim above our head freezes, and what ends it is a peer that we follow, by the
  feed as we hold it by then, and that holds no more than we do but no less. A stranger's word never ends it: it may
  hold an old part, or nothing. A feed that follows nobody takes the user's word.
- The user's word (`override`) ends any of these, and the claims that were made until then don't count any more.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from ssb_rtc.errors import AuthorFault, SsbRtcError, StorageFault
from ssb_rtc.feeds import message, private, validate
from ssb_rtc.feeds.hops import FOLLOWS
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.feeds.validate import Checked, Head
from ssb_rtc.storage import clocks
from ssb_rtc.storage.database import Database
from ssb_rtc.storage.ingest import Ingest
from ssb_rtc.storage.log import Stored
from ssb_rtc.types import FeedId, Json, PeerId, feed_of

logger = logging.getLogger(__name__)

SYNC_DELAY_S: Final = 0.02
"""How long a commit waits for others to share its fsync."""
CLOCK_STEP_MS: Final = 0.001
"""Two messages in one millisecond: the later one claims this much more, as monotonic-timestamp does."""
CLOCK_BACK_MAX_MS: Final = 60_000
"""A clock that was set back by up to this much does not make our timestamps go back."""

DOUBT_MS: Final = 10_000
"""How long a claim of somebody whom we don't follow holds up publishing."""
DOUBT_EVERY_MS: Final = 10 * 60_000
"""How soon after that the next such claim may."""
CLAIMS_MAX: Final = 64
"""Claims that are kept, and claims that the user has overridden."""

_IMPORTED: Final = "author.imported"
_CLAIMS: Final = "author.claims"
_OVERRIDDEN: Final = "author.overridden_claims"
_SIGNED_WITH: Final = "author.signed_with"

_FROZEN_AS_IMPORTED: Final = (
    "This secret was imported, its folder restored or its database lost, and nobody whom you follow has confirmed yet"
    " that your feed is whole here. Publishing now could fork it. Connect to somebody whom you follow and who follows"
    " you; if the feed is surely new or whole, `ssb-rtc publish --force` goes on."
)

OnServable = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class AuthorState:
    """What people and the control interface want to know. `frozen` is a sentence, or None."""

    feed: FeedId
    sequence: int
    servable: int
    frozen: str | None


def mark_imported(database: Database) -> None:
    """The secret or the database came from elsewhere: publishing is frozen until a holder of the feed answers."""
    database.set_meta(_IMPORTED, "1")
    clocks.forget(database)


class Author:
    """Publishes to the feed of `keys`. One per database."""

    def __init__(self, ingest: Ingest, keys: Keys) -> None:
        self.keys = keys
        self.feed = keys.id
        self._ingest = ingest
        self._log = ingest.log
        self._database = ingest.log.database
        self._queue: list[tuple[Checked, asyncio.Future[Stored]]] = []
        self._syncer = ThreadPoolExecutor(1, thread_name_prefix="ssb-fsync")
        self._sync_timer: asyncio.TimerHandle | None = None
        self._syncing: asyncio.Task[None] | None = None
        self._sync_fault: StorageFault | None = None
        self._durable_waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._on_servable: list[OnServable] = []
        self._imported = self._database.meta(_IMPORTED) is not None
        # What peers claim that is not settled, and what of that the user has overridden: sequences by peer.
        self._claims: dict[PeerId, int] = json.loads(self._database.meta(_CLAIMS) or "{}")
        self._overridden: dict[PeerId, int] = json.loads(self._database.meta(_OVERRIDDEN) or "{}")
        self._doubted_ms = -DOUBT_EVERY_MS
        self._doubted_sequence = 0
        # Which hmac key, if any, our feed is signed with: a feed that mixes two is valid for nobody.
        self._signs_with = sha256(b"ssb-rtc hmac key " + (ingest.hmac_key or b"")).hexdigest()
        self._signed_with = self._database.meta(_SIGNED_WITH)
        self._database.sync()
        self._servable = self._sequence()
        self._unsubscribe = ingest.subscribe(self._committed)
        ingest.own = self.feed

    # --- state ---

    @property
    def servable(self) -> int:
        """Messages up to this sequence may be sent to others: they survive the death of this machine."""
        return self._servable

    @property
    def state(self) -> AuthorState:
        """See AuthorState."""
        return AuthorState(self.feed, self._sequence(), self._servable, self.frozen)

    @property
    def frozen(self) -> str | None:
        """Why we may not publish now, in a sentence, or None."""
        if self.feed in self._ingest.forks:
            return (
                "Your feed is forked: two messages of yours exist that exclude each other. Publishing makes it worse."
            )
        if self._sync_fault is not None:
            return f"{self._sync_fault} Start again when the disk is well."
        if self._signed_with not in (None, self._signs_with):
            return (
                "Your feed was begun with another --hmac-key, or with none. Give the same: nobody takes a mixed feed."
            )
        return self._claimed() or self._doubted() or (_FROZEN_AS_IMPORTED if self._imported else None)

    def _claimed(self) -> str | None:
        believed = [(n, peer) for peer, n in self._claims.items() if self._imported or self._follows(peer)]
        sequence, peer = max(believed, default=(0, PeerId("")))
        if sequence <= self._sequence():
            return None
        return (
            f"{peer} holds your feed up to message {sequence}, and this machine only up to {self._sequence()}."
            " Publishing now would fork it; the missing part is fetched when a peer that has it is connected."
            " If that claim is wrong, `ssb-rtc publish --force` goes on."
        )

    def _doubted(self) -> str | None:
        if self._doubted_sequence <= self._sequence():
            return None
        left_ms = self._doubted_ms + DOUBT_MS - self._ingest.now_ms()
        if not 0 < left_ms <= DOUBT_MS:
            return None
        return (
            f"Somebody whom you don't follow claims to hold your feed up to message {self._doubted_sequence}, and has"
            f" {left_ms / 1000:.0f} s more to show it. Try again after that."
        )

    def subscribe_servable(self, listener: OnServable) -> Callable[[], None]:
        """Calls `listener(sequence)` when more of our feed may be sent; returns what ends that."""
        self._on_servable.append(listener)
        return lambda: self._on_servable.remove(listener)

    # --- freezing ---

    def remote_clock(self, peer: PeerId, sequence: int) -> None:
        """A peer says up to where it holds our feed (0: not at all). The rules are at the top of this file."""
        head = self._sequence()
        if sequence < max(1, head) or sequence <= self._overridden.get(peer, 0):
            return
        if not self._imported and not self._follows(peer):
            self._doubt(sequence)
        elif sequence > self._claims.get(peer, 0):
            if sequence > head:
                logger.warning("%s claims message %d of our feed, we are at %d", peer, sequence, head)
            while peer not in self._claims and len(self._claims) >= CLAIMS_MAX:
                # Who fills the table must not keep those out who are believed.
                del self._claims[next((p for p in self._claims if not self._follows(p)), next(iter(self._claims)))]
            self._claims[peer] = sequence
            self._settle()

    def override(self) -> None:
        """The user's word that our feed is whole here: unfreezes; claims that were made until now don't count any more.

        A feed that is forked, or a disk that failed, stays frozen.
        """
        self._overridden |= self._claims
        while len(self._overridden) > CLAIMS_MAX:
            del self._overridden[next(iter(self._overridden))]
        self._database.set_meta(_OVERRIDDEN, json.dumps(self._overridden))
        self._doubted_sequence = 0
        self._claims.clear()
        self._database.set_meta(_CLAIMS, None)
        self._unfreeze_imported()

    def _follows(self, peer: PeerId) -> bool:
        return self._log.graph.kind(self.feed, feed_of(peer)) == FOLLOWS

    def _doubt(self, sequence: int) -> None:
        now_ms = self._ingest.now_ms()
        if sequence > self._sequence() and now_ms - self._doubted_ms >= DOUBT_EVERY_MS:
            self._doubted_ms, self._doubted_sequence = now_ms, sequence

    def _settle(self) -> None:
        """Drops the claims that we have caught up with; one of a peer that we follow tells that the feed is whole."""
        reached = [peer for peer, sequence in self._claims.items() if sequence <= self._sequence()]
        if self._imported and any(map(self._follows, reached)):
            self._unfreeze_imported()
        for peer in reached:
            del self._claims[peer]
        self._database.set_meta(_CLAIMS, json.dumps(self._claims) if self._claims else None)

    def _unfreeze_imported(self) -> None:
        self._imported = False
        self._database.set_meta(_IMPORTED, None)

    # --- publishing ---

    def require_writable(self) -> None:
        """Raises AuthorFault while we may not write to our own feed."""
        frozen = self.frozen
        if frozen is not None:
            raise AuthorFault(frozen)

    async def publish(self, content: Json, *, durable: bool = False) -> Stored:
        """Appends one message to our feed. Calls that overlap share a transaction and keep their order.

        content: an object with a type, or the text of a private message; an object with `recps` is encrypted for
        those. Raises AuthorFault while frozen, MisuseError for content that is none, StorageFault when the disk
        refuses.
        """
        if self._ingest.pending(self.feed):
            await self._ingest.settle(self.feed)
        self.require_writable()
        checked = self._make(content)
        done: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._queue.append((checked, done))
        if len(self._queue) == 1:
            asyncio.get_running_loop().call_soon(self._commit)
        stored = await done
        if durable:
            await self.synced(stored.sequence)
        return stored

    def _make(self, content: Json) -> Checked:
        head = self._queue[-1][0].head if self._queue else self._log.head(self.feed)
        value = message.create(
            self.keys,
            private.sealed(content, os.urandom),
            previous=head.id if head else None,
            sequence=head.sequence + 1 if head else 1,
            timestamp_ms=_timestamp(head, self._ingest.now_ms()),
            hmac_key=self._ingest.hmac_key,
        )
        return validate.prepare(head, value, self._ingest.hmac_key).checked

    def _commit(self) -> None:
        queue, self._queue = self._queue, []
        try:
            if self._ingest.pending(self.feed):
                raise AuthorFault("A peer is sending more of your own feed right now. Try again in a moment.")
            stored = self._log.append([checked for checked, _ in queue], self._ingest.now_ms())
        except SsbRtcError as fault:
            for _, done in queue:
                if not done.done():
                    done.set_exception(type(fault)(str(fault)))
            return
        if self._signed_with is None:
            self._signed_with = self._signs_with
            self._database.set_meta(_SIGNED_WITH, self._signs_with)
        for (_, done), one in zip(queue, stored, strict=True):
            if not done.done():
                done.set_result(one)
        self._ingest.announce(stored)

    # --- durability ---

    async def synced(self, sequence: int) -> None:
        """Waits until our feed is on the disk up to this sequence; raises the StorageFault if it can't be."""
        if self._sync_fault is not None:
            raise type(self._sync_fault)(str(self._sync_fault))
        if sequence <= self._servable:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._durable_waiters.append((sequence, done))
        await done

    def _committed(self, stored: Sequence[Stored]) -> None:
        if self._claims and any(one.author == self.feed for one in stored):
            self._settle()
        if self._sequence() > self._servable and any(one.author == self.feed for one in stored):
            self._schedule_sync()

    def _schedule_sync(self) -> None:
        if self._sync_timer is None and self._syncing is None and self._sync_fault is None:
            self._sync_timer = asyncio.get_running_loop().call_later(SYNC_DELAY_S, self._start_sync)

    def _start_sync(self) -> None:
        self._sync_timer = None
        self._syncing = asyncio.get_running_loop().create_task(self._sync())

    async def _sync(self) -> None:
        sequence = self._sequence()
        try:
            await asyncio.get_running_loop().run_in_executor(self._syncer, self._database.sync)
        except StorageFault as fault:
            # After a failed fsync the kernel may have dropped the pages: only a restart knows what is there.
            logger.error("%s", fault)
            self._sync_fault = fault
        else:
            self._servable = sequence
            for listener in tuple(self._on_servable):
                listener(sequence)
        self._syncing = None
        self._wake_durable()
        if self._sequence() > self._servable:
            # Not at once: waking a thread for every second message costs more than the message.
            self._schedule_sync()

    def _wake_durable(self) -> None:
        waiting, self._durable_waiters = self._durable_waiters, []
        for sequence, done in waiting:
            if done.done():
                continue
            if self._sync_fault is not None:
                done.set_exception(type(self._sync_fault)(str(self._sync_fault)))
            elif sequence <= self._servable:
                done.set_result(None)
            else:
                self._durable_waiters.append((sequence, done))

    def _sequence(self) -> int:
        head = self._log.head(self.feed)
        return head.sequence if head else 0

    async def close(self) -> None:
        """Commits and syncs what there is."""
        if self._queue:
            self._commit()
        while self._sync_timer is not None or self._syncing is not None:
            if self._sync_timer is not None:
                self._sync_timer.cancel()
                self._start_sync()
            if self._syncing is not None:
                await self._syncing
        self._unsubscribe()
        self._syncer.shutdown(wait=True)


def _timestamp(head: Head | None, now_ms: int) -> float:
    if head is None or now_ms > head.timestamp or head.timestamp - now_ms > CLOCK_BACK_MAX_MS:
        return now_ms
    return head.timestamp + CLOCK_STEP_MS
