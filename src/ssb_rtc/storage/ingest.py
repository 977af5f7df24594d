"""The way into the log for messages that others signed: links, imports.

    intake = ingest.intake("link @...")
    await intake.offer(raws)      # queues; waits while the queue is full; raises when this intake sent rubbish
    await intake.flush()          # all that was offered is committed (or refused)

Messages are parsed, hashed and put in the order of their feed on the loop thread, their signatures verified by one
worker thread, and by the loop thread as well when the worker falls behind; two thirds of the cost of a message is its
signature, and two lanes are what two cores give. Commits keep the order of the queue, so a feed never advances past a
message whose signature is not known to be good, however the batches end.

A message that we hold already, or one that leaves a gap, costs nothing and faults nobody. A conflict with what we hold
marks the feed forked if its author really signed it. Everything else that is wrong is the fault of the intake.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from ssb_rtc.errors import MessageInvalid, SsbRtcError, StorageFault
from ssb_rtc.feeds import canonical, validate
from ssb_rtc.feeds.message import SEQUENCE_MAX, message_id
from ssb_rtc.feeds.validate import Head, Pending
from ssb_rtc.storage.forks import Fork, Forks
from ssb_rtc.storage.intake import Accepts, Intake, OnFault, OnSeen
from ssb_rtc.storage.log import TRANSACTION_MESSAGES_MAX, Log, Stored
from ssb_rtc.types import FeedId, Json, JsonObject, MsgId

__all__ = ["Ingest", "Intake"]

logger = logging.getLogger(__name__)

QUEUE_MESSAGES_MAX: Final = 4_096
QUEUE_BYTES_MAX: Final = 8 * 1024 * 1024
"""Messages and bytes that wait for their signature or their commit, over all intakes; then `offer` waits."""
BATCH_MESSAGES: Final = 32
"""Signatures that one lane verifies in one go: 2 ms."""
WORKER_BATCHES: Final = 8
"""Batches in the worker's hands: enough that it never waits for the loop, which a commit keeps busy for 20 ms."""
SHARED_BATCHES: Final = 2
"""Batches that wait beyond the worker's hands before the loop thread verifies too."""
SLICE_MESSAGES: Final = 64
"""Messages that `offer` prepares before it lets others use the loop."""
COMMIT_DELAY_S: Final = 0.01
"""The longest that a verified message waits for others to share its transaction."""

OnCommitted = Callable[[Sequence[Stored]], None]
OnRollback = Callable[[FeedId], None]


@dataclass(slots=True, eq=False)
class _Entry:
    """A message between its arrival and its commit."""

    pending: Pending
    intake: Intake
    size_bytes: int
    dropped: bool = False


@dataclass(slots=True, eq=False)
class _Batch:
    entries: list[_Entry] = field(default_factory=list)
    verified: bool = False


class Ingest:
    """Takes messages of any intake, and tells subscribers what was committed. Lives on one loop."""

    def __init__(
        self,
        log: Log,
        forks: Forks,
        *,
        now_ms: Callable[[], int],
        hmac_key: bytes | None = None,
    ) -> None:
        self.log = log
        self.forks = forks
        self.now_ms = now_ms
        self.hmac_key = hmac_key
        self.own: FeedId | None = None
        """The feed that we write ourselves; its author sets it."""
        self.committed = 0
        """Messages of others that were verified and stored, since the start."""
        self.refused = 0
        """Messages that were not what they should be: no message, not the next of their feed, not signed."""
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="ssb-verify")
        self._in_worker = 0
        self._batches: deque[_Batch] = deque()
        self._open = _Batch()
        self._undispatched: deque[_Batch] = deque()
        self._feeds: dict[FeedId, deque[_Entry]] = {}
        self._ready: list[_Entry] = []
        self._queued = 0
        self._queued_bytes = 0
        self._room: list[asyncio.Future[None]] = []
        self._idle: list[asyncio.Future[None]] = []
        self._settlers: dict[FeedId, list[asyncio.Future[None]]] = {}
        self._commit_timer: asyncio.TimerHandle | None = None
        self._on_committed: list[OnCommitted] = []
        self._on_rollback: list[OnRollback] = []
        self._closed = False

    # --- for everybody ---

    def intake(
        self,
        name: str,
        accepts: Accepts | None = None,
        on_seen: OnSeen | None = None,
        on_fault: OnFault | None = None,
    ) -> Intake:
        """A new source of messages. See Intake."""
        return Intake(self, name, accepts, on_seen, on_fault)

    async def add(self, raws: Sequence[bytes], source: str) -> Intake:
        """Offers all and waits for the commit: an import in one call. Raises what `offer` and `flush` raise."""
        intake = self.intake(source)
        try:
            await intake.offer(raws)
        finally:
            await asyncio.shield(self._quiet_flush(intake))
        intake.raise_fault()
        return intake

    def subscribe(self, listener: OnCommitted) -> Callable[[], None]:
        """Calls `listener(messages)` after each commit, own messages included; returns what ends that."""
        self._on_committed.append(listener)
        return lambda: self._on_committed.remove(listener)

    def subscribe_rollback(self, listener: OnRollback) -> Callable[[], None]:
        """Calls `listener(feed)` when queued messages of a feed were thrown away and need to be asked for again."""
        self._on_rollback.append(listener)
        return lambda: self._on_rollback.remove(listener)

    def pending(self, feed: FeedId) -> int:
        """How many messages of a feed wait for their signature or commit."""
        return len(self._feeds.get(feed, ()))

    @property
    def queued(self) -> int:
        """How many messages wait in all."""
        return self._queued

    async def settle(self, feed: FeedId) -> None:
        """Waits until nothing of this feed is in the queue."""
        while feed in self._feeds:
            self.hurry()
            waiter = asyncio.get_running_loop().create_future()
            self._settlers.setdefault(feed, []).append(waiter)
            await waiter

    async def close(self) -> None:
        """Commits what is queued and stops the worker."""
        if self._closed:
            return
        while self._queued:
            self.hurry()
            waiter = asyncio.get_running_loop().create_future()
            self._idle.append(waiter)
            await waiter
        self._closed = True
        if self._commit_timer is not None:
            self._commit_timer.cancel()
        self._worker.shutdown(wait=True)

    def announce(self, stored: Sequence[Stored]) -> None:
        """Tells the subscribers what was committed, here or by the author of our own feed."""
        for listener in tuple(self._on_committed):
            try:
                listener(stored)
            except Exception:
                logger.exception("a listener for new messages failed")

    # --- arrival ---

    async def offer(self, intake: Intake, raws: Sequence[bytes]) -> None:
        """See Intake.offer."""
        for start in range(0, len(raws), SLICE_MESSAGES):
            if start:
                await asyncio.sleep(0)
            for raw in raws[start : start + SLICE_MESSAGES]:
                intake.raise_fault()
                try:
                    while (unclear := self._take(intake, raw)) is not None:
                        await self.settle(unclear)
                except (MessageInvalid, StorageFault) as fault:
                    self.refused += isinstance(fault, MessageInvalid)
                    intake.fail(fault)
                    self.hurry()
                    raise
            self._pump()
            while self._queued >= QUEUE_MESSAGES_MAX or self._queued_bytes >= QUEUE_BYTES_MAX:
                waiter = asyncio.get_running_loop().create_future()
                self._room.append(waiter)
                await waiter
        intake.raise_fault()
        if self._open.entries and self._in_worker == 0:
            self.hurry()

    def _take(self, intake: Intake, raw: bytes) -> FeedId | None:
        """Queues one message. A feed in return means: can't be judged before what is queued of that feed is settled."""
        read = validate.read(raw)
        author, sequence = _place(read)
        if intake.accepts is not None and not intake.accepts(author):
            intake.unwanted += 1
            return None
        if intake.on_seen is not None:
            intake.on_seen(author, sequence)
        entries = self._feeds.get(author)
        head = _head_after(entries[-1]) if entries else self.log.head(author)
        expected = head.sequence + 1 if head else 1
        if sequence < expected:
            return self._take_again(intake, author, sequence, raw)
        if sequence > expected or author in self.forks:
            intake.gaps += 1
            return None
        try:
            pending = validate.prepare(head, read, self.hmac_key, author=author, raw=raw)
        except MessageInvalid:
            value = canonical.parse(raw)
            if head is None or not isinstance(value, dict) or value.get("previous") == head.id:
                raise
            if entries or self._heals(author, head.sequence, value.get("previous")):
                return author
            self._conflict(author, head.sequence, value)
            return None
        if author == self.own and not validate.is_canonically_signed(pending.checked.value):
            # We would write on top of an id that nobody else knows.
            raise MessageInvalid("a message of our own feed whose signature we did not write so")
        entry = _Entry(pending, intake, len(raw))
        if entries is None:
            entries = self._feeds[author] = deque()
        entries.append(entry)
        intake.outstanding += 1
        self._queued += 1
        self._queued_bytes += entry.size_bytes
        self._open.entries.append(entry)
        if len(self._open.entries) >= BATCH_MESSAGES:
            self._close_batch()
        return None

    def _take_again(self, intake: Intake, author: FeedId, sequence: int, raw: bytes) -> FeedId | None:
        """A sequence that we hold, or are about to: a duplicate, a fork, or rubbish."""
        value = canonical.parse(raw)
        head = self.log.head(author)
        if head is None or sequence > head.sequence:
            known: MsgId = self._feeds[author][sequence - (head.sequence if head else 0) - 1].pending.checked.key
            if message_id(value) == known:
                intake.duplicates += 1
                return None
            return author
        ours = self.log.at(author, sequence)
        if ours is not None and message_id(value) != ours.key and not self._is_respelled(ours, value):
            self._conflict(author, sequence, value)
        else:
            intake.duplicates += 1
        return None

    def _heals(self, author: FeedId, sequence: int, previous: Json) -> bool:
        """Whether the head that a message does not follow was only respelled, on its way to us; it is put right then.

        Anybody on the way can do that to the last message that there is, see `canonically_signed`, and what the author
        writes on top of it tells which spelling was meant.
        """
        ours = self.log.at(author, sequence)
        if ours is None or validate.is_canonically_signed(ours.value()):
            return False
        value = validate.canonically_signed(ours.value())
        if message_id(value) != previous:
            return False
        logger.warning("message %d of %s had come with another spelling of its signature", sequence, author)
        self.log.respell_head(author, message_id(value), canonical.compact(value))
        return True

    def _is_respelled(self, ours: Stored, value: JsonObject) -> bool:
        """The same message with another spelling of its good signature, which anybody can make: no fork."""
        return validate.is_signed_by_author(value, self.hmac_key) and not validate.proves_fork(
            ours.value(), value, self.hmac_key
        )

    def _conflict(self, author: FeedId, sequence: int, value: JsonObject) -> None:
        """Judges a message that can't be in the feed that we hold up to `sequence`; raises unless it is signed."""
        if not validate.is_signed_by_author(value, self.hmac_key):
            raise MessageInvalid(f"message {value.get('sequence')} of {author} contradicts its feed and is not signed")
        if author in self.forks:
            return
        ours = self.log.at(author, sequence)
        if ours is not None:
            logger.warning("the feed %s is forked at %d", author, sequence)
            self.forks.mark(Fork(author, sequence, ours.raw, canonical.compact(value), self.now_ms()))

    # --- verification ---

    def hurry(self) -> None:
        """Verifies what is queued now, without waiting for a batch to fill."""
        if self._open.entries:
            self._close_batch()
        self._pump()

    def _close_batch(self) -> None:
        self._batches.append(self._open)
        self._undispatched.append(self._open)
        self._open = _Batch()

    def _pump(self) -> None:
        self._dispatch()
        if len(self._undispatched) >= SHARED_BATCHES:
            batch = self._undispatched.popleft()
            self._verified(batch, _bad_signatures(batch))

    def _dispatch(self) -> None:
        loop = asyncio.get_running_loop()
        while self._undispatched and self._in_worker < WORKER_BATCHES:
            batch = self._undispatched.popleft()
            self._in_worker += 1
            future = self._worker.submit(_bad_signatures, batch)

            def done(future: Future[list[int]], batch: _Batch = batch) -> None:
                loop.call_soon_threadsafe(self._worker_done, batch, future)

            future.add_done_callback(done)

    def _worker_done(self, batch: _Batch, future: Future[list[int]]) -> None:
        self._in_worker -= 1
        if not self._undispatched and not self._in_worker and self._open.entries:
            self._close_batch()
        self._dispatch()
        error = future.exception()
        if error is not None:
            logger.error("verification failed", exc_info=error)
        self._verified(batch, future.result() if error is None else list(range(len(batch.entries))))

    def _verified(self, batch: _Batch, bad: list[int]) -> None:
        batch.verified = True
        for index in bad:
            self._throw_away_from(batch.entries[index])
        while self._batches and self._batches[0].verified:
            self._ready += self._batches.popleft().entries
        if len(self._ready) >= TRANSACTION_MESSAGES_MAX or not self._batches:
            self._commit()
        elif self._ready and self._commit_timer is None:
            self._commit_timer = asyncio.get_running_loop().call_later(COMMIT_DELAY_S, self._commit)

    def _throw_away_from(self, bad: _Entry) -> None:
        """A signature is bad: that message and whatever was queued on top of it in its feed."""
        if bad.dropped:
            return
        checked = bad.pending.checked
        self.refused += 1
        bad.intake.fail(MessageInvalid(f"invalid signature on message {checked.sequence} of {checked.author}"))
        entries = self._feeds[checked.author]
        while entries:
            entry = entries.pop()
            entry.dropped = True
            if entry is bad:
                break
        if not entries:
            self._feed_settled(checked.author)
        for listener in tuple(self._on_rollback):
            listener(checked.author)

    # --- commit ---

    def _commit(self) -> None:
        if self._commit_timer is not None:
            self._commit_timer.cancel()
            self._commit_timer = None
        while self._ready:
            entries, self._ready = self._ready[:TRANSACTION_MESSAGES_MAX], self._ready[TRANSACTION_MESSAGES_MAX:]
            good = [entry for entry in entries if not entry.dropped]
            try:
                stored = self.log.append([entry.pending.checked for entry in good], self.now_ms()) if good else []
            except SsbRtcError as fault:
                self._refused(good, fault)
                stored = []
            self._leave(entries)
            if stored:
                self.announce(stored)

    def _refused(self, good: list[_Entry], fault: SsbRtcError) -> None:
        """The disk refused: nothing of these, nor what is queued on top of them, is taken."""
        logger.error("new messages could not be stored: %s", fault)
        for feed in {entry.pending.checked.author for entry in good}:
            for entry in self._feeds.pop(feed, ()):
                entry.dropped = True
                entry.intake.fail(fault)
            self._feed_settled(feed)

    def _leave(self, entries: list[_Entry]) -> None:
        """Takes entries out of the books, and wakes whoever waited for that."""
        for entry in entries:
            self._queued_bytes -= entry.size_bytes
            if not entry.dropped:
                entry.intake.accepted += 1
                self.committed += 1
                author = entry.pending.checked.author
                waiting = self._feeds[author]
                waiting.popleft()
                if not waiting:
                    self._feed_settled(author)
            entry.intake.settle(1)
        self._queued -= len(entries)
        if self._queued < QUEUE_MESSAGES_MAX // 2 and self._queued_bytes < QUEUE_BYTES_MAX // 2:
            _wake(self._room)
        if not self._queued:
            _wake(self._idle)

    def _feed_settled(self, feed: FeedId) -> None:
        self._feeds.pop(feed, None)
        _wake(self._settlers.pop(feed, []))

    async def _quiet_flush(self, intake: Intake) -> None:
        try:
            await intake.flush()
        except SsbRtcError as fault:
            intake.fail(fault)


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()


def _place(value: Json) -> tuple[FeedId, int]:
    """Author and sequence of what claims to be a message, before anything else of it is looked at."""
    if not isinstance(value, dict):
        raise MessageInvalid("a message must be an object")
    author, sequence = value.get("author"), value.get("sequence")
    if type(sequence) is float and sequence.is_integer():
        sequence = int(sequence)  # JavaScript knows no difference
    if type(author) is not str or type(sequence) is not int or not 1 <= sequence <= SEQUENCE_MAX:
        raise MessageInvalid(f"a message must have an author and a sequence from 1 to {SEQUENCE_MAX}")
    return FeedId(author), sequence


def _head_after(entry: _Entry) -> Head:
    checked = entry.pending.checked
    return Head(checked.key, checked.sequence, checked.timestamp)


def _bad_signatures(batch: _Batch) -> list[int]:
    """Indexes of entries with a bad signature; called from either lane, touches nothing but the jobs."""
    jobs = [entry.pending.job for entry in batch.entries]
    bad: list[int] = []
    start = 0
    while start < len(jobs):
        found = validate.verify_jobs(jobs[start:])
        if found < 0:
            break
        bad.append(start + found)
        start += found + 1
    return bad
